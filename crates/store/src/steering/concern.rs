//! Which rows of the queue a scope concerns: first the lanes, by the same function that the scheduler asks, then the rows.
//!
//! Reads only. Must not change anything.

use std::collections::HashMap;

use postrider_domain::id::{CampaignId, RouteId, WorkspaceId};
use postrider_domain::route::{RouteKind, RouteSettings};
use postrider_domain::steering::{Concern, NewSteerRule, SteerAction, SteerFacts, SteerRule, SteerScope};
use postrider_domain::stream::Stream;
use serde_json::json;

use super::HELD_AT;
use crate::Store;
use crate::error::Result;
use crate::read::{json as read_json, refused, word};
use crate::sql::{args, sql};

/// Rows found at a time.
pub(super) const FOUND: u32 = 4_000;

/// Which states of rows are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    /// Ready and held ones.
    Queued,
    /// Ready ones.
    Ready,
    /// Held ones that no rule holds which still stands.
    Held,
    /// Held by this rule.
    HeldBy(i64),
}

impl Which {
    /// What an action is about.
    pub(super) const fn of(action: SteerAction) -> Which {
        match action {
            SteerAction::Suspend | SteerAction::Hold => Which::Ready,
            SteerAction::Release => Which::Held,
            SteerAction::Reroute | SteerAction::Speed | SteerAction::Cancel | SteerAction::Bounce => Which::Queued,
        }
    }

    /// The range of `ready_at`, a number for the statement, and the rule.
    const fn parts(self) -> (i64, i64, i64, i64) {
        match self {
            Which::Queued => (i64::MIN, i64::MAX, 0, 0),
            Which::Ready => (i64::MIN, HELD_AT - 1, 1, 0),
            Which::Held => (HELD_AT, i64::MAX, 2, 0),
            Which::HeldBy(rule) => (HELD_AT, i64::MAX, 3, rule),
        }
    }
}

/// A lane that may have concerned rows.
#[derive(Debug, Clone)]
pub(super) struct LaneSeen {
    pub(super) id: i64,
    pub(super) workspace: WorkspaceId,
    pub(super) campaign: Option<CampaignId>,
    pub(super) stream: Stream,
    pub(super) site: String,
    pub(super) part: i64,
    /// The route that a rule gave it.
    pub(super) route: Option<RouteId>,
    /// Its campaign's audience is being frozen: nothing of it may be touched.
    pub(super) freezing: bool,
}

/// Where to look.
pub(super) struct Ground {
    pub(super) lanes: Vec<LaneSeen>,
    /// The least and the greatest delivery that can be concerned.
    pub(super) first: i64,
    pub(super) last: i64,
}

/// A row found.
pub(super) struct Found {
    pub(super) delivery: i64,
    /// Marked: its owner settles it.
    pub(super) in_doubt: bool,
}

/// Whether a scope names something that differs between the rows of a lane.
fn is_by_row(scope: &SteerScope) -> bool {
    scope.delivery.is_some() || scope.message.is_some() || scope.domain.is_some() || scope.sending_domain.is_some()
}

/// The rule of a scope, to be asked about lanes.
fn as_rule(workspace: Option<WorkspaceId>, scope: &SteerScope) -> SteerRule {
    let new = NewSteerRule::of(SteerAction::Suspend, scope.clone(), "");
    SteerRule {
        id: postrider_domain::id::QueueRuleId(0),
        workspace,
        action: new.action,
        scope: new.scope,
        pace: None,
        connections: None,
        route: None,
        text: new.text,
        reason: new.reason,
        by: String::new(),
        since: 0,
        until: None,
        last: None,
        swept: false,
    }
}

