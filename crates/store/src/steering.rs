//! Rules that steer queues: setting, ending and listing them. What they do to rows is in `steering::sweep`.
//!
//! A rule counts for every mark that is committed after it: each change makes the generation of the rules grow, and a mark
//! names the generation by which its delivery was judged. Must not know how rows are handed out.

mod concern;
mod end;
mod named;
#[cfg(test)]
mod named_tests;
#[cfg(test)]
mod rule_tests;
mod seen;
mod sweep;

use postrider_domain::id::{DeliveryId, QueueRuleId, RouteId, SourceId, WorkspaceId};
use postrider_domain::steering::{Life, NewSteerRule, SteerAction, SteerPace, SteerRule, SteerScope};
use serde_json::json;

use crate::Store;
use crate::actor::Actor;
use crate::bell::Topic;
use crate::db::{Lane, Tx};
use crate::error::Result;
use crate::page::{Page, PageRequest};
use crate::read::{conflict, json as read_json, not_found, refused, to_json, word};
use crate::sql::{Row, args, sql};

pub(crate) use end::{hold_rows, release_rows};
pub(crate) use named::{Removed, no_rule_meanwhile, refuse_named};
pub use seen::HeldSeen;
pub(crate) use seen::RulesSeen;
pub use sweep::{Sweep, Swept};

/// Rules of a workspace that are open at a time.
const MOST: i64 = 200;

/// When held rows are ready: never, as far as anybody who reads a lane is concerned. Milliseconds UTC.
pub(crate) const HELD_AT: i64 = 253_402_300_799_999;

/// A rule as the store keeps it. Times are i64 milliseconds UTC.
#[derive(Debug, Clone, PartialEq)]
pub struct QueueRule {
    /// What it does to what.
    pub rule: SteerRule,
    /// How many deliveries it concerned when it was made.
    pub expected: i64,
    /// How many it has dealt with: held, moved, released or ended.
    pub done: i64,
    /// When it ended.
    pub ended_at: Option<i64>,
    /// How it ended: `done`, `expired`, `ended`.
    pub end_reason: Option<String>,
    /// When nothing was left to be done or undone.
    pub settled_at: Option<i64>,
}

/// Which rules a listing shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RulesOf {
    /// Those that stand or are at work.
    Open,
    /// Those that are over.
    Past,
}

impl QueueRule {
    fn read(row: &Row) -> Result<QueueRule> {
        let count = |name| row.int_opt(name).map(|n| n.and_then(|n| u32::try_from(n).ok()));
        Ok(QueueRule {
            rule: SteerRule {
                id: QueueRuleId(row.int("id")?),
                workspace: row.int_opt("workspace_id")?.map(WorkspaceId),
                action: word(row, "action", SteerAction::parse)?,
                scope: read_json(row, "scope")?,
                pace: row.int_opt("pace")?.map(SteerPace),
                connections: count("connections")?,
                route: row.int_opt("route_id")?.map(RouteId),
                text: row.text("text")?,
                reason: row.text("reason")?,
                by: row.text("by_name")?,
                since: row.int("created_at")?,
                until: row.int_opt("expires_at")?,
                last: row.int_opt("last_delivery")?.map(DeliveryId),
                swept: row.int_opt("swept_at")?.is_some(),
            },
            expected: row.int("expected")?,
            done: row.int("done")?,
            ended_at: row.int_opt("ended_at")?,
            end_reason: row.text_opt("end_reason")?,
            settled_at: row.int_opt("settled_at")?,
        })
    }
}

/// Every change of a rule counts from the commit on, and everybody looks at once.
async fn changed(tx: &mut Tx, workspace: Option<WorkspaceId>) -> Result<()> {
    tx.execute(sql!("UPDATE queue_rule_head SET gen = gen + 1 WHERE id = 1"), args![]).await?;
    tx.ring(Topic::Campaign);
    if let Some(workspace) = workspace {
        tx.ring(Topic::Live { workspace, what: "queue:rules".to_owned() });
    }
    Ok(())
}

