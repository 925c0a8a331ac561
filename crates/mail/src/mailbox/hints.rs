//! Hints about a mailbox for people who import or type it: role accounts, throw-away domains, typing errors.
//!
//! Must not refuse anything: each is a mark that a rule elsewhere may use.

use super::DomainName;

/// Local parts that name an office, not a person (RFC 2142 and what is common beside it).
const ROLES: &[&str] = &[
    "abuse",
    "accounting",
    "accounts",
    "admin",
    "administrator",
    "all",
    "billing",
    "buero",
    "careers",
    "compliance",
    "contact",
    "contacto",
    "contato",
    "daemon",
    "datenschutz",
    "dns",
    "dpo",
    "enquiries",
    "everyone",
    "ftp",
    "hello",
    "help",
    "helpdesk",
    "hostmaster",
    "hr",
    "info",
    "information",
    "inquiries",
    "invoice",
    "invoices",
    "it",
    "jobs",
    "kontakt",
    "legal",
    "list",
    "list-request",
    "mail",
    "mailer-daemon",
    "marketing",
    "media",
    "news",
    "newsletter",
    "no-reply",
    "nobody",
    "noc",
    "noreply",
    "office",
    "orders",
    "postmaster",
    "press",
    "presse",
    "privacy",
    "rechnung",
    "reception",
    "registrar",
    "root",
    "sales",
    "security",
    "service",
    "shop",
    "staff",
    "subscribe",
    "support",
    "sysadmin",
    "team",
    "undisclosed-recipients",
    "unsubscribe",
    "usenet",
    "uucp",
    "vertrieb",
    "webmaster",
    "www",
];

/// Domains whose mailboxes are made to be thrown away; names below them count too.
const DISPOSABLE: &[&str] = &[
    "10minutemail.com",
    "10minutemail.net",
    "20minutemail.com",
    "33mail.com",
    "anonbox.net",
    "burnermail.io",
    "byom.de",
    "discard.email",
    "dispostable.com",
    "dropmail.me",
    "emailondeck.com",
    "fakeinbox.com",
    "fakemail.net",
    "getairmail.com",
    "getnada.com",
    "grr.la",
    "guerrillamail.biz",
    "guerrillamail.com",
    "guerrillamail.de",
    "guerrillamail.info",
    "guerrillamail.net",
    "guerrillamail.org",
    "guerrillamailblock.com",
    "harakirimail.com",
    "inboxkitten.com",
    "incognitomail.org",
    "jetable.org",
    "mail-temp.com",
    "mailcatch.com",
    "maildrop.cc",
    "mailexpire.com",
    "mailinator.com",
    "mailinator.net",
    "mailnesia.com",
    "mailnull.com",
    "mailsac.com",
    "mintemail.com",
    "moakt.com",
    "mohmal.com",
    "mytemp.email",
    "mytrashmail.com",
    "nada.email",
    "sharklasers.com",
    "sogetthis.com",
    "spam4.me",
    "spambog.com",
    "spambox.us",
    "spamgourmet.com",
    "temp-mail.io",
    "temp-mail.org",
    "tempail.com",
    "tempinbox.com",
    "tempmail.dev",
    "tempmail.plus",
    "tempmailo.com",
    "tempr.email",
    "throwawaymail.com",
    "trash-mail.com",
    "trashmail.com",
    "trashmail.de",
    "trashmail.net",
    "trashmail.ws",
    "wegwerfemail.de",
    "wegwerfmail.de",
    "wegwerfmail.net",
    "yopmail.com",
    "yopmail.fr",
    "yopmail.net",
];

/// Domains that many people write, and for which a typing error is worth a hint.
const COMMON: &[&str] = &[
    "gmail.com",
    "googlemail.com",
    "yahoo.com",
    "yahoo.co.uk",
    "yahoo.de",
    "yahoo.fr",
    "yahoo.es",
    "yahoo.it",
    "hotmail.com",
    "hotmail.co.uk",
    "hotmail.de",
    "hotmail.fr",
    "hotmail.es",
    "hotmail.it",
    "outlook.com",
    "outlook.de",
    "outlook.fr",
    "outlook.es",
    "outlook.it",
    "icloud.com",
    "protonmail.com",
    "t-online.de",
    "freenet.de",
    "comcast.net",
    "verizon.net",
    "sbcglobal.net",
    "bellsouth.net",
    "orange.fr",
    "wanadoo.fr",
    "laposte.net",
    "libero.it",
    "virgilio.it",
    "bluewin.ch",
    "telenet.be",
    "skynet.be",
    "ziggo.nl",
    "btinternet.com",
    "bigpond.com",
    "rediffmail.com",
    "naver.com",
    "posteo.de",
    "mailbox.org",
    "fastmail.com",
    "zoho.com",
];

