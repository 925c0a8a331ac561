//! A campaign: its states, what moves it, what it says and to whom, and what must be right before it starts.

use crate::id::{ListId, PurposeId};

crate::words! {
    /// Where a campaign stands.
    pub enum CampaignState {
        /// Being written.
        Draft = "draft",
        /// Will start at its time.
        Scheduled = "scheduled",
        /// Its audience is being frozen; nothing has left.
        Freezing = "freezing",
        /// Deliveries are handed out.
        Sending = "sending",
        /// No new MAIL FROM until resumed.
        Paused = "paused",
        /// Every delivery has its outcome.
        Done = "done",
        /// Ended by a person; what had not left is cancelled.
        Stopped = "stopped",
        /// Its time passed by more than "not later than" allows; nothing left.
        Missed = "missed",
    }
}

crate::words! {
    /// What a person or the engine does to a campaign.
    pub enum CampaignAction {
        /// Give it a start time.
        Schedule = "schedule",
        /// Take the start time back.
        Unschedule = "unschedule",
        /// Start now (after the undo window).
        Start = "start",
        /// Engine: the audience is being frozen.
        Freeze = "freeze",
        /// Engine: the audience is frozen.
        Launch = "launch",
        /// No new MAIL FROM.
        Pause = "pause",
        /// Go on.
        Resume = "resume",
        /// End it; the rest is cancelled.
        Stop = "stop",
        /// Engine: nothing is left to do.
        Finish = "finish",
        /// Engine: too late to start.
        Miss = "miss",
    }
}

/// The state after an action; `None` when it is not allowed there.
pub const fn after(state: CampaignState, action: CampaignAction) -> Option<CampaignState> {
    use CampaignAction as A;
    use CampaignState as S;
    match (state, action) {
        (S::Draft, A::Schedule | A::Start) => Some(S::Scheduled),
        (S::Scheduled, A::Unschedule) => Some(S::Draft),
        (S::Scheduled, A::Schedule | A::Start) => Some(S::Scheduled),
        (S::Scheduled, A::Freeze) => Some(S::Freezing),
        (S::Scheduled, A::Miss) => Some(S::Missed),
        (S::Scheduled, A::Stop) => Some(S::Stopped),
        (S::Freezing, A::Launch) => Some(S::Sending),
        (S::Freezing, A::Stop) => Some(S::Stopped),
        (S::Sending, A::Pause) => Some(S::Paused),
        (S::Sending, A::Stop) => Some(S::Stopped),
        (S::Sending, A::Finish) => Some(S::Done),
        (S::Paused, A::Resume) => Some(S::Sending),
        (S::Paused, A::Stop) => Some(S::Stopped),
        (S::Paused, A::Finish) => Some(S::Done),
        (S::Missed, A::Schedule | A::Start) => Some(S::Scheduled),
        (S::Missed, A::Unschedule) => Some(S::Draft),
        (
            S::Draft | S::Scheduled | S::Freezing | S::Sending | S::Paused | S::Done | S::Stopped | S::Missed,
            A::Schedule
            | A::Unschedule
            | A::Start
            | A::Freeze
            | A::Launch
            | A::Pause
            | A::Resume
            | A::Stop
            | A::Finish
            | A::Miss,
        ) => None,
    }
}

impl CampaignState {
    /// Whether content and audience may still change.
    pub const fn is_editable(self) -> bool {
        match self {
            CampaignState::Draft | CampaignState::Missed => true,
            CampaignState::Scheduled
            | CampaignState::Freezing
            | CampaignState::Sending
            | CampaignState::Paused
            | CampaignState::Done
            | CampaignState::Stopped => false,
        }
    }

    /// Whether new transactions may begin.
    pub const fn hands_out(self) -> bool {
        match self {
            CampaignState::Sending => true,
            CampaignState::Draft
            | CampaignState::Scheduled
            | CampaignState::Freezing
            | CampaignState::Paused
            | CampaignState::Done
            | CampaignState::Stopped
            | CampaignState::Missed => false,
        }
    }
}

