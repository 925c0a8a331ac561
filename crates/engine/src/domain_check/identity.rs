//! Who we say we are: DKIM keys, the return-path host, and the optional records around it. Must not know this host.

use postrider_domain::signing_key::KeyState;
use postrider_mail::dns_record::dkim_key::{DkimKeyRecord, KeyType};
use postrider_mail::dns_record::others::{BimiRecord, StsRecord, TlsReportRecord};
use postrider_mail::mailbox::DomainName;
use postrider_smtp::MxAnswer;

use super::look::Look;
use super::{Finding, FindingCode, OtherKey, Subject};

/// The key of each active selector.
pub(super) async fn keys(look: &Look<'_>, subject: &Subject) -> Vec<Finding> {
    let mut findings = Vec::new();
    if subject.keys.is_empty() {
        findings.push(Finding::new(FindingCode::DkimNoKey, subject.name.as_str(), "no active key"));
    }
    for (selector, ours) in &subject.keys {
        let name = format!("{selector}._domainkey.{}", subject.name);
        match look.txt(&name).await {
            Err(silent) => findings.push(silent.finding(&name)),
            Ok(found) => findings.extend(key(&name, &found, ours)),
        }
    }
    for selector in &subject.old {
        let name = format!("{selector}._domainkey.{}", subject.name);
        findings.push(Finding::new(FindingCode::DkimOld, name, "it has signed for more than a year"));
    }
    for other in &subject.others {
        let name = format!("{}._domainkey.{}", other.selector, subject.name);
        // What DNS does not tell about a key that does not sign is no trouble now.
        let Ok(found) = look.txt(&name).await else { continue };
        findings.extend(waiting(&name, &found, other));
    }
    findings
}

/// A key that does not sign yet, or no more.
fn waiting(name: &str, found: &[String], other: &OtherKey) -> Option<Finding> {
    let same = match (found, DkimKeyRecord::parse(&other.record)) {
        ([text], Ok(own)) => {
            DkimKeyRecord::parse(text).is_ok_and(|record| record.key == own.key && record.kind == own.kind)
        }
        (_, _) => false,
    };
    let shown = if found.is_empty() { "no TXT record".to_owned() } else { found.join(" and ") };
    match (other.state, same) {
        (KeyState::Pending, true) => {
            Some(Finding::new(FindingCode::DkimPending, name, "its record is there: it signs within the hour"))
        }
        (KeyState::Pending, false) => {
            Some(Finding::new(FindingCode::DkimPending, name, shown).wanting(other.record.clone()))
        }
        (KeyState::Retired, false) => {
            Some(Finding::new(FindingCode::DkimGone, name, shown).wanting(other.record.clone()))
        }
        // A name without records says as much as an empty p=.
        (KeyState::Revocable, _) if !found.is_empty() => Some(Finding::new(FindingCode::DkimRevocable, name, shown)),
        (KeyState::Retired | KeyState::Revocable | KeyState::Active | KeyState::Revoked, _) => None,
    }
}

fn key(name: &str, found: &[String], ours: &str) -> Vec<Finding> {
    let [text] = found else {
        let (code, said) = if found.is_empty() {
            (FindingCode::DkimMissing, "no TXT record".to_owned())
        } else {
            (FindingCode::DkimTwice, found.join(" and "))
        };
        return vec![Finding::new(code, name, said).wanting(ours)];
    };
    let told = |code| Finding::new(code, name, text.clone()).wanting(ours);
    let record = match DkimKeyRecord::parse(text) {
        Ok(record) => record,
        Err(error) => {
            let found = format!("{error} in {text}");
            return vec![Finding::new(FindingCode::DkimSyntax, name, found).wanting(ours)];
        }
    };
    if record.is_revoked() {
        return vec![told(FindingCode::DkimRevoked)];
    }
    let same = DkimKeyRecord::parse(ours).is_ok_and(|own| own.key == record.key && own.kind == record.kind);
    if !same {
        return vec![told(FindingCode::DkimOtherKey)];
    }
    let mut findings = Vec::new();
    if !record.sha256 || !record.for_mail {
        findings.push(told(FindingCode::DkimForbids));
    }
    match (record.kind, record.rsa_bits()) {
        (KeyType::Rsa, Some(..1024)) => findings.push(told(FindingCode::DkimTooShort)),
        (KeyType::Rsa, Some(..2048)) => findings.push(told(FindingCode::DkimShort)),
        // What is our own key and cannot be measured is a form that the signer takes as well.
        (KeyType::Rsa | KeyType::Ed25519, _) => {}
    }
    if record.testing {
        findings.push(Finding::new(FindingCode::DkimTesting, name, "t=y"));
    }
    findings
}

