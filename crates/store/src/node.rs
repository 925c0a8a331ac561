//! Nodes: who is alive, and what happens to the lanes of one that is not.
//!
//! A node is dead when its beat has not changed for a while on the observer's monotonic clock. Its epoch is the fence:
//! every mark and settle tests it, so that a node that only slept can do no harm after it was taken for dead.

use std::collections::HashMap;

use postrider_domain::id::NodeId;

use crate::db::{Lane, Tx};
use crate::error::{Result, StoreError};
use crate::sql::{args, sql};
use crate::store::Store;

/// A registered node: the right to lease lanes as long as the epoch holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Node {
    /// Which.
    pub id: NodeId,
    /// Bumped at each start and at each takeover.
    pub epoch: i64,
}

/// A node as the others see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeSeen {
    /// Which.
    pub id: NodeId,
    /// Its name.
    pub name: String,
    /// Its epoch.
    pub epoch: i64,
    /// A number that changes while it lives.
    pub beat: i64,
    /// It runs, or died without saying so.
    pub running: bool,
}

/// Watches the beats of other nodes on the observer's own monotonic clock.
#[derive(Debug)]
pub struct DeadNodes {
    dead_after_ms: i64,
    seen: HashMap<NodeId, (i64, i64, i64)>,
}

impl DeadNodes {
    /// An observer for which a node is dead after so many milliseconds without a new beat.
    pub fn new(dead_after_ms: i64) -> DeadNodes {
        DeadNodes { dead_after_ms, seen: HashMap::new() }
    }

    /// Looks at the nodes at a monotonic time; the running ones whose beat has not changed for too long.
    pub fn look(&mut self, me: NodeId, nodes: &[NodeSeen], monotonic_ms: i64) -> Vec<NodeSeen> {
        self.seen.retain(|id, _| nodes.iter().any(|n| n.id == *id && n.running));
        nodes
            .iter()
            .filter(|n| n.running && n.id != me)
            .filter(|n| {
                let entry = self.seen.entry(n.id).or_insert((n.epoch, n.beat, monotonic_ms));
                if (entry.0, entry.1) != (n.epoch, n.beat) {
                    *entry = (n.epoch, n.beat, monotonic_ms);
                }
                monotonic_ms - entry.2 >= self.dead_after_ms
            })
            .cloned()
            .collect()
    }
}

/// Tests in a write transaction that the node's epoch still holds, and keeps it from changing until the end.
pub(crate) async fn hold_epoch(tx: &mut Tx, node: Node) -> Result<()> {
    let row = tx.opt(sql!("SELECT epoch FROM node WHERE id = $1 {for_share}"), args![node.id]).await?;
    match row {
        Some(row) if row.int("epoch")? == node.epoch => Ok(()),
        Some(_) | None => Err(lost(node)),
    }
}

/// This process was taken for dead, or started a second time.
fn lost(node: Node) -> StoreError {
    StoreError::Fatal(format!(
        "node {} is now run by another process, or was taken for dead: its lanes are no longer ours",
        node.id
    ))
}

impl Store {
    /// Registers this process as a running node. Whatever an earlier process of the same name had marked becomes
    /// in doubt of a dead epoch, for [`Store::resolve_in_doubt`].
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn register_node(&self) -> Result<Node> {
        let mut tx = self.begin(Lane::Queue).await?;
        let now = self.now();
        let row = tx
            .one(
                sql!(
                    "UPDATE node SET epoch = epoch + 1, beat = beat + 1, started_at = $2, stopped_at = NULL \
                     WHERE id = $1 RETURNING epoch"
                ),
                args![self.node(), now],
            )
            .await?;
        let node = Node { id: self.node(), epoch: row.int("epoch")? };
        tx.execute(sql!("UPDATE lane SET epoch = epoch + 1 WHERE owner = $1"), args![node.id]).await?;
        tx.commit().await?;
        Ok(node)
    }

