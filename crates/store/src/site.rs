//! Sites: which set of MX hosts a domain belongs to, as far as we know, and moving rows to the lane of their site.
//!
//! Must not know DNS: the engine asks and tells.

use std::collections::HashMap;

use postrider_domain::id::{CampaignId, DeliveryId, LaneId, WorkspaceId};
use postrider_domain::stream::Stream;
use serde_json::json;

use crate::bell::Topic;
use crate::db::Lane;
use crate::error::Result;
use crate::lane::{LaneCursor, LaneLease, Place, lane_at};
use crate::node::{Node, hold_epoch};
use crate::read::word;
use crate::sql::{args, sql};
use crate::store::Store;

pub use state::DomainState;

/// The macro speaks of the plain `Result`, which this file has replaced.
mod state {
    postrider_domain::words! {
        /// What DNS last said about a mail domain.
        pub enum DomainState {
            /// It has a site.
            Found = "found",
            /// It takes no mail (RFC 7505).
            NullMx = "null_mx",
            /// It exists and has neither MX nor address.
            NoMailServer = "no_mail_server",
            /// It does not exist; looked at again an hour later.
            NxDomain = "nxdomain",
            /// DNS gave only temporary errors.
            Unknown = "unknown",
        }
    }
}

/// What is known about a mail domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailDomain {
    /// The name, lowercase, A-labels.
    pub name: String,
    /// Its site, when it has one.
    pub site: Option<String>,
    /// What DNS said.
    pub state: DomainState,
    /// When it was asked, milliseconds UTC.
    pub resolved_at: i64,
    /// When to ask again.
    pub look_again_at: i64,
    /// Since when it does not exist.
    pub nxdomain_since: Option<i64>,
}

/// How far [`Store::move_resolved`] came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moved {
    /// Rows moved.
    pub rows: u64,
    /// Where to go on; `None` at the end of the lane.
    pub next: Option<LaneCursor>,
}

