//! The texts of a campaign: drafts as people write them, and the compiled, immutable versions made from them.
//!
//! Must not compile or check a text: what is kept here was made by `postrider-content`.

use postrider_domain::campaign::Draft;
use postrider_domain::id::{CampaignId, VariantId, VersionId, WorkspaceId};
use serde::Serialize;
use serde_json::json;

use crate::Store;
use crate::actor::Actor;
use crate::bell::Topic;
use crate::campaign::{check_editable, check_rev};
use crate::db::{Lane, Tx};
use crate::error::Result;
use crate::read::{json, not_found, refused, to_json};
use crate::sql::{Row, args, sql};

/// Longest draft in bytes of its JSON.
const DRAFT_MAX: usize = 4 * 1024 * 1024;

/// One text of a campaign.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Variant {
    /// Its id.
    pub id: VariantId,
    /// The campaign.
    pub campaign: CampaignId,
    /// `A`, `B` ...
    pub label: String,
    /// The text as people write it.
    pub draft: Draft,
    /// Grows by one with each change.
    pub rev: i64,
    /// When it was changed last, i64 milliseconds UTC.
    pub updated_at: i64,
}

/// A compiled, immutable content.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredVersion {
    /// Its id.
    pub id: VersionId,
    /// The campaign.
    pub campaign: CampaignId,
    /// The variant that it was compiled from.
    pub variant: VariantId,
    /// The number of the renderer that made it.
    pub renderer: i64,
    /// The compiled form, as `postrider-content` wrote it.
    pub compiled: Vec<u8>,
    /// Names of the variables that it uses.
    pub uses: Vec<String>,
    /// When it was compiled, i64 milliseconds UTC.
    pub created_at: i64,
}

/// A version to be kept.
#[derive(Debug, Clone)]
pub struct NewVersion {
    /// The number of the renderer.
    pub renderer: i64,
    /// Hash of everything that went into it.
    pub hash: Vec<u8>,
    /// The compiled form.
    pub compiled: Vec<u8>,
    /// Names of the variables that it uses.
    pub uses: Vec<String>,
}

impl Variant {
    fn read(row: &Row) -> Result<Variant> {
        Ok(Variant {
            id: VariantId(row.int("id")?),
            campaign: CampaignId(row.int("campaign_id")?),
            label: row.text("label")?,
            draft: json(row, "draft")?,
            rev: row.int("rev")?,
            updated_at: row.int("updated_at")?,
        })
    }
}

/// The JSON of a draft. Drafts always save; only a NUL, which PostgreSQL cannot hold, and sheer size are refused.
pub(crate) fn draft_json(draft: &Draft) -> Result<String> {
    let text = to_json(draft);
    if text.len() > DRAFT_MAX {
        return Err(refused(
            "save the draft: it is larger than 4 MiB; link to large things instead of writing them in",
        ));
    }
    let texts = [
        &draft.from_mailbox,
        &draft.from_name,
        &draft.reply_to,
        &draft.subject,
        &draft.preheader,
        &draft.body,
        &draft.text,
    ];
    if texts.iter().any(|text| text.contains('\0')) {
        return Err(refused("save the draft: it has a NUL character; remove it"));
    }
    Ok(text)
}

impl Store {
    pub(crate) async fn insert_variant(
        &self,
        tx: &mut Tx,
        workspace: WorkspaceId,
        by: &Actor,
        campaign: CampaignId,
        label: &str,
        draft: &Draft,
    ) -> Result<VariantId> {
        let id = VariantId(self.next_id());
        tx.execute(
            sql!(
                "INSERT INTO variant (id, campaign_id, workspace_id, label, draft, rev, updated_at) \
                 VALUES ($1, $2, $3, $4, {jsonb $5}, 1, $6)"
            ),
            args![id, campaign, workspace, label, draft_json(draft)?, self.now()],
        )
        .await?;
        self.keep_revision(tx, workspace, id, by).await?;
        Ok(id)
    }

    /// The variants of a campaign, in the order in which they were made.
    ///
    /// # Errors
    /// The workspace has no such campaign.
    pub async fn variants(&self, workspace: WorkspaceId, campaign: CampaignId) -> Result<Vec<Variant>> {
        self.campaign(workspace, campaign).await?;
        self.read()
            .await?
            .all(
                sql!(
                    "SELECT id, campaign_id, label, {json draft} AS draft, rev, updated_at FROM variant \
                     WHERE workspace_id = $1 AND campaign_id = $2 ORDER BY id LIMIT 500"
                ),
                args![workspace, campaign],
            )
            .await?
            .iter()
            .map(Variant::read)
            .collect()
    }

