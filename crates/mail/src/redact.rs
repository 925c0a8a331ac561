//! The only form in which a mailbox may stand in a log: `u***@domain#hmac8`.
//!
//! Must not know loggers. The keyed hash lets an operator follow one mailbox through a log without
//! its name; whoever lacks the key cannot test guesses.

use aws_lc_rs::hmac;

use crate::mailbox::Mailbox;

/// First character of the local part, the domain, and 8 hexadecimal digits of an HMAC over the
/// normalised mailbox.
pub fn mailbox_for_log(key: &[u8; 32], mailbox: &Mailbox) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    let tag = hmac::sign(&key, mailbox.normalised().as_bytes());
    let [a, b, c, d, ..] = tag.as_ref() else { return "***".to_owned() };
    let first = mailbox.local().chars().find(|c| c.is_alphanumeric()).unwrap_or('_');
    format!("{first}***@{}#{a:02x}{b:02x}{c:02x}{d:02x}", mailbox.domain())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_mailbox_look_the_same_and_keys_differ() {
        let written = Mailbox::parse("jane.doe@Example.org").unwrap();
        let other = Mailbox::parse("JANE.DOE@example.ORG").unwrap();
        let line = mailbox_for_log(&[1; 32], &written);
        assert!(line.starts_with("j***@example.org#"), "{line}");
        assert_eq!(line.len(), "j***@example.org#".len() + 8);
        assert_eq!(line[17..], mailbox_for_log(&[1; 32], &other)[17..]);
        assert_ne!(line, mailbox_for_log(&[2; 32], &written));
        assert!(!line.contains("ane"));
    }
}
