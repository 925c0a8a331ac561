//! The TLS matrix: every kind of host under every kind of policy, with real handshakes on loopback. The expected
//! outcomes stand here, and docs/tls.md holds the same table.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;

use postrider_smtp::dane::{Dane, DaneRecords, Tlsa};
use postrider_smtp::ladder::{ClearRetry, Demand, DomainPolicy, Hope, HostFacts, NameTrust, Standing, Sts, Why};
use postrider_smtp::secure::{self, Secured, Unopened};
use postrider_smtp::sts::StsPolicy;
use postrider_smtp::tls_report::{Finding, PolicyKind, ResultKind};
use postrider_smtp::{AddressPolicy, Envelope, Port, Target, TcpDialer, Trust};

use crate::lab::{Authority, HOST, KINDS, LabHost, Taken, names, params};
use crate::rig::mailbox;

/// A row of the matrix.
struct Row {
    name: &'static str,
    sts: Option<&'static str>,
    dane: fn(&Authority, &LabHost) -> Dane,
    signed: NameTrust,
    demand: Demand,
    retry: ClearRetry,
    host_offers_require_tls: bool,
    /// One word a host, in the order of `KINDS`.
    expected: &'static str,
}

const TESTING: &str = "version: STSv1\nmode: testing\nmx: mx.lab.test\nmax_age: 86400\n";
const TESTING_OTHER: &str = "version: STSv1\nmode: testing\nmx: other.test\nmax_age: 86400\n";
const ENFORCE: &str = "version: STSv1\nmode: enforce\nmx: *.lab.test\nmax_age: 86400\n";
const ENFORCE_OTHER: &str = "version: STSv1\nmode: enforce\nmx: other.test\nmax_age: 86400\n";

fn no_dane(_: &Authority, _: &LabHost) -> Dane {
    Dane::NotAsked
}

fn records(records: Vec<Tlsa>) -> Dane {
    Dane::Records(Arc::new(DaneRecords { base: HOST.to_owned(), records }))
}

/// DANE-EE for the host's own certificate; for a host without one, for some other.
fn end_entity(authority: &Authority, host: &LabHost) -> Dane {
    records(vec![names(3, host.certificate.as_deref().unwrap_or(&authority.der()))])
}

fn other_key(authority: &Authority, _: &LabHost) -> Dane {
    records(vec![names(3, &authority.der())])
}

fn anchor(authority: &Authority, _: &LabHost) -> Dane {
    records(vec![names(2, &authority.der())])
}

/// PKIX-EE, which mail does not use.
fn unusable(_: &Authority, host: &LabHost) -> Dane {
    records(vec![names(1, host.certificate.as_deref().unwrap_or(b"x"))])
}

fn bogus(_: &Authority, _: &LabHost) -> Dane {
    Dane::Failed("the validating resolver answered Server Failure".to_owned())
}

fn signed_without(_: &Authority, _: &LabHost) -> Dane {
    Dane::NoRecords
}

const PLAIN: Row = Row {
    name: "none",
    sts: None,
    dane: no_dane,
    signed: NameTrust::Dns,
    demand: Demand::Ladder,
    retry: ClearRetry::Off,
    host_offers_require_tls: false,
    expected: "unauth unauth unauth unauth clear clear clear later later",
};

