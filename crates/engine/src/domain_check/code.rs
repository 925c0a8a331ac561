//! The closed list of what a look at a sending domain can find. `docs/domains.md` holds the same table; a test compares.

postrider_domain::words! {
    /// How bad a finding is; the worst comes first.
    pub enum FindingState {
        /// Receivers refuse our mail or do not believe it: no marketing campaign starts.
        Red = "red",
        /// It works for now, or cannot be judged.
        Amber = "amber",
        /// Good to know.
        Note = "note",
    }
}

postrider_domain::words! {
    /// What was found.
    pub enum FindingCode {
        /// The return-path host has no SPF record.
        SpfMissing = "spf_missing",
        /// It has several.
        SpfTwice = "spf_twice",
        /// A record cannot be read.
        SpfSyntax = "spf_syntax",
        /// More than ten terms ask DNS.
        SpfTooManyLookups = "spf_too_many_lookups",
        /// Eight to ten terms ask DNS.
        SpfManyLookups = "spf_many_lookups",
        /// More than two terms lead to nothing.
        SpfVoidLookups = "spf_void_lookups",
        /// Everybody may send.
        SpfPlusAll = "spf_plus_all",
        /// Nothing is said of those whom the record does not name.
        SpfOpenEnd = "spf_open_end",
        /// An included record is not there.
        SpfBrokenInclude = "spf_broken_include",
        /// The record does not name our address.
        SpfOmitsUs = "spf_omits_us",
        /// The EHLO name has no usable SPF record.
        EhloSpf = "ehlo_spf",
        /// No key signs for the domain.
        DkimNoKey = "dkim_no_key",
        /// The key record is not there.
        DkimMissing = "dkim_missing",
        /// There are several key records.
        DkimTwice = "dkim_twice",
        /// The key record cannot be read.
        DkimSyntax = "dkim_syntax",
        /// Another key is published.
        DkimOtherKey = "dkim_other_key",
        /// The key was taken back.
        DkimRevoked = "dkim_revoked",
        /// The key has fewer than 1024 bits.
        DkimTooShort = "dkim_too_short",
        /// The key has fewer than 2048 bits.
        DkimShort = "dkim_short",
        /// The record says that DKIM is being tried out.
        DkimTesting = "dkim_testing",
        /// The record does not allow our signatures.
        DkimForbids = "dkim_forbids",
        /// A new key waits for its record.
        DkimPending = "dkim_pending",
        /// The record of a key that signed messages on their way is gone.
        DkimGone = "dkim_gone",
        /// A key that nobody needs any more is still published.
        DkimRevocable = "dkim_revocable",
        /// A key has signed for too long.
        DkimOld = "dkim_old",
        /// There is no DMARC policy.
        DmarcMissing = "dmarc_missing",
        /// There are several.
        DmarcTwice = "dmarc_twice",
        /// The policy cannot be read.
        DmarcSyntax = "dmarc_syntax",
        /// The record has no policy.
        DmarcNoPolicy = "dmarc_no_policy",
        /// Nobody gets reports.
        DmarcNoReports = "dmarc_no_reports",
        /// Tags that do nothing any more.
        DmarcRemovedTags = "dmarc_removed_tags",
        /// SPF cannot count for DMARC.
        ReturnPathUnaligned = "return_path_unaligned",
        /// The return-path host has neither MX nor address.
        ReturnPathNoHost = "return_path_no_host",
        /// The return-path host lies in no zone of its own domain.
        ReturnPathNoZone = "return_path_no_zone",
        /// Where reports come to.
        ReturnPathMx = "return_path_mx",
        /// The EHLO name has no address.
        EhloNoAddress = "ehlo_no_address",
        /// The EHLO name has private addresses only.
        EhloPrivate = "ehlo_private",
        /// An address has no name.
        PtrMissing = "ptr_missing",
        /// The name of an address does not lead back.
        PtrNoRoundTrip = "ptr_no_round_trip",
        /// The address has another name than the one we say.
        PtrOtherName = "ptr_other_name",
        /// Relays send; our own host does not matter.
        BehindRelay = "behind_relay",
        /// The port of MX hosts was not tried.
        PortNotProbed = "port_not_probed",
        /// The port of MX hosts cannot be reached.
        PortBlocked = "port_blocked",
        /// The public host has no address.
        PublicHostMissing = "public_host_missing",
        /// There is no public host to look at.
        PublicHostUnchecked = "public_host_unchecked",
        /// Which authorities may issue certificates.
        Caa = "caa",
        /// Nobody may issue certificates for the public host.
        CaaNobody = "caa_nobody",
        /// Nobody gets reports about TLS to the return-path host.
        TlsRptMissing = "tls_rpt_missing",
        /// The TLS-RPT record cannot be read.
        TlsRptSyntax = "tls_rpt_syntax",
        /// The return-path host has no MTA-STS policy.
        MtaStsMissing = "mta_sts_missing",
        /// The MTA-STS record cannot be read.
        MtaStsSyntax = "mta_sts_syntax",
        /// There is no BIMI record.
        BimiMissing = "bimi_missing",
        /// The BIMI record cannot be read.
        BimiSyntax = "bimi_syntax",
        /// DNS gave no answer.
        DnsSilent = "dns_silent",
    }
}