impl Store {
    /// How many deliveries an action would concern now.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn count_concerned(
        &self,
        workspace: Option<WorkspaceId>,
        action: SteerAction,
        scope: &SteerScope,
    ) -> Result<i64> {
        scope.check_source(action).map_err(|error| refused(format!("steer the queue: {error}")))?;
        let ground = self.ground(workspace, scope).await?;
        let lanes: Vec<i64> = ground.lanes.iter().filter(|l| !l.freezing).map(|l| l.id).collect();
        if lanes.is_empty() {
            return Ok(0);
        }
        let (from, to, kind, _) = Which::of(action).parts();
        let mut reader = self.read().await?;
        let row = if is_by_row(scope) {
            reader
                .one(
                    sql!(
                        "SELECT count(*) AS n FROM queue q JOIN delivery d ON d.id = q.delivery_id \
                         LEFT JOIN version v ON v.id = d.version_id LEFT JOIN variant t ON t.id = v.variant_id \
                         LEFT JOIN message m ON m.id = d.message_id \
                         WHERE q.delivery_id >= $1 AND q.delivery_id <= $2 AND +q.lane_id IN {ids $3} \
                           AND q.ready_at >= $4 AND q.ready_at <= $5 \
                           AND ($6 <> 2 OR q.held_by IS NULL OR NOT EXISTS (SELECT 1 FROM queue_rule h WHERE h.id = q.held_by AND h.ended_at IS NULL)) \
                           AND (CAST($7 AS TEXT) IS NULL OR d.domain = $7) \
                           AND (CAST($8 AS BIGINT) IS NULL OR d.message_id = $8) \
                           AND (CAST($9 AS TEXT) IS NULL OR lower(coalesce(t.draft ->> 'from_mailbox', m.from_mailbox)) LIKE '%@' || $9)"
                    ),
                    args![
                        ground.first,
                        ground.last,
                        json!(lanes),
                        from,
                        to,
                        kind,
                        scope.domain.clone(),
                        scope.message,
                        scope.sending_domain.clone()
                    ],
                )
                .await?
        } else {
            reader
                .one(
                    sql!(
                        "SELECT count(*) AS n FROM queue q WHERE q.lane_id IN {ids $1} AND q.ready_at >= $2 AND q.ready_at <= $3 \
                           AND ($4 <> 2 OR q.held_by IS NULL OR NOT EXISTS (SELECT 1 FROM queue_rule h WHERE h.id = q.held_by AND h.ended_at IS NULL))"
                    ),
                    args![json!(lanes), from, to, kind],
                )
                .await?
        };
        row.int("n")
    }

    /// The lanes in which a scope may concern rows, and between which deliveries.
    pub(super) async fn ground(&self, workspace: Option<WorkspaceId>, scope: &SteerScope) -> Result<Ground> {
        let rule = as_rule(workspace, scope);
        let routes = Routes::read(self, workspace).await?;
        let mut reader = self.read().await?;
        let rows = reader
            .all(
                sql!(
                    "SELECT l.id, l.workspace_id, l.campaign_id, l.stream, l.site, l.part, l.route_id, c.route_id AS own_route, \
                       CASE WHEN c.state = 'freezing' THEN 1 ELSE 0 END AS freezing \
                     FROM lane l LEFT JOIN campaign c ON c.id = l.campaign_id \
                     WHERE NOT l.closed AND (CAST($1 AS BIGINT) IS NULL OR l.workspace_id = $1) \
                       AND (CAST($2 AS BIGINT) IS NULL OR l.campaign_id = $2) ORDER BY l.id"
                ),
                args![workspace, scope.campaign],
            )
            .await?;
        let mut lanes = Vec::new();
        for row in &rows {
            let lane = LaneSeen {
                id: row.int("id")?,
                workspace: WorkspaceId(row.int("workspace_id")?),
                campaign: row.int_opt("campaign_id")?.map(CampaignId),
                stream: word(row, "stream", Stream::parse)?,
                site: row.text("site")?,
                part: row.int("part")?,
                route: row.int_opt("route_id")?.map(RouteId),
                freezing: row.int("freezing")? != 0,
            };
            let own = row.int_opt("own_route")?.map(RouteId);
            let (smarthost, source) = routes.of(lane.workspace, lane.route.or(own), lane.stream);
            let facts = SteerFacts {
                workspace: lane.workspace,
                campaign: lane.campaign,
                stream: lane.stream,
                sites: [&lane.site, smarthost.as_deref().unwrap_or(&lane.site)],
                source: source.as_deref(),
                one: None,
            };
            match rule.concerns(&facts) {
                Concern::No => {}
                Concern::Yes | Concern::Unknown => lanes.push(lane),
            }
        }
        let (first, last) = if let Some(delivery) = scope.delivery {
            (delivery.get(), delivery.get())
        } else if let Some(message) = scope.message {
            let row = reader
                .one(
                    sql!("SELECT min(id) AS first, max(id) AS last FROM delivery WHERE message_id = $1"),
                    args![message],
                )
                .await?;
            (row.int_opt("first")?.unwrap_or(0), row.int_opt("last")?.unwrap_or(0))
        } else if let (Some(workspace), Some(campaign)) = (workspace, scope.campaign) {
            let row = reader
                .one(
                    sql!(
                        "SELECT (SELECT d.id FROM delivery d WHERE d.workspace_id = $1 AND d.campaign_id = $2 AND d.outcome IS NULL \
                                 ORDER BY d.id LIMIT 1) AS first, \
                                (SELECT d.id FROM delivery d WHERE d.workspace_id = $1 AND d.campaign_id = $2 AND d.outcome IS NULL \
                                 ORDER BY d.id DESC LIMIT 1) AS last"
                    ),
                    args![workspace, campaign],
                )
                .await?;
            (row.int_opt("first")?.unwrap_or(0), row.int_opt("last")?.unwrap_or(0))
        } else {
            (0, i64::MAX)
        };
        Ok(Ground { lanes, first, last })
    }

    /// Concerned rows after a delivery, in the order of their deliveries, which is that of both tables. `lanes` as JSON.
    pub(super) async fn find_concerned(
        &self,
        lanes: &serde_json::Value,
        scope: &SteerScope,
        which: Which,
        after: i64,
        last: i64,
    ) -> Result<Vec<Found>> {
        let (from, to, kind, rule) = which.parts();
        let mut reader = self.read().await?;
        let row = if is_by_row(scope) {
            reader
                .one(
                    sql!(
                        "SELECT {pack p.delivery_id, p.doubt} AS packed FROM ( \
                         SELECT q.delivery_id, CASE WHEN q.doubt_epoch IS NULL THEN 0 ELSE 1 END AS doubt \
                         FROM queue q JOIN delivery d ON d.id = q.delivery_id \
                         LEFT JOIN version v ON v.id = d.version_id LEFT JOIN variant t ON t.id = v.variant_id \
                         LEFT JOIN message m ON m.id = d.message_id \
                         WHERE q.delivery_id > $1 AND q.delivery_id <= $2 AND +q.lane_id IN {ids $3} \
                           AND q.ready_at >= $4 AND q.ready_at <= $5 \
                           AND ($6 <> 2 OR q.held_by IS NULL OR NOT EXISTS (SELECT 1 FROM queue_rule h WHERE h.id = q.held_by AND h.ended_at IS NULL)) \
                           AND ($6 <> 3 OR q.held_by = $7) \
                           AND (CAST($8 AS TEXT) IS NULL OR d.domain = $8) \
                           AND (CAST($9 AS BIGINT) IS NULL OR d.message_id = $9) \
                           AND (CAST($10 AS TEXT) IS NULL OR lower(coalesce(t.draft ->> 'from_mailbox', m.from_mailbox)) LIKE '%@' || $10) \
                         ORDER BY q.delivery_id LIMIT $11) p"
                    ),
                    args![
                        after,
                        last,
                        lanes,
                        from,
                        to,
                        kind,
                        rule,
                        scope.domain.clone(),
                        scope.message,
                        scope.sending_domain.clone(),
                        FOUND
                    ],
                )
                .await?
        } else {
            reader
                .one(
                    sql!(
                        "SELECT {pack p.delivery_id, p.doubt} AS packed FROM ( \
                         SELECT q.delivery_id, CASE WHEN q.doubt_epoch IS NULL THEN 0 ELSE 1 END AS doubt FROM queue q \
                         WHERE q.delivery_id > $1 AND q.delivery_id <= $2 AND +q.lane_id IN {ids $3} \
                           AND q.ready_at >= $4 AND q.ready_at <= $5 \
                           AND ($6 <> 2 OR q.held_by IS NULL OR NOT EXISTS (SELECT 1 FROM queue_rule h WHERE h.id = q.held_by AND h.ended_at IS NULL)) \
                           AND ($6 <> 3 OR q.held_by = $7) \
                         ORDER BY q.delivery_id LIMIT $8) p"
                    ),
                    args![after, last, lanes, from, to, kind, rule, FOUND],
                )
                .await?
        };
        let mut found: Vec<(i64, i64)> = row.packed()?;
        found.sort_unstable();
        Ok(found.into_iter().map(|(delivery, doubt)| Found { delivery, in_doubt: doubt != 0 }).collect())
    }
}