/// Whether the return-path host can be answered, and sits in a zone (SR-2).
pub(super) async fn return_path(look: &Look<'_>, host: &DomainName) -> Vec<Finding> {
    let name = host.as_str();
    let (zone, mx) = tokio::join!(look.zone_of(name), look.mx(host));
    let mut findings = Vec::new();
    match zone {
        Err(silent) => findings.push(silent.finding(name)),
        // A zone of one label is a top-level domain: it says that what lies below does not exist.
        Ok(Some(zone)) if zone.contains('.') => {}
        Ok(zone) => {
            let found = zone.map_or_else(|| "no SOA record".to_owned(), |zone| format!("only the SOA of `{zone}`"));
            findings.push(Finding::new(FindingCode::ReturnPathNoZone, name, found));
        }
    }
    match mx {
        Err(silent) => findings.push(silent.finding(name)),
        Ok(None) => {
            findings.push(Finding::new(FindingCode::ReturnPathNoHost, name, "neither MX nor address record"));
        }
        Ok(Some(MxAnswer::NullMx)) => {
            findings.push(Finding::new(FindingCode::ReturnPathNoHost, name, "an MX record that says: takes no mail"));
        }
        Ok(Some(MxAnswer::Hosts(hosts))) => {
            let hosts: Vec<&str> = hosts.iter().map(|host| host.name.as_str()).collect();
            findings.push(Finding::new(FindingCode::ReturnPathMx, name, hosts.join(", ")));
        }
    }
    findings
}

/// TLS-RPT and MTA-STS of the host that takes reports, and BIMI of the From domain.
pub(super) async fn extras(look: &Look<'_>, subject: &Subject) -> Vec<Finding> {
    let path = subject.return_path.as_str();
    let (tls, sts, bimi) =
        (format!("_smtp._tls.{path}"), format!("_mta-sts.{path}"), format!("default._bimi.{}", subject.name));
    let reads_tls = |text: &str| TlsReportRecord::parse(text).map(|_| ()).map_err(|error| error.to_string());
    let reads_sts = |text: &str| StsRecord::parse(text).map(|_| ()).map_err(|error| error.to_string());
    let reads_bimi = |text: &str| BimiRecord::parse(text).map(|_| ()).map_err(|error| error.to_string());
    let found = tokio::join!(
        extra(look, &tls, "v=TLSRPT", (FindingCode::TlsRptMissing, FindingCode::TlsRptSyntax), reads_tls),
        extra(look, &sts, "v=STS", (FindingCode::MtaStsMissing, FindingCode::MtaStsSyntax), reads_sts),
        extra(look, &bimi, "v=BIMI", (FindingCode::BimiMissing, FindingCode::BimiSyntax), reads_bimi),
    );
    [found.0, found.1, found.2].into_iter().flatten().collect()
}

async fn extra(
    look: &Look<'_>,
    name: &str,
    begins: &str,
    (missing, syntax): (FindingCode, FindingCode),
    reads: impl Fn(&str) -> Result<(), String>,
) -> Option<Finding> {
    let records: Vec<String> = match look.txt(name).await {
        Err(silent) => return Some(silent.finding(name)),
        Ok(found) => found.into_iter().filter(|txt| txt.replace(' ', "").starts_with(begins)).collect(),
    };
    match &records[..] {
        [] => Some(Finding::new(missing, name, "no such record")),
        [one] => reads(one).err().map(|error| Finding::new(syntax, name, format!("{error} in {one}"))),
        several => Some(Finding::new(syntax, name, format!("several records: {}", several.join(" and ")))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "v=DKIM1; k=rsa; p=QUJDREVG";

    fn codes(found: &[&str]) -> Vec<FindingCode> {
        let found: Vec<String> = found.iter().map(|text| (*text).to_owned()).collect();
        key("s._domainkey.example.org", &found, OURS).iter().map(|finding| finding.code).collect()
    }

    #[test]
    fn a_key_is_the_same_however_it_is_written() {
        assert_eq!(codes(&[OURS]), []);
        assert_eq!(codes(&["k=rsa;p=QUJD REVG; t=s"]), []);
        assert_eq!(codes(&["v=DKIM1; p=QUJDREVG; t=y"]), [FindingCode::DkimTesting]);
        assert_eq!(codes(&["v=DKIM1; p=QUJDREVH"]), [FindingCode::DkimOtherKey]);
        assert_eq!(codes(&["v=DKIM1; k=ed25519; p=QUJDREVG"]), [FindingCode::DkimOtherKey]);
        assert_eq!(codes(&["v=DKIM1; p="]), [FindingCode::DkimRevoked]);
        assert_eq!(codes(&["v=DKIM1; p=*"]), [FindingCode::DkimSyntax]);
        assert_eq!(codes(&["v=DKIM1; h=sha1; p=QUJDREVG"]), [FindingCode::DkimForbids]);
        assert_eq!(codes(&[OURS, OURS]), [FindingCode::DkimTwice]);
        assert_eq!(codes(&[]), [FindingCode::DkimMissing]);
    }
}
