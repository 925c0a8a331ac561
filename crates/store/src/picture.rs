//! Pictures for messages: kept once per file and width, shown to whoever holds the address, deleted only when nothing uses them.
//!
//! Must not know how a picture is read or made smaller: bytes come in ready.

use postrider_domain::id::{PictureId, WorkspaceId};
use serde_json::json;

use crate::Store;
use crate::actor::Actor;
use crate::db::Lane;
use crate::error::{Result, StoreError};
use crate::page::{Page, PageRequest};
use crate::read::{check_text, not_found, refused};
use crate::seal::random;
use crate::sql::{Row, args, sql};

/// Most pictures of a workspace.
const PICTURES_MAX: i64 = 10_000;

/// One size of a picture that is ready to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendition {
    /// `image/png`, `image/jpeg` or `image/gif`.
    pub media_type: String,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// The file.
    pub bytes: Vec<u8>,
}

/// A picture to be kept.
#[derive(Debug, Clone)]
pub struct NewPicture {
    /// SHA-256 of the file that was uploaded.
    pub digest: [u8; 32],
    /// The width in CSS pixels for which it was made.
    pub wanted_width: u32,
    /// The name of the file; empty when nobody said.
    pub name: String,
    /// What it shows, for those who do not see it.
    pub alt: String,
    /// For screens with one device pixel to a CSS pixel.
    pub plain: Rendition,
    /// For screens with two; `None` when it would be no larger.
    pub double: Option<Rendition>,
}

/// Facts of one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measure {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Bytes of the file.
    pub size: i64,
}

/// A kept picture without its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Its id.
    pub id: PictureId,
    /// The unguessable part of its address.
    pub token: String,
    /// The name of the file.
    pub name: String,
    /// What it shows.
    pub alt: String,
    /// The media type of both sizes.
    pub media_type: String,
    /// The plain size.
    pub plain: Measure,
    /// The size for screens with two device pixels to a CSS pixel, when there is one.
    pub double: Option<Measure>,
    /// When it came, i64 milliseconds UTC.
    pub created_at: i64,
}

fn measure(row: &Row, width: &str, height: &str, size: &str) -> Result<Option<Measure>> {
    let narrow = |n: i64| u32::try_from(n).map_err(|_| StoreError::Corrupt("a picture's size is out of range".into()));
    match (row.int_opt(width)?, row.int_opt(height)?, row.int_opt(size)?) {
        (Some(w), Some(h), Some(size)) => Ok(Some(Measure { width: narrow(w)?, height: narrow(h)?, size })),
        (_, _, _) => Ok(None),
    }
}

impl Picture {
    fn read(row: &Row) -> Result<Picture> {
        Ok(Picture {
            id: PictureId(row.int("id")?),
            token: row.text("token")?,
            name: row.text("name")?,
            alt: row.text("alt")?,
            media_type: row.text("media_type")?,
            plain: measure(row, "w1", "h1", "s1")?
                .ok_or_else(|| StoreError::Corrupt("a picture has no plain size".into()))?,
            double: measure(row, "w2", "h2", "s2")?,
            created_at: row.int("created_at")?,
        })
    }
}

impl Store {
    /// Keeps a picture. The same file for the same width is kept once: the picture that is there is the answer then,
    /// with the new words about it if any were given.
    ///
    /// # Errors
    /// A text is refused, or the workspace has 10,000 pictures.
    pub async fn add_picture(&self, workspace: WorkspaceId, by: &Actor, new: NewPicture) -> Result<Picture> {
        check_text("file name", &new.name, 200)?;
        check_text("alternative text", &new.alt, 500)?;
        let token: String = random::<16>()?.iter().map(|b| format!("{b:02x}")).collect();
        let id = PictureId(self.next_id());
        let mut tx = self.begin(Lane::Web).await?;
        let many = tx
            .one(sql!("SELECT count(*) AS n FROM picture WHERE workspace_id = $1"), args![workspace])
            .await?
            .int("n")?;
        if many >= PICTURES_MAX {
            return Err(refused("keep the picture: there are 10,000 already; delete some first"));
        }
        let made = tx
            .execute(
                sql!(
                    "INSERT INTO picture (id, workspace_id, digest, wanted_width, token, name, alt, created_at) \
                     SELECT $1, w.id, $3, $4, $5, $6, $7, $8 FROM workspace w WHERE w.id = $2 \
                     ON CONFLICT (workspace_id, digest, wanted_width) DO NOTHING"
                ),
                args![id, workspace, new.digest, new.wanted_width, token, new.name, new.alt.as_str(), self.now()],
            )
            .await?;
        let kept = if made == 1 {
            for (scale, one) in [(1, Some(&new.plain)), (2, new.double.as_ref())] {
                let Some(one) = one else { continue };
                tx.execute(
                    sql!(
                        "INSERT INTO picture_size (picture_id, scale, media_type, width, height, size, bytes) \
                         VALUES ($1, $2, $3, $4, $5, $6, $7)"
                    ),
                    args![
                        id,
                        scale,
                        one.media_type.as_str(),
                        one.width,
                        one.height,
                        one.bytes.len(),
                        one.bytes.as_slice()
                    ],
                )
                .await?;
            }
            self.note(&mut tx, Some(workspace), by, "picture.add", &id.to_string(), json!({})).await?;
            id
        } else {
            let there = tx
                .one(
                    sql!("SELECT id FROM picture WHERE workspace_id = $1 AND digest = $2 AND wanted_width = $3"),
                    args![workspace, new.digest, new.wanted_width],
                )
                .await?
                .int("id")?;
            if !new.alt.is_empty() {
                tx.execute(
                    sql!("UPDATE picture SET alt = $3 WHERE workspace_id = $1 AND id = $2"),
                    args![workspace, there, new.alt],
                )
                .await?;
            }
            PictureId(there)
        };
        tx.commit().await?;
        self.picture(workspace, kept).await
    }

