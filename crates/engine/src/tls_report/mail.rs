//! The message of a report (RFC 8460 5.3). Pure. Must not know who signs it or how it leaves.

use postrider_mail::base64_lines;
use postrider_mail::header::{self, HeaderError};
use postrider_mail::mailbox::Mailbox;

use super::body::Report;

/// What the message is made with.
pub(super) struct Facts<'a> {
    pub(super) from: &'a Mailbox,
    pub(super) to: &'a Mailbox,
    /// With its angle brackets.
    pub(super) message_id: &'a str,
    /// Milliseconds UTC.
    pub(super) now: i64,
    /// Makes the boundary.
    pub(super) number: i64,
}

/// The whole message, CRLF, 7-bit.
pub(super) fn compose(facts: &Facts<'_>, report: &Report) -> Result<Vec<u8>, HeaderError> {
    let mut out = Vec::with_capacity(4096);
    let boundary = format!("=_report_{:016x}", facts.number);
    header::mailbox_list("From", &[(None, facts.from)], &mut out)?;
    header::mailbox_list("To", &[(None, facts.to)], &mut out)?;
    header::text("Subject", &report.subject(), &mut out)?;
    header::raw("Date", &header::date(facts.now), &mut out)?;
    header::raw("Message-ID", facts.message_id, &mut out)?;
    header::raw("TLS-Report-Domain", &report.domain, &mut out)?;
    header::raw("TLS-Report-Submitter", &report.submitter, &mut out)?;
    // RFC 3834 5: nobody shall answer it by itself.
    header::raw("Auto-Submitted", "auto-generated", &mut out)?;
    header::raw("TLS-Required", "No", &mut out)?;
    header::raw("MIME-Version", "1.0", &mut out)?;
    out.extend_from_slice(
        format!("Content-Type: multipart/report; report-type=\"tlsrpt\";\r\n\tboundary=\"{boundary}\"\r\n\r\n")
            .as_bytes(),
    );
    let words = format!(
        "This is an aggregate report about TLS with {} on one day (RFC 8460).\r\nIt comes from {} and is meant for \
         programs.\r\nReport-ID: <{}>\r\n",
        report.domain, report.submitter, report.id
    );
    out.extend_from_slice(
        format!("--{boundary}\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n{words}\r\n").as_bytes(),
    );
    let name = report.file_name();
    out.extend_from_slice(
        format!(
            "--{boundary}\r\nContent-Type: application/tlsrpt+gzip\r\nContent-Transfer-Encoding: base64\r\n\
             Content-Disposition: attachment;\r\n\tfilename=\"{name}\"\r\n\r\n"
        )
        .as_bytes(),
    );
    base64_lines::encode(&report.packed(), &mut out);
    out.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_has_the_parts_that_receivers_look_for() {
        let report = super::super::body::tests::report();
        let (from, to) = (Mailbox::parse("tls@sender.example").unwrap(), Mailbox::parse("rpt@a.example").unwrap());
        let facts = Facts { from: &from, to: &to, message_id: "<x@sender.example>", now: 1_795_392_000_000, number: 7 };
        let bytes = compose(&facts, &report).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        for wanted in [
            "From: tls@sender.example\r\n",
            "To: rpt@a.example\r\n",
            "TLS-Report-Domain: a.example\r\n",
            "TLS-Report-Submitter: sender.example\r\n",
            "TLS-Required: No\r\n",
            "Content-Type: multipart/report; report-type=\"tlsrpt\";\r\n\tboundary=\"=_report_0000000000000007\"\r\n",
            "Content-Type: application/tlsrpt+gzip\r\n",
            "filename=\"sender.example!a.example!1795305600!1795391999.json.gz\"\r\n",
        ] {
            assert!(text.contains(wanted), "{wanted:?} in {text}");
        }
        let unfolded = text.replace("\r\n ", " ");
        assert!(
            unfolded.contains(
                "Subject: Report Domain: a.example Submitter: sender.example Report-ID: <2026-11-22.a.example@sender.example>\r\n"
            ),
            "{text}"
        );
        assert!(text.lines().all(|line| line.len() <= 998));
        let packed = text.rsplit("\r\n\r\n").next().unwrap().split("\r\n--").next().unwrap();
        assert_eq!(base64_lines::decode(packed.as_bytes()).unwrap(), report.packed());
    }
}