#[rustfmt::skip]
const ROWS: &[Row] = &[
    PLAIN,
    Row { name: "none, clear retry on", retry: ClearRetry::On, expected: "unauth unauth unauth unauth clear clear clear clear later", ..PLAIN },
    Row { name: "signed, no TLSA", dane: signed_without, signed: NameTrust::Signed, ..PLAIN },
    Row { name: "MTA-STS testing", sts: Some(TESTING), ..PLAIN },
    Row { name: "MTA-STS testing, host not listed", sts: Some(TESTING_OTHER), ..PLAIN },
    Row { name: "MTA-STS enforce", sts: Some(ENFORCE), expected: "MTA-STS later later later later later later later later", ..PLAIN },
    Row { name: "MTA-STS enforce, clear retry on", sts: Some(ENFORCE), retry: ClearRetry::On, expected: "MTA-STS later later later later later later later later", ..PLAIN },
    Row { name: "MTA-STS enforce, host not listed", sts: Some(ENFORCE_OTHER), expected: "later later later later later later later later later", ..PLAIN },
    Row { name: "DANE-EE", dane: end_entity, signed: NameTrust::Signed, expected: "DANE DANE DANE DANE later later later later later", ..PLAIN },
    Row { name: "DANE-EE, clear retry on", dane: end_entity, signed: NameTrust::Signed, retry: ClearRetry::On, expected: "DANE DANE DANE DANE later later later later later", ..PLAIN },
    Row { name: "DANE-EE of another key", dane: other_key, signed: NameTrust::Signed, expected: "later later later later later later later later later", ..PLAIN },
    Row { name: "DANE-TA", dane: anchor, signed: NameTrust::Signed, expected: "DANE later later later later later later later later", ..PLAIN },
    Row { name: "DANE, no usable record", dane: unusable, signed: NameTrust::Signed, expected: "unauth unauth unauth unauth later later later later later", ..PLAIN },
    Row { name: "DANE, no usable record, and MTA-STS enforce", dane: unusable, sts: Some(ENFORCE), signed: NameTrust::Signed, expected: "MTA-STS later later later later later later later later", ..PLAIN },
    Row { name: "DANE bogus", dane: bogus, expected: "later later later later later later later later later", ..PLAIN },
    Row { name: "DANE-EE and MTA-STS enforce, host not listed", dane: end_entity, sts: Some(ENFORCE_OTHER), signed: NameTrust::Signed, expected: "DANE DANE DANE DANE later later later later later", ..PLAIN },
    Row { name: "REQUIRETLS, signed DNS", demand: Demand::RequireTls, dane: signed_without, signed: NameTrust::Signed, host_offers_require_tls: true, expected: "REQUIRETLS later later later never never never later later", ..PLAIN },
    Row { name: "REQUIRETLS, host does not offer it", demand: Demand::RequireTls, dane: signed_without, signed: NameTrust::Signed, expected: "never later later later never never never later later", ..PLAIN },
    Row { name: "REQUIRETLS and DANE-EE", demand: Demand::RequireTls, dane: end_entity, signed: NameTrust::Signed, host_offers_require_tls: true, expected: "REQUIRETLS REQUIRETLS REQUIRETLS REQUIRETLS never never never later later", ..PLAIN },
    Row { name: "REQUIRETLS and MTA-STS testing", demand: Demand::RequireTls, sts: Some(TESTING), host_offers_require_tls: true, expected: "REQUIRETLS later later later never never never later later", ..PLAIN },
    Row { name: "REQUIRETLS, unsigned DNS and no policy", demand: Demand::RequireTls, host_offers_require_tls: true, expected: "never never never never never never never never never", ..PLAIN },
    Row { name: "rule: encrypted", demand: Demand::Encrypted, expected: "unauth unauth unauth unauth later later later later later", ..PLAIN },
    Row { name: "rule: encrypted, and MTA-STS enforce", demand: Demand::Encrypted, sts: Some(ENFORCE), expected: "MTA-STS later later later later later later later later", ..PLAIN },
    Row { name: "rule: verified", demand: Demand::Verified, expected: "verified later later later later later later later later", ..PLAIN },
    Row { name: "rule: opportunistic, against MTA-STS enforce", demand: Demand::Opportunistic, sts: Some(ENFORCE_OTHER), expected: "unauth unauth unauth unauth clear clear clear later later", ..PLAIN },
    Row { name: "rule: opportunistic, against DANE bogus", demand: Demand::Opportunistic, dane: bogus, expected: "unauth unauth unauth unauth clear clear clear later later", ..PLAIN },
    Row { name: "rule: clear", demand: Demand::Clear, expected: "clear clear clear clear clear clear clear clear clear", ..PLAIN },
];

