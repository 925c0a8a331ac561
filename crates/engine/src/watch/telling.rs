//! Mail to administrators: one for what was raised, one when it is over, those of a minute together, never too many.
//!
//! An ordinary transactional message of the workspace. An alarm about the very route that would carry it is shown and not
//! mailed. Must not know how a message leaves.

use postrider_content::{SingleMessage, compose_single};
use postrider_domain::alarm::{AlarmKind, AlarmSettings, remedy};
use postrider_domain::id::{RouteId, WorkspaceId};
use postrider_domain::retry::RetryPolicy;
use postrider_domain::route::RouteKind;
use postrider_domain::schedule::report_time;
use postrider_domain::stream::Stream;
use postrider_mail::mailbox::Mailbox;
use postrider_mail::message_id;
use postrider_store::StoreError;
use postrider_store::alarm::Alarm;
use postrider_store::lane::UNRESOLVED;
use postrider_store::message::{NewMessage, Recipient};
use postrider_store::workspace::Workspace;

use crate::shared::Shared;

/// After a mail nothing is sent for so long, in milliseconds: what is raised meanwhile goes together.
const GATHER_MS: i64 = 60_000;
/// Most mails of an hour to the administrators of a workspace.
const MOST_AN_HOUR: usize = 10;
/// Most alarms that one mail tells; the next mail tells the others.
const MOST_IN_MAIL: usize = 50;

/// Who tells.
#[derive(Default)]
pub(super) struct Telling;

impl Telling {
    /// Sends what is to be told now.
    pub(super) async fn look(&self, shared: &Shared) -> Result<(), StoreError> {
        let settings = shared.store.all_alarm_settings().await?;
        let mut installation_told = false;
        for (workspace, settings) in settings.iter().filter(|(_, settings)| settings.mails()) {
            // Of several workspaces that want the installation's alarms the oldest gets them.
            let of_installation =
                settings.installation && !std::mem::replace(&mut installation_told, settings.installation);
            match tell(shared, *workspace, settings, of_installation).await {
                // Shown, and told when there is room again.
                Ok(()) | Err(StoreError::Full { .. }) => {}
                Err(error) => shared.complain("mail about alarms", &error),
            }
        }
        Ok(())
    }
}

async fn tell(
    shared: &Shared,
    workspace: WorkspaceId,
    settings: &AlarmSettings,
    of_installation: bool,
) -> Result<(), StoreError> {
    let store = &shared.store;
    let now = shared.now();
    let untold = store.untold_alarms(workspace, of_installation).await?;
    if untold.raised.is_empty() && untold.ended.is_empty()
        || untold.last_mail_at.is_some_and(|at| now - at < GATHER_MS && at <= now)
        || untold.mails_of_hour >= MOST_AN_HOUR
    {
        return Ok(());
    }
    let route = match settings.route {
        Some(id) => match store.route(workspace, id).await {
            Ok(route) => Some(route),
            Err(StoreError::NotFound { .. }) => store.default_route(workspace).await?,
            Err(error) => return Err(error),
        },
        None => store.default_route(workspace).await?,
    };
    let Some(route) = route else { return Ok(()) };
    let mut raised = untold.raised;
    raised.retain(|alarm| settings.severities.contains(&alarm.severity) && !is_about_route(alarm, route.id));
    raised.truncate(MOST_IN_MAIL);
    let mut ended = untold.ended;
    ended.truncate(MOST_IN_MAIL - raised.len());
    if raised.is_empty() && ended.is_empty() {
        return Ok(());
    }
    let place = store.workspace(workspace).await?;
    let from = Mailbox::parse(&settings.from).map_err(|_| StoreError::refused("the sender of alarms is no mailbox"))?;
    let to: Vec<Mailbox> = settings.to.iter().filter_map(|text| Mailbox::parse(text).ok()).collect();
    let id = store.new_message_id();
    let subject = subject(&raised, &ended);
    let bytes = compose_single(&SingleMessage {
        from_name: "Postrider",
        from: &from,
        to: &to,
        reply_to: None,
        subject: &subject,
        text: Some(&text(&place, &raised, &ended)),
        html: None,
        message_id: &message_id::message_id(id.get(), from.domain(), &shared.message_id_key),
        date_ms: now,
        number: id.get(),
    })
    .map_err(|error| StoreError::refused(format!("could not make the mail about alarms: {error}")))?;
    let policy = RetryPolicy::default_for(Stream::Transactional);
    let mail = NewMessage {
        id,
        workspace,
        stream: Stream::Transactional,
        from_mailbox: from.wire(),
        subject,
        bytes,
        recipients: to.iter().map(|mailbox| recipient(shared, mailbox)).collect(),
        api_key: None,
        test_of: None,
        version: None,
        max_attempts: policy.max_attempts,
        expires_at: Some(now + policy.lifetime_ms),
        site: match route.settings.kind {
            RouteKind::Mx => UNRESOLVED.to_owned(),
            RouteKind::Smarthost => crate::sites::route_site(route.id),
        },
        tls: None,
        answer: None,
        relay: None,
    };
    let ids = |alarms: &[Alarm]| alarms.iter().map(|alarm| alarm.id).collect::<Vec<_>>();
    let other = Some(route.id).filter(|_| !route.is_default);
    store.tell_alarms(&ids(&raised), &ids(&ended), &mail, other).await?;
    Ok(())
}

