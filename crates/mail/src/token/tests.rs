//! Tokens read back; changed, foreign and crossed ones do not.

use proptest::prelude::*;

use super::*;

fn key(id: u8) -> LinkKey {
    LinkKey::new(id, &[id; 32])
}

fn keys() -> LinkKeys {
    LinkKeys::new(key(2), vec![key(1)])
}

const OPT_OUT: OptOutToken =
    OptOutToken { workspace: 1, contact: 7_298_471_298_471_298_471, purpose: 3, delivery: 99_000 };

fn hosted(token: OptOutToken) -> HostedToken {
    let OptOutToken { workspace, contact, purpose, delivery } = token;
    HostedToken { workspace, contact, purpose, delivery }
}

#[test]
fn golden() {
    // Links in mailboxes of people must work for ever: these texts may never change.
    assert_eq!(OPT_OUT.encode(&key(1)), "AQEBp4uQ5qGf2KRlA7iFBmEvgjKdSS0a_s-BVzlZ3qw");
    assert_eq!(hosted(OPT_OUT).encode(&key(1)), "AgEBp4uQ5qGf2KRlA7iFBjK98jE4v4-WaeW4562i-XE");
    assert_eq!(
        ReturnPathToken { delivery: 99_000, day: 20_778 }.encode(&key(1)),
        "b-aeaaaaaaaaayfocrfl5tftsq3ztswjdjupra4"
    );
    assert_eq!(MailtoToken { delivery: 99_000 }.encode(&key(1)), "u-aeaaaaaaaaayfognfgtjbhdhhzyb3qk2ah6dq");
}

/// Every single change: each other character of `alphabet` at each place, each character left out,
/// doubled or added.
fn changed(text: &str, alphabet: &str) -> Vec<String> {
    let mut all = vec![String::new(), format!("{text}="), format!(" {text}"), format!("{text}\n")];
    for at in 0..text.len() {
        for c in alphabet.chars() {
            let mut other = text.to_owned();
            other.replace_range(at..=at, c.encode_utf8(&mut [0; 4]));
            all.push(other);
            let mut longer = text.to_owned();
            longer.insert(at, c);
            all.push(longer);
        }
        let mut shorter = text.to_owned();
        shorter.remove(at);
        all.push(shorter);
        all.push(text[..at].to_owned());
    }
    all.extend(alphabet.chars().map(|c| format!("{text}{c}")));
    all.retain(|other| other != text);
    all
}

const URL_ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/= .%ä\0";

#[test]
fn every_changed_character_of_a_link_kills_it() {
    let keys = keys();
    for signer in [key(2), key(1)] {
        let text = OPT_OUT.encode(&signer);
        assert_eq!(OptOutToken::decode(&text, &keys), Some(OPT_OUT));
        for other in changed(&text, URL_ALPHABET) {
            assert_eq!(OptOutToken::decode(&other, &keys), None, "{other}");
        }
        let text = hosted(OPT_OUT).encode(&signer);
        assert_eq!(HostedToken::decode(&text, &keys), Some(hosted(OPT_OUT)));
        for other in changed(&text, URL_ALPHABET) {
            assert_eq!(HostedToken::decode(&other, &keys), None, "{other}");
        }
    }
}

/// Lengths of all three remainders, so that the unused bits of the last character are tried.
#[test]
fn unused_bits_of_the_last_character_must_be_zero() {
    let mut seen = std::collections::BTreeSet::new();
    for contact in [1, 1 << 7, 1 << 14, 1 << 21] {
        let token = OptOutToken { contact, ..OPT_OUT };
        let text = token.encode(&key(1));
        seen.insert(text.len() % 4);
        for c in URL_ALPHABET.chars() {
            let other = format!("{}{c}", &text[..text.len() - 1]);
            assert_eq!(OptOutToken::decode(&other, &keys()).is_some(), other == text, "{other}");
        }
    }
    assert_eq!(seen.len(), 3);
}

#[test]
fn every_changed_character_of_a_local_part_kills_it() {
    const ALPHABET: &str = "abcdefghijklmnopqrstuvwxyz0123456789-+.=_@ ä";
    let keys = keys();
    for signer in [key(2), key(1)] {
        let token = ReturnPathToken { delivery: 99_000, day: 20_778 };
        let text = token.encode(&signer);
        assert_eq!(ReturnPathToken::decode(&text, &keys), Some(token));
        assert_eq!(ReturnPathToken::decode(&text.to_uppercase(), &keys), Some(token));
        for other in changed(&text, ALPHABET) {
            assert_eq!(ReturnPathToken::decode(&other, &keys), None, "{other}");
        }
        let token = MailtoToken { delivery: 99_000 };
        let text = token.encode(&signer);
        assert_eq!(MailtoToken::decode(&text, &keys), Some(token));
        assert_eq!(MailtoToken::decode(&text.to_uppercase(), &keys), Some(token));
        for other in changed(&text, ALPHABET) {
            assert_eq!(MailtoToken::decode(&other, &keys), None, "{other}");
        }
    }
}

