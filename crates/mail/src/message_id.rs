//! Message-IDs and MIME boundaries that are functions of the delivery, so that retries keep their bytes.
//!
//! Must not know the message. The Message-ID carries a tag, so that reports which hide everything
//! else still lead to the delivery (RFC 6590).

use aws_lc_rs::hmac;
use subtle::ConstantTimeEq as _;

use crate::base32;
use crate::mailbox::DomainName;

/// Octets of the tag: 80 bits.
const TAG: usize = 10;

/// The Message-ID with its angle brackets, `<d.xxxx@host>`: the same for each try of a delivery.
pub fn message_id(delivery: i64, host: &DomainName, secret: &[u8; 32]) -> String {
    let mut text = String::with_capacity(36 + host.as_str().len());
    text.push('<');
    push_left(delivery, secret, &mut text);
    text.push('@');
    text.push_str(host.as_str());
    text.push('>');
    text
}

/// The delivery that a Message-ID of ours names, with or without angle brackets, whatever its host;
/// `None` when `secret` did not make it.
pub fn delivery_of(message_id: &str, secret: &[u8; 32]) -> Option<i64> {
    let text = message_id.trim();
    let text = text.strip_prefix('<').unwrap_or(text);
    let left = text.split('@').next()?;
    if left.len() > 64 {
        return None;
    }
    let bytes = base32::decode(left.strip_prefix("d.")?)?;
    let delivery = i64::from_be_bytes(bytes.get(..8)?.try_into().ok()?);
    let mut expected = String::with_capacity(36);
    push_left(delivery, secret, &mut expected);
    bool::from(left.as_bytes().ct_eq(expected.as_bytes())).then_some(delivery)
}

/// The boundary of the `n`th multipart of a delivery. `=_` cannot occur in quoted-printable or
/// base64 text (RFC 2045 6.7), so the boundary occurs in no encoded part. Quote it in Content-Type.
pub fn boundary(delivery: i64, n: u8) -> String {
    let mut text = String::with_capacity(24);
    text.push_str("=_");
    base32::encode_into(&delivery.to_be_bytes(), &mut text);
    text.push('_');
    text.push_str(&n.to_string());
    text
}

fn push_left(delivery: i64, secret: &[u8; 32], out: &mut String) {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let mut context = hmac::Context::with_key(&key);
    context.update(b"postrider message-id v1:");
    context.update(&delivery.to_be_bytes());
    let mut bytes = [0; 8 + TAG];
    bytes[..8].copy_from_slice(&delivery.to_be_bytes());
    bytes[8..].copy_from_slice(&context.sign().as_ref()[..TAG]);
    out.push_str("d.");
    base32::encode_into(&bytes, out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECRET: [u8; 32] = [7; 32];

    fn host() -> DomainName {
        DomainName::parse("mail.example.org").unwrap()
    }

    #[test]
    fn the_same_delivery_has_the_same_id_for_ever() {
        // Golden: retries of stored deliveries need these bytes after every update.
        assert_eq!(message_id(1, &host(), &SECRET), "<d.aaaaaaaaaaaad7zt3q4koxcfilysa@mail.example.org>");
        assert_eq!(boundary(1, 0), "=_aaaaaaaaaaaac_0");
    }

    #[test]
    fn foreign_ids_name_nothing() {
        let id = message_id(99, &host(), &SECRET);
        assert_eq!(delivery_of(&id, &SECRET), Some(99));
        assert_eq!(delivery_of(id.trim_matches(['<', '>']), &SECRET), Some(99));
        assert_eq!(delivery_of(&id, &[8; 32]), None);
        assert_eq!(delivery_of("<d.@mail.example.org>", &SECRET), None);
        assert_eq!(delivery_of("<abc@mail.example.org>", &SECRET), None);
        assert_eq!(delivery_of("", &SECRET), None);
    }

    proptest! {
        #[test]
        fn every_delivery_reads_back_and_boundaries_are_legal(delivery: i64, n: u8) {
            prop_assert_eq!(delivery_of(&message_id(delivery, &host(), &SECRET), &SECRET), Some(delivery));
            let boundary = boundary(delivery, n);
            // RFC 2046 5.1.1: at most 70 characters.
            prop_assert!(boundary.len() <= 70);
            prop_assert!(boundary.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"=_".contains(&byte)));
        }

        #[test]
        fn any_changed_character_names_nothing(delivery: i64, at in 0usize..31, replacement in "[a-z2-7]") {
            let id = message_id(delivery, &host(), &SECRET);
            let mut changed = id.clone();
            changed.replace_range(1 + at..2 + at, &replacement);
            prop_assume!(changed != id);
            prop_assert_eq!(delivery_of(&changed, &SECRET), None);
        }
    }
}