fn recipient(shared: &Shared, mailbox: &Mailbox) -> Recipient {
    Recipient {
        delivery: shared.store.new_delivery_id(),
        mailbox: mailbox.wire(),
        mailbox_norm: mailbox.normalised(),
        domain: mailbox.domain().as_str().to_owned(),
        contact: None,
    }
}

/// A mail about the very route that carries it would go round in circles, or not go at all.
fn is_about_route(alarm: &Alarm, route: RouteId) -> bool {
    let own = crate::sites::route_site(route);
    let source = alarm.facts["source"].as_str() == Some(&route.to_string());
    match alarm.kind {
        AlarmKind::Block | AlarmKind::MassUnknown | AlarmKind::SourceMissing | AlarmKind::WarmupPaused => {
            alarm.subject == own || source
        }
        // Nothing new is taken while the disk is full.
        AlarmKind::Disk => true,
        AlarmKind::Database
        | AlarmKind::Clock
        | AlarmKind::Dns
        | AlarmKind::Certificate
        | AlarmKind::DomainRed
        | AlarmKind::TlsLost
        | AlarmKind::Bounces
        | AlarmKind::Complaints
        | AlarmKind::CampaignPaused
        | AlarmKind::CampaignMissed => false,
    }
}

fn subject(raised: &[Alarm], ended: &[Alarm]) -> String {
    let cut = |text: String| text.chars().take(150).collect::<String>();
    match (raised, ended) {
        ([one], []) => cut(format!("Alarm: {}", one.sentence().trim_end_matches('.'))),
        ([], [one]) => cut(format!("Resolved: {}", one.sentence().trim_end_matches('.'))),
        (many, []) => format!("{} alarms", many.len()),
        ([], many) => format!("{} alarms are resolved", many.len()),
        (raised, ended) => format!("{} alarms, {} resolved", raised.len(), ended.len()),
    }
}

fn text(place: &Workspace, raised: &[Alarm], ended: &[Alarm]) -> String {
    let at = |ms: i64| report_time(ms, &place.time_zone);
    let mut out = String::new();
    for alarm in raised {
        out.push_str(&format!(
            "{}: {}\nSince {}.\nWhat to do: {}\n\n",
            alarm.severity.as_str().to_uppercase(),
            alarm.sentence(),
            at(alarm.raised_at),
            remedy(alarm.kind)
        ));
    }
    for alarm in ended {
        let until = alarm.resolved_at.map(at).unwrap_or_default();
        out.push_str(&format!("RESOLVED: {}\nFrom {} to {until}.\n\n", alarm.sentence(), at(alarm.raised_at)));
    }
    out.push_str(&format!("Workspace: {}", place.name));
    if !place.public_url.is_empty() {
        out.push_str(&format!("\n{}", place.public_url));
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use postrider_domain::alarm::AlarmSeverity;
    use postrider_domain::id::AlarmId;
    use serde_json::json;

    fn alarm(kind: AlarmKind, subject: &str) -> Alarm {
        Alarm {
            id: AlarmId(1),
            workspace: None,
            kind,
            subject: subject.into(),
            severity: AlarmSeverity::Critical,
            level: 0,
            facts: json!({ "free_mib": 3, "reply": "550 \r\nBcc: everybody@example.org" }),
            raised_at: 0,
            last_seen_at: 0,
            acknowledged_at: None,
            acknowledged_by: None,
            resolved_at: None,
            paused_at: None,
            told_at: None,
        }
    }

    #[test]
    fn an_alarm_about_the_route_is_not_mailed_by_it() {
        let (own, other) = (RouteId(5), RouteId(6));
        let blocked = alarm(AlarmKind::Block, &crate::sites::route_site(own));
        assert!(is_about_route(&blocked, own) && !is_about_route(&blocked, other));
        assert!(!is_about_route(&alarm(AlarmKind::Block, "google"), own));
        assert!(is_about_route(&alarm(AlarmKind::Disk, "main"), other));
    }

    #[test]
    fn subjects_are_one_line_whatever_a_host_said() {
        let one = alarm(AlarmKind::Block, "google");
        let text = subject(std::slice::from_ref(&one), &[]);
        assert_eq!(text, "Alarm: The site google refuses our mail: 550   Bcc: everybody@example.org");
        assert_eq!(subject(&[one.clone(), one.clone()], &[]), "2 alarms");
        assert_eq!(subject(&[one.clone(), one.clone()], &[one]), "2 alarms, 1 resolved");
    }
}
