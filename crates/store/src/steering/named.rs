//! What rules of the queue name must not go away under them: asked before a route, an egress source or a pool is removed.
//!
//! Must not know how rules are carried out.

use postrider_domain::id::{PoolId, QueueRuleId, RouteId, SourceId, WorkspaceId};
use postrider_domain::steering::{Life, SteerAction, SteerScope};

use crate::db::Tx;
use crate::error::Result;
use crate::read::{conflict, json as read_json, word};
use crate::sql::{args, sql};

/// What is to be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Removed {
    /// A route of a workspace.
    Route(WorkspaceId, RouteId),
    /// An egress source.
    Source(SourceId),
    /// A pool of egress sources.
    Pool(PoolId),
}

impl Removed {
    /// As a rule's scope names it.
    fn name(self) -> String {
        match self {
            Removed::Route(_, id) => id.to_string(),
            Removed::Source(id) => id.to_string(),
            Removed::Pool(id) => id.to_string(),
        }
    }

    /// What another workspace writes into its rules says nothing about a route of this one; sources are everybody's.
    fn may_be_named_by(self, owner: Option<WorkspaceId>) -> bool {
        match self {
            Removed::Route(workspace, _) => owner.is_none_or(|owner| owner == workspace),
            Removed::Source(_) | Removed::Pool(_) => true,
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Removed::Route(..) => "route",
            Removed::Source(_) => "source",
            Removed::Pool(_) => "pool",
        }
    }
}

/// Rules are set one after another: from here to the end of the transaction none is. To be called before other rows are
/// locked, because whoever sets a rule begins with it, too.
pub(crate) async fn no_rule_meanwhile(tx: &mut Tx) -> Result<()> {
    tx.one(sql!("SELECT gen FROM queue_rule_head WHERE id = 1 {for_update}"), args![]).await?;
    Ok(())
}

/// Refuses when a rule names what is to be removed that stands, is at work, or has something left to be undone.
pub(crate) async fn refuse_named(tx: &mut Tx, what: Removed) -> Result<()> {
    let rows = tx
        .all(
            sql!(
                "SELECT id, workspace_id, action, {json scope} AS scope, route_id, by_name, reason, ended_at FROM queue_rule \
                 WHERE settled_at IS NULL ORDER BY id"
            ),
            args![],
        )
        .await?;
    let name = what.name();
    for row in &rows {
        let scope: SteerScope = read_json(row, "scope")?;
        let owner = row.int_opt("workspace_id")?.map(WorkspaceId);
        let leads_to = row.int_opt("route_id")?.map(RouteId);
        let leads_there = leads_to.is_some_and(|route| route.to_string() == name);
        let named = leads_there || scope.source.as_deref() == Some(name.as_str());
        if !named || !what.may_be_named_by(owner) {
            continue;
        }
        let action = word(row, "action", SteerAction::parse)?;
        let id = QueueRuleId(row.int("id")?);
        let of = owner.map_or("the whole installation".to_owned(), |workspace| format!("the workspace {workspace}"));
        let word = what.word();
        let rule =
            format!("the rule {id} of {of} ({} by {}: {})", action.done(), row.text("by_name")?, row.text("reason")?);
        let ends_by = match action {
            SteerAction::Hold => "release",
            SteerAction::Suspend
            | SteerAction::Reroute
            | SteerAction::Speed
            | SteerAction::Release
            | SteerAction::Cancel
            | SteerAction::Bounce => "resume",
        };
        return Err(conflict(match (row.int_opt("ended_at")?, action.life()) {
            (None, Life::Standing) => format!(
                "remove the {word}: {rule} names it; end that rule first: `postrider queue {ends_by} {id}`, or on the page \
                 of the queue"
            ),
            (None, Life::Once) => format!("remove the {word}: {rule} names it and is at work; wait until it is done"),
            (Some(_), Life::Standing | Life::Once) => format!(
                "remove the {word}: {rule} has ended, but deliveries that it concerned are still on their way back; try \
                 again in a moment"
            ),
        }));
    }
    Ok(())
}
