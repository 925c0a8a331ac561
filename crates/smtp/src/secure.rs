//! Opening one MX host by the TLS ladder: connect, look, decide, and at most one more try in clear.
//!
//! Runs what `ladder` decides. Does not know which hosts a domain has, nor what becomes of a message.

use std::time::Duration;

use postrider_mail::stage::Stage;

use crate::client::{Connection, Failure, FailureKind, OpenParams};
use crate::dial::{DialError, Dialer, Target};
use crate::ladder::{Ask, Decision, DomainPolicy, HostFacts, Refusal, Seen, Standing, decide};
use crate::tls::{TlsClient, TlsFault, TlsMode};
use crate::tls_report::Finding;

/// A connection that may carry mail for the domain that it was opened for.
#[derive(Debug)]
pub struct Secured {
    /// The connection.
    pub connection: Connection,
    /// How it stands, for the attempt's row.
    pub standing: Standing,
    /// What was asked of it, for the next domain that may want to use it.
    pub ask: Ask,
}

/// Why there is no connection to this host at this address.
#[derive(Debug)]
pub enum Unopened {
    /// It was not reached.
    Dial(DialError),
    /// The TCP handshake took longer than this.
    Slow(Duration),
    /// The dialogue went wrong, and not because of TLS.
    Dialogue(Failure),
    /// The ladder says no.
    Refused(Refusal),
}

/// Opens a host; `params.tls` is set here. Everything to count is pushed to `findings`, also when it fails.
pub async fn open(
    dialer: &dyn Dialer,
    target: Target,
    params: &OpenParams,
    tls: &TlsClient,
    (policy, facts): (&DomainPolicy, &HostFacts),
    findings: &mut Vec<Finding>,
) -> Result<Secured, Unopened> {
    let refuse = |refusal: Refusal, findings: &mut Vec<Finding>| {
        findings.extend(refusal.finding.clone());
        Err(Unopened::Refused(refusal))
    };
    let ask = match decide(policy, facts, &Seen::Nothing) {
        Decision::Connect(ask, _) => ask,
        Decision::NextHost(refusal) => return refuse(refusal, findings),
        Decision::GoOn(..) | Decision::RetryInClear(_) => unreachable!("nothing was seen yet"),
    };
    let mut params = params.clone();
    params.tls = ask.mode(&policy.domain);
    let seen = match dial_and_open(dialer, target, &params, tls).await {
        Ok(connection) => {
            let seen = seen(&connection);
            match decide(policy, facts, &seen) {
                Decision::GoOn(standing, finding) => {
                    findings.extend(finding);
                    return Ok(Secured { connection, standing, ask });
                }
                Decision::NextHost(refusal) => {
                    connection.quit().await;
                    return refuse(refusal, findings);
                }
                Decision::Connect(..) | Decision::RetryInClear(_) => unreachable!("the connection stands"),
            }
        }
        Err(Unopened::Dialogue(failure)) => match fault(&failure) {
            Some(fault) => fault,
            None => return Err(Unopened::Dialogue(failure)),
        },
        Err(error) => return Err(error),
    };
    match decide(policy, facts, &seen) {
        Decision::RetryInClear(finding) => findings.extend(finding),
        Decision::NextHost(refusal) => return refuse(refusal, findings),
        Decision::GoOn(..) | Decision::Connect(..) => unreachable!("no connection stands"),
    }
    params.tls = TlsMode::Never;
    let connection = dial_and_open(dialer, target, &params, tls).await?;
    Ok(Secured { connection, standing: Standing::ClearAfterFailure, ask })
}

async fn dial_and_open(
    dialer: &dyn Dialer,
    target: Target,
    params: &OpenParams,
    tls: &TlsClient,
) -> Result<Connection, Unopened> {
    let within = params.timeouts.connect;
    let stream = match tokio::time::timeout(within, dialer.dial(target)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(Unopened::Dial(error)),
        Err(_) => return Err(Unopened::Slow(within)),
    };
    Connection::open(stream, params, tls).await.map_err(Unopened::Dialogue)
}

fn seen(connection: &Connection) -> Seen {
    match connection.tls() {
        Some(info) => Seen::Secured { info: info.clone(), offers_require_tls: connection.capabilities().require_tls },
        None if connection.declined_tls() => Seen::Declined,
        None => Seen::NotOffered,
    }
}

/// What a failed dialogue says about TLS, if it failed at TLS.
fn fault(failure: &Failure) -> Option<Seen> {
    match &failure.kind {
        FailureKind::Tls(tls) if tls.fault == TlsFault::NotOffered => Some(Seen::NotOffered),
        FailureKind::Tls(tls) => Some(Seen::Failed(tls.fault)),
        // A 421 is about us or its load, any other refusal of STARTTLS about TLS.
        FailureKind::Refused(reply) if failure.stage == Stage::Tls && reply.code != 421 => Some(Seen::Declined),
        FailureKind::Timeout if failure.stage == Stage::Tls => Some(Seen::Failed(TlsFault::Handshake)),
        FailureKind::Closed if failure.stage == Stage::Tls => Some(Seen::Failed(TlsFault::Handshake)),
        FailureKind::Refused(_)
        | FailureKind::Timeout
        | FailureKind::Closed
        | FailureKind::IdleClosed
        | FailureKind::Protocol(_)
        | FailureKind::AuthUnavailable(_)
        | FailureKind::TooLarge { .. }
        | FailureKind::NeedsSmtpUtf8
        | FailureKind::NeedsRequireTls
        | FailureKind::Unfit(_) => None,
    }
}
