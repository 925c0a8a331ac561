//! Campaigns as they are written: name, audience, policy and route; the texts are in `variant`.
//!
//! Must not schedule, start, freeze or stop anything: that is `campaign_run`. Every change names the revision that it was made
//! from, so that two people do not overwrite each other.

use postrider_domain::campaign::{Audience, CampaignState, Draft, Objective};
use postrider_domain::id::{CampaignId, PurposeId, RouteId, WorkspaceId};
use postrider_domain::retry::RetryPolicy;
use postrider_domain::schedule::Schedule;
use postrider_domain::stream::Stream;
use serde::Serialize;
use serde_json::json;

use crate::Store;
use crate::actor::Actor;
use crate::db::{Lane, Tx};
use crate::error::Result;
use crate::page::{Page, PageRequest};
use crate::read::{check_name, conflict, json, json_opt, not_found, refused, to_json, word};
use crate::sql::{Row, args, sql};
pub use crate::variant::{NewVersion, StoredVersion, Variant};

/// A campaign.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Campaign {
    /// Its id.
    pub id: CampaignId,
    /// Its name.
    pub name: String,
    /// What it is for.
    pub objective: Objective,
    /// The stream; campaigns are marketing.
    pub stream: Stream,
    /// Where it stands.
    pub state: CampaignState,
    /// Who gets it.
    pub audience: Audience,
    /// When deliveries are tried again and given up.
    pub policy: RetryPolicy,
    /// How it leaves; `None`: the default route.
    pub route: Option<RouteId>,
    /// The start time as people wrote it.
    pub schedule: Option<Schedule>,
    /// The start as an instant, i64 milliseconds UTC.
    pub start_at: Option<i64>,
    /// Until when a start can be taken back, i64 milliseconds UTC.
    pub undo_until: Option<i64>,
    /// Its share against other campaigns of the workspace, 1 to 1000.
    pub weight: u32,
    /// Grows by one with each change of name, audience, policy, route or schedule.
    pub rev: i64,
    /// When it was made, i64 milliseconds UTC.
    pub created_at: i64,
    /// When it was changed last, i64 milliseconds UTC.
    pub updated_at: i64,
    /// When its audience was frozen, i64 milliseconds UTC.
    pub frozen_at: Option<i64>,
    /// When sending began, i64 milliseconds UTC.
    pub launched_at: Option<i64>,
    /// When it ended, i64 milliseconds UTC.
    pub finished_at: Option<i64>,
    /// The campaign that it was copied from.
    pub copied_from: Option<CampaignId>,
}

/// A campaign to be made.
#[derive(Debug, Clone)]
pub struct NewCampaign {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub objective: Objective,
    /// Who gets it.
    pub audience: Audience,
    /// `None`: the default of marketing.
    pub policy: Option<RetryPolicy>,
    /// `None`: the default route.
    pub route: Option<RouteId>,
    /// The text of the first variant.
    pub draft: Draft,
}

/// What changes in a campaign; `None` leaves a field as it is.
#[derive(Debug, Clone, Default)]
pub struct CampaignChange {
    /// Another name.
    pub name: Option<String>,
    /// Another objective.
    pub objective: Option<Objective>,
    /// Another audience.
    pub audience: Option<Audience>,
    /// Another policy.
    pub policy: Option<RetryPolicy>,
    /// Another route; `Some(None)`: the default one.
    pub route: Option<Option<RouteId>>,
}

impl Campaign {
    fn read(row: &Row) -> Result<Campaign> {
        Ok(Campaign {
            id: CampaignId(row.int("id")?),
            name: row.text("name")?,
            objective: word(row, "objective", Objective::parse)?,
            stream: word(row, "stream", Stream::parse)?,
            state: word(row, "state", CampaignState::parse)?,
            audience: json(row, "audience")?,
            policy: json(row, "policy")?,
            route: row.int_opt("route_id")?.map(RouteId),
            schedule: json_opt(row, "schedule")?,
            start_at: row.int_opt("start_at")?,
            undo_until: row.int_opt("undo_until")?,
            weight: u32::try_from(row.int("weight")?).unwrap_or(1),
            rev: row.int("rev")?,
            created_at: row.int("created_at")?,
            updated_at: row.int("updated_at")?,
            frozen_at: row.int_opt("frozen_at")?,
            launched_at: row.int_opt("launched_at")?,
            finished_at: row.int_opt("finished_at")?,
            copied_from: row.int_opt("copied_from")?.map(CampaignId),
        })
    }
}

fn check_policy(policy: &RetryPolicy) -> Result<()> {
    crate::read::check_text("policy name", &policy.name, 100)?;
    policy.check().map_err(|error| refused(format!("save the retry policy: {error}")))
}

/// Refuses a change of something that is being sent or was.
pub(crate) fn check_editable(state: CampaignState) -> Result<()> {
    if state.is_editable() {
        Ok(())
    } else {
        Err(conflict(format!("change the campaign: it is {state}; unschedule it first, or copy it")))
    }
}

