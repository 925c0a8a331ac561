//! Freezing an audience: every contact of the lists either becomes a delivery or an exclusion with its reason.
//!
//! Works in slices that let others write; a crash costs the partial set, which is dropped and made again. Must not know
//! how a message is rendered.

use std::sync::Arc;

use postrider_domain::consent::ConsentState;
use postrider_domain::gate::{Withheld, may_send};
use postrider_domain::id::{CampaignId, ContactId};
use postrider_domain::route::RouteKind;
use postrider_domain::stream::TrackingMode;
use postrider_mail::mailbox::Mailbox;
use postrider_store::StoreError;
use postrider_store::freeze::{Candidate, FrozenRow};

use crate::book::Book;
use crate::shared::Shared;

/// Contacts looked at in one go.
const PAGE: usize = 1_000;

/// Freezes a campaign whose time has come, up to `sending`. Ends early, and is begun again, when the engine stops.
pub(crate) async fn freeze(shared: Arc<Shared>, book: Arc<Book>, campaign: CampaignId) {
    let begun = std::time::Instant::now();
    match run(&shared, &book, campaign).await {
        Ok(Some((frozen, excluded))) => {
            shared.metrics.frozen(frozen);
            let ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
            tracing::info!(event = "campaign.frozen", campaign = %campaign, deliveries = frozen, excluded, ms);
        }
        Ok(None) => tracing::info!(event = "campaign.freeze_interrupted", campaign = %campaign),
        Err(StoreError::Conflict { message }) => {
            tracing::info!(event = "campaign.freeze_left", campaign = %campaign, why = message);
        }
        Err(error) => shared.complain("freeze an audience", &error),
    }
}

async fn run(shared: &Shared, book: &Book, campaign: CampaignId) -> Result<Option<(u64, u64)>, StoreError> {
    let fixed_site = fixed_site(shared, book, campaign).await?;
    let mut freezer = shared.store.begin_freeze(campaign, shared.node, fixed_site).await?;
    tracing::info!(event = "campaign.freezing", campaign = %campaign, contacts = freezer.total());
    let mut excluded = 0;
    loop {
        if !shared.is_running() {
            return Ok(None);
        }
        let page = freezer.next_page(PAGE).await?;
        if page.is_empty() && freezer.done() >= freezer.total() {
            break;
        }
        let (rows, exclusions) = divide(page, &freezer.plan().uses);
        excluded += exclusions.len() as u64;
        freezer.insert(&rows, &exclusions).await?;
        tokio::task::yield_now().await;
    }
    let frozen = freezer.finish().await?;
    Ok(Some((u64::try_from(frozen).unwrap_or(0), excluded)))
}

/// The site of a smarthost route; `None` when each domain has its own.
async fn fixed_site(shared: &Shared, book: &Book, campaign: CampaignId) -> Result<Option<String>, StoreError> {
    let facts = shared.store.campaign_route(campaign).await?;
    let route = book.route(facts.0, facts.1).await?;
    Ok(match route.settings.kind {
        RouteKind::Mx => None,
        RouteKind::Smarthost => Some(crate::sites::route_site(route.id)),
    })
}

/// Recipients, and contacts that are left out with the reason.
fn divide(page: Vec<Candidate>, uses: &[String]) -> (Vec<FrozenRow>, Vec<(ContactId, Withheld)>) {
    let (mut rows, mut exclusions) = (Vec::with_capacity(page.len()), Vec::new());
    for candidate in page {
        // A mailbox that an older import stored and that no longer parses is not handed to the wire.
        let verdict = may_send(&candidate.facts)
            .and_then(|()| Mailbox::parse(&candidate.mailbox).map(|_| ()).map_err(|_| Withheld::Unmailable));
        match verdict {
            Ok(()) => rows.push(frozen(candidate, uses)),
            Err(reason) => exclusions.push((candidate.contact, reason)),
        }
    }
    (rows, exclusions)
}

fn frozen(candidate: Candidate, uses: &[String]) -> FrozenRow {
    let mut vars: serde_json::Map<String, serde_json::Value> = candidate.attributes.into_iter().collect();
    // Zone and language are fields of the contact; a text may name them like attributes.
    for (name, value) in [("zone", candidate.zone), ("language", candidate.language)] {
        if let Some(value) = value
            && uses.iter().any(|used| used == name)
            && !vars.contains_key(name)
        {
            vars.insert(name.to_owned(), value.into());
        }
    }
    let tracking = match candidate.tracking_consent {
        Some(ConsentState::Granted) => TrackingMode::Individual,
        Some(ConsentState::Requested | ConsentState::Refused | ConsentState::Withdrawn) | None => {
            TrackingMode::Aggregate
        }
    };
    FrozenRow {
        contact: candidate.contact,
        mailbox: candidate.mailbox,
        mailbox_norm: candidate.mailbox_norm,
        domain: candidate.domain,
        vars,
        tracking,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use postrider_domain::contact::{AddressState, Attributes};
    use postrider_domain::gate::{Facts, Presence};
    use postrider_domain::stream::Stream;

    fn candidate(id: i64, mailbox: &str, consent: Option<ConsentState>) -> Candidate {
        Candidate {
            contact: ContactId(id),
            mailbox: mailbox.to_owned(),
            mailbox_norm: mailbox.to_lowercase(),
            domain: "example.org".to_owned(),
            attributes: Attributes::from([("name".to_owned(), "Anna".into())]),
            zone: Some("Europe/Rome".to_owned()),
            language: Some("it".to_owned()),
            facts: Facts {
                stream: Stream::Marketing,
                consent,
                suppression: None,
                address: AddressState::Unchecked,
                contact: Presence::Present,
            },
            tracking_consent: None,
        }
    }

    #[test]
    fn everybody_is_either_a_recipient_or_left_out_with_a_reason() {
        let granted = Some(ConsentState::Granted);
        let page = vec![
            candidate(1, "a@example.org", granted),
            candidate(2, "b@example.org", None),
            candidate(3, "c@example.org", Some(ConsentState::Withdrawn)),
            candidate(4, "no mailbox", granted),
        ];
        let (rows, exclusions) = divide(page, &["name".to_owned(), "language".to_owned()]);
        assert_eq!(rows.iter().map(|r| r.contact.get()).collect::<Vec<_>>(), [1]);
        assert_eq!(
            serde_json::Value::Object(rows[0].vars.clone()),
            serde_json::json!({"name": "Anna", "language": "it"})
        );
        let reasons: Vec<_> = exclusions.iter().map(|(c, r)| (c.get(), *r)).collect();
        assert_eq!(reasons, [(2, Withheld::NoConsent), (3, Withheld::Withdrawn), (4, Withheld::Unmailable)]);
    }
}
