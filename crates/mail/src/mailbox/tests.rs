//! Which texts are mailboxes and domain names, and what becomes of them.

use proptest::prelude::*;

use super::*;

#[test]
fn good_mailboxes() {
    let long_local = "a".repeat(64);
    let long_domain = format!("{0}.{0}.{1}.org", "b".repeat(60), "c".repeat(30));
    let longest = format!("{long_local}@{long_domain}");
    for (text, wire, normalised) in [
        ("jane@example.org", "jane@example.org", "jane@example.org"),
        ("Jane.Doe@Example.ORG", "Jane.Doe@example.org", "jane.doe@example.org"),
        ("jane+list@example.org.", "jane+list@example.org", "jane+list@example.org"),
        ("!#$%&'*+-/=?^_`{|}~@example.org", "!#$%&'*+-/=?^_`{|}~@example.org", "!#$%&'*+-/=?^_`{|}~@example.org"),
        ("a@b.co", "a@b.co", "a@b.co"),
        ("0@1.example", "0@1.example", "0@1.example"),
        (r#""jane"@example.org"#, "jane@example.org", "jane@example.org"),
        (r#""jane doe"@example.org"#, r#""jane doe"@example.org"#, r#""jane doe"@example.org"#),
        (r#""a@b"@example.org"#, r#""a@b"@example.org"#, r#""a@b"@example.org"#),
        (r#""a\b"@example.org"#, "ab@example.org", "ab@example.org"),
        (r#""a\"\\b"@example.org"#, r#""a\"\\b"@example.org"#, r#""a\"\\b"@example.org"#),
        (r#"".a."@example.org"#, r#"".a."@example.org"#, r#"".a."@example.org"#),
        ("jörg@example.org", "jörg@example.org", "jörg@example.org"),
        ("JO\u{308}RG@example.org", "JO\u{308}RG@example.org", "jörg@example.org"),
        ("用户@例子.广告", "用户@xn--fsqu00a.xn--4rr70v", "用户@xn--fsqu00a.xn--4rr70v"),
        ("jane@Bücher.example", "jane@xn--bcher-kva.example", "jane@xn--bcher-kva.example"),
        ("jane@xn--bcher-kva.example", "jane@xn--bcher-kva.example", "jane@xn--bcher-kva.example"),
        ("jane@faß.de", "jane@xn--fa-hia.de", "jane@xn--fa-hia.de"),
        ("jane@例子。广告", "jane@xn--fsqu00a.xn--4rr70v", "jane@xn--fsqu00a.xn--4rr70v"),
        ("почта@пример.рф", "почта@xn--e1afmkfd.xn--p1ai", "почта@xn--e1afmkfd.xn--p1ai"),
        (&longest, &longest, &longest),
    ] {
        let mailbox = Mailbox::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(mailbox.wire(), wire, "{text}");
        assert_eq!(mailbox.to_string(), wire);
        assert_eq!(mailbox.wire_len(), wire.len());
        assert_eq!(mailbox.normalised(), normalised, "{text}");
        assert_eq!(mailbox.needs_smtputf8(), !wire.is_ascii(), "{text}");
        assert_eq!(wire.parse(), Ok(mailbox), "the wire form reads back");
    }
}

#[test]
fn bad_mailboxes() {
    use MailboxError as E;
    let long_local = format!("{}@example.org", "a".repeat(65));
    let long_quoted = format!("\"{} \"@example.org", "a".repeat(62));
    let long_path = format!("{}@{1}.{1}.{1}.org", "a".repeat(64), "b".repeat(62));
    let long_label = format!("a@{}.org", "b".repeat(64));
    let huge = format!("a@{}", "b.".repeat(5_000));
    for (text, error) in [
        ("", E::Empty),
        ("jane", E::NoAt),
        ("@example.org", E::NoLocal),
        (r#"""@example.org"#, E::NoLocal),
        ("jane@", E::NoDomain),
        ("jane@.", E::NoDomain),
        ("jane@localhost", E::NotQualified),
        ("jane@example..org", E::EmptyLabel),
        ("jane@.example.org", E::EmptyLabel),
        ("jane@example.org..", E::EmptyLabel),
        ("jane@[192.0.2.1]", E::AddressLiteral),
        ("jane@[IPv6:2001:db8::1]", E::AddressLiteral),
        ("jane@192.0.2.1", E::AddressLiteral),
        ("jane@-example.org", E::DomainCharacter),
        ("jane@example-.org", E::DomainCharacter),
        ("jane@exa_mple.org", E::DomainCharacter),
        ("jane@example.org>", E::DomainCharacter),
        ("jane@exam/ple.org", E::DomainCharacter),
        ("jane@xn--a-ecp.ru", E::DomainCharacter),
        ("jane@exam ple.org", E::Blank),
        ("jane@example.org ", E::Blank),
        (" jane@example.org", E::Blank),
        ("jane doe@example.org", E::Blank),
        ("jane\u{3000}doe@example.org", E::Blank),
        (".jane@example.org", E::Dots),
        ("jane.@example.org", E::Dots),
        ("jane..doe@example.org", E::Dots),
        ("jane<doe@example.org", E::LocalCharacter('<')),
        ("a@b@example.org", E::LocalCharacter('@')),
        ("ja\"ne@example.org", E::LocalCharacter('"')),
        ("jane(doe)@example.org", E::LocalCharacter('(')),
        ("Jane <jane@example.org>", E::DomainCharacter),
        (r#""jane@example.org"#, E::Quote),
        (r#""jane\"#, E::Quote),
        (r#""jane"doe@example.org"#, E::NoAt),
        ("jane\r\n@example.org", E::Control),
        ("jane@example.org\r\nRCPT TO:<x@example.org>", E::Control),
        ("\"ja\0ne\"@example.org", E::Control),
        ("jane\t@example.org", E::Control),
        ("jane\u{85}@example.org", E::Control),
        ("jane\u{2028}@example.org", E::Control),
        ("ja\u{200b}ne@example.org", E::Control),
        ("ja\u{202e}ne@example.org", E::Control),
        ("jane\u{feff}@example.org", E::Control),
        (&long_local, E::LocalTooLong(65)),
        (&long_quoted, E::LocalTooLong(65)),
        (&long_path, E::TooLong(64 + 1 + 63 * 3 + 3)),
        (&long_label, E::DomainTooLong),
        (&huge, E::TooLong(10_002)),
    ] {
        assert_eq!(Mailbox::parse(text), Err(error), "{text:?}");
    }
}

#[test]
fn parts_make_the_same_mailbox_as_the_whole() {
    let domain = DomainName::parse("example.org").unwrap();
    let built = Mailbox::from_parts(r#""jane doe""#, domain.clone()).unwrap();
    assert_eq!(built, Mailbox::parse(r#""jane doe"@example.org"#).unwrap());
    assert_eq!(built.local(), r#""jane doe""#);
    for local in ["", "a b", "a@b", "\"a\"b", "\"a", "a\r\n", "a>b"] {
        assert!(Mailbox::from_parts(local, domain.clone()).is_err(), "{local:?}");
    }
}

#[test]
fn domain_names() {
    for (text, name, unicode) in [
        ("MX1.Example.ORG.", "mx1.example.org", "mx1.example.org"),
        ("localhost", "localhost", "localhost"),
        ("Bücher.example", "xn--bcher-kva.example", "bücher.example"),
        ("r3---sn-a.example", "r3---sn-a.example", "r3---sn-a.example"),
        ("xn--e1afmkfd.xn--p1ai", "xn--e1afmkfd.xn--p1ai", "пример.рф"),
    ] {
        let domain = DomainName::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(domain.as_str(), name);
        assert_eq!(domain.unicode(), unicode);
    }
    for text in ["", ".", "a b.example", "a\n.example", "[::1]", "::1", "1.2.3.4", "xn--\u{fc}.example", "xn--.example"]
    {
        assert!(DomainName::parse(text).is_err(), "{text:?}");
    }
    let parent = DomainName::parse("example.org").unwrap();
    for (name, within) in [("example.org", true), ("a.example.org", true), ("badexample.org", false), ("org", false)] {
        assert_eq!(DomainName::parse(name).unwrap().is_within(&parent), within, "{name}");
    }
}

#[test]
fn debug_output_hides_the_local_part() {
    assert_eq!(format!("{:?}", Mailbox::parse("jane@example.org").unwrap()), "Mailbox(***@example.org)");
}

/// Texts near the grammar, so that many of them parse.
fn near_mailbox() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[a-zA-Z0-9.+\"\\\\ <>@äßИ用😀-]{1,20}@[a-zA-Z0-9.äİ例-]{1,20}",
        "\"[ -~]{0,20}\"@[a-z]{1,5}\\.[a-z]{2,3}",
        "\\PC{1,10}@[a-z]{1,5}\\.[a-z]{2,3}",
    ]
}

proptest! {
    #[test]
    fn what_parses_is_safe_on_the_wire_and_reads_back(text in near_mailbox()) {
        if let Ok(mailbox) = Mailbox::parse(&text) {
            let wire = mailbox.wire();
            prop_assert!(!has_control(&wire));
            prop_assert!(wire.len() <= MAILBOX_MAX);
            prop_assert!(mailbox.local().len() <= LOCAL_MAX);
            prop_assert!(mailbox.domain().as_str().is_ascii());
            prop_assert_eq!(Mailbox::parse(&wire), Ok(mailbox.clone()));
            if !mailbox.local().starts_with('"') {
                prop_assert!(!wire.contains([' ', '<', '>', '"', ',', ';', ':']));
            }
        }
    }

    #[test]
    fn normalising_twice_changes_nothing(text in near_mailbox()) {
        if let Ok(mailbox) = Mailbox::parse(&text) {
            let once = mailbox.normalised();
            // Folding may lengthen a local part beyond what a mailbox may have; then it is a key only.
            if let Ok(again) = Mailbox::parse(&once) {
                prop_assert_eq!(again.normalised(), once);
            }
        }
    }

    #[test]
    fn letter_case_does_not_matter_for_matching(local in "[a-zA-Z0-9.+äÖИж]{1,12}", domain in "[a-zA-Z]{1,8}\\.[a-zA-Z]{2,4}") {
        let text = format!("{local}@{domain}");
        if let Ok(mailbox) = Mailbox::parse(&text) {
            let upper = Mailbox::parse(&text.to_uppercase()).unwrap();
            prop_assert_eq!(mailbox.normalised(), upper.normalised());
        }
    }

    #[test]
    fn domain_names_read_back_in_both_forms(text in "[a-zA-Z0-9äßéИ例ñ.-]{1,24}") {
        if let Ok(domain) = DomainName::parse(&text) {
            prop_assert_eq!(DomainName::parse(domain.as_str()), Ok(domain.clone()));
            prop_assert_eq!(DomainName::parse(&domain.unicode()), Ok(domain.clone()));
            prop_assert!(domain.as_str().len() <= 253);
            prop_assert!(!domain.as_str().bytes().any(|byte| byte.is_ascii_uppercase()));
        }
    }
}