/// Routes and the default ones, to say from which source the rows of a lane leave.
pub(super) struct Routes {
    settings: HashMap<RouteId, RouteSettings>,
    defaults: HashMap<WorkspaceId, RouteId>,
}

impl Routes {
    pub(super) async fn read(store: &Store, workspace: Option<WorkspaceId>) -> Result<Routes> {
        let rows = store
            .read()
            .await?
            .all(
                sql!(
                    "SELECT id, workspace_id, {json settings} AS settings, is_default FROM route \
                     WHERE (CAST($1 AS BIGINT) IS NULL OR workspace_id = $1)"
                ),
                args![workspace],
            )
            .await?;
        let mut routes = Routes { settings: HashMap::new(), defaults: HashMap::new() };
        for row in &rows {
            let id = RouteId(row.int("id")?);
            routes.settings.insert(id, read_json(row, "settings")?);
            if row.bool("is_default")? {
                routes.defaults.insert(WorkspaceId(row.int("workspace_id")?), id);
            }
        }
        Ok(routes)
    }

    /// The site of a smarthost on the way, and the source, as the queue names them. What may leave by a pool is no
    /// source's before it is handed out; then it is the pool that is told.
    pub(super) fn of(
        &self,
        workspace: WorkspaceId,
        named: Option<RouteId>,
        stream: Stream,
    ) -> (Option<String>, Option<String>) {
        let Some(route) = named.or_else(|| self.defaults.get(&workspace).copied()) else { return (None, None) };
        let Some(settings) = self.settings.get(&route) else { return (None, None) };
        match settings.kind {
            RouteKind::Smarthost => (Some(format!("route:{route}")), Some(route.to_string())),
            RouteKind::Mx => {
                let pool = settings.egress.pools_of(stream).into_iter().flatten().next();
                (None, Some(pool.map_or("direct".to_owned(), |pool| pool.to_string())))
            }
        }
    }

    /// Whether the rows of a route go to the MX hosts of their domains.
    fn is_mx(&self, route: RouteId) -> bool {
        self.settings.get(&route).is_some_and(|settings| settings.kind == RouteKind::Mx)
    }
}

impl Store {
    /// Whether a route leads to MX hosts.
    pub(super) async fn leads_to_mx(&self, workspace: Option<WorkspaceId>, route: RouteId) -> Result<bool> {
        Ok(Routes::read(self, workspace).await?.is_mx(route))
    }
}
