//! Campaigns as the API shows them: audience, text, policy, schedule, and how they become the domain's own types.
//!
//! Must not know: requests.

use postrider_domain::campaign::{Audience, BodyFormat, CampaignState, Draft, Objective};
use postrider_domain::id::{CampaignId, ListId, PurposeId, RouteId, VariantId};
use postrider_domain::retry::RetryPolicy;
use postrider_domain::schedule::Schedule;
use postrider_domain::stream::{InDoubtPolicy, Stream};
use postrider_store::campaign::Campaign;

use crate::problem::Problem;
use crate::resource::alarm::AlarmView;
use crate::schema::{self as s, Time};

/// Who gets a campaign.
#[derive(Default, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AudienceView {
    /// Contacts of any of these lists.
    #[schema(value_type = Vec<s::ListId>)]
    include: Vec<ListId>,
    /// Minus contacts of any of these lists.
    #[schema(value_type = Vec<s::ListId>)]
    exclude: Vec<ListId>,
    /// The purpose; consent for it is asked of each contact.
    #[schema(value_type = Option<s::PurposeId>)]
    purpose: Option<PurposeId>,
}

/// The text as people write it.
#[derive(Default, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DraftView {
    /// From mailbox; its domain must be a sending domain of the workspace.
    from_mailbox: String,
    /// From display name.
    from_name: String,
    /// Reply-To mailbox.
    reply_to: String,
    /// Subject (a template).
    subject: String,
    /// Preheader (a template).
    preheader: String,
    /// How `body` is written; HTML when not given.
    #[schema(value_type = Option<s::BodyFormat>)]
    format: Option<BodyFormat>,
    /// The body (a template). In the format `blocks`: the JSON document of docs/blocks.md, as text.
    body: String,
    /// The text part (a template); derived from the body when empty.
    text: String,
}

/// When deliveries are tried again and given up.
#[derive(serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyView {
    /// Name for people.
    name: String,
    /// Most attempts, the first included.
    max_attempts: u32,
    /// Gaps between attempts in milliseconds; the last one repeats.
    gaps_ms: Vec<i64>,
    /// Random spread of a gap in percent, both ways.
    jitter_percent: u8,
    /// Longest time from the first attempt, in milliseconds.
    lifetime_ms: i64,
    /// Cap of every SMTP time-out in milliseconds.
    timeout_ms: Option<i64>,
    /// What to do with deliveries in doubt after a crash.
    #[schema(value_type = s::InDoubtPolicy)]
    in_doubt: InDoubtPolicy,
}

/// A preset (`marketing`, `transactional`, `janusmail`, `rehearsal`) or a policy of one's own.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "describes what `policy_of` reads by hand, so that faults are told well")]
pub enum PolicyInput {
    /// The name of a preset.
    Preset(String),
    /// A policy of one's own.
    Own(PolicyView),
}

/// A start time.
#[derive(serde::Serialize, utoipa::ToSchema)]
pub struct ScheduleView {
    /// Local time.
    local: String,
    /// IANA zone.
    zone: String,
    /// Do not start more than this many minutes late.
    not_later_than_minutes: Option<u32>,
}

/// A campaign without its text.
#[derive(serde::Serialize, utoipa::ToSchema)]
pub struct CampaignRow {
    /// Its id.
    #[schema(value_type = s::CampaignId)]
    id: CampaignId,
    /// Its name.
    name: String,
    /// What it is for.
    #[schema(value_type = s::Objective)]
    objective: Objective,
    /// Its stream.
    #[schema(value_type = s::Stream)]
    stream: Stream,
    /// Where it stands.
    #[schema(value_type = s::CampaignState)]
    state: CampaignState,
    /// Who gets it.
    audience: AudienceView,
    /// When deliveries are tried again and given up.
    policy: PolicyView,
    /// How it leaves; null: the default route.
    #[schema(value_type = Option<s::RouteId>)]
    route: Option<RouteId>,
    /// The start time as people wrote it.
    schedule: Option<ScheduleView>,
    /// The start as an instant.
    start_at: Option<Time>,
    /// Until when a start can be taken back.
    undo_until: Option<Time>,
    /// Its share against other campaigns of the workspace; PUT …/weight sets it.
    weight: u32,
    /// The revision; send it with a change.
    rev: i64,
    /// When it was made.
    created_at: Time,
    /// When it was changed last.
    updated_at: Time,
    /// When its audience was frozen.
    frozen_at: Option<Time>,
    /// When sending began.
    launched_at: Option<Time>,
    /// When it ended.
    finished_at: Option<Time>,
    /// The campaign that it was copied from.
    #[schema(value_type = Option<s::CampaignId>)]
    copied_from: Option<CampaignId>,
}

