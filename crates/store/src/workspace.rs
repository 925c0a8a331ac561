//! Workspaces: the organisations (tenants) of the installation, each with its own book, keys and ledger.

use postrider_domain::consent::PurposeKind;
use postrider_domain::id::WorkspaceId;
use serde::Serialize;
use serde_json::{Value, json};

use crate::Store;
use crate::actor::Actor;
use crate::db::{Lane, Tx};
use crate::error::Result;
use crate::read::{check_lines, check_name, check_text, json, not_found, refused, to_json};
use crate::sql::{Row, args, sql};

/// One organisation's part of the installation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Workspace {
    /// Its id.
    pub id: WorkspaceId,
    /// The name that operators see.
    pub name: String,
    /// The controller (GDPR 4(7)), as every marketing message names it.
    pub controller_name: String,
    /// The controller's postal address.
    pub postal_address: String,
    /// Link to the privacy notice; may be empty.
    pub privacy_url: String,
    /// IANA zone in which reports show times.
    pub time_zone: String,
    /// Where the public pages are reached; links in messages begin with it.
    pub public_url: String,
    /// Other settings, a JSON object.
    pub settings: Value,
    /// Seconds between the order to start and the start, in which it can be taken back.
    pub undo_seconds: i64,
    /// Whether messages can be read in a browser.
    pub hosted_copies: bool,
    /// Its share where several workspaces draw on the same limits, 1 to 1000.
    pub weight: u32,
    /// Since when nothing is sent for the workspace; i64 milliseconds UTC.
    pub suspended_at: Option<i64>,
    /// When it was made, i64 milliseconds UTC.
    pub created_at: i64,
}

/// A workspace to be made.
#[derive(Debug, Clone, Default)]
pub struct NewWorkspace {
    /// See [`Workspace::name`].
    pub name: String,
    /// See [`Workspace::controller_name`].
    pub controller_name: String,
    /// See [`Workspace::postal_address`].
    pub postal_address: String,
    /// See [`Workspace::privacy_url`].
    pub privacy_url: String,
    /// See [`Workspace::time_zone`]; empty means UTC.
    pub time_zone: String,
    /// See [`Workspace::public_url`].
    pub public_url: String,
    /// Which purposes it begins with.
    pub purposes: FirstPurposes,
}

/// Which purposes a new workspace has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FirstPurposes {
    /// None.
    #[default]
    None,
    /// One of each kind, named in English, with a first wording that names the controller.
    OneOfEachKind,
}

/// What changes; `None` leaves a field as it is.
#[derive(Debug, Clone, Default)]
pub struct WorkspaceChange {
    /// See [`Workspace::name`].
    pub name: Option<String>,
    /// See [`Workspace::controller_name`].
    pub controller_name: Option<String>,
    /// See [`Workspace::postal_address`].
    pub postal_address: Option<String>,
    /// See [`Workspace::privacy_url`].
    pub privacy_url: Option<String>,
    /// See [`Workspace::time_zone`].
    pub time_zone: Option<String>,
    /// See [`Workspace::public_url`].
    pub public_url: Option<String>,
    /// See [`Workspace::settings`].
    pub settings: Option<Value>,
    /// See [`Workspace::undo_seconds`], 0 to 86,400.
    pub undo_seconds: Option<i64>,
    /// See [`Workspace::hosted_copies`].
    pub hosted_copies: Option<bool>,
}

impl Workspace {
    fn read(row: &Row) -> Result<Workspace> {
        Ok(Workspace {
            id: WorkspaceId(row.int("id")?),
            name: row.text("name")?,
            controller_name: row.text("controller_name")?,
            postal_address: row.text("postal_address")?,
            privacy_url: row.text("privacy_url")?,
            time_zone: row.text("time_zone")?,
            public_url: row.text("public_url")?,
            settings: json(row, "settings")?,
            undo_seconds: row.int("undo_seconds")?,
            hosted_copies: row.bool("hosted_copies")?,
            weight: u32::try_from(row.int("weight")?).unwrap_or(1),
            suspended_at: row.int_opt("suspended_at")?,
            created_at: row.int("created_at")?,
        })
    }