    /// A picture by id.
    ///
    /// # Errors
    /// The workspace has no such picture.
    pub async fn picture(&self, workspace: WorkspaceId, id: PictureId) -> Result<Picture> {
        let row = self
            .read()
            .await?
            .opt(
                sql!(
                    "SELECT p.id, p.token, p.name, p.alt, p.created_at, a.media_type, a.width AS w1, a.height AS h1, \
                     a.size AS s1, b.width AS w2, b.height AS h2, b.size AS s2 \
                     FROM picture p JOIN picture_size a ON a.picture_id = p.id AND a.scale = 1 \
                     LEFT JOIN picture_size b ON b.picture_id = p.id AND b.scale = 2 \
                     WHERE p.workspace_id = $1 AND p.id = $2"
                ),
                args![workspace, id],
            )
            .await?;
        Picture::read(&row.ok_or_else(|| not_found("picture"))?)
    }

    /// The pictures of a workspace, newest first.
    ///
    /// # Errors
    /// The cursor is foreign, or the database fails.
    pub async fn pictures(&self, workspace: WorkspaceId, page: &PageRequest) -> Result<Page<Picture>> {
        let before: i64 = page.position("picture")?.unwrap_or(i64::MAX);
        let limit = page.rows();
        let rows = self
            .read()
            .await?
            .all(
                sql!(
                    "SELECT p.id, p.token, p.name, p.alt, p.created_at, a.media_type, a.width AS w1, a.height AS h1, \
                     a.size AS s1, b.width AS w2, b.height AS h2, b.size AS s2 \
                     FROM picture p JOIN picture_size a ON a.picture_id = p.id AND a.scale = 1 \
                     LEFT JOIN picture_size b ON b.picture_id = p.id AND b.scale = 2 \
                     WHERE p.workspace_id = $1 AND p.id < $2 ORDER BY p.id DESC LIMIT $3"
                ),
                args![workspace, before, limit + 1],
            )
            .await?;
        let pictures = rows.iter().map(Picture::read).collect::<Result<Vec<_>>>()?;
        Ok(Page::cut(pictures, limit, "picture", |picture| picture.id.get()))
    }

    /// The file behind a public address; `scale` is 1 or 2. `None` when there is no such picture or size.
    ///
    /// # Errors
    /// The database fails.
    pub async fn picture_file(&self, token: &str, scale: u8) -> Result<Option<Rendition>> {
        if token.len() != 32 || !token.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Ok(None);
        }
        let row = self
            .read()
            .await?
            .opt(
                sql!(
                    "SELECT s.media_type, s.width, s.height, s.size, s.bytes FROM picture p \
                     JOIN picture_size s ON s.picture_id = p.id AND s.scale = $2 WHERE p.token = $1"
                ),
                args![token, scale],
            )
            .await?;
        let Some(row) = row else { return Ok(None) };
        let found = measure(&row, "width", "height", "size")?
            .ok_or_else(|| StoreError::Corrupt("a picture has no measure".into()))?;
        Ok(Some(Rendition {
            media_type: row.text("media_type")?,
            width: found.width,
            height: found.height,
            bytes: row.bytes("bytes")?,
        }))
    }

    /// Deletes a picture.
    ///
    /// # Errors
    /// The workspace has no such picture, or a campaign (sent or not) or a template shows it: recipients would see a hole.
    pub async fn delete_picture(&self, workspace: WorkspaceId, by: &Actor, id: PictureId) -> Result<()> {
        let token = self.picture(workspace, id).await?.token;
        // The text of a sent campaign is still its draft: it cannot be changed any more.
        let user = {
            let mut reader = self.read().await?;
            let campaign = reader
                .opt(
                    sql!(
                        "SELECT c.name FROM variant v JOIN campaign c ON c.id = v.campaign_id \
                         WHERE v.workspace_id = $1 AND {json v.draft} LIKE '%' || $2 || '%' LIMIT 1"
                    ),
                    args![workspace, token.as_str()],
                )
                .await?;
            match campaign {
                Some(row) => Some(format!("the campaign \u{201c}{}\u{201d}", row.text("name")?)),
                None => reader
                    .opt(
                        sql!(
                            "SELECT name FROM template \
                             WHERE workspace_id = $1 AND {json draft} LIKE '%' || $2 || '%' LIMIT 1"
                        ),
                        args![workspace, token.as_str()],
                    )
                    .await?
                    .map(|row| Ok::<_, StoreError>(format!("the template \u{201c}{}\u{201d}", row.text("name")?)))
                    .transpose()?,
            }
        };
        if let Some(user) = user {
            return Err(crate::read::conflict(format!(
                "delete the picture: {user} shows it, and its readers would see a hole; take it out there first, \
                 or keep it when that message was sent"
            )));
        }
        let mut tx = self.begin(Lane::Web).await?;
        tx.execute(sql!("DELETE FROM picture_size WHERE picture_id = $1"), args![id]).await?;
        let gone =
            tx.execute(sql!("DELETE FROM picture WHERE workspace_id = $1 AND id = $2"), args![workspace, id]).await?;
        if gone == 0 {
            return Err(not_found("picture"));
        }
        self.note(&mut tx, Some(workspace), by, "picture.delete", &id.to_string(), json!({})).await?;
        tx.commit().await
    }
}
