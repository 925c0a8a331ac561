//! Totals of campaigns as many open pages ask for them: one look at the database serves all who ask within a moment.
//!
//! Whoever changes something sees it at once: what rings the bell makes the figures old.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use postrider_domain::id::{CampaignId, WorkspaceId};
use postrider_store::StoreError;
use postrider_store::report::CampaignReport;

use crate::Web;

/// Figures serve others for this time. Pages ask each second.
const FRESH: Duration = Duration::from_millis(400);
/// Campaigns that are remembered; more are forgotten together.
const MOST: usize = 1_000;

struct Held {
    at: Instant,
    rings: u64,
    report: Arc<CampaignReport>,
}

/// What was looked up last.
#[derive(Default)]
pub(crate) struct Figures(Mutex<HashMap<(WorkspaceId, CampaignId), Held>>);

impl Figures {
    fn get(&self, key: (WorkspaceId, CampaignId), rings: u64) -> Option<Arc<CampaignReport>> {
        let held = self.0.lock().expect("nothing panics while it is held");
        held.get(&key).filter(|h| h.rings == rings && h.at.elapsed() < FRESH).map(|h| h.report.clone())
    }

    fn put(&self, key: (WorkspaceId, CampaignId), rings: u64, report: Arc<CampaignReport>) {
        let mut held = self.0.lock().expect("nothing panics while it is held");
        if held.len() >= MOST {
            held.clear();
        }
        held.insert(key, Held { at: Instant::now(), rings, report });
    }
}

impl Web {
    /// The totals of a campaign, at most [`FRESH`] old and never older than the last change that somebody made.
    ///
    /// # Errors
    /// The workspace has no such campaign, or the database fails.
    pub(crate) async fn totals(
        &self,
        workspace: WorkspaceId,
        campaign: CampaignId,
    ) -> Result<Arc<CampaignReport>, StoreError> {
        let (key, rings) = ((workspace, campaign), self.store().bell().changes());
        if let Some(report) = self.figures().get(key, rings) {
            return Ok(report);
        }
        let report = Arc::new(self.store().campaign_report(workspace, campaign).await?);
        self.figures().put(key, rings, report.clone());
        Ok(report)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use postrider_domain::campaign::CampaignState;
    use postrider_domain::queue::Ledger;

    use super::*;

    fn report(attempts: i64) -> Arc<CampaignReport> {
        Arc::new(CampaignReport {
            campaign: CampaignId(2),
            name: String::new(),
            state: CampaignState::Sending,
            launched_at: None,
            finished_at: None,
            by_node: BTreeMap::new(),
            ledger: Ledger::default(),
            excluded: BTreeMap::new(),
            withheld: BTreeMap::new(),
            attempts,
            in_doubt_resent: 0,
            opt_outs: 0,
        })
    }

    #[test]
    fn figures_serve_others_until_something_changes() {
        let figures = Figures::default();
        let mine = (WorkspaceId(1), CampaignId(2));
        assert!(figures.get(mine, 5).is_none());
        figures.put(mine, 5, report(7));
        assert_eq!(figures.get(mine, 5).map(|r| r.attempts), Some(7));
        assert!(figures.get(mine, 6).is_none(), "somebody changed something");
        assert!(figures.get((WorkspaceId(9), CampaignId(2)), 5).is_none(), "another workspace sees nothing of it");
    }

    #[test]
    fn the_book_of_figures_does_not_grow_for_ever() {
        let figures = Figures::default();
        for id in 0..3 * MOST as i64 {
            figures.put((WorkspaceId(1), CampaignId(id)), 0, report(id));
        }
        assert!(figures.0.lock().unwrap().len() <= MOST);
    }
}