    fn check(&self) -> Result<()> {
        check_name("workspace name", &self.name, 100)?;
        check_text("controller name", &self.controller_name, 200)?;
        check_lines("postal address", &self.postal_address, 1000)?;
        check_url("privacy link", &self.privacy_url)?;
        check_url("public URL", &self.public_url)?;
        postrider_domain::schedule::zone(&self.time_zone)
            .map_err(|error| refused(format!("save the workspace: {error}")))?;
        if !(0..=86_400).contains(&self.undo_seconds) {
            return Err(refused("save the workspace: undo_seconds should be 0 to 86400"));
        }
        if !self.settings.is_object() {
            return Err(refused("save the workspace: settings should be a JSON object"));
        }
        let settings = to_json(&self.settings);
        if settings.len() > 65_536 || settings.contains("\\u0000") {
            return Err(refused("save the workspace: settings should have at most 64 KiB and no NUL character"));
        }
        Ok(())
    }
}

/// Empty, or an http(s) address without anything that would break a header or a page.
fn check_url(what: &str, url: &str) -> Result<()> {
    let scheme = url.starts_with("https://") || url.starts_with("http://");
    let plain =
        url.len() <= 1000 && url.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'<' | b'>' | b'"' | b'\\'));
    if url.is_empty() || (scheme && plain) {
        Ok(())
    } else {
        Err(refused(format!("save the {what}: write it as https://host/path in plain ASCII, at most 1000 characters")))
    }
}

impl Store {
    /// Makes a workspace with its link keys and an empty consent ledger.
    ///
    /// # Errors
    /// A field is refused, or the database fails.
    pub async fn create_workspace(&self, by: &Actor, new: NewWorkspace) -> Result<Workspace> {
        let mut tx = self.begin(Lane::Web).await?;
        let workspace = self.insert_workspace(&mut tx, by, new).await?;
        tx.commit().await?;
        Ok(workspace)
    }

    /// As [`Store::create_workspace`], inside a transaction.
    pub(crate) async fn insert_workspace(&self, tx: &mut Tx, by: &Actor, new: NewWorkspace) -> Result<Workspace> {
        let workspace = Workspace {
            id: WorkspaceId(self.next_id()),
            name: new.name,
            controller_name: new.controller_name,
            postal_address: new.postal_address,
            privacy_url: new.privacy_url,
            time_zone: if new.time_zone.is_empty() { "UTC".into() } else { new.time_zone },
            public_url: new.public_url.trim_end_matches('/').into(),
            settings: json!({}),
            undo_seconds: 60,
            hosted_copies: false,
            weight: 1,
            suspended_at: None,
            created_at: self.now(),
        };
        workspace.check()?;
        tx.execute(
            sql!(
                "INSERT INTO workspace (id, name, controller_name, postal_address, privacy_url, time_zone, public_url, \
                 settings, undo_seconds, hosted_copies, created_at) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, {jsonb $8}, $9, $10, $11)"
            ),
            args![
                workspace.id,
                workspace.name.as_str(),
                workspace.controller_name.as_str(),
                workspace.postal_address.as_str(),
                workspace.privacy_url.as_str(),
                workspace.time_zone.as_str(),
                workspace.public_url.as_str(),
                to_json(&workspace.settings),
                workspace.undo_seconds,
                workspace.hosted_copies,
                workspace.created_at
            ],
        )
        .await?;
        self.begin_ledger(tx, workspace.id).await?;
        self.add_link_key(tx, workspace.id).await?;
        self.note(tx, Some(workspace.id), by, "workspace.create", &workspace.id.to_string(), json!({})).await?;
        match new.purposes {
            FirstPurposes::None => {}
            FirstPurposes::OneOfEachKind => self.insert_first_purposes(tx, by, &workspace).await?,
        }
        Ok(workspace)
    }

    async fn insert_first_purposes(&self, tx: &mut Tx, by: &Actor, workspace: &Workspace) -> Result<()> {
        let controller =
            if workspace.controller_name.is_empty() { &workspace.name } else { &workspace.controller_name };
        for (kind, name, wording) in [
            (PurposeKind::Newsletter, "Newsletter", format!("I agree that {controller} sends me its newsletter.")),
            (
                PurposeKind::Commercial,
                "Offers",
                format!("I agree that {controller} sends me offers and other commercial messages."),
            ),
            (
                PurposeKind::Tracking,
                "Individual statistics",
                format!("I agree that {controller} records whether I open its messages and follow their links."),
            ),
        ] {
            let purpose = self.insert_purpose(tx, workspace.id, by, kind, name).await?;
            self.insert_wording(tx, workspace.id, by, purpose, "en", &wording).await?;
        }
        Ok(())
    }