crate::words! {
    /// What the mailing is for; stored with the campaign and reported against (seeds, S5).
    pub enum Objective {
        /// To inform.
        Information = "information",
        /// To be known.
        Awareness = "awareness",
        /// To sell.
        Promotion = "promotion",
        /// To make somebody act.
        Conversion = "conversion",
        /// To keep in touch.
        Engagement = "engagement",
    }
}

crate::words! {
    /// The form in which a body is written.
    pub enum BodyFormat {
        /// HTML.
        Html = "html",
        /// Markdown (CommonMark with tables).
        Markdown = "markdown",
        /// Plain text only.
        Text = "text",
        /// MJML.
        Mjml = "mjml",
        /// A block document: JSON, as text.
        Blocks = "blocks",
    }
}

/// Who gets a campaign: lists in, lists out, and the purpose whose consent is needed.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Audience {
    /// Contacts of any of these lists.
    pub include: Vec<ListId>,
    /// Minus contacts of any of these lists.
    #[serde(default)]
    pub exclude: Vec<ListId>,
    /// The purpose; consent for it is asked of each contact.
    pub purpose: Option<PurposeId>,
}

/// The text of one variant as people write it; saved as it is, checked when tested or started.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Draft {
    /// From mailbox; its domain must be a sending domain of the workspace.
    pub from_mailbox: String,
    /// From display name.
    pub from_name: String,
    /// Reply-To mailbox, empty for none.
    pub reply_to: String,
    /// Subject (a template).
    pub subject: String,
    /// Preheader (a template), empty for none.
    pub preheader: String,
    /// How `body` is written; `html` when empty.
    pub format: Option<BodyFormat>,
    /// The body (a template; for blocks their JSON).
    pub body: String,
    /// The text part (a template); empty: derived from the body.
    pub text: String,
}

crate::words! {
    /// How much a finding weighs.
    pub enum Severity {
        /// Test, schedule and start are refused.
        Error = "error",
        /// Shown; a person decides.
        Warning = "warning",
    }
}

/// One thing that is wrong or doubtful with a campaign, in words that say what to do.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Finding {
    /// Fixed word for programs, e.g. `no_purpose`.
    pub code: String,
    /// Weight.
    pub severity: Severity,
    /// Field that it is about, e.g. `subject`.
    pub field: String,
    /// What is wrong and what to do.
    pub message: String,
    /// Line in the field, 1-based, when known.
    pub line: Option<u32>,
    /// Column in the line, 1-based, when known.
    pub column: Option<u32>,
}

impl Finding {
    /// A finding that refuses the start.
    pub fn error(code: &str, field: &str, message: impl Into<String>) -> Finding {
        Finding {
            code: code.into(),
            severity: Severity::Error,
            field: field.into(),
            message: message.into(),
            line: None,
            column: None,
        }
    }

    /// A finding that is only shown.
    pub fn warning(code: &str, field: &str, message: impl Into<String>) -> Finding {
        Finding { severity: Severity::Warning, ..Finding::error(code, field, message) }
    }

    /// The same with a place in the text.
    #[must_use]
    pub fn at(mut self, line: u32, column: u32) -> Finding {
        self.line = Some(line);
        self.column = Some(column);
        self
    }
}

/// Facts about workspace, domain, route and audience that the pre-launch check needs.
#[derive(Debug, Clone, Default)]
pub struct LaunchFacts {
    /// Controller's name.
    pub controller_name: String,
    /// Postal address.
    pub postal_address: String,
    /// Privacy notice link.
    pub privacy_url: String,
    /// Public address of the installation.
    pub public_url: String,
    /// The From domain is a sending domain of the workspace with an active DKIM key.
    pub from_domain_signs: bool,
    /// A route is chosen or exists as default.
    pub has_route: bool,
    /// The route lets the relay sign, and no received message has proved that it does for the From domain.
    pub relay_is_unproved: bool,
    /// Lists named that exist, and lists named in all.
    pub lists_found: usize,
    /// Lists named by the audience.
    pub lists_named: usize,
    /// The audience names a purpose that exists and is not the tracking one.
    pub purpose_is_usable: bool,
    /// Contacts that would get it now; `None` when not counted.
    pub recipients: Option<i64>,
}

