//! Reports to other domains about how TLS with them went, each day (RFC 8460): looked up, made, and sent by mail or https.
//!
//! Off until the settings say in whose name. Must not know how results are counted (`transport` does), nor how mail leaves: a
//! report by mail is a single message like any other.
//!
//! ```text
//! body    the JSON of one domain and day       mail    its message
//! ```

mod body;
mod mail;

use std::sync::Arc;
use std::time::Duration;

use postrider_domain::id::WorkspaceId;
use postrider_domain::retry::RetryPolicy;
use postrider_domain::route::RouteKind;
use postrider_domain::stream::{Stream, TlsWish};
use postrider_fetch::{FetchRequest, Fetcher};
use postrider_mail::dns_record::others::TlsReportRecord;
use postrider_mail::mailbox::Mailbox;
use postrider_mail::message_id;
use postrider_smtp::ResolveError;
use postrider_store::StoreError;
use postrider_store::lane::UNRESOLVED;
use postrider_store::message::{NewMessage, Recipient};
use postrider_store::tls_report::{DueReport, ReportState};
use postrider_store::transport::day_of;

use crate::shared::Shared;
use body::Report;

const DAY_MS: i64 = 86_400_000;
/// Counts of a day are complete this long after its end, in milliseconds: nodes write them down every few seconds.
const COMPLETE_MS: i64 = 10 * 60_000;
/// Reports of a day are spread over so many milliseconds, so that nobody gets those of the whole world at midnight (RFC 8460 4.1).
const SPREAD_MS: i64 = 4 * 3_600_000;
/// How long a node may take over a report, in milliseconds, before another one takes it.
const TURN_MS: i64 = 10 * 60_000;
/// Reports taken at once.
const TOGETHER: u32 = 16;
/// A report is tried so often, over about a day (RFC 8460 5.6 asks for at most 24 hours).
const MOST_TRIES: u32 = 7;
/// The first pause after a failed try, in milliseconds; it doubles.
const PAUSE_MS: i64 = 15 * 60_000;
/// Places of one record that are served; a record with more is not thought of as an honest one.
const MOST_PLACES: usize = 4;
/// The longest URL of a place, in bytes.
const LONGEST_PLACE: usize = 500;
/// How often the table is looked at, in milliseconds.
const LOOK_MS: i64 = 30_000;
/// Reports are kept so many days.
const KEEP_DAYS: i64 = 40;
/// Rows deleted in one transaction.
const SLICE: u32 = 500;

/// In whose name reports are sent.
#[derive(Debug, Clone)]
pub struct TlsReportConfig {
    /// The From mailbox; its domain must be a sending domain with a key that signs.
    pub from: Mailbox,
    /// The organisation's name, as the report shows it.
    pub organization: String,
    /// Where receivers of reports may write to: a mailbox.
    pub contact: String,
    /// The guarded client, for places over https.
    pub fetcher: Fetcher,
}

/// Makes and sends reports until the engine stops.
pub(crate) async fn run(shared: Arc<Shared>) {
    let Some(config) = shared.config.tls_reports.clone() else { return };
    let (mut opened, mut look_at) = (i64::MIN, i64::MIN);
    while shared.rest(shared.config.times.poll).await {
        if shared.monotonic() < look_at {
            continue;
        }
        look_at = shared.monotonic() + LOOK_MS;
        match work(&shared, &config, &mut opened).await {
            // There may be more: no rest.
            Ok(worked) if worked > 0 => look_at = i64::MIN,
            Ok(_) => {}
            Err(error) => shared.complain("make reports about TLS", &error),
        }
    }
}

/// The day whose reports can be made at a moment.
const fn reportable(now: i64) -> i64 {
    day_of(now - COMPLETE_MS) - 1
}

/// When the report of a domain is made: the same on every node.
fn due_at(day: i64, domain: &str) -> i64 {
    // FNV-1a: any spread will do, as long as every node has the same.
    let hash = domain
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    (day + 1) * DAY_MS + COMPLETE_MS + i64::try_from(hash % SPREAD_MS.unsigned_abs()).unwrap_or(0)
}

async fn work(shared: &Shared, config: &TlsReportConfig, opened: &mut i64) -> Result<usize, StoreError> {
    let day = reportable(shared.now());
    if *opened < day {
        while shared.store.forget_tls_reports(day - KEEP_DAYS, SLICE).await? > 0 {}
        shared.store.open_tls_reports(day, |domain| due_at(day, domain)).await?;
        *opened = day;
    }
    let due = shared.store.claim_tls_reports(shared.now() + TURN_MS, TOGETHER).await?;
    for report in &due {
        if !shared.is_running() {
            break;
        }
        one(shared, config, report, day).await?;
    }
    Ok(due.len())
}