fn policy(row: &Row) -> DomainPolicy {
    let sts = row.sts.map(|text| Arc::new(StsPolicy::parse(text).expect("a policy of the test")));
    DomainPolicy {
        domain: "lab.test".to_owned(),
        sts: match sts {
            None => Sts::None,
            Some(policy) if policy.mode == postrider_smtp::sts::StsMode::Enforce => Sts::Enforce(policy),
            Some(policy) => Sts::Testing(policy),
        },
        demand: row.demand,
        clear_retry: row.retry,
    }
}

async fn open(row: &Row, authority: &Authority, host: &LabHost) -> (Result<Secured, Unopened>, Vec<Finding>) {
    let dialer = TcpDialer { mx_port: host.port, ..TcpDialer::new(AddressPolicy::allow_loopback()) };
    let target = Target { address: IpAddr::V4(Ipv4Addr::LOCALHOST), port: Port::Mx, source: None };
    let facts = HostFacts { host: HOST.to_owned(), dane: (row.dane)(authority, host), name: row.signed };
    let mut findings = Vec::new();
    let opened =
        secure::open(&dialer, target, &params(), &authority.client(), (&policy(row), &facts), &mut findings).await;
    (opened, findings)
}

/// Sends one message, so that what the host saw of it can be compared with what we say.
async fn send(mut secured: Secured, require_tls: bool) {
    let envelope = Envelope {
        reverse_path: Some(mailbox("from@us.test")),
        forward_path: mailbox("to@lab.test"),
        size: 5,
        smtputf8: false,
        require_tls,
    };
    secured.connection.begin(&envelope).await.expect("the host takes anything");
    secured.connection.finish(crate::rig::MESSAGE).await.expect("the host takes anything");
    secured.connection.quit().await;
}