/// What must be right outside the text itself; the text's findings come from `postrider-content`.
pub fn launch_findings(draft: &Draft, audience: &Audience, facts: &LaunchFacts) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut need = |ok: bool, code: &str, field: &str, message: &str| {
        if !ok {
            found.push(Finding::error(code, field, message));
        }
    };
    need(
        !facts.controller_name.trim().is_empty(),
        "no_controller",
        "workspace.controller_name",
        "the workspace has no controller name: set it, every marketing message must carry it (LAW-40)",
    );
    need(
        !facts.postal_address.trim().is_empty(),
        "no_postal_address",
        "workspace.postal_address",
        "the workspace has no postal address: set it, every marketing message must carry it (LAW-40)",
    );
    need(
        facts.public_url.starts_with("https://") || is_loopback_http(&facts.public_url),
        "public_url_not_https",
        "workspace.public_url",
        "the public URL must begin with https:// because one-click unsubscribe needs it (RFC 8058)",
    );
    need(!audience.include.is_empty(), "no_list", "audience.include", "choose at least one list");
    need(
        facts.lists_found == facts.lists_named,
        "unknown_list",
        "audience",
        "a chosen list does not exist in this workspace",
    );
    need(
        facts.purpose_is_usable,
        "no_purpose",
        "audience.purpose",
        "choose the purpose (newsletter or other commercial) that the contacts agreed to",
    );
    need(
        !facts.relay_is_unproved,
        "relay_unproved",
        "route",
        "the route says that the relay signs, and nothing proves it yet: send a test to a mailbox of yours, and hand in the \
         message as it came (POST /api/v1/routes/{route}/relay-proof); unsigned marketing never starts",
    );
    need(facts.has_route, "no_route", "route", "add a route, or choose one: without it nothing can leave");
    match postrider_mail::mailbox::Mailbox::parse(&draft.from_mailbox) {
        Err(error) => need(false, "bad_from", "from_mailbox", &format!("the From mailbox is not usable: {error}")),
        Ok(_) => need(
            facts.from_domain_signs,
            "from_domain_not_ours",
            "from_mailbox",
            "the From domain is not a sending domain of this workspace: add it with `postrider domain add`, so that its mail is signed",
        ),
    }
    if !draft.reply_to.is_empty()
        && let Err(error) = postrider_mail::mailbox::Mailbox::parse(&draft.reply_to)
    {
        need(false, "bad_reply_to", "reply_to", &format!("the Reply-To mailbox is not usable: {error}"));
    }
    need(!draft.subject.trim().is_empty(), "no_subject", "subject", "write a subject");
    need(!draft.body.trim().is_empty(), "no_body", "body", "write a body");
    need(
        facts.recipients != Some(0),
        "no_recipients",
        "audience",
        "nobody would get this campaign: see the exclusions",
    );
    if facts.privacy_url.trim().is_empty() {
        found.push(Finding::warning(
            "no_privacy_url",
            "workspace.privacy_url",
            "the workspace has no privacy notice link",
        ));
    }
    found
}

/// `http://` is good enough where no packet leaves the machine: rehearsals and tests.
fn is_loopback_http(url: &str) -> bool {
    ["http://127.", "http://localhost", "http://[::1]"].iter().any(|p| url.starts_with(p))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leaves_done_or_stopped_and_only_sending_hands_out() {
        for action in CampaignAction::ALL {
            assert_eq!(after(CampaignState::Done, *action), None);
            assert_eq!(after(CampaignState::Stopped, *action), None);
        }
        let handing: Vec<_> = CampaignState::ALL.iter().filter(|s| s.hands_out()).collect();
        assert_eq!(handing, [&CampaignState::Sending]);
    }

    #[test]
    fn an_empty_draft_is_told_everything_that_is_missing_at_once() {
        let found = launch_findings(&Draft::default(), &Audience::default(), &LaunchFacts::default());
        let codes: Vec<&str> = found.iter().map(|f| f.code.as_str()).collect();
        for code in [
            "no_controller",
            "no_postal_address",
            "public_url_not_https",
            "no_list",
            "no_purpose",
            "no_route",
            "bad_from",
            "no_subject",
            "no_body",
        ] {
            assert!(codes.contains(&code), "{code} in {codes:?}");
        }
    }
}
