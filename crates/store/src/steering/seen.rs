//! The rules as somebody sees them who asks why one delivery waits.
//!
//! Reads only.

use std::collections::HashMap;

use postrider_domain::id::{CampaignId, DeliveryId, MessageId, RouteId, WorkspaceId};
use postrider_domain::shaping::Hold;
use postrider_domain::steering::{OneFacts, SteerFacts, SteerRule, Verdict, verdict};
use postrider_domain::stream::Stream;

use super::HELD_AT;
use super::concern::Routes;
use crate::Store;
use crate::error::Result;
use crate::read::word;
use crate::sql::{Row, args, sql};

/// The open rules and what it takes to ask them.
pub(crate) struct RulesSeen {
    rules: Vec<SteerRule>,
    routes: Option<Routes>,
}

impl RulesSeen {
    /// Reads those that count for a workspace.
    pub(crate) async fn read(store: &Store, workspace: WorkspaceId) -> Result<RulesSeen> {
        let mut rules: Vec<SteerRule> = Vec::new();
        for open in store.open_queue_rules().await? {
            let theirs = open.rule.workspace.is_none_or(|w| w == workspace);
            // One that has ended is kept for the rows that it still holds; it says nothing about others.
            if theirs {
                let until = open.ended_at.or(open.rule.until);
                rules.push(SteerRule { until, ..open.rule });
            }
        }
        let routes = if rules.iter().any(|r| r.scope.source.is_some() || r.scope.site.is_some()) {
            Some(Routes::read(store, Some(workspace)).await?)
        } else {
            None
        };
        Ok(RulesSeen { rules, routes })
    }

    /// The rule with an id.
    pub(crate) fn by_id(&self, id: Option<i64>) -> Option<&SteerRule> {
        self.rules.iter().find(|rule| Some(rule.id.get()) == id)
    }

    /// What the rules say of a row of the queue; `None` when nothing is against it.
    pub(crate) fn hold(&self, row: &Row, workspace: WorkspaceId, now: i64) -> Result<Option<Hold>> {
        if self.rules.is_empty() {
            return Ok(None);
        }
        let route = row.int_opt("route_id")?.map(RouteId);
        let own = row.int_opt("own_route")?.map(RouteId);
        let stream = word(row, "stream", Stream::parse)?;
        let (smarthost, source) = self.routes.as_ref().map_or((None, None), |r| r.of(workspace, route.or(own), stream));
        let (site, domain) = (row.text("site")?, row.text("domain")?);
        let from = row.text_opt("from_mailbox")?;
        let facts = SteerFacts {
            workspace,
            campaign: row.int_opt("campaign_id")?.map(CampaignId),
            stream,
            sites: [&site, smarthost.as_deref().unwrap_or(&site)],
            source: source.as_deref(),
            one: Some(OneFacts {
                delivery: DeliveryId(row.int("delivery_id")?),
                message: row.int_opt("message_id")?.map(MessageId),
                domain: &domain,
                sending_domain: Some(from.as_deref().and_then(|f| f.rsplit_once('@')).map_or("", |(_, domain)| domain)),
            }),
        };
        Ok(match verdict(&self.rules, &facts, route, now) {
            Verdict::Go => None,
            Verdict::Stop(rule) | Verdict::Hold(rule) | Verdict::Reroute(rule) => Some(rule.hold()),
        })
    }
}

impl Store {
    /// The From domains of deliveries, lowercase; those that are gone are left out.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn sending_domains(&self, deliveries: &[DeliveryId]) -> Result<HashMap<DeliveryId, String>> {
        let ids: Vec<i64> = deliveries.iter().map(|d| d.get()).collect();
        let rows = self
            .read()
            .await?
            .all(
                sql!(
                    "SELECT d.id, lower(coalesce(t.draft ->> 'from_mailbox', m.from_mailbox)) AS from_mailbox FROM {ids $1} r \
                     JOIN delivery d ON d.id = r.value \
                     LEFT JOIN version v ON v.id = d.version_id LEFT JOIN variant t ON t.id = v.variant_id \
                     LEFT JOIN message m ON m.id = d.message_id"
                ),
                args![serde_json::json!(ids)],
            )
            .await?;
        rows.iter()
            .map(|row| {
                let from = row.text_opt("from_mailbox")?.unwrap_or_default();
                let domain = from.rsplit_once('@').map_or("", |(_, domain)| domain).to_owned();
                Ok((DeliveryId(row.int("id")?), domain))
            })
            .collect()
    }
}

/// Held rows of a campaign, or of a stream of single messages, that go to one site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldSeen {
    /// The campaign, or none.
    pub campaign: Option<CampaignId>,
    /// The stream.
    pub stream: Stream,
    /// The site of its lanes.
    pub site: String,
    /// How many; no more than 10,000 of a lane are counted.
    pub deliveries: i64,
}

impl Store {
    /// What is held in the queue of a workspace, by flow and site.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn held_by_flow(&self, workspace: WorkspaceId) -> Result<Vec<HeldSeen>> {
        let rows = self
            .read()
            .await?
            .all(
                sql!(
                    "SELECT x.campaign_id, x.stream, x.site, CAST(sum(x.n) AS BIGINT) AS n FROM ( \
                       SELECT l.campaign_id, l.stream, l.site, (SELECT count(*) FROM (SELECT q.delivery_id FROM queue q \
                         WHERE q.lane_id = l.id AND q.ready_at >= $2 LIMIT 10000) h) AS n \
                       FROM lane l WHERE l.workspace_id = $1 AND NOT l.closed) x \
                     WHERE x.n > 0 GROUP BY x.campaign_id, x.stream, x.site"
                ),
                args![workspace, HELD_AT],
            )
            .await?;
        rows.iter()
            .map(|row| {
                Ok(HeldSeen {
                    campaign: row.int_opt("campaign_id")?.map(CampaignId),
                    stream: word(row, "stream", Stream::parse)?,
                    site: row.text("site")?,
                    deliveries: row.int("n")?,
                })
            })
            .collect()
    }
}
