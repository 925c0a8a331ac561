//! The facts that the check before a launch needs: workspace, sending domain, route, lists, purpose, and whether anybody
//! would get the campaign at all.
//!
//! Must not judge them: that is `postrider_domain::campaign::launch_findings`.

use postrider_domain::campaign::{Draft, LaunchFacts};
use postrider_domain::consent::PurposeKind;
use postrider_domain::id::{CampaignId, WorkspaceId};
use postrider_domain::route::RouteSettings;
use postrider_mail::mailbox::Mailbox;

use crate::Store;
use crate::error::Result;
use crate::read::{json, to_json, word};
use crate::sql::{args, sql};

/// Members looked at to learn whether anybody would get a campaign; more would make a person wait.
const LOOK_AT: i64 = 50_000;

impl Store {
    /// The facts about a campaign and one of its texts.
    ///
    /// # Errors
    /// The workspace has no such campaign.
    pub async fn launch_facts(
        &self,
        workspace: WorkspaceId,
        campaign: CampaignId,
        draft: &Draft,
    ) -> Result<LaunchFacts> {
        let campaign = self.campaign(workspace, campaign).await?;
        let place = self.workspace(workspace).await?;
        let mut named: Vec<i64> =
            campaign.audience.include.iter().chain(&campaign.audience.exclude).map(|list| list.get()).collect();
        named.sort_unstable();
        named.dedup();
        let mut reader = self.read().await?;
        let lists_found = reader
            .one(
                sql!("SELECT count(*) AS n FROM list WHERE workspace_id = $1 AND id IN {ids $2}"),
                args![workspace, to_json(&named)],
            )
            .await?
            .int("n")?;
        let purpose_is_usable = match campaign.audience.purpose {
            None => false,
            Some(purpose) => match reader
                .opt(sql!("SELECT kind FROM purpose WHERE workspace_id = $1 AND id = $2"), args![workspace, purpose])
                .await?
            {
                None => false,
                Some(row) => match word(&row, "kind", PurposeKind::parse)? {
                    PurposeKind::Newsletter | PurposeKind::Commercial => true,
                    PurposeKind::Tracking => false,
                },
            },
        };
        let route = match campaign.route {
            Some(route) => {
                let find =
                    sql!("SELECT id, {json settings} AS settings FROM route WHERE workspace_id = $1 AND id = $2");
                reader.opt(find, args![workspace, route]).await?
            }
            None => {
                let find = sql!(
                    "SELECT id, {json settings} AS settings FROM route WHERE workspace_id = $1 AND is_default = $2"
                );
                reader.opt(find, args![workspace, true]).await?
            }
        };
        let relay_is_unproved = match &route {
            Some(row) if json::<RouteSettings>(row, "settings")?.signing.needs_proof() => {
                let from = Mailbox::parse(&draft.from_mailbox).ok();
                let domain = from.as_ref().map_or("", |from| from.domain().as_str());
                let find = sql!("SELECT route_id FROM relay_proof WHERE route_id = $1 AND domain = $2");
                reader.opt(find, args![row.int("id")?, domain]).await?.is_none()
            }
            Some(_) | None => false,
        };
        let has_route = route.is_some();
        let from_domain_signs = match Mailbox::parse(&draft.from_mailbox) {
            Err(_) => false,
            Ok(from) => reader
                .opt(
                    sql!(
                        "SELECT k.id FROM domain d JOIN dkim_key k ON k.domain_id = d.id \
                         WHERE d.workspace_id = $1 AND d.name = $2 AND k.activated_at IS NOT NULL AND k.retired_at IS NULL LIMIT 1"
                    ),
                    args![workspace, from.domain().as_str()],
                )
                .await?
                .is_some(),
        };
        let include: Vec<i64> = campaign.audience.include.iter().map(|list| list.get()).collect();
        let looked = reader
            .one(
                sql!(
                    "SELECT count(*) AS looked, count(c.contact_id) AS willing FROM \
                     (SELECT m.contact_id FROM membership m JOIN list l ON l.id = m.list_id \
                      WHERE l.workspace_id = $1 AND m.list_id IN {ids $2} LIMIT $4) m \
                     LEFT JOIN consent c ON c.contact_id = m.contact_id AND c.purpose_id = $3 AND c.state = 'granted'"
                ),
                args![workspace, to_json(&include), campaign.audience.purpose, LOOK_AT],
            )
            .await?;
        // Only "nobody at all" is worth refusing for; how many exactly is known when the audience is frozen.
        let recipients = (looked.int("willing")? == 0 && looked.int("looked")? < LOOK_AT).then_some(0);
        Ok(LaunchFacts {
            controller_name: place.controller_name,
            postal_address: place.postal_address,
            privacy_url: place.privacy_url,
            public_url: place.public_url,
            from_domain_signs,
            has_route,
            relay_is_unproved,
            lists_found: usize::try_from(lists_found).unwrap_or(0),
            lists_named: named.len(),
            purpose_is_usable,
            recipients,
        })
    }
}