impl Store {
    /// What is known about these domains; unknown ones are left out.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn mail_domains(&self, names: &[String]) -> Result<HashMap<String, MailDomain>> {
        let rows = self
            .read()
            .await?
            .all(
                sql!(
                    "SELECT name, site, state, resolved_at, look_again_at, nxdomain_since FROM mail_domain \
                     WHERE name IN {texts $1}"
                ),
                args![json!(names)],
            )
            .await?;
        rows.iter()
            .map(|row| {
                let name = row.text("name")?;
                let domain = MailDomain {
                    name: name.clone(),
                    site: row.text_opt("site")?,
                    state: word(row, "state", DomainState::parse)?,
                    resolved_at: row.int("resolved_at")?,
                    look_again_at: row.int("look_again_at")?,
                    nxdomain_since: row.int_opt("nxdomain_since")?,
                };
                Ok((name, domain))
            })
            .collect()
    }

    /// Keeps what DNS said. `nxdomain_since` of the first such answer stays until the domain exists.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn remember_domains(&self, domains: &[MailDomain]) -> Result<()> {
        let mut sorted: Vec<&MailDomain> = domains.iter().collect();
        // In one order, so that two nodes that remember the same domains wait for each other and do not deadlock.
        sorted.sort_by(|a, b| a.name.cmp(&b.name));
        sorted.dedup_by(|a, b| a.name == b.name);
        if sorted.is_empty() {
            return Ok(());
        }
        let rows: Vec<serde_json::Value> = sorted
            .iter()
            .map(|d| {
                json!({"n": d.name, "s": d.site, "st": d.state.as_str(), "r": d.resolved_at, "l": d.look_again_at,
                       "x": d.nxdomain_since})
            })
            .collect();
        let mut tx = self.begin(Lane::Web).await?;
        tx.execute(
            sql!(
                "INSERT INTO mail_domain (name, site, state, resolved_at, look_again_at, nxdomain_since) \
                 SELECT r.n, r.s, r.st, r.r, r.l, r.x \
                 FROM {rows $1 (n text, s text, st text, r bigint, l bigint, x bigint)} r WHERE TRUE \
                 ON CONFLICT (name) DO UPDATE SET site = excluded.site, state = excluded.state, \
                   resolved_at = excluded.resolved_at, look_again_at = excluded.look_again_at, \
                   nxdomain_since = CASE WHEN excluded.nxdomain_since IS NULL THEN NULL \
                                         ELSE coalesce(mail_domain.nxdomain_since, excluded.nxdomain_since) END"
            ),
            args![serde_json::Value::Array(rows)],
        )
        .await?;
        tx.commit().await
    }

    /// Moves rows of the unresolved lane whose domain has a site by now to the lane of that site, looking at `limit`
    /// rows after a cursor. Rows in doubt or held stay. None of the rows may be in the air.
    ///
    /// # Errors
    /// [`crate::StoreError::Fatal`] when another process runs as this node.
    pub async fn move_resolved(
        &self,
        node: Node,
        from: &LaneLease,
        after: Option<LaneCursor>,
        limit: u32,
    ) -> Result<Moved> {
        let now = self.now();
        let mut tx = self.begin(Lane::Bulk).await?;
        hold_epoch(&mut tx, node).await?;
        crate::lane::hold(&mut tx, node, &[from.lane.get()]).await?;
        let (ready_at, delivery) = after.map_or((i64::MIN, 0), |c| (c.ready_at, c.delivery.get()));
        let rows = tx
            .all(
                sql!(
                    "SELECT q.delivery_id, q.ready_at, m.site FROM queue q \
                     JOIN lane l ON l.id = q.lane_id AND l.owner = $5 AND l.epoch = $6 \
                     JOIN delivery d ON d.id = q.delivery_id \
                     LEFT JOIN mail_domain m ON m.name = d.domain AND m.state = 'found' AND m.site <> l.site \
                     WHERE q.lane_id = $1 AND (q.ready_at, q.delivery_id) > ($2, $3) \
                       AND q.doubt_epoch IS NULL AND q.held_reason IS NULL \
                     ORDER BY q.ready_at, q.delivery_id LIMIT $4 {for_update_of q}"
                ),
                args![from.lane, ready_at, delivery, limit, node.id, from.epoch],
            )
            .await?;
        let mut next = None;
        let mut lanes: HashMap<(String, i64), LaneId> = HashMap::new();
        let mut moves = Vec::new();
        for row in &rows {
            let delivery = DeliveryId(row.int("delivery_id")?);
            let ready_at = row.int("ready_at")?;
            next = Some(LaneCursor { ready_at, delivery });
            let Some(site) = row.text_opt("site")? else { continue };
            let part = self.part(delivery);
            let lane = match lanes.get(&(site.clone(), part)) {
                Some(lane) => *lane,
                None => {
                    let place = Place {
                        workspace: from.workspace,
                        campaign: from.campaign,
                        stream: from.stream,
                        site: site.clone(),
                        part,
                        route: from.route,
                    };
                    let lane = lane_at(&mut tx, &place, self.next_id()).await?;
                    lanes.insert((site, part), lane);
                    lane
                }
            };
            // A row must not come to lie before a reader's cursor in its new lane.
            moves.push(json!({"i": delivery.get(), "l": lane.get(), "at": ready_at.max(now)}));
        }
        if (rows.len() as u64) < u64::from(limit) {
            next = None;
        }
        let mut moved = 0;
        if !moves.is_empty() {
            moved = tx
                .execute(
                    sql!(
                        "UPDATE queue SET lane_id = r.l, ready_at = r.at \
                         FROM {rows $1 (i bigint, l bigint, at bigint)} r \
                         WHERE queue.delivery_id = r.i AND queue.lane_id = $2"
                    ),
                    args![serde_json::Value::Array(moves), from.lane],
                )
                .await?;
            tx.ring(Topic::Work);
        }
        tx.commit().await?;
        Ok(Moved { rows: moved, next })
    }

    /// The part of a site's lanes in which a delivery lies.
    pub(crate) fn part(&self, delivery: DeliveryId) -> i64 {
        let parts = i64::from(self.inner.config.parts.max(1));
        // The low byte of an id is its node.
        (delivery.get() >> 8) % parts
    }
}

/// The place of a campaign's lane.
pub(crate) fn campaign_place(
    workspace: WorkspaceId,
    campaign: CampaignId,
    stream: Stream,
    site: String,
    part: i64,
) -> Place {
    Place { workspace, campaign: Some(campaign), stream, site, part, route: None }
}