/// What a step with a report came to.
enum Step {
    /// It ended, or its places are known: nothing more to write.
    Done,
    End(ReportState, String),
    Later(String),
}

async fn one(shared: &Shared, config: &TlsReportConfig, report: &DueReport, day: i64) -> Result<(), StoreError> {
    // A report that is more than a day late is of no use to anybody.
    let step = if report.day < day - 1 {
        Step::End(ReportState::Failed, "too late".to_owned())
    } else if report.place.is_empty() {
        find_places(shared, report).await?
    } else if let Some(mailbox) = report.place.strip_prefix("mailto:") {
        by_mail(shared, config, report, mailbox).await?
    } else {
        by_https(shared, config, report).await?
    };
    let (state, detail, again_at) = match step {
        Step::Done => return Ok(()),
        Step::End(state, detail) => (state, detail, None),
        Step::Later(why) if report.attempts >= MOST_TRIES => (ReportState::Failed, why, None),
        Step::Later(why) => {
            let pause = PAUSE_MS << report.attempts.saturating_sub(1).min(MOST_TRIES);
            (ReportState::Due, why, Some(shared.now() + pause))
        }
    };
    tracing::info!(event = "tls_report", domain = report.domain, day = report.day, state = state.as_str(), detail);
    shared.store.end_tls_report(report, state, &detail, again_at).await
}

/// Asks DNS where the reports of a domain go (RFC 8460 3).
async fn find_places(shared: &Shared, report: &DueReport) -> Result<Step, StoreError> {
    let records = match shared.config.resolver.txt(&format!("_smtp._tls.{}", report.domain)).await {
        Ok(records) => records,
        Err(ResolveError::NotFound) => Vec::new(),
        Err(ResolveError::Temporary(why)) => return Ok(Step::Later(format!("DNS gave no answer: {why}"))),
    };
    let ours: Vec<&String> = records.iter().filter(|text| text.starts_with("v=TLSRPTv1")).collect();
    // RFC 8460 3: none or more than one, and there is no policy.
    let [text] = ours[..] else { return Ok(Step::End(ReportState::NotWanted, String::new())) };
    let record = match TlsReportRecord::parse(text) {
        Ok(record) => record,
        Err(error) => return Ok(Step::End(ReportState::NotWanted, format!("its record cannot be read: {error}"))),
    };
    let mut places: Vec<String> = record.reports_to.iter().filter_map(|place| place_of(place)).collect();
    places.sort();
    places.dedup();
    places.truncate(MOST_PLACES);
    if places.is_empty() {
        return Ok(Step::End(ReportState::NotWanted, "its record names no place that can be used".to_owned()));
    }
    shared.store.place_tls_report(report, &places).await?;
    Ok(Step::Done)
}

/// A place in the form in which it is kept; `None` for one that is not served.
fn place_of(uri: &str) -> Option<String> {
    if uri.len() > LONGEST_PLACE || !uri.bytes().all(|byte| byte.is_ascii_graphic()) {
        return None;
    }
    if let Some(rest) = uri.strip_prefix("mailto:") {
        // Headers of a mailto URI are none of our business, and neither is a percent that hides something.
        let mailbox = rest.split('?').next().unwrap_or_default();
        let mailbox = Mailbox::parse(mailbox).ok().filter(|_| !mailbox.contains('%'))?;
        return Some(format!("mailto:{}", mailbox.wire()));
    }
    uri.starts_with("https://").then(|| uri.to_owned())
}

async fn by_https(shared: &Shared, config: &TlsReportConfig, report: &DueReport) -> Result<Step, StoreError> {
    let made = Report::gather(shared, config, report).await?;
    // RFC 8460 5.4: a POST of the packed text.
    let request = FetchRequest::post(report.place.clone(), "application/tlsrpt+gzip", made.packed());
    Ok(match config.fetcher.fetch(request).await {
        Ok(answer) if (200..300).contains(&answer.status) => {
            Step::End(ReportState::Sent, format!("answered {}", answer.status))
        }
        Ok(answer) => Step::Later(format!("answered {}", answer.status)),
        Err(error) => Step::Later(format!("could not be sent: {error}")),
    })
}

