//! What people see of a source × site: as a node tells it, and as the pages read it.

use serde::{Deserialize, Serialize};

use super::hold::Hold;
use crate::id::{CampaignId, WorkspaceId};
use crate::stream::Stream;

/// A source × site of one node. Times are milliseconds UTC.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SiteView {
    /// The egress source: `direct`, or the route of a smarthost.
    pub source: String,
    /// The site.
    pub site: String,
    /// Set when a workspace has limits of its own there: they count for its mail only.
    pub own: Option<WorkspaceId>,
    /// Connections open or being opened.
    pub connections: usize,
    /// Connections that there may be now; 0 while it is stopped, `None` when only the routes limit them.
    pub connections_allowed: Option<u32>,
    /// Messages accepted per second, over the last ten seconds.
    pub rate: f64,
    /// Messages per second that may go now.
    pub rate_allowed: Option<f64>,
    /// Messages over one connection.
    pub per_connection: Option<u32>,
    /// What it refused last, the newest first.
    pub replies: Vec<ReplyView>,
    /// What holds back everything that goes there.
    pub hold: Option<Hold>,
    /// What waits for it or is on its way to it.
    pub flows: Vec<FlowView>,
}

/// A reply and how often it came in a row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReplyView {
    /// When it came last.
    pub at: i64,
    /// The reply, without mailboxes.
    pub text: String,
    /// How often.
    pub times: u32,
}

/// The messages of a campaign, or of a stream of single messages, at a site.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FlowView {
    /// Whose.
    pub workspace: WorkspaceId,
    /// The campaign, or none for single messages.
    pub campaign: Option<CampaignId>,
    /// The stream.
    pub stream: Stream,
    /// The site by which its lanes are known; `unresolved` behind a smarthost.
    pub lane_site: String,
    /// Ready, as far as they are in memory. What may leave by several sources is counted at one of them only.
    pub ready: usize,
    /// Whether there are more of them than that.
    pub more: bool,
    /// Handed out to connections; counted as `ready` is.
    pub claimed: usize,
    /// What holds them back.
    pub hold: Option<Hold>,
}

/// A reply as others may read it: at most 200 characters, and no mailboxes.
pub fn reply_for_people(text: &str) -> String {
    let mut out = String::new();
    for word in text.split_whitespace().take(60) {
        if !out.is_empty() {
            out.push(' ');
        }
        if word.contains('@') {
            out.push_str("<mailbox>");
        } else {
            out.extend(word.chars().filter(|c| !c.is_control()));
        }
        if out.len() > 200 {
            break;
        }
    }
    out.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_name_nobody() {
        let text = "550 5.1.1 <ann@example.org>: Recipient\taddress rejected\u{7}";
        assert_eq!(reply_for_people(text), "550 5.1.1 <mailbox> Recipient address rejected");
        assert_eq!(reply_for_people(&"x".repeat(10_000)).len(), 200);
    }
}
