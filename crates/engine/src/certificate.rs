//! Our own certificate: read from files, or ordered from an authority and renewed in time (RFC 8555).
//!
//! The listeners show what stands in a [`CertificateSource`]; this task puts it there. A new one that is no good never takes the
//! place of one that works. Must not know HTTP servers: answers to challenges are rows, and web serves them.
//!
//! ```text
//! files     chain and key of the operator, read again when they change
//! order     one order from the account to the chain        guarded   its requests through the one HTTP client
//! ```

mod files;
mod guarded;
mod order;

use std::sync::Arc;

use postrider_fetch::Fetcher;
use postrider_smtp::{CertificatePair, CertificateSource};
use postrider_store::StoreError;
use postrider_store::certificate::{Certificate, NewCertificate};
use postrider_store::secret::SecretBytes;
use tokio::sync::{Notify, watch};

use crate::shared::{Phase, Shared};

pub use files::CertificateFiles;
pub use order::ExternalAccount;

use order::{OrderFault, Trouble};

/// The database is asked this often whether another node has renewed, in milliseconds.
const LOOK_MS: i64 = 30_000;
/// Files are looked at this often, in milliseconds.
const FILES_MS: i64 = 10_000;
/// An order that takes longer has failed, in milliseconds; until then no other node begins one.
const TURN_MS: i64 = 10 * 60_000;
/// The first pause after a failed order, in milliseconds. Authorities allow five failed proofs an hour and name.
const FIRST_PAUSE_MS: i64 = 15 * 60_000;
/// The first pause when the authority says that we ask too often.
const LIMITED_PAUSE_MS: i64 = 3 * 3_600_000;
/// The longest pause.
const LONGEST_PAUSE_MS: i64 = 24 * 3_600_000;
/// Pauses differ by so much, so that many nodes of many operators do not come at once.
const JITTER: f64 = 0.1;

/// Where our certificate comes from.
#[derive(Clone, Default)]
pub enum CertificateOrigin {
    /// There is none: a proxy in front speaks TLS.
    #[default]
    Nowhere,
    /// Files of the operator.
    Files(CertificateFiles),
    /// An authority that speaks ACME.
    Acme(Arc<AcmeConfig>),
}

/// An authority and what is asked of it.
pub struct AcmeConfig {
    /// The URL of its directory, such as `https://acme-v02.api.letsencrypt.org/directory`.
    pub directory: String,
    /// The host names of the certificate, A-labels in lower case.
    pub names: Vec<String>,
    /// Where the authority may write to, as URLs such as `mailto:admin@example.org`.
    pub contact: Vec<String>,
    /// The account with the authority's owner to which ours is bound (RFC 8555 7.3.4), where it asks for one.
    pub external: Option<ExternalAccount>,
    /// The guarded client; its policy must allow the ports of the directory.
    pub fetcher: Fetcher,
}

/// Our certificate: its origin and where the listeners take it from.
#[derive(Clone, Default)]
pub struct CertificateConfig {
    /// Where it comes from.
    pub origin: CertificateOrigin,
    /// Where it is put.
    pub source: CertificateSource,
    /// Rung by the operator (SIGHUP): look at the files now.
    pub reload: Arc<Notify>,
    /// Set to true when challenges are answered here: no order begins before, since its proof would fail.
    pub listening: Arc<watch::Sender<bool>>,
}

/// The row of an authority's certificate: all nodes with the same names share it.
pub(crate) fn acme_place(names: &[String]) -> String {
    let mut sorted: Vec<&str> = names.iter().map(String::as_str).collect();
    sorted.sort_unstable();
    sorted.dedup();
    format!("acme {}", sorted.join(" "))
}

/// The row of this node's own files.
fn files_place(shared: &Shared) -> String {
    format!("files {}", shared.node.id.get())
}

/// Keeps the certificate fresh until the engine stops.
pub(crate) async fn run(shared: Arc<Shared>) {
    let config = shared.config.certificate.clone();
    let files = files_place(&shared);
    let mine = match &config.origin {
        CertificateOrigin::Nowhere => String::new(),
        CertificateOrigin::Files(_) => files.clone(),
        CertificateOrigin::Acme(acme) => acme_place(&acme.names),
    };
    if let Err(error) = shared.store.forget_certificates_but(&mine, &files).await {
        shared.complain("forget certificates of other names", &error);
    }
    match &config.origin {
        CertificateOrigin::Nowhere => {}
        CertificateOrigin::Files(own) => watch_files(&shared, own, &mine).await,
        CertificateOrigin::Acme(acme) => {
            let mut listening = config.listening.subscribe();
            tokio::select! {
                // The sender is in the configuration, which lives as long as we do.
                _ = listening.wait_for(|listening| *listening) => {}
                () = shared.reached(Phase::Stopping) => return,
            }
            watch_acme(&shared, acme, &mine).await;
        }
    }
}