impl Store {
    /// Sets a rule, which counts from its commit on. `expect`: at most so many deliveries may be concerned, else
    /// nothing is done.
    ///
    /// # Errors
    /// [`crate::StoreError::Refused`] when what is wanted makes no sense, [`crate::StoreError::Conflict`] when the same rule stands,
    /// when more deliveries are concerned than were expected, or 200 rules are open.
    pub async fn set_queue_rule(
        &self,
        workspace: Option<WorkspaceId>,
        by: &Actor,
        new: &NewSteerRule,
        expect: Option<i64>,
    ) -> Result<QueueRule> {
        let now = self.now();
        new.check(now).map_err(|error| refused(format!("steer the queue: {error}")))?;
        let expected = match new.action {
            SteerAction::Speed => 0,
            SteerAction::Suspend
            | SteerAction::Hold
            | SteerAction::Reroute
            | SteerAction::Release
            | SteerAction::Cancel
            | SteerAction::Bounce => self.count_concerned(workspace, new.action, &new.scope).await?,
        };
        if let Some(most) = expect.filter(|most| expected > *most) {
            return Err(conflict(format!(
                "{expected} deliveries are concerned, more than the {most} expected: look again, then repeat with `expect` {expected}"
            )));
        }
        let by_name = self.name_of(by).await?;
        let mut tx = self.begin(Lane::Web).await?;
        // One after another: what is tested below stays true until the end.
        tx.one(sql!("SELECT gen FROM queue_rule_head WHERE id = 1 {for_update}"), args![]).await?;
        self.test_names(&mut tx, workspace, new).await?;
        let open = tx
            .all(
                sql!(
                    "SELECT id, action, {json scope} AS scope FROM queue_rule WHERE settled_at IS NULL AND ended_at IS NULL \
                     AND coalesce(workspace_id, 0) = coalesce($1, 0)"
                ),
                args![workspace],
            )
            .await?;
        if open.len() as i64 >= MOST {
            return Err(conflict(format!("{MOST} rules of the queue are open already: end those that are not needed")));
        }
        for row in &open {
            let same = word(row, "action", SteerAction::parse)? == new.action
                && read_json::<SteerScope>(row, "scope")? == new.scope;
            if same && new.action.life() == Life::Standing {
                let id = QueueRuleId(row.int("id")?);
                return Err(conflict(format!("the rule {id} does that already: end it first to change it")));
            }
        }
        let id = QueueRuleId(self.next_id());
        let last = match new.action.life() {
            Life::Standing => None,
            // Ids grow with time: whatever comes later is not concerned.
            Life::Once => Some(self.next_id()),
        };
        tx.execute(
            sql!(
                "INSERT INTO queue_rule (id, workspace_id, action, scope, pace, connections, route_id, text, reason, actor_kind, \
                   actor, by_name, created_at, expires_at, last_delivery, expected, done) \
                 VALUES ($1, $2, $3, {jsonb $4}, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, 0)"
            ),
            args![
                id,
                workspace,
                new.action.as_str(),
                to_json(&new.scope),
                new.pace.map(|pace| pace.0),
                new.connections.map(i64::from),
                new.route,
                new.text.trim(),
                new.reason.trim(),
                by.kind().as_str(),
                by.id(),
                by_name,
                now,
                new.until,
                last,
                expected
            ],
        )
        .await?;
        let detail = json!({
            "scope": new.scope, "reason": new.reason.trim(), "until": new.until.map(postrider_domain::schedule::rfc3339),
            "deliveries": expected, "per_second": new.pace.map(SteerPace::per_second), "connections": new.connections,
            "route": new.route,
        });
        self.note(&mut tx, workspace, by, &format!("queue.{}", new.action), &id.to_string(), detail).await?;
        changed(&mut tx, workspace).await?;
        let row = rule_row(&mut tx, id).await?;
        tx.commit().await?;
        QueueRule::read(&row)
    }

    /// What a scope names must be there, in the workspace.
    async fn test_names(&self, tx: &mut Tx, workspace: Option<WorkspaceId>, new: &NewSteerRule) -> Result<()> {
        let found = |row: Option<Row>, what| row.map(drop).ok_or(not_found(what));
        if let Some(named) = new.scope.egress_source() {
            let source: SourceId = named.parse().map_err(|_| not_found("egress source"))?;
            found(tx.opt(sql!("SELECT id FROM egress_source WHERE id = $1"), args![source]).await?, "egress source")?;
        }
        let Some(workspace) = workspace else {
            if new.scope.is_narrow() || new.route.is_some() {
                return Err(refused(
                    "steer the queue: a rule for the whole installation names no campaign, message, delivery or route",
                ));
            }
            return Ok(());
        };
        if let Some(campaign) = new.scope.campaign {
            let row = tx
                .opt(sql!("SELECT state FROM campaign WHERE id = $1 AND workspace_id = $2"), args![campaign, workspace])
                .await?
                .ok_or(not_found("campaign"))?;
            if new.action.life() == Life::Once && row.text("state")? == "freezing" {
                return Err(conflict(
                    "the audience of the campaign is being frozen: wait until it sends, pause it, or stop it",
                ));
            }
        }
        if let Some(message) = new.scope.message {
            let select = sql!("SELECT id FROM message WHERE id = $1 AND workspace_id = $2");
            found(tx.opt(select, args![message, workspace]).await?, "message")?;
        }
        if let Some(delivery) = new.scope.delivery {
            let select = sql!("SELECT id FROM delivery WHERE id = $1 AND workspace_id = $2");
            found(tx.opt(select, args![delivery, workspace]).await?, "delivery")?;
        }
        if let Some(route) = new.route {
            let select = sql!("SELECT id FROM route WHERE id = $1 AND workspace_id = $2");
            found(tx.opt(select, args![route, workspace]).await?, "route")?;
        }
        Ok(())
    }