async fn by_mail(
    shared: &Shared,
    config: &TlsReportConfig,
    report: &DueReport,
    mailbox: &str,
) -> Result<Step, StoreError> {
    let Ok(to) = Mailbox::parse(mailbox) else {
        return Ok(Step::End(ReportState::Failed, "the mailbox cannot be used".to_owned()));
    };
    let domain = config.from.domain();
    let Some(workspace) = shared.store.workspace_of_domain(domain.as_str()).await? else {
        let why = format!("{domain} is no sending domain with a key that signs: add it, or change tls_report.from");
        return Ok(Step::Later(why));
    };
    let Some(site) = site(shared, workspace).await? else {
        return Ok(Step::Later("the workspace has no route".to_owned()));
    };
    if shared.store.space()?.low {
        return Ok(Step::Later("the disk is nearly full".to_owned()));
    }
    let made = Report::gather(shared, config, report).await?;
    let id = shared.store.new_message_id();
    let facts = mail::Facts {
        from: &config.from,
        to: &to,
        message_id: &message_id::message_id(id.get(), domain, &shared.message_id_key),
        now: shared.now(),
        number: id.get(),
    };
    let bytes = match mail::compose(&facts, &made) {
        Ok(bytes) => bytes,
        Err(error) => return Ok(Step::End(ReportState::Failed, format!("no message can be made: {error}"))),
    };
    let policy = RetryPolicy::default_for(Stream::Transactional);
    let message = NewMessage {
        id,
        workspace,
        stream: Stream::Transactional,
        from_mailbox: config.from.wire(),
        subject: made.subject(),
        bytes,
        recipients: vec![Recipient {
            delivery: shared.store.new_delivery_id(),
            mailbox: to.wire(),
            mailbox_norm: to.normalised(),
            domain: to.domain().as_str().to_owned(),
            contact: None,
        }],
        api_key: None,
        test_of: None,
        version: None,
        max_attempts: policy.max_attempts,
        // RFC 8460 5.6: a day later nobody wants it.
        expires_at: Some(shared.now() + DAY_MS),
        site,
        // What may be told here is that TLS with this domain is broken (RFC 8689 5).
        tls: Some(TlsWish::Optional),
        answer: None,
        relay: None,
    };
    if shared.store.mail_tls_report(shared.node, report, &message).await? {
        tracing::info!(event = "tls_report", domain = report.domain, day = report.day, message = %id);
    }
    Ok(Step::Done)
}

/// The lane of a workspace's single messages; `None` while it has no route.
async fn site(shared: &Shared, workspace: WorkspaceId) -> Result<Option<String>, StoreError> {
    let route = shared.store.default_route(workspace).await?;
    Ok(route.map(|route| match route.settings.kind {
        RouteKind::Mx => UNRESOLVED.to_owned(),
        RouteKind::Smarthost => crate::sites::route_site(route.id),
    }))
}

/// How long the https client waits for an answer.
pub const PATIENCE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_spread_over_the_hours_after_midnight() {
        let times: Vec<i64> = (0..1_000).map(|n| due_at(7, &format!("d{n}.example")) - 8 * DAY_MS).collect();
        assert!(times.iter().all(|at| (COMPLETE_MS..COMPLETE_MS + SPREAD_MS).contains(at)));
        let first_half = times.iter().filter(|at| **at < COMPLETE_MS + SPREAD_MS / 2).count();
        assert!((400..600).contains(&first_half), "{first_half}");
        assert_eq!(due_at(7, "a.example"), due_at(7, "a.example"));
        assert_eq!(reportable(8 * DAY_MS + COMPLETE_MS - 1), 6);
        assert_eq!(reportable(8 * DAY_MS + COMPLETE_MS), 7);
    }

    #[test]
    fn only_plain_mailboxes_and_https_are_places() {
        let long = format!("https://a.example/{}", "x".repeat(LONGEST_PLACE));
        for (uri, want) in [
            ("mailto:tls@a.example", Some("mailto:tls@a.example")),
            ("mailto:tls@a.example?subject=x", Some("mailto:tls@a.example")),
            ("mailto:tls%40b.example@a.example", None),
            ("mailto:", None),
            ("mailto:a@b.example,c@d.example", None),
            ("https://a.example/tls?x=1", Some("https://a.example/tls?x=1")),
            ("http://a.example/tls", None),
            ("file:///etc/passwd", None),
            ("https://a.example/\u{1}", None),
            (long.as_str(), None),
        ] {
            assert_eq!(place_of(uri).as_deref(), want, "{uri}");
        }
    }
}