/// Waits a moment of the machine's own time; false when the engine stops.
async fn wait(shared: &Shared) -> bool {
    tokio::select! {
        () = tokio::time::sleep(shared.config.times.poll) => shared.is_running(),
        () = shared.config.certificate.reload.notified() => shared.is_running(),
        () = shared.reached(Phase::Stopping) => false,
    }
}

async fn watch_files(shared: &Shared, own: &CertificateFiles, place: &str) {
    let mut seen = None;
    let mut look_at = i64::MIN;
    loop {
        let told = tokio::select! {
            () = tokio::time::sleep(shared.config.times.poll) => false,
            () = shared.config.certificate.reload.notified(), if seen.is_some() => true,
            () = shared.reached(Phase::Stopping) => return,
        };
        if !told && shared.monotonic() < look_at {
            continue;
        }
        look_at = shared.monotonic() + FILES_MS;
        let stamp = own.stamp().await;
        // A file that could not be read is tried again by itself; what was read and refused waits until it changes.
        if !told && stamp.is_some() && seen == Some(stamp) {
            continue;
        }
        let before = seen.replace(stamp);
        match own.read(shared.now()).await {
            Ok(pair) => {
                note_files(shared, place, &pair).await;
                shared.config.certificate.source.replace(pair);
            }
            Err(why) if before == Some(stamp) && !told => {
                tracing::debug!(event = "certificate.still_refused", %why);
            }
            Err(why) => {
                tracing::error!(event = "certificate.refused", %why, "the certificate before stays");
                let failed = shared.store.certificate_failed(place, &[], &why.to_string(), None).await;
                complain(shared, failed);
            }
        }
    }
}

async fn note_files(shared: &Shared, place: &str, pair: &CertificatePair) {
    let facts = pair.facts();
    tracing::info!(event = "certificate.loaded", names = %facts.names.join(" "), not_after = facts.not_after);
    let new = NewCertificate {
        place: place.to_owned(),
        names: facts.names.clone(),
        chain: String::new(),
        key: None,
        not_before: facts.not_before,
        not_after: facts.not_after,
    };
    complain(shared, shared.store.keep_certificate(&new).await);
}

fn complain(shared: &Shared, done: Result<(), StoreError>) {
    if let Err(error) = done {
        shared.complain("write down how the certificate fares", &error);
    }
}

/// When a certificate is to be ordered, milliseconds UTC: at once without one, else when a third of its time is left.
/// A failed try puts it off.
pub(crate) fn order_at(row: Option<&Certificate>) -> i64 {
    let Some(row) = row else { return i64::MIN };
    let due = match (row.not_before, row.not_after) {
        (Some(from), Some(until)) => until - until.saturating_sub(from).max(0) / 3,
        (_, _) => i64::MIN,
    };
    due.max(row.next_try_at.unwrap_or(i64::MIN))
}

/// The pause after the `failures`-th failed order in a row, in milliseconds; `spread` from 0 up to 1.
pub(crate) fn pause(failures: u32, trouble: Trouble, spread: f64) -> i64 {
    let first = match trouble {
        Trouble::Ordinary => FIRST_PAUSE_MS,
        Trouble::TooOften => LIMITED_PAUSE_MS,
    };
    let doubled = first.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(LONGEST_PAUSE_MS);
    doubled + (doubled as f64 * JITTER * spread) as i64
}

async fn watch_acme(shared: &Shared, acme: &AcmeConfig, place: &str) {
    let mut shown = 0;
    let mut look_at = i64::MIN;
    loop {
        if shared.monotonic() >= look_at {
            look_at = shared.monotonic() + LOOK_MS;
            match turn(shared, acme, place, &mut shown).await {
                // Look again at once: there is a new one, or its time has come.
                Ok(Turn::Again) => look_at = i64::MIN,
                Ok(Turn::Rest) => {}
                Err(error) => shared.complain("look after the certificate", &error),
            }
        }
        if !wait(shared).await {
            return;
        }
    }
}

enum Turn {
    Again,
    Rest,
}

