//! Sending domains are looked at again by themselves, so that one that turned red is noticed.
//!
//! Only those that a person had looked at once. Must not know what a look finds.

use std::collections::HashMap;

use postrider_domain::id::{DomainId, InquiryId};
use postrider_store::StoreError;
use postrider_store::inquiry::Inquiry;
use serde_json::json;

use crate::shared::Shared;

/// Between two looks at a domain, in milliseconds of the monotonic clock.
const EVERY_MS: i64 = 3_600_000;
/// A red one is looked at again sooner: it may be a passing trouble, and people wait for the green light.
const RED_EVERY_MS: i64 = 10 * 60_000;

/// When each domain's turn comes, on the monotonic clock.
#[derive(Default)]
pub(super) struct Rechecks {
    due: HashMap<DomainId, i64>,
}

impl Rechecks {
    /// Looks at one domain whose turn has come, if there is one. DNS may be slow: it is given its own limits.
    pub(super) async fn look(&mut self, shared: &Shared) {
        let looks = match shared.store.domain_looks().await {
            Ok(looks) => looks,
            Err(error) => return shared.complain("list the sending domains", &error),
        };
        let now = shared.monotonic();
        self.due.retain(|domain, _| looks.iter().any(|look| look.domain == *domain));
        let mut turn = None;
        for look in &looks {
            // Spread over the time, so that many domains are not asked for at once after a start.
            let due = *self.due.entry(look.domain).or_insert_with(|| now + (shared.spread() * EVERY_MS as f64) as i64);
            if due <= now && turn.is_none() {
                turn = Some(look);
            }
        }
        let Some(look) = turn else { return };
        let wait = if look.found["state"].as_str() == Some("red") { RED_EVERY_MS } else { EVERY_MS };
        self.due.insert(look.domain, now + wait);
        let inquiry = Inquiry {
            id: InquiryId(0),
            workspace: Some(look.workspace),
            kind: "domain_check".to_owned(),
            // The records that were wanted last time, as the pages told them.
            args: json!({ "domain": look.domain, "records": look.found["records"] }),
            deadline: shared.now(),
        };
        match crate::domain_check::check_domain(shared, &inquiry).await {
            Ok(_) | Err(StoreError::NotFound { .. }) => {}
            Err(error) => shared.complain("look at a sending domain", &error),
        }
    }
}