    /// How people know an actor.
    async fn name_of(&self, by: &Actor) -> Result<String> {
        let mut reader = self.read().await?;
        let row = match by {
            Actor::Account(id) => reader.opt(sql!("SELECT name FROM account WHERE id = $1"), args![*id]).await?,
            Actor::Key(id) => reader.opt(sql!("SELECT name FROM api_key WHERE id = $1"), args![*id]).await?,
            Actor::Console => return Ok("the console".to_owned()),
            Actor::Engine => return Ok("Postrider".to_owned()),
            Actor::Person => return Ok("a recipient".to_owned()),
        };
        let name = row.map(|row| row.text("name")).transpose()?.unwrap_or_default();
        Ok(match by {
            Actor::Key(_) => format!("the key {name}"),
            _ if name.trim().is_empty() => "an account without name".to_owned(),
            _ => name,
        })
    }

    /// Ends a rule: what it suspended goes on, what it held is released, what it rerouted goes back. A rule that is done
    /// once stops where it is.
    ///
    /// # Errors
    /// [`crate::StoreError::NotFound`] when it is another workspace's, [`crate::StoreError::Conflict`] when it has ended.
    pub async fn end_queue_rule(
        &self,
        workspace: Option<WorkspaceId>,
        by: &Actor,
        id: QueueRuleId,
    ) -> Result<QueueRule> {
        let mut tx = self.begin(Lane::Web).await?;
        let before = tx
            .opt(sql!("SELECT workspace_id, ended_at FROM queue_rule WHERE id = $1 {for_update}"), args![id])
            .await?
            .ok_or(not_found("rule of the queue"))?;
        let owner = before.int_opt("workspace_id")?.map(WorkspaceId);
        if owner.is_none() && workspace.is_some() {
            return Err(refused(
                "end the rule: it counts for the whole installation, and only whoever runs it may end it: `postrider queue resume --everywhere`",
            ));
        }
        if owner != workspace {
            return Err(not_found("rule of the queue"));
        }
        if before.int_opt("ended_at")?.is_some() {
            return Err(conflict("the rule has ended already"));
        }
        close(&mut tx, id, "ended", self.now()).await?;
        self.note(&mut tx, workspace, by, "queue.end", &id.to_string(), json!({})).await?;
        changed(&mut tx, workspace).await?;
        let row = rule_row(&mut tx, id).await?;
        tx.commit().await?;
        QueueRule::read(&row)
    }