#[test]
fn a_token_of_one_kind_is_none_of_another() {
    let keys = keys();
    let key = key(1);
    let texts = [
        OPT_OUT.encode(&key),
        hosted(OPT_OUT).encode(&key),
        ReturnPathToken { delivery: 5, day: 6 }.encode(&key),
        MailtoToken { delivery: 5 }.encode(&key),
    ];
    for (index, text) in texts.iter().enumerate() {
        assert_eq!(OptOutToken::decode(text, &keys).is_some(), index == 0);
        assert_eq!(HostedToken::decode(text, &keys).is_some(), index == 1);
        assert_eq!(ReturnPathToken::decode(text, &keys).is_some(), index == 2);
        assert_eq!(MailtoToken::decode(text, &keys).is_some(), index == 3);
    }
    // Not even with the mark of the other kind in front: the keys differ.
    assert_eq!(MailtoToken::decode(&texts[2].replacen("b-", "u-", 1), &keys), None);
    assert_eq!(ReturnPathToken::decode(&texts[3].replacen("u-", "b-", 1), &keys), None);
    let mut bytes = URL_SAFE_NO_PAD.decode(&texts[0]).unwrap();
    bytes[0] = Kind::Hosted.byte();
    assert_eq!(HostedToken::decode(&URL_SAFE_NO_PAD.encode(&bytes), &keys), None);
}

#[test]
fn longer_spellings_of_a_number_are_refused_even_when_signed() {
    let key = key(1);
    let mut bytes = vec![Kind::OptOut.byte(), 1, 0x81, 0x00, 2, 3, 4];
    let tag = key.tag(Kind::OptOut, &bytes);
    bytes.extend_from_slice(&tag.as_ref()[..URL_TAG]);
    assert_eq!(OptOutToken::decode(&URL_SAFE_NO_PAD.encode(&bytes), &keys()), None);
}

#[test]
fn keys_that_were_removed_or_replaced_verify_nothing() {
    let text = OPT_OUT.encode(&key(1));
    assert_eq!(OptOutToken::decode(&text, &LinkKeys::new(key(2), vec![])), None);
    assert_eq!(OptOutToken::decode(&text, &LinkKeys::new(LinkKey::new(1, &[9; 32]), vec![])), None);
    let path = ReturnPathToken { delivery: 1, day: 1 }.encode(&key(1));
    assert_eq!(ReturnPathToken::decode(&path, &LinkKeys::new(key(2), vec![])), None);
    assert_eq!(ReturnPathToken::decode(&path, &LinkKeys::new(LinkKey::new(1, &[9; 32]), vec![])), None);
}

#[test]
fn debug_output_hides_the_secret() {
    assert_eq!(format!("{:?}", key(1)), "LinkKey(1, ***)");
}

proptest! {
    #[test]
    fn ids_of_any_size_read_back(workspace: i64, contact: i64, purpose: i64, delivery: i64, day: u16) {
        let keys = keys();
        let token = OptOutToken { workspace, contact, purpose, delivery };
        let text = token.encode(&keys.current);
        prop_assert!(text.len() <= 78);
        prop_assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
        prop_assert_eq!(OptOutToken::decode(&text, &keys), Some(token));
        prop_assert_eq!(HostedToken::decode(&text, &keys), None);
        let token = ReturnPathToken { delivery, day };
        let text = token.encode(&keys.current);
        prop_assert!(text.len() < 40 && text == text.to_lowercase());
        prop_assert_eq!(ReturnPathToken::decode(&text, &keys), Some(token));
        let token = MailtoToken { delivery };
        let text = token.encode(&keys.current);
        prop_assert!(text.len() < 40 && text == text.to_lowercase());
        prop_assert_eq!(MailtoToken::decode(&text, &keys), Some(token));
    }

    #[test]
    fn noise_is_no_token(text in "\\PC{0,90}|[A-Za-z0-9_-]{0,90}|[bu]-[a-z2-7]{37}|AQE[A-Za-z0-9_-]{20,60}") {
        let keys = keys();
        prop_assert_eq!(OptOutToken::decode(&text, &keys), None);
        prop_assert_eq!(HostedToken::decode(&text, &keys), None);
        prop_assert_eq!(ReturnPathToken::decode(&text, &keys), None);
        prop_assert_eq!(MailtoToken::decode(&text, &keys), None);
    }
}