    /// A variant by id.
    ///
    /// # Errors
    /// The workspace has no such variant.
    pub async fn variant(&self, workspace: WorkspaceId, id: VariantId) -> Result<Variant> {
        let row = self
            .read()
            .await?
            .opt(
                sql!(
                    "SELECT id, campaign_id, label, {json draft} AS draft, rev, updated_at FROM variant \
                     WHERE workspace_id = $1 AND id = $2"
                ),
                args![workspace, id],
            )
            .await?;
        Variant::read(&row.ok_or_else(|| not_found("variant"))?)
    }

    /// Saves a variant's text as it is, finished or not.
    ///
    /// # Errors
    /// The workspace has no such variant, its campaign is no draft, or `rev` is not the present revision.
    pub async fn change_variant(
        &self,
        workspace: WorkspaceId,
        by: &Actor,
        id: VariantId,
        rev: i64,
        draft: &Draft,
    ) -> Result<Variant> {
        let text = draft_json(draft)?;
        let variant = self.variant(workspace, id).await?;
        let mut tx = self.begin(Lane::Web).await?;
        // The campaign's row first, as everywhere: a start and a change take turns.
        let campaign = self.campaign_for_update(&mut tx, workspace, variant.campaign).await?;
        check_editable(campaign.state)?;
        let row =
            tx.one(sql!("SELECT rev FROM variant WHERE workspace_id = $1 AND id = $2"), args![workspace, id]).await?;
        check_rev(row.int("rev")?, rev)?;
        tx.execute(
            sql!(
                "UPDATE variant SET draft = {jsonb $3}, rev = rev + 1, updated_at = $4 WHERE workspace_id = $1 AND id = $2"
            ),
            args![workspace, id, text, self.now()],
        )
        .await?;
        tx.execute(
            sql!("UPDATE campaign SET updated_at = $3 WHERE workspace_id = $1 AND id = $2"),
            args![workspace, variant.campaign, self.now()],
        )
        .await?;
        self.keep_revision(&mut tx, workspace, id, by).await?;
        self.note(&mut tx, Some(workspace), by, "variant.change", &id.to_string(), json!({})).await?;
        tx.ring(Topic::Live { workspace, what: format!("campaign:{}", variant.campaign) });
        tx.commit().await?;
        self.variant(workspace, id).await
    }

    /// Keeps a compiled content. The same content of the same variant is kept once.
    ///
    /// # Errors
    /// The workspace has no such variant.
    pub async fn save_version(&self, workspace: WorkspaceId, variant: VariantId, new: NewVersion) -> Result<VersionId> {
        let campaign = self.variant(workspace, variant).await?.campaign;
        let mut tx = self.begin(Lane::Web).await?;
        self.campaign_for_update(&mut tx, workspace, campaign).await?;
        let known = tx
            .opt(
                sql!(
                    "SELECT id FROM version WHERE campaign_id = $1 AND workspace_id = $2 AND variant_id = $3 \
                     AND renderer = $4 AND hash = $5 ORDER BY id DESC LIMIT 1"
                ),
                args![campaign, workspace, variant, new.renderer, new.hash.clone()],
            )
            .await?;
        if let Some(row) = known {
            return Ok(VersionId(row.int("id")?));
        }
        let id = VersionId(self.next_id());
        tx.execute(
            sql!(
                "INSERT INTO version (id, variant_id, campaign_id, workspace_id, renderer, hash, compiled, uses, created_at) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, {jsonb $8}, $9)"
            ),
            args![
                id,
                variant,
                campaign,
                workspace,
                new.renderer,
                new.hash,
                new.compiled,
                to_json(&new.uses),
                self.now()
            ],
        )
        .await?;
        tx.commit().await?;
        Ok(id)
    }

    /// A version by id, with its compiled form.
    ///
    /// # Errors
    /// The workspace has no such version.
    pub async fn version(&self, workspace: WorkspaceId, id: VersionId) -> Result<StoredVersion> {
        let row = self
            .read()
            .await?
            .opt(
                sql!(
                    "SELECT id, campaign_id, variant_id, renderer, compiled, {json uses} AS uses, created_at FROM version \
                     WHERE workspace_id = $1 AND id = $2"
                ),
                args![workspace, id],
            )
            .await?
            .ok_or_else(|| not_found("version"))?;
        Ok(StoredVersion {
            id,
            campaign: CampaignId(row.int("campaign_id")?),
            variant: VariantId(row.int("variant_id")?),
            renderer: row.int("renderer")?,
            compiled: row.bytes("compiled")?,
            uses: json(&row, "uses")?,
            created_at: row.int("created_at")?,
        })
    }

    /// The version that was compiled last from a variant, if any.
    ///
    /// # Errors
    /// The database fails.
    pub async fn latest_version(&self, workspace: WorkspaceId, variant: VariantId) -> Result<Option<VersionId>> {
        let row = self
            .read()
            .await?
            .opt(
                sql!("SELECT id FROM version WHERE workspace_id = $1 AND variant_id = $2 ORDER BY id DESC LIMIT 1"),
                args![workspace, variant],
            )
            .await?;
        row.map(|row| row.int("id").map(VersionId)).transpose()
    }
}