    /// Ends the rules whose time is over; those that this call ended.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn expire_queue_rules(&self) -> Result<Vec<QueueRule>> {
        let now = self.now();
        let over = sql!(
            "SELECT id, workspace_id FROM queue_rule WHERE settled_at IS NULL AND ended_at IS NULL AND expires_at <= $1 ORDER BY id"
        );
        if self.read().await?.all(over, args![now]).await?.is_empty() {
            return Ok(Vec::new());
        }
        let mut tx = self.begin(Lane::Web).await?;
        tx.one(sql!("SELECT gen FROM queue_rule_head WHERE id = 1 {for_update}"), args![]).await?;
        let mut ended = Vec::new();
        for row in tx.all(over, args![now]).await? {
            let (id, workspace) = (QueueRuleId(row.int("id")?), row.int_opt("workspace_id")?.map(WorkspaceId));
            close(&mut tx, id, "expired", now).await?;
            self.note(&mut tx, workspace, &Actor::Engine, "queue.expired", &id.to_string(), json!({})).await?;
            changed(&mut tx, workspace).await?;
            ended.push(QueueRule::read(&rule_row(&mut tx, id).await?)?);
        }
        tx.commit().await?;
        Ok(ended)
    }

    /// Notes that every delivery that a rule concerned was looked at once.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn queue_rule_swept(&self, id: QueueRuleId) -> Result<()> {
        let mut tx = self.begin(Lane::Web).await?;
        let news = tx
            .execute(
                sql!("UPDATE queue_rule SET swept_at = $2 WHERE id = $1 AND swept_at IS NULL"),
                args![id, self.now()],
            )
            .await?;
        if news > 0 {
            changed(&mut tx, None).await?;
        }
        tx.commit().await
    }

    /// Notes that nothing is left to be done, or to be undone, of a rule; whether that is news.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn queue_rule_settled(&self, id: QueueRuleId) -> Result<bool> {
        let now = self.now();
        let mut tx = self.begin(Lane::Web).await?;
        tx.one(sql!("SELECT gen FROM queue_rule_head WHERE id = 1 {for_update}"), args![]).await?;
        let news = tx
            .execute(
                sql!(
                    "UPDATE queue_rule SET settled_at = $2, ended_at = coalesce(ended_at, $2), \
                       end_reason = coalesce(end_reason, 'done') WHERE id = $1 AND settled_at IS NULL"
                ),
                args![id, now],
            )
            .await?;
        if news > 0 {
            let rule = QueueRule::read(&rule_row(&mut tx, id).await?)?;
            if rule.rule.action.life() == Life::Once {
                let detail = json!({ "deliveries": rule.done });
                let workspace = rule.rule.workspace;
                self.note(&mut tx, workspace, &Actor::Engine, "queue.done", &id.to_string(), detail).await?;
            }
            changed(&mut tx, rule.rule.workspace).await?;
        }
        tx.commit().await?;
        Ok(news > 0)
    }

    /// The generation of the rules, cheap to ask.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn queue_rules_gen(&self) -> Result<i64> {
        self.read().await?.one(sql!("SELECT gen FROM queue_rule_head WHERE id = 1"), args![]).await?.int("gen")
    }

    /// The rules that stand or are at work, of all workspaces, with those that have something left to be undone.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn open_queue_rules(&self) -> Result<Vec<QueueRule>> {
        let rows = self
            .read()
            .await?
            .all(
                sql!(
                    "SELECT id, workspace_id, action, {json scope} AS scope, pace, connections, route_id, text, reason, by_name, \
                       created_at, expires_at, last_delivery, expected, done, swept_at, ended_at, end_reason, settled_at \
                     FROM queue_rule WHERE settled_at IS NULL ORDER BY id"
                ),
                args![],
            )
            .await?;
        rows.iter().map(QueueRule::read).collect()
    }

    /// The rules of a workspace and of the whole installation, the newest first.
    ///
    /// # Errors
    /// The cursor is foreign, or the database cannot be read.
    pub async fn queue_rules(
        &self,
        workspace: WorkspaceId,
        which: RulesOf,
        page: &PageRequest,
    ) -> Result<Page<QueueRule>> {
        let before: i64 = page.position("queue-rule")?.unwrap_or(i64::MAX);
        let limit = page.rows();
        let past = match which {
            RulesOf::Open => 0,
            RulesOf::Past => 1,
        };
        let rows = self
            .read()
            .await?
            .all(
                sql!(
                    "SELECT id, workspace_id, action, {json scope} AS scope, pace, connections, route_id, text, reason, by_name, \
                       created_at, expires_at, last_delivery, expected, done, swept_at, ended_at, end_reason, settled_at \
                     FROM queue_rule WHERE (workspace_id = $1 OR workspace_id IS NULL) AND id < $2 \
                       AND ($3 = 0) = (settled_at IS NULL) ORDER BY id DESC LIMIT $4"
                ),
                args![workspace, before, past as i64, limit + 1],
            )
            .await?;
        let rules = rows.iter().map(QueueRule::read).collect::<Result<Vec<_>>>()?;
        Ok(Page::cut(rules, limit, "queue-rule", |rule| rule.rule.id.get()))
    }

    /// One rule of a workspace or of the whole installation.
    ///
    /// # Errors
    /// [`crate::StoreError::NotFound`].
    pub async fn queue_rule(&self, workspace: WorkspaceId, id: QueueRuleId) -> Result<QueueRule> {
        let row = self
            .read()
            .await?
            .opt(
                sql!(
                    "SELECT id, workspace_id, action, {json scope} AS scope, pace, connections, route_id, text, reason, by_name, \
                       created_at, expires_at, last_delivery, expected, done, swept_at, ended_at, end_reason, settled_at \
                     FROM queue_rule WHERE id = $1 AND (workspace_id = $2 OR workspace_id IS NULL)"
                ),
                args![id, workspace],
            )
            .await?
            .ok_or(not_found("rule of the queue"))?;
        QueueRule::read(&row)
    }
}

/// Ends a rule in a transaction; what holds or moved rows is settled later, when that is undone.
async fn close(tx: &mut Tx, id: QueueRuleId, how: &str, now: i64) -> Result<()> {
    tx.execute(
        sql!(
            "UPDATE queue_rule SET ended_at = $2, end_reason = $3, \
               settled_at = CASE WHEN action IN ('hold', 'reroute') THEN NULL ELSE CAST($2 AS BIGINT) END WHERE id = $1"
        ),
        args![id, now, how],
    )
    .await?;
    Ok(())
}

async fn rule_row(tx: &mut Tx, id: QueueRuleId) -> Result<Row> {
    tx.one(
        sql!(
            "SELECT id, workspace_id, action, {json scope} AS scope, pace, connections, route_id, text, reason, by_name, \
               created_at, expires_at, last_delivery, expected, done, swept_at, ended_at, end_reason, settled_at \
             FROM queue_rule WHERE id = $1"
        ),
        args![id],
    )
    .await
}
