//! The JSON of a report (RFC 8460 4.4), gathered from the counts of a day. Must not know where it goes.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use postrider_domain::schedule::rfc3339;
use postrider_store::StoreError;
use postrider_store::tls_report::DueReport;
use postrider_store::transport::TlsResult;
use serde_json::{Value, json};

use super::{DAY_MS, TlsReportConfig};
use crate::shared::Shared;

/// Lines of failures in one report; beyond that the rest is counted in the summary only.
const MOST_FAILURES: usize = 1_000;

/// A report that is ready to go.
pub(super) struct Report {
    pub(super) domain: String,
    /// Our own domain.
    pub(super) submitter: String,
    pub(super) id: String,
    /// Beginning and end of the day, seconds UTC.
    pub(super) begin: i64,
    pub(super) end: i64,
    pub(super) json: String,
}

impl Report {
    /// Gathers what a day's counts say about a domain.
    pub(super) async fn gather(
        shared: &Shared,
        config: &TlsReportConfig,
        due: &DueReport,
    ) -> Result<Report, StoreError> {
        let results = shared.store.tls_results(due.day, due.day, Some(&due.domain)).await?;
        let sts = shared.store.sts_policy(&due.domain).await?;
        let policy: Vec<String> = sts.map_or_else(Vec::new, |row| {
            let mut lines = vec!["version: STSv1".to_owned(), format!("mode: {}", row.mode)];
            lines.extend(row.mx.iter().map(|pattern| format!("mx: {pattern}")));
            lines.push(format!("max_age: {}", row.max_age));
            lines
        });
        Ok(Report::make(config, due, &results, &policy))
    }

    fn make(config: &TlsReportConfig, due: &DueReport, results: &[TlsResult], sts: &[String]) -> Report {
        let (begin, end) = (due.day * DAY_MS, (due.day + 1) * DAY_MS - 1_000);
        let submitter = config.from.domain().as_str().to_owned();
        let date = rfc3339(begin).chars().take(10).collect::<String>();
        // The same for every try, so that a receiver that gets it twice knows (RFC 8460 5.3).
        let id = format!("{date}.{}@{submitter}", due.domain);
        let json = json!({
            "organization-name": config.organization,
            "date-range": { "start-datetime": second(begin), "end-datetime": second(end) },
            "contact-info": config.contact,
            "report-id": id,
            "policies": policies(&due.domain, results, sts),
        });
        Report {
            domain: due.domain.clone(),
            submitter,
            id,
            begin: begin / 1_000,
            end: end / 1_000,
            json: json.to_string(),
        }
    }

    /// The text, packed by gzip.
    pub(super) fn packed(&self) -> Vec<u8> {
        let mut packer = GzEncoder::new(Vec::new(), Compression::default());
        packer.write_all(self.json.as_bytes()).expect("writing into a vector never fails");
        packer.finish().expect("writing into a vector never fails")
    }

    /// The subject of its message (RFC 8460 5.3).
    pub(super) fn subject(&self) -> String {
        format!("Report Domain: {} Submitter: {} Report-ID: <{}>", self.domain, self.submitter, self.id)
    }

    /// The name of its file (RFC 8460 5.1).
    pub(super) fn file_name(&self) -> String {
        format!("{}!{}!{}!{}.json.gz", self.submitter, self.domain, self.begin, self.end)
    }
}

/// A moment without fractions of a second.
fn second(at: i64) -> String {
    let text = rfc3339(at);
    match text.split_once('.') {
        Some((whole, _)) => format!("{whole}Z"),
        None => text,
    }
}