pub(crate) fn check_rev(stored: i64, given: i64) -> Result<()> {
    if stored == given {
        Ok(())
    } else {
        Err(conflict(format!(
            "save the change: somebody else changed this meanwhile (revision {stored}, yours began from {given}); read it again"
        )))
    }
}

impl Store {
    /// Makes a campaign with one variant.
    ///
    /// # Errors
    /// The route is not in the workspace, or a field is refused. An unfinished text is no error.
    pub async fn create_campaign(&self, workspace: WorkspaceId, by: &Actor, new: NewCampaign) -> Result<Campaign> {
        let mut tx = self.begin(Lane::Web).await?;
        let id = self.insert_campaign(&mut tx, workspace, &new, None).await?;
        self.insert_variant(&mut tx, workspace, by, id, "A", &new.draft).await?;
        self.note(&mut tx, Some(workspace), by, "campaign.create", &id.to_string(), json!({})).await?;
        tx.commit().await?;
        self.campaign(workspace, id).await
    }

    async fn insert_campaign(
        &self,
        tx: &mut Tx,
        workspace: WorkspaceId,
        new: &NewCampaign,
        copied_from: Option<CampaignId>,
    ) -> Result<CampaignId> {
        check_name("campaign name", &new.name, 200)?;
        let policy = new.policy.clone().unwrap_or_else(|| RetryPolicy::default_for(Stream::Marketing));
        check_policy(&policy)?;
        self.check_route(tx, workspace, new.route).await?;
        let id = CampaignId(self.next_id());
        let made = tx
            .execute(
                sql!(
                    "INSERT INTO campaign (id, workspace_id, name, objective, stream, state, audience, purpose_id, policy, \
                     route_id, rev, created_at, updated_at, copied_from) \
                     SELECT $1, w.id, $3, $4, $5, 'draft', {jsonb $6}, $7, {jsonb $8}, $9, 1, $10, $10, $11 \
                     FROM workspace w WHERE w.id = $2"
                ),
                args![
                    id,
                    workspace,
                    new.name.as_str(),
                    new.objective.as_str(),
                    Stream::Marketing.as_str(),
                    to_json(&new.audience),
                    new.audience.purpose,
                    to_json(&policy),
                    new.route,
                    self.now(),
                    copied_from
                ],
            )
            .await?;
        if made == 0 { Err(not_found("workspace")) } else { Ok(id) }
    }

    async fn check_route(&self, tx: &mut Tx, workspace: WorkspaceId, route: Option<RouteId>) -> Result<()> {
        let Some(route) = route else { return Ok(()) };
        tx.opt(sql!("SELECT id FROM route WHERE workspace_id = $1 AND id = $2"), args![workspace, route])
            .await?
            .map(|_| ())
            .ok_or_else(|| not_found("route"))
    }

    /// A campaign by id.
    ///
    /// # Errors
    /// The workspace has no such campaign.
    pub async fn campaign(&self, workspace: WorkspaceId, id: CampaignId) -> Result<Campaign> {
        let row = self
            .read()
            .await?
            .opt(
                sql!(
                    "SELECT id, name, objective, stream, state, {json audience} AS audience, {json policy} AS policy, \
                     route_id, {json schedule} AS schedule, start_at, undo_until, weight, rev, created_at, updated_at, frozen_at, \
                     launched_at, finished_at, copied_from FROM campaign WHERE workspace_id = $1 AND id = $2"
                ),
                args![workspace, id],
            )
            .await?;
        Campaign::read(&row.ok_or_else(|| not_found("campaign"))?)
    }

    /// The campaigns of a workspace, newest first; in one state if named.
    ///
    /// # Errors
    /// The cursor is foreign, or the database fails.
    pub async fn campaigns(
        &self,
        workspace: WorkspaceId,
        state: Option<CampaignState>,
        page: &PageRequest,
    ) -> Result<Page<Campaign>> {
        let before: i64 = page.position("campaign")?.unwrap_or(i64::MAX);
        let limit = page.rows();
        let rows = self
            .read()
            .await?
            .all(
                sql!(
                    "SELECT id, name, objective, stream, state, {json audience} AS audience, {json policy} AS policy, \
                     route_id, {json schedule} AS schedule, start_at, undo_until, weight, rev, created_at, updated_at, frozen_at, \
                     launched_at, finished_at, copied_from FROM campaign \
                     WHERE workspace_id = $1 AND id < $2 AND (CAST($3 AS TEXT) IS NULL OR state = $3) \
                     ORDER BY id DESC LIMIT $4"
                ),
                args![workspace, before, state.map(CampaignState::as_str), limit + 1],
            )
            .await?;
        let campaigns = rows.iter().map(Campaign::read).collect::<Result<Vec<_>>>()?;
        Ok(Page::cut(campaigns, limit, "campaign", |campaign| campaign.id.get()))
    }