async fn turn(shared: &Shared, acme: &AcmeConfig, place: &str, shown: &mut i64) -> Result<Turn, StoreError> {
    let row = shared.store.certificate(place).await?;
    let version = row.as_ref().map_or(0, |row| row.version);
    if version > *shown {
        show(shared, place).await?;
        *shown = version;
    }
    if order_at(row.as_ref()) > shared.now() {
        return Ok(Turn::Rest);
    }
    let until = shared.now() + TURN_MS;
    if !shared.store.claim_certificate(place, &acme.names, shared.node.id, version, until).await? {
        return Ok(Turn::Rest);
    }
    tracing::info!(event = "certificate.ordered", names = %acme.names.join(" "), authority = acme.directory);
    let limit = std::time::Duration::from_millis(TURN_MS.unsigned_abs() / 2);
    let ordered = tokio::select! {
        ordered = tokio::time::timeout(limit, order::order(shared, acme)) => ordered,
        () = shared.reached(Phase::Stopping) => return Ok(Turn::Rest),
    };
    let issued = match ordered.unwrap_or_else(|_| Err(OrderFault::ordinary("the authority was too slow"))) {
        Ok((chain, key)) => CertificatePair::read(chain.as_bytes(), key.as_bytes(), shared.now())
            .map(|pair| (pair, chain, key))
            .map_err(|fault| OrderFault::ordinary(format!("the authority sent something that is no use: {fault}"))),
        Err(fault) => Err(fault),
    };
    match issued {
        Ok((pair, chain, key)) => {
            let facts = pair.facts().clone();
            let new = NewCertificate {
                place: place.to_owned(),
                names: acme.names.clone(),
                chain,
                key: Some(SecretBytes::new(key.as_bytes().to_vec())),
                not_before: facts.not_before,
                not_after: facts.not_after,
            };
            shared.store.keep_certificate(&new).await?;
            tracing::info!(event = "certificate.issued", names = %facts.names.join(" "), not_after = facts.not_after);
            Ok(Turn::Again)
        }
        Err(fault) => {
            let failures = row.as_ref().map_or(0, |row| row.failures).saturating_add(1);
            let next = shared.now() + pause(failures, fault.trouble, shared.spread());
            tracing::warn!(event = "certificate.not_issued", why = %fault.text, failures, next);
            shared.store.certificate_failed(place, &acme.names, &fault.text, Some(next)).await?;
            Ok(Turn::Rest)
        }
    }
}

/// Puts the stored certificate where the listeners take it from.
async fn show(shared: &Shared, place: &str) -> Result<(), StoreError> {
    let Some((chain, key)) = shared.store.certificate_pair(place).await? else { return Ok(()) };
    match CertificatePair::read(chain.as_bytes(), key.reveal(), shared.now()) {
        Ok(pair) => shared.config.certificate.source.replace(pair),
        // One that ran out while nobody was here: the next order mends it.
        Err(why) => tracing::warn!(event = "certificate.refused", %why),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(from: Option<i64>, until: Option<i64>, next: Option<i64>) -> Certificate {
        Certificate {
            place: "acme a.example".into(),
            names: vec!["a.example".into()],
            chain: None,
            not_before: from,
            not_after: until,
            version: 1,
            failures: 0,
            last_error: None,
            failed_at: None,
            next_try_at: next,
        }
    }

    #[test]
    fn a_certificate_is_renewed_when_a_third_of_its_time_is_left() {
        const DAY: i64 = 86_400_000;
        assert_eq!(order_at(None), i64::MIN);
        assert_eq!(order_at(Some(&row(None, None, None))), i64::MIN);
        assert_eq!(order_at(Some(&row(None, None, Some(7)))), 7);
        assert_eq!(order_at(Some(&row(Some(0), Some(90 * DAY), None))), 60 * DAY);
        assert_eq!(order_at(Some(&row(Some(0), Some(6 * DAY), None))), 4 * DAY);
        assert_eq!(order_at(Some(&row(Some(0), Some(90 * DAY), Some(61 * DAY)))), 61 * DAY);
    }

    #[test]
    fn pauses_stay_below_five_tries_an_hour_and_end_at_a_day() {
        let minutes: Vec<i64> = (1..=9).map(|n| pause(n, Trouble::Ordinary, 0.0) / 60_000).collect();
        assert_eq!(minutes, [15, 30, 60, 120, 240, 480, 960, 1440, 1440]);
        assert_eq!(pause(1, Trouble::TooOften, 0.0), 3 * 3_600_000);
        assert_eq!(pause(u32::MAX, Trouble::TooOften, 0.0), LONGEST_PAUSE_MS);
        assert!(pause(1, Trouble::Ordinary, 0.999) < FIRST_PAUSE_MS * 11 / 10);
    }

    #[test]
    fn nodes_with_the_same_names_share_a_row() {
        let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(acme_place(&names(&["b.example", "a.example"])), acme_place(&names(&["a.example", "b.example"])));
        assert_ne!(acme_place(&names(&["a.example"])), acme_place(&names(&["b.example"])));
    }
}