/// Real providers within one keystroke of a common one: never a typing error.
const REAL_NEIGHBOURS: &[&str] = &[
    "mail.com",
    "email.com",
    "ymail.com",
    "gmail.co.uk",
    "yahoo.com.br",
    "fastmail.fm",
    "hotmail.be",
    "hotmail.ch",
    "hotmail.nl",
    "yahoo.se",
    "yahoo.ie",
    "yahoo.ca",
    "outlook.be",
    "outlook.at",
    "outlook.pt",
    "outlook.ie",
    "hotmail.ca",
    "hotmail.se",
    "zohomail.com",
    "protonmail.ch",
    "mailbox.hu",
    "orange.pl",
    "orange.es",
    "freenet.am",
    "hotmail.at",
    "hotmail.dk",
    "hotmail.no",
    "outlook.dk",
    "outlook.sa",
    "outlook.jp",
    "yahoo.at",
    "yahoo.dk",
    "yahoo.gr",
    "yahoo.in",
    "yahoo.no",
    "yahoo.pl",
    "yahoo.ro",
];

/// Whether the local part names an office such as `postmaster` or `info` instead of a person.
pub fn is_role_account(local: &str) -> bool {
    let lowered = local.to_lowercase();
    let base = lowered.split('+').next().unwrap_or_default();
    ROLES.contains(&base)
}

/// Whether the domain, or one above it, is known for throw-away mailboxes.
pub fn is_disposable(domain: &DomainName) -> bool {
    let mut name = domain.as_str();
    loop {
        if DISPOSABLE.contains(&name) {
            return true;
        }
        match name.split_once('.') {
            Some((_, parent)) => name = parent,
            None => return false,
        }
    }
}

/// The common domain that was probably meant: one insertion, deletion, change or swap away.
pub fn typo_hint(domain: &DomainName) -> Option<&'static str> {
    let name = domain.as_str();
    if COMMON.contains(&name) || REAL_NEIGHBOURS.contains(&name) {
        return None;
    }
    COMMON.iter().copied().find(|common| is_one_edit_apart(name.as_bytes(), common.as_bytes()))
}

/// Whether one insertion, deletion, change or swap of neighbours turns `a` into `b`.
fn is_one_edit_apart(a: &[u8], b: &[u8]) -> bool {
    let start = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    let (a, b) = (&a[start..], &b[start..]);
    let end = a.iter().rev().zip(b.iter().rev()).take_while(|(x, y)| x == y).count();
    let (a, b) = (&a[..a.len() - end], &b[..b.len() - end]);
    match (a.len(), b.len()) {
        (0 | 1, 1) | (1, 0) => true,
        (2, 2) => a[0] == b[1] && a[1] == b[0],
        (_, _) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain(text: &str) -> DomainName {
        DomainName::parse(text).unwrap()
    }

    #[test]
    fn typing_errors_get_a_hint() {
        for (typed, meant) in [
            ("gmial.com", Some("gmail.com")),
            ("gmai.com", Some("gmail.com")),
            ("gmail.co", Some("gmail.com")),
            ("gmail.con", Some("gmail.com")),
            ("gmaill.com", Some("gmail.com")),
            ("hotmial.com", Some("hotmail.com")),
            ("outlok.com", Some("outlook.com")),
            ("yaho.com", Some("yahoo.com")),
            ("iclod.com", Some("icloud.com")),
            ("gmail.com", None),
            ("mail.com", None),
            ("ymail.com", None),
            ("yahoo.de", None),
            ("example.org", None),
            ("gmx.de", None),
        ] {
            assert_eq!(typo_hint(&domain(typed)), meant, "{typed}");
        }
    }

    #[test]
    fn roles_and_throw_away_domains_are_marked() {
        assert!(is_role_account("Postmaster"));
        assert!(is_role_account("info+list"));
        assert!(!is_role_account("information.desk.jane"));
        assert!(!is_role_account("jane"));
        assert!(is_disposable(&domain("mailinator.com")));
        assert!(is_disposable(&domain("a.b.mailinator.com")));
        assert!(!is_disposable(&domain("notmailinator.com")));
        assert!(!is_disposable(&domain("example.org")));
    }

    #[test]
    fn tables_are_domain_names_without_doubles() {
        for table in [DISPOSABLE, COMMON, REAL_NEIGHBOURS] {
            for name in table {
                assert_eq!(domain(name).as_str(), *name);
                assert_eq!(table.iter().filter(|other| *other == name).count(), 1, "{name}");
            }
        }
    }
}