    pub(crate) async fn campaign_for_update(
        &self,
        tx: &mut Tx,
        workspace: WorkspaceId,
        id: CampaignId,
    ) -> Result<Campaign> {
        let row = tx
            .opt(
                sql!(
                    "SELECT id, name, objective, stream, state, {json audience} AS audience, {json policy} AS policy, \
                     route_id, {json schedule} AS schedule, start_at, undo_until, weight, rev, created_at, updated_at, frozen_at, \
                     launched_at, finished_at, copied_from FROM campaign \
                     WHERE workspace_id = $1 AND id = $2 {for_update}"
                ),
                args![workspace, id],
            )
            .await?;
        Campaign::read(&row.ok_or_else(|| not_found("campaign"))?)
    }

    /// Changes name, objective, audience, policy or route of a draft.
    ///
    /// # Errors
    /// The workspace has no such campaign, it is no draft, or `rev` is not the present revision.
    pub async fn change_campaign(
        &self,
        workspace: WorkspaceId,
        by: &Actor,
        id: CampaignId,
        rev: i64,
        change: CampaignChange,
    ) -> Result<Campaign> {
        let mut tx = self.begin(Lane::Web).await?;
        let before = self.campaign_for_update(&mut tx, workspace, id).await?;
        check_editable(before.state)?;
        check_rev(before.rev, rev)?;
        let name = change.name.unwrap_or(before.name);
        let audience = change.audience.unwrap_or(before.audience);
        let policy = change.policy.unwrap_or(before.policy);
        let route = change.route.unwrap_or(before.route);
        check_name("campaign name", &name, 200)?;
        check_policy(&policy)?;
        self.check_route(&mut tx, workspace, route).await?;
        tx.execute(
            sql!(
                "UPDATE campaign SET name = $3, objective = $4, audience = {jsonb $5}, purpose_id = $6, policy = {jsonb $7}, \
                 route_id = $8, rev = rev + 1, updated_at = $9 WHERE workspace_id = $1 AND id = $2"
            ),
            args![
                workspace,
                id,
                name,
                change.objective.unwrap_or(before.objective).as_str(),
                to_json(&audience),
                audience.purpose.map(PurposeId::get),
                to_json(&policy),
                route,
                self.now()
            ],
        )
        .await?;
        self.note(&mut tx, Some(workspace), by, "campaign.change", &id.to_string(), json!({})).await?;
        tx.commit().await?;
        self.campaign(workspace, id).await
    }

    /// Deletes a campaign that never sent anything.
    ///
    /// # Errors
    /// The workspace has no such campaign, or it is no draft.
    pub async fn delete_campaign(&self, workspace: WorkspaceId, by: &Actor, id: CampaignId) -> Result<()> {
        let mut tx = self.begin(Lane::Web).await?;
        let campaign = self.campaign_for_update(&mut tx, workspace, id).await?;
        check_editable(campaign.state)?;
        for statement in [
            sql!("DELETE FROM version WHERE campaign_id = $1 AND workspace_id = $2"),
            sql!(
                "DELETE FROM draft_revision WHERE variant_id IN \
                 (SELECT id FROM variant WHERE campaign_id = $1 AND workspace_id = $2)"
            ),
            sql!("DELETE FROM variant WHERE campaign_id = $1 AND workspace_id = $2"),
            sql!("DELETE FROM campaign WHERE id = $1 AND workspace_id = $2"),
        ] {
            tx.execute(statement, args![id, workspace]).await?;
        }
        self.note(&mut tx, Some(workspace), by, "campaign.delete", &id.to_string(), json!({})).await?;
        tx.commit().await
    }

    /// Makes a draft with the same content, audience, policy and route; the start time is not copied.
    ///
    /// # Errors
    /// The workspace has no such campaign, or the name is refused.
    pub async fn copy_campaign(
        &self,
        workspace: WorkspaceId,
        by: &Actor,
        id: CampaignId,
        name: &str,
    ) -> Result<Campaign> {
        let source = self.campaign(workspace, id).await?;
        let variants = self.variants(workspace, id).await?;
        let new = NewCampaign {
            name: name.to_owned(),
            objective: source.objective,
            audience: source.audience,
            policy: Some(source.policy),
            route: source.route,
            draft: Draft::default(),
        };
        let mut tx = self.begin(Lane::Web).await?;
        let copy = self.insert_campaign(&mut tx, workspace, &new, Some(id)).await?;
        for variant in &variants {
            self.insert_variant(&mut tx, workspace, by, copy, &variant.label, &variant.draft).await?;
        }
        self.note(&mut tx, Some(workspace), by, "campaign.copy", &copy.to_string(), json!({ "from": id })).await?;
        tx.commit().await?;
        self.campaign(workspace, copy).await
    }
}