fn word(opened: &Result<Secured, Unopened>) -> &'static str {
    match opened {
        Ok(secured) => match (&secured.standing, secured.connection.tls()) {
            (Standing::Tls(_, Why::Dane), Some(info)) if info.trust == Trust::Dane => "DANE",
            (Standing::Tls(_, Why::StsEnforce), Some(info)) if info.trust == Trust::Verified => "MTA-STS",
            (Standing::Tls(_, Why::RequireTls), Some(info)) if matches!(info.trust, Trust::Verified | Trust::Dane) => {
                "REQUIRETLS"
            }
            (Standing::Tls(_, Why::Rule), Some(info))
                if matches!(secured.ask, postrider_smtp::ladder::Ask::Verified) && info.trust == Trust::Verified =>
            {
                "verified"
            }
            (Standing::Tls(_, Why::Nobody | Why::StsTesting | Why::DaneUnusable | Why::Rule), Some(_)) => "unauth",
            (
                Standing::ClearNotOffered
                | Standing::ClearDeclined
                | Standing::ClearAfterFailure
                | Standing::ClearByRule,
                None,
            ) => "clear",
            (standing, info) => panic!("{standing:?} over {info:?}"),
        },
        Err(Unopened::Refused(refusal)) => match refusal.hope {
            Hope::Later => "later",
            Hope::Never => "never",
        },
        Err(error) => panic!("{error:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_matrix_is_as_the_table_says() {
    let authority = Authority::new();
    let (mut wrong, mut cases, mut table) = (Vec::new(), 0, String::new());
    let _ = writeln!(table, "| asked for |{}", KINDS.map(|(_, name)| format!(" {name} |")).concat());
    let _ = writeln!(table, "|---|{}", "---|".repeat(KINDS.len()));
    for row in ROWS {
        let expected: Vec<&str> = row.expected.split(' ').collect();
        assert_eq!(expected.len(), KINDS.len(), "{}", row.name);
        let _ = write!(table, "| {} |", row.name);
        for ((kind, name), expected) in KINDS.into_iter().zip(expected) {
            cases += 1;
            let host = authority.host(kind, row.host_offers_require_tls).await;
            let (opened, findings) = open(row, &authority, &host).await;
            let found = word(&opened);
            let _ = write!(table, " {found} |");
            if found != expected {
                wrong.push(format!("{} with a host that is {name}: {found} and not {expected}", row.name));
            }
            if let Err(Unopened::Refused(refusal)) = &opened {
                let status = if refusal.hope == Hope::Never { "5.7.30" } else { "4.7." };
                assert!(refusal.status.starts_with(status), "{refusal:?}");
                assert!(refusal.text.contains(HOST) && !refusal.text.contains("by nobody"), "{}", refusal.text);
            }
            let reached = opened.is_ok();
            if let Ok(secured) = opened {
                let under_tls = secured.connection.tls().is_some();
                send(secured, row.demand == Demand::RequireTls).await;
                let taken = host.taken.lock().expect("no panic").clone();
                let [Taken { under_tls: seen, mail }] = &taken[..] else { panic!("{taken:?}") };
                assert_eq!(*seen, under_tls, "{} {name}: the host sees what we say", row.name);
                assert_eq!(mail.ends_with(" REQUIRETLS"), row.demand == Demand::RequireTls, "{mail}");
            }
            if !reached {
                assert_eq!(*host.taken.lock().expect("no panic"), [], "{} {name}: nothing was sent", row.name);
            }
            // What is refused or in clear by no will of ours is a failure to report.
            let failed = findings.iter().any(|finding| finding.result != ResultKind::Success);
            let clear_by_rule = row.demand == Demand::Clear;
            if (found == "later" || found == "clear") && !clear_by_rule {
                assert!(failed, "{} {name}: {findings:?}", row.name);
            }
            if matches!(found, "DANE" | "MTA-STS" | "verified") {
                assert!(!failed && findings.len() == 1, "{} {name}: {findings:?}", row.name);
            }
        }
        table.push('\n');
    }
    assert!(wrong.is_empty(), "{cases} cases, wrong:\n{}", wrong.join("\n"));
    assert!(cases >= 40);
    compare("docs/tls.md", "matrix", &table);
}

/// Compares a part of a page with what the test has made; with UPDATE_TABLES=1 writes it there.
fn compare(page: &str, part: &str, made: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(page);
    let text = std::fs::read_to_string(&path).expect("the page");
    let (begin, end) = (format!("<!-- {part}: made by a test -->\n"), format!("<!-- {part}: end -->"));
    let from = text.find(&begin).expect("the mark before the table") + begin.len();
    let to = from + text[from..].find(&end).expect("the mark after the table");
    if std::env::var_os("UPDATE_TABLES").is_some() {
        std::fs::write(&path, [&text[..from], made, &text[to..]].concat()).expect("written");
        return;
    }
    assert_eq!(&text[from..to], made, "{page} is not up to date: run the test once with UPDATE_TABLES=1");
}

#[tokio::test]
async fn failures_are_counted_in_the_words_of_rfc_8460() {
    let authority = Authority::new();
    let testing = Row { sts: Some(TESTING), ..PLAIN };
    let enforce = Row { sts: Some(ENFORCE), ..PLAIN };
    let unlisted = Row { sts: Some(TESTING_OTHER), ..PLAIN };
    let dane = Row { dane: other_key, signed: NameTrust::Signed, ..PLAIN };
    let odd = Row { dane: unusable, signed: NameTrust::Signed, ..PLAIN };
    let lost = Row { dane: bogus, ..PLAIN };
    use crate::lab::Kind;
    for (row, kind, policy, result) in [
        (&testing, Kind::Good, PolicyKind::Sts, ResultKind::Success),
        (&testing, Kind::Expired, PolicyKind::Sts, ResultKind::CertificateExpired),
        (&testing, Kind::WrongName, PolicyKind::Sts, ResultKind::CertificateHostMismatch),
        (&testing, Kind::SelfSigned, PolicyKind::Sts, ResultKind::CertificateNotTrusted),
        (&testing, Kind::Stripped, PolicyKind::Sts, ResultKind::StarttlsNotSupported),
        (&testing, Kind::Broken, PolicyKind::Sts, ResultKind::ValidationFailure),
        (&unlisted, Kind::Good, PolicyKind::Sts, ResultKind::ValidationFailure),
        (&enforce, Kind::Good, PolicyKind::Sts, ResultKind::Success),
        (&enforce, Kind::Expired, PolicyKind::Sts, ResultKind::CertificateExpired),
        (&enforce, Kind::WrongName, PolicyKind::Sts, ResultKind::CertificateHostMismatch),
        (&enforce, Kind::SelfSigned, PolicyKind::Sts, ResultKind::CertificateNotTrusted),
        (&enforce, Kind::NoStartTls, PolicyKind::Sts, ResultKind::StarttlsNotSupported),
        (&enforce, Kind::Declined, PolicyKind::Sts, ResultKind::StarttlsNotSupported),
        (&dane, Kind::Good, PolicyKind::Tlsa, ResultKind::ValidationFailure),
        (&dane, Kind::NoStartTls, PolicyKind::Tlsa, ResultKind::StarttlsNotSupported),
        (&odd, Kind::Good, PolicyKind::Tlsa, ResultKind::TlsaInvalid),
        (&lost, Kind::Good, PolicyKind::Tlsa, ResultKind::DnssecInvalid),
        (&PLAIN, Kind::SelfSigned, PolicyKind::None, ResultKind::Success),
        (&PLAIN, Kind::NoStartTls, PolicyKind::None, ResultKind::StarttlsNotSupported),
    ] {
        let host = authority.host(kind, false).await;
        let (_, findings) = open(row, &authority, &host).await;
        assert_eq!(findings, [Finding { policy, result, host: HOST.to_owned() }], "{} {kind:?}", row.name);
    }
}

#[tokio::test]
async fn an_attempt_says_which_tls_and_why() {
    let authority = Authority::new();
    use crate::lab::Kind;
    for (row, kind, says) in [
        (&PLAIN, Kind::SelfSigned, "(unverified); unauthenticated"),
        (&PLAIN, Kind::NoStartTls, "clear: not offered"),
        (&PLAIN, Kind::Declined, "clear: offered and then refused"),
        (&Row { retry: ClearRetry::On, ..PLAIN }, Kind::Broken, "clear: the handshake failed before"),
        (&Row { sts: Some(ENFORCE), ..PLAIN }, Kind::Good, "(verified); MTA-STS enforce"),
        (
            &Row { sts: Some(TESTING), ..PLAIN },
            Kind::Expired,
            "(unverified); unauthenticated: MTA-STS testing, would fail: the certificate is not valid at this time",
        ),
        (&Row { dane: end_entity, signed: NameTrust::Signed, ..PLAIN }, Kind::SelfSigned, "(by TLSA); DANE"),
    ] {
        let host = authority.host(kind, false).await;
        let (opened, _) = open(row, &authority, &host).await;
        let standing = opened.expect("open").standing.to_string();
        assert!(standing.ends_with(says), "{standing:?} does not end with {says:?}");
    }
}

/// Every combination of facts, asked of the table alone.
#[test]
fn what_must_never_happen_happens_in_no_combination() {
    use postrider_smtp::ladder::{Ask, Decision, Seen, decide, suffices};
    use postrider_smtp::{TlsFault, TlsInfo};

    let info = |trust| TlsInfo { version: "TLSv1.3", cipher: "c".to_owned(), trust, fault: None };
    let some =
        |usage| Dane::Records(Arc::new(DaneRecords { base: HOST.to_owned(), records: vec![names(usage, b"x")] }));
    let danes =
        [Dane::NotAsked, Dane::Insecure, Dane::NoRecords, some(3), some(1), Dane::Failed("SERVFAIL".to_owned())];
    let read = |text| Arc::new(StsPolicy::parse(text).expect("a policy of the test"));
    let policies = [
        Sts::None,
        Sts::Testing(read(TESTING)),
        Sts::Testing(read(TESTING_OTHER)),
        Sts::Enforce(read(ENFORCE)),
        Sts::Enforce(read(ENFORCE_OTHER)),
    ];
    let faults = [
        TlsFault::NotOffered,
        TlsFault::Expired,
        TlsFault::WrongName,
        TlsFault::Untrusted,
        TlsFault::Handshake,
        TlsFault::Injected,
        TlsFault::Ours,
    ];
    let mut seens = vec![Seen::Nothing, Seen::NotOffered, Seen::Declined];
    seens.extend(faults.map(Seen::Failed));
    for offers_require_tls in [false, true] {
        seens.push(Seen::Secured { info: info(Trust::Unverified), offers_require_tls });
    }
    let mut combinations = 0;
    for dane in &danes {
        for sts in &policies {
            for name in [NameTrust::Signed, NameTrust::Operator, NameTrust::Dns] {
                for demand in Demand::ALL {
                    for clear_retry in [ClearRetry::Off, ClearRetry::On] {
                        let facts = HostFacts { host: HOST.to_owned(), dane: dane.clone(), name };
                        let policy =
                            DomainPolicy { domain: "lab.test".to_owned(), sts: sts.clone(), demand, clear_retry };
                        let lax = matches!(demand, Demand::Opportunistic | Demand::Clear);
                        let must = !lax
                            && (matches!(dane, Dane::Records(_))
                                || matches!(sts, Sts::Enforce(_))
                                || demand != Demand::Ladder);
                        for seen in &seens {
                            combinations += 1;
                            let decision = decide(&policy, &facts, seen);
                            let about = format!("{policy:?} {facts:?} {seen:?}: {decision:?}");
                            let clear = match &decision {
                                Decision::GoOn(standing, _) => !matches!(standing, Standing::Tls(..)),
                                Decision::RetryInClear(_) => true,
                                Decision::Connect(ask, _) => *ask == Ask::Clear,
                                Decision::NextHost(_) => false,
                            };
                            assert!(!(must && clear), "TLS is a must: {about}");
                            if matches!(decision, Decision::RetryInClear(_)) {
                                assert!(clear_retry == ClearRetry::On, "only with the switch: {about}");
                                assert_ne!(
                                    *seen,
                                    Seen::Failed(TlsFault::Injected),
                                    "never after an injection: {about}"
                                );
                            }
                            if matches!(dane, Dane::Failed(_)) && !lax {
                                assert!(matches!(decision, Decision::NextHost(_)), "bogus is not `none`: {about}");
                            }
                            if matches!(sts, Sts::Testing(_)) && demand != Demand::RequireTls {
                                let without = DomainPolicy { sts: Sts::None, ..policy.clone() };
                                let same = std::mem::discriminant(&decide(&without, &facts, seen));
                                assert_eq!(std::mem::discriminant(&decision), same, "testing never blocks: {about}");
                            }
                        }
                        // A connection that another domain opened must not lower what this one asks for.
                        let loose = Standing::Tls(info(Trust::Unverified), Why::Nobody);
                        if must {
                            for standing in
                                [Standing::ClearNotOffered, Standing::ClearDeclined, Standing::ClearAfterFailure]
                            {
                                assert!(!suffices(&policy, &facts, &Ask::IfOffered, &standing), "{policy:?} {facts:?}");
                            }
                        }
                        if matches!(sts, Sts::Enforce(_)) && !lax
                            || matches!(demand, Demand::Verified | Demand::RequireTls)
                        {
                            assert!(!suffices(&policy, &facts, &Ask::IfOffered, &loose), "{policy:?} {facts:?}");
                        }
                    }
                }
            }
        }
    }
    assert!(combinations > 10_000, "{combinations}");
}