    /// A sign of life; about every tenth of the time after which a node counts as dead.
    ///
    /// # Errors
    /// [`StoreError::Fatal`] when another process has taken over: stop sending at once.
    pub async fn beat(&self, node: Node) -> Result<()> {
        let mut tx = self.begin(Lane::Queue).await?;
        let changed = tx
            .execute(
                sql!("UPDATE node SET beat = beat + 1, clock_at = $3 WHERE id = $1 AND epoch = $2"),
                args![node.id, node.epoch, self.now()],
            )
            .await?;
        tx.commit().await?;
        if changed == 0 { Err(lost(node)) } else { Ok(()) }
    }

    /// Ends in order: the lanes are free for others at once. Flush the writer first.
    ///
    /// # Errors
    /// [`StoreError::Fatal`] when another process has taken over.
    pub async fn retire_node(&self, node: Node) -> Result<()> {
        let mut tx = self.begin(Lane::Queue).await?;
        let changed = tx
            .execute(
                sql!("UPDATE node SET stopped_at = $3, epoch = epoch + 1 WHERE id = $1 AND epoch = $2"),
                args![node.id, node.epoch, self.now()],
            )
            .await?;
        if changed == 0 {
            return Err(lost(node));
        }
        tx.execute(sql!("UPDATE lane SET owner = NULL, epoch = epoch + 1 WHERE owner = $1"), args![node.id]).await?;
        tx.commit().await
    }

    /// Every node, for [`DeadNodes::look`].
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn nodes(&self) -> Result<Vec<NodeSeen>> {
        let rows = self
            .read()
            .await?
            .all(sql!("SELECT id, name, epoch, beat, stopped_at FROM node ORDER BY id"), args![])
            .await?;
        rows.iter()
            .map(|row| {
                Ok(NodeSeen {
                    id: NodeId(row.int("id")?),
                    name: row.text("name")?,
                    epoch: row.int("epoch")?,
                    beat: row.int("beat")?,
                    running: row.int_opt("stopped_at")?.is_none(),
                })
            })
            .collect()
    }

    /// Takes the lanes of a dead node, unless it has given a sign of life since it was looked at, or somebody else was
    /// faster. The number of lanes taken; call [`Store::resolve_in_doubt`] next.
    ///
    /// # Errors
    /// [`StoreError::Fatal`] when we were taken over ourselves.
    pub async fn take_over(&self, dead: &NodeSeen, me: Node) -> Result<u64> {
        let mut tx = self.begin(Lane::Queue).await?;
        // Both rows in the order of their ids, so that two that take over each other end in an order.
        for id in [dead.id.min(me.id), dead.id.max(me.id)] {
            tx.one(sql!("SELECT id FROM node WHERE id = $1 {for_update}"), args![id]).await?;
        }
        hold_epoch(&mut tx, me).await?;
        let fenced = tx
            .execute(
                sql!(
                    "UPDATE node SET epoch = epoch + 1, stopped_at = $4 \
                     WHERE id = $1 AND epoch = $2 AND beat = $3 AND stopped_at IS NULL"
                ),
                args![dead.id, dead.epoch, dead.beat, self.now()],
            )
            .await?;
        if fenced == 0 {
            return Ok(0);
        }
        let lanes = tx
            .execute(sql!("UPDATE lane SET owner = $2, epoch = epoch + 1 WHERE owner = $1"), args![dead.id, me.id])
            .await?;
        tx.commit().await?;
        Ok(lanes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(id: i64, beat: i64) -> NodeSeen {
        NodeSeen { id: NodeId(id), name: id.to_string(), epoch: 1, beat, running: true }
    }

    #[test]
    fn only_a_beat_that_stands_still_on_our_own_clock_means_death() {
        let mut watch = DeadNodes::new(30_000);
        assert!(
            watch.look(NodeId(1), &[seen(1, 5), seen(2, 5)], 1_000_000).is_empty(),
            "the first look proves nothing"
        );
        assert!(watch.look(NodeId(1), &[seen(1, 5), seen(2, 6)], 1_029_000).is_empty());
        assert!(watch.look(NodeId(1), &[seen(1, 5), seen(2, 6)], 1_058_999).is_empty());
        let dead = watch.look(NodeId(1), &[seen(1, 5), seen(2, 6)], 1_059_000);
        assert_eq!(dead.iter().map(|n| n.id).collect::<Vec<_>>(), [NodeId(2)], "and never ourselves");
    }
}