fn policies(domain: &str, results: &[TlsResult], sts: &[String]) -> Vec<Value> {
    let mut kinds: Vec<&str> = results.iter().map(|line| line.policy.as_str()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
        .into_iter()
        .map(|kind| {
            let of_kind = || results.iter().filter(|line| line.policy == kind);
            let sum = |good: bool| -> i64 { of_kind().filter(|l| (l.result == "success") == good).map(|l| l.n).sum() };
            let mut policy = json!({ "policy-type": kind, "policy-domain": domain });
            if kind == "sts" && !sts.is_empty() {
                policy["policy-string"] = json!(sts);
                let hosts: Vec<&str> = sts.iter().filter_map(|line| line.strip_prefix("mx: ")).collect();
                policy["mx-host"] = json!(hosts);
            }
            let mut whole = json!({
                "policy": policy,
                "summary": { "total-successful-session-count": sum(true), "total-failure-session-count": sum(false) },
            });
            let failures: Vec<Value> = of_kind()
                .filter(|line| line.result != "success")
                .take(MOST_FAILURES)
                .map(|line| {
                    let mut failure = json!({ "result-type": line.result, "failed-session-count": line.n });
                    if !line.mx_host.is_empty() {
                        failure["receiving-mx-hostname"] = line.mx_host.as_str().into();
                    }
                    failure
                })
                .collect();
            if !failures.is_empty() {
                whole["failure-details"] = failures.into();
            }
            whole
        })
        .collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use postrider_fetch::{FetchPolicy, Fetcher};
    use postrider_mail::mailbox::Mailbox;

    pub(in crate::tls_report) fn report() -> Report {
        let config = TlsReportConfig {
            from: Mailbox::parse("tls@sender.example").unwrap(),
            organization: "Sender & Sons".into(),
            contact: "postmaster@sender.example".into(),
            fetcher: Fetcher::new(FetchPolicy::default()),
        };
        let line = |policy: &str, result: &str, host: &str, n| TlsResult {
            day: 20_779,
            domain: "a.example".into(),
            policy: policy.into(),
            result: result.into(),
            mx_host: host.into(),
            n,
        };
        let results = [
            line("sts", "certificate-expired", "mx1.a.example", 3),
            line("sts", "sts-policy-fetch-error", "", 2),
            line("sts", "success", "mx1.a.example", 40),
            line("sts", "success", "mx2.a.example", 2),
            line("tlsa", "success", "mx1.a.example", 1),
        ];
        let due = DueReport { day: 20_779, domain: "a.example".into(), place: String::new(), attempts: 1 };
        let sts = ["version: STSv1", "mode: testing", "mx: *.a.example", "max_age: 86400"].map(str::to_owned);
        Report::make(&config, &due, &results, &sts)
    }

    #[test]
    fn a_report_says_what_a_day_came_to() {
        let report = report();
        let json: Value = serde_json::from_str(&report.json).unwrap();
        let wanted = json!({
            "organization-name": "Sender & Sons",
            "date-range": { "start-datetime": "2026-11-22T00:00:00Z", "end-datetime": "2026-11-22T23:59:59Z" },
            "contact-info": "postmaster@sender.example",
            "report-id": "2026-11-22.a.example@sender.example",
            "policies": [
                {
                    "policy": {
                        "policy-type": "sts", "policy-domain": "a.example", "mx-host": ["*.a.example"],
                        "policy-string": ["version: STSv1", "mode: testing", "mx: *.a.example", "max_age: 86400"],
                    },
                    "summary": { "total-successful-session-count": 42, "total-failure-session-count": 5 },
                    "failure-details": [
                        { "result-type": "certificate-expired", "receiving-mx-hostname": "mx1.a.example", "failed-session-count": 3 },
                        { "result-type": "sts-policy-fetch-error", "failed-session-count": 2 },
                    ],
                },
                {
                    "policy": { "policy-type": "tlsa", "policy-domain": "a.example" },
                    "summary": { "total-successful-session-count": 1, "total-failure-session-count": 0 },
                },
            ],
        });
        assert_eq!(json, wanted);
        assert_eq!(report.file_name(), "sender.example!a.example!1795305600!1795391999.json.gz");
        let mut text = String::new();
        std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&report.packed()[..]), &mut text).unwrap();
        assert_eq!(text, report.json);
    }
}