    /// A workspace by id.
    ///
    /// # Errors
    /// It does not exist.
    pub async fn workspace(&self, id: WorkspaceId) -> Result<Workspace> {
        let row = self
            .read()
            .await?
            .opt(
                sql!(
                    "SELECT id, name, controller_name, postal_address, privacy_url, time_zone, public_url, \
                     {json settings} AS settings, undo_seconds, hosted_copies, weight, suspended_at, created_at \
                     FROM workspace WHERE id = $1"
                ),
                args![id],
            )
            .await?;
        Workspace::read(&row.ok_or_else(|| not_found("workspace"))?)
    }

    /// Every workspace of the installation, oldest first; for the console and the engine. What an account or key may
    /// see is decided by its [`crate::access::Identity`].
    ///
    /// # Errors
    /// The database fails.
    pub async fn workspaces(&self) -> Result<Vec<Workspace>> {
        self.read()
            .await?
            .all(
                sql!(
                    "SELECT id, name, controller_name, postal_address, privacy_url, time_zone, public_url, \
                     {json settings} AS settings, undo_seconds, hosted_copies, weight, suspended_at, created_at \
                     FROM workspace ORDER BY id"
                ),
                args![],
            )
            .await?
            .iter()
            .map(Workspace::read)
            .collect()
    }

    /// Changes the fields that are named.
    ///
    /// # Errors
    /// A field is refused, or the workspace does not exist.
    pub async fn change_workspace(&self, id: WorkspaceId, by: &Actor, change: WorkspaceChange) -> Result<Workspace> {
        let mut tx = self.begin(Lane::Web).await?;
        let row = tx
            .opt(
                sql!(
                    "SELECT id, name, controller_name, postal_address, privacy_url, time_zone, public_url, \
                     {json settings} AS settings, undo_seconds, hosted_copies, weight, suspended_at, created_at \
                     FROM workspace WHERE id = $1 {for_update}"
                ),
                args![id],
            )
            .await?;
        let before = Workspace::read(&row.ok_or_else(|| not_found("workspace"))?)?;
        let after = Workspace {
            name: change.name.unwrap_or_else(|| before.name.clone()),
            controller_name: change.controller_name.unwrap_or_else(|| before.controller_name.clone()),
            postal_address: change.postal_address.unwrap_or_else(|| before.postal_address.clone()),
            privacy_url: change.privacy_url.unwrap_or_else(|| before.privacy_url.clone()),
            time_zone: change.time_zone.unwrap_or_else(|| before.time_zone.clone()),
            public_url: change
                .public_url
                .map_or_else(|| before.public_url.clone(), |url| url.trim_end_matches('/').to_owned()),
            settings: change.settings.unwrap_or_else(|| before.settings.clone()),
            undo_seconds: change.undo_seconds.unwrap_or(before.undo_seconds),
            hosted_copies: change.hosted_copies.unwrap_or(before.hosted_copies),
            ..before.clone()
        };
        after.check()?;
        tx.execute(
            sql!(
                "UPDATE workspace SET name = $2, controller_name = $3, postal_address = $4, privacy_url = $5, \
                 time_zone = $6, public_url = $7, settings = {jsonb $8}, undo_seconds = $9, hosted_copies = $10 \
                 WHERE id = $1"
            ),
            args![
                id,
                after.name.as_str(),
                after.controller_name.as_str(),
                after.postal_address.as_str(),
                after.privacy_url.as_str(),
                after.time_zone.as_str(),
                after.public_url.as_str(),
                to_json(&after.settings),
                after.undo_seconds,
                after.hosted_copies
            ],
        )
        .await?;
        let changed = [
            (before.name != after.name, "name"),
            (before.controller_name != after.controller_name, "controller_name"),
            (before.postal_address != after.postal_address, "postal_address"),
            (before.privacy_url != after.privacy_url, "privacy_url"),
            (before.time_zone != after.time_zone, "time_zone"),
            (before.public_url != after.public_url, "public_url"),
            (before.settings != after.settings, "settings"),
            (before.undo_seconds != after.undo_seconds, "undo_seconds"),
            (before.hosted_copies != after.hosted_copies, "hosted_copies"),
        ];
        let fields: Vec<&str> = changed.iter().filter(|(yes, _)| *yes).map(|(_, field)| *field).collect();
        self.note(&mut tx, Some(id), by, "workspace.change", &id.to_string(), json!({ "fields": fields })).await?;
        tx.commit().await?;
        Ok(after)
    }
}