/// A campaign with its text.
#[derive(serde::Serialize, utoipa::ToSchema)]
pub struct CampaignView {
    /// Everything but the text.
    #[serde(flatten)]
    pub campaign: CampaignRow,
    /// The text's variant.
    #[schema(value_type = Option<s::VariantId>)]
    pub variant: Option<VariantId>,
    /// The text.
    pub draft: DraftView,
    /// The text's own revision; send it with a save.
    pub draft_rev: i64,
    /// The alarm that paused it; null when a person did, or it is not paused. Resumed, it pauses again only when it has got
    /// worse by a step.
    #[schema(value_type = Option<AlarmView>)]
    pub paused_because: Option<AlarmView>,
}

impl From<Draft> for DraftView {
    fn from(d: Draft) -> DraftView {
        DraftView {
            from_mailbox: d.from_mailbox,
            from_name: d.from_name,
            reply_to: d.reply_to,
            subject: d.subject,
            preheader: d.preheader,
            format: d.format,
            body: d.body,
            text: d.text,
        }
    }
}

impl From<DraftView> for Draft {
    fn from(v: DraftView) -> Draft {
        Draft {
            from_mailbox: v.from_mailbox,
            from_name: v.from_name,
            reply_to: v.reply_to,
            subject: v.subject,
            preheader: v.preheader,
            format: v.format,
            body: v.body,
            text: v.text,
        }
    }
}

impl From<AudienceView> for Audience {
    fn from(v: AudienceView) -> Audience {
        Audience { include: v.include, exclude: v.exclude, purpose: v.purpose }
    }
}

impl From<Audience> for AudienceView {
    fn from(a: Audience) -> AudienceView {
        AudienceView { include: a.include, exclude: a.exclude, purpose: a.purpose }
    }
}

impl From<RetryPolicy> for PolicyView {
    fn from(p: RetryPolicy) -> PolicyView {
        PolicyView {
            name: p.name,
            max_attempts: p.max_attempts,
            gaps_ms: p.gaps_ms,
            jitter_percent: p.jitter_percent,
            lifetime_ms: p.lifetime_ms,
            timeout_ms: p.timeout_ms,
            in_doubt: p.in_doubt,
        }
    }
}

impl From<Schedule> for ScheduleView {
    fn from(s: Schedule) -> ScheduleView {
        ScheduleView { local: s.local, zone: s.zone, not_later_than_minutes: s.not_later_than_minutes }
    }
}

impl From<Campaign> for CampaignRow {
    fn from(c: Campaign) -> CampaignRow {
        CampaignRow {
            id: c.id,
            name: c.name,
            objective: c.objective,
            stream: c.stream,
            state: c.state,
            audience: c.audience.into(),
            policy: c.policy.into(),
            route: c.route,
            schedule: c.schedule.map(ScheduleView::from),
            start_at: c.start_at.map(Time),
            undo_until: c.undo_until.map(Time),
            weight: c.weight,
            rev: c.rev,
            created_at: Time(c.created_at),
            updated_at: Time(c.updated_at),
            frozen_at: c.frozen_at.map(Time),
            launched_at: c.launched_at.map(Time),
            finished_at: c.finished_at.map(Time),
            copied_from: c.copied_from,
        }
    }
}

/// Reads a preset's name or a whole policy.
///
/// # Errors
/// 422 for an unknown preset or a field outside its range.
pub fn policy_of(value: Option<serde_json::Value>) -> Result<Option<RetryPolicy>, Problem> {
    let Some(value) = value else { return Ok(None) };
    let policy = match value {
        serde_json::Value::Null => return Ok(None),
        serde_json::Value::String(name) => RetryPolicy::preset(&name).ok_or_else(|| {
            Problem::refused("policy: the presets are `marketing`, `transactional`, `janusmail` and `rehearsal`")
        })?,
        own => {
            let v: PolicyView = crate::input::json_text(own.to_string().as_bytes())?;
            RetryPolicy {
                name: v.name,
                max_attempts: v.max_attempts,
                gaps_ms: v.gaps_ms,
                jitter_percent: v.jitter_percent,
                lifetime_ms: v.lifetime_ms,
                timeout_ms: v.timeout_ms,
                in_doubt: v.in_doubt,
            }
        }
    };
    policy.check().map_err(|error| Problem::refused(format!("policy: {error}")))?;
    Ok(Some(policy))
}