/// What a code stands for.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// How bad it is.
    pub state: FindingState,
    /// What should be there; reads after "there should be".
    pub want: &'static str,
    /// What an administrator does about it.
    pub remedy: &'static str,
}

impl FindingCode {
    /// State, what should be there, and the remedy.
    pub fn row(self) -> Row {
        use FindingCode as C;
        use FindingState::{Amber, Note, Red};
        let (state, want, remedy) = match self {
            C::SpfMissing => (
                Red,
                "one SPF record at the return-path host",
                "Publish the TXT record that the page of the domain shows.",
            ),
            C::SpfTwice => (
                Red,
                "exactly one SPF record at the return-path host",
                "Put the terms of all records into one and remove the others: with two, receivers take neither.",
            ),
            C::SpfSyntax => (
                Red,
                "a record that follows RFC 7208",
                "Correct the term that is named: one that cannot be read makes the whole record fail.",
            ),
            C::SpfTooManyLookups => (
                Red,
                "at most 10 terms that ask DNS, those of includes counted",
                "Remove includes of services that no longer send, or name addresses by ip4 and ip6.",
            ),
            C::SpfManyLookups => (
                Amber,
                "fewer than 8 terms that ask DNS, those of includes counted",
                "Remove what is not needed: one more include of a service may go over the limit of 10.",
            ),
            C::SpfVoidLookups => (
                Red,
                "at most 2 terms whose names do not exist",
                "Remove the terms that are named: their names have no records any more.",
            ),
            C::SpfPlusAll => (
                Red,
                "a record that ends with -all or ~all",
                "Replace +all: it lets everybody send in this name, and receivers distrust it.",
            ),
            C::SpfOpenEnd => (
                Amber,
                "a record that ends with -all or ~all",
                "Add ~all at the end, later -all: else nothing is said of strangers.",
            ),
            C::SpfBrokenInclude => (
                Red,
                "one SPF record at each included name",
                "Remove the include that is named or ask its owner: it makes the whole record fail.",
            ),
            C::SpfOmitsUs => (
                Amber,
                "a term that our address matches",
                "Add the host or its addresses to the record, unless all mail of this domain goes through a relay.",
            ),
            C::EhloSpf => (
                Amber,
                "one SPF record at the EHLO name",
                "Publish `v=spf1 a -all` there: notices with an empty return-path are judged by this name.",
            ),
            C::DkimNoKey => (
                Red,
                "an active DKIM key",
                "Make one on the page of the domain and publish its record: mail without signature is refused.",
            ),
            C::DkimMissing => (
                Red,
                "the TXT record of the key",
                "Publish the record that the page of the domain shows, under exactly this name.",
            ),
            C::DkimTwice => (
                Red,
                "one TXT record under the name of the key",
                "Remove the other records: which one a receiver takes is chance.",
            ),
            C::DkimSyntax => (
                Red,
                "a key record that follows RFC 6376",
                "Copy the record from the page of the domain again, whole and without changes.",
            ),
            C::DkimOtherKey => (
                Red,
                "the public key that belongs to ours",
                "Replace the record by the one that the page of the domain shows: no signature verifies now.",
            ),
            C::DkimRevoked => (
                Red,
                "a key in p=",
                "Publish the record that the page of the domain shows, or make a new key: an empty p= takes it back.",
            ),
            C::DkimTooShort => (
                Red,
                "an RSA key of 2048 bits",
                "Make a new key and publish it: receivers refuse fewer than 1024 bits (RFC 8301).",
            ),
            C::DkimShort => (
                Amber,
                "an RSA key of 2048 bits",
                "Make a new key and publish it: 1024 bits are accepted, but no longer thought safe.",
            ),
            C::DkimTesting => (
                Note,
                "a record without t=y",
                "Remove t=y when the signatures verify: until then they may count for nothing.",
            ),
            C::DkimForbids => {
                (Red, "a record that allows SHA-256 and mail", "Remove the tags h= and s= from the record.")
            }
            C::DkimPending => (
                Note,
                "the record of the new key",
                "Publish the record that the page of the domain shows: the key signs when it has been there for an hour.",
            ),
            C::DkimGone => (
                Amber,
                "the record of the key before",
                "Publish it again until the time that the page of the domain shows: messages that it signed are on their way.",
            ),
            C::DkimRevocable => {
                (Note, "an empty p=", "Replace the record by v=DKIM1; p= so that nobody can use the old key any more.")
            }
            C::DkimOld => (
                Note,
                "a key of the last twelve months",
                "Make a new key on the page of the domain and publish its record beside the old one.",
            ),
            C::DmarcMissing => (
                Red,
                "a DMARC policy",
                "Publish at least `v=DMARC1; p=none; rua=mailto:...`: large providers refuse bulk mail without one.",
            ),
            C::DmarcTwice => {
                (Red, "exactly one DMARC record", "Remove all but one: with two, receivers act as if there were none.")
            }
            C::DmarcSyntax => (
                Red,
                "a record that follows RFC 9989",
                "Correct the tag that is named: a record that cannot be read is none.",
            ),
            C::DmarcNoPolicy => {
                (Amber, "a tag p=", "Add p=none, quarantine or reject: without it the record counts as none.")
            }
            C::DmarcNoReports => (Note, "a tag rua=", "Add rua=mailto:... to hear who sends in your name."),
            C::DmarcRemovedTags => (
                Note,
                "a record without pct, rf and ri",
                "Remove them: RFC 9989 took them away. To try a policy out, use t=y.",
            ),
            C::ReturnPathUnaligned => (
                Amber,
                "a return-path host below the From domain",
                "Choose a return-path host within the same organisational domain, or relax aspf: else only DKIM counts.",
            ),
            C::ReturnPathNoHost => (
                Red,
                "an MX or address record at the return-path host",
                "Publish the MX record that the page of the domain shows: receivers refuse senders that cannot be answered.",
            ),
            C::ReturnPathNoZone => (
                Red,
                "a zone with a SOA record around the return-path host",
                "Correct the delegation of the zone at your registrar or DNS provider: Yahoo asks for the SOA of the sender.",
            ),
            C::ReturnPathMx => (
                Note,
                "an MX record that leads to the mailbox in which reports are read",
                "Compare it with where reports are read: bounces and complaints come to this host.",
            ),
            C::EhloNoAddress => (
                Red,
                "an address record of the EHLO name",
                "Set smtp.ehlo_name to this machine's full name and publish its A or AAAA record.",
            ),
            C::EhloPrivate => (
                Note,
                "a public address",
                "Behind NAT, let the EHLO name lead to the outer address, which then needs a PTR record.",
            ),
            C::PtrMissing => (
                Red,
                "a PTR record of the sending address",
                "Ask whoever gave you the address (hosting or access provider) to set its reverse name to the EHLO name.",
            ),
            C::PtrNoRoundTrip => (
                Red,
                "a PTR name that leads back to the address",
                "Publish an A or AAAA record for the PTR name, or have the PTR record changed to the EHLO name.",
            ),
            C::PtrOtherName => (
                Amber,
                "a PTR name that is the EHLO name",
                "Set smtp.ehlo_name to the PTR name, or have the PTR record changed.",
            ),
            C::BehindRelay => (
                Note,
                "nothing: the relays speak to the receivers",
                "Add the relay's SPF include to the return-path host, if it keeps our return-path.",
            ),
            C::PortNotProbed => (
                Note,
                "port 25 to the outside",
                "If a test message waits with time-outs, ask the hosting provider to open port 25 or use a relay.",
            ),
            C::PortBlocked => (
                Amber,
                "a greeting of the host named by smtp.port_probe",
                "Ask the hosting provider to open port 25 to the outside, or send through a relay.",
            ),
            C::PublicHostMissing => (
                Red,
                "an address record of the host in the public URL",
                "Publish the record or correct the public URL of the workspace: unsubscribe and tracking links lead there.",
            ),
            C::PublicHostUnchecked => {
                (Note, "a public URL with a host name", "Set the public URL of the workspace before real mail leaves.")
            }
            C::Caa => (
                Note,
                "the authority that issues your certificates",
                "Compare it with the authority of your certificates: no other may issue them.",
            ),
            C::CaaNobody => (
                Note,
                "an authority that may issue certificates",
                "Add an issue record for your authority, or certificates of the public host cannot be renewed.",
            ),
            C::TlsRptMissing => (
                Note,
                "a TLS-RPT record",
                "Publish `v=TLSRPTv1; rua=mailto:...` to hear when others cannot reach us by TLS.",
            ),
            C::TlsRptSyntax => {
                (Amber, "a record that follows RFC 8460", "Correct the tag that is named, or remove the record.")
            }
            C::MtaStsMissing => (
                Note,
                "an MTA-STS record",
                "Publish one with a policy when reports come to a host with a good certificate.",
            ),
            C::MtaStsSyntax => {
                (Amber, "a record that follows RFC 8461", "Correct the tag that is named, or remove the record.")
            }
            C::BimiMissing => (
                Note,
                "a BIMI record",
                "Publish one to show a logo; it needs DMARC at quarantine or reject, and often a certificate.",
            ),
            C::BimiSyntax => {
                (Amber, "a BIMI record with https locations", "Correct the tag that is named, or remove the record.")
            }
            C::DnsSilent => (
                Amber,
                "an answer of DNS",
                "Look again in some minutes; if it stays, ask whoever runs the name servers of the zone.",
            ),
        };
        Row { state, want, remedy }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_of_the_findings_says_the_same_as_the_code() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/domains.md");
        let page = std::fs::read_to_string(path).expect("the page is there");
        let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| `")).collect();
        let wanted: Vec<String> = FindingCode::ALL
            .iter()
            .map(|code| {
                let row = code.row();
                format!("| `{code}` | {} | {} | {} |", row.state, row.want, row.remedy)
            })
            .collect();
        assert_eq!(rows, wanted, "the table should be:\n{}", wanted.join("\n"));
    }
}
