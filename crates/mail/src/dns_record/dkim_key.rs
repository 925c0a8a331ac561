//! DKIM key records as text (RFC 6376 3.6.1, RFC 8301, RFC 8463). Must not verify signatures.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{RecordError, piece, tags};

/// The kind of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyType {
    /// `rsa`, also when nothing is said.
    Rsa,
    /// `ed25519`.
    Ed25519,
}

/// A DKIM key record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DkimKeyRecord {
    /// `k`.
    pub kind: KeyType,
    /// `p`, decoded; empty when the key is revoked.
    pub key: Vec<u8>,
    /// `t=y`: the domain is trying DKIM out; verifiers treat its mail as unsigned.
    pub testing: bool,
    /// `h` lets SHA-256 be used.
    pub sha256: bool,
    /// `s` lets the key be used for mail.
    pub for_mail: bool,
}

impl DkimKeyRecord {
    /// Reads a key record.
    ///
    /// ```
    /// use postrider_mail::dns_record::dkim_key::DkimKeyRecord;
    /// assert!(DkimKeyRecord::parse("v=DKIM1; p=").unwrap().is_revoked());
    /// ```
    ///
    /// # Errors
    /// It is not a tag list, has no `p`, or a value that cannot be read.
    pub fn parse(txt: &str) -> Result<DkimKeyRecord, RecordError> {
        let mut record =
            DkimKeyRecord { kind: KeyType::Rsa, key: Vec::new(), testing: false, sha256: true, for_mail: true };
        let mut key = None;
        for (at, (name, value)) in tags(txt)?.into_iter().enumerate() {
            let wrong = || RecordError::Value(piece(&format!("{name}={value}")));
            let mut words = value.split(':').map(str::trim);
            match name.as_str() {
                // 3.6.1: if there is a version it comes first and is this one.
                "v" if at == 0 && value == "DKIM1" => {}
                "v" => return Err(wrong()),
                "k" if value.eq_ignore_ascii_case("rsa") => record.kind = KeyType::Rsa,
                "k" if value.eq_ignore_ascii_case("ed25519") => record.kind = KeyType::Ed25519,
                "k" => return Err(wrong()),
                "p" => key = Some(value),
                "t" => record.testing = words.any(|word| word.eq_ignore_ascii_case("y")),
                "h" => record.sha256 = words.any(|word| word.eq_ignore_ascii_case("sha256")),
                "s" => record.for_mail = words.any(|word| word == "*" || word.eq_ignore_ascii_case("email")),
                _ => {}
            }
        }
        let text: String = key.ok_or(RecordError::Missing("p"))?.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        record.key = STANDARD.decode(&text).map_err(|_| RecordError::Value(piece(&format!("p={text}"))))?;
        Ok(record)
    }

    /// Whether the key was taken back by an empty `p`.
    pub fn is_revoked(&self) -> bool {
        self.key.is_empty()
    }

    /// The bits of an RSA modulus; `None` for other keys and for what is no key.
    pub fn rsa_bits(&self) -> Option<usize> {
        match self.kind {
            KeyType::Rsa => {
                let (tag, inside, _) = der(&self.key)?;
                let (first, value, rest) = der(if tag == 0x30 { inside } else { return None })?;
                // A bare RSAPublicKey begins with the modulus, a SubjectPublicKeyInfo with the algorithm.
                let modulus = if first == 0x02 {
                    value
                } else {
                    let (tag, bits, _) = der(rest)?;
                    let (_, sequence, _) = der(if tag == 0x03 { bits.get(1..)? } else { return None })?;
                    let (tag, modulus, _) = der(sequence)?;
                    if tag == 0x02 { modulus } else { return None }
                };
                let start = modulus.iter().position(|b| *b != 0)?;
                let leading = usize::try_from(modulus[start].leading_zeros()).ok()?;
                Some((modulus.len() - start) * 8 - leading)
            }
            KeyType::Ed25519 => None,
        }
    }
}

/// One DER value: its tag, what is inside, what follows it.
fn der(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (length, rest) = rest.split_first()?;
    let (length, rest) = match *length {
        short @ 0..=0x7f => (usize::from(short), rest),
        long @ 0x81..=0x83 => {
            let (octets, rest) = rest.split_at_checked(usize::from(long & 0x7f))?;
            (octets.iter().fold(0, |sum, octet| sum << 8 | usize::from(*octet)), rest)
        }
        _ => return None, // longer than any key, or of indefinite length
    };
    let (inside, after) = rest.split_at_checked(length)?;
    Some((*tag, inside, after))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dkim::SigningKey;

    fn wrapped(tag: u8, inside: &[u8]) -> Vec<u8> {
        let length = u16::try_from(inside.len()).unwrap().to_be_bytes();
        [&[tag, 0x82, length[0], length[1]], inside].concat()
    }

    #[test]
    fn our_own_records_are_read() {
        let record = DkimKeyRecord::parse(&SigningKey::generate_rsa2048().unwrap().public_txt()).unwrap();
        assert_eq!((record.kind, record.rsa_bits()), (KeyType::Rsa, Some(2048)));
        let record = DkimKeyRecord::parse(&SigningKey::generate_ed25519().unwrap().public_txt()).unwrap();
        assert_eq!((record.kind, record.rsa_bits(), record.key.len()), (KeyType::Ed25519, None, 32));
    }

    #[test]
    fn the_length_of_a_modulus_is_counted_in_bits() {
        for bytes in [64, 128, 192] {
            let modulus = wrapped(0x02, &[&[0][..], &vec![0xff; bytes]].concat());
            let key = wrapped(0x30, &[&modulus[..], &[0x02, 1, 3]].concat());
            let text = format!("k=rsa; p={}", STANDARD.encode(key));
            assert_eq!(DkimKeyRecord::parse(&text).unwrap().rsa_bits(), Some(bytes * 8));
        }
        assert_eq!(DkimKeyRecord::parse("p=AAAA").unwrap().rsa_bits(), None);
    }

    #[test]
    fn flags_and_faults() {
        let record = DkimKeyRecord::parse("v=DKIM1; t=s:y; h=sha1; s=tlsrpt; p=QUJD REVG").unwrap();
        assert!(record.testing && !record.sha256 && !record.for_mail && !record.is_revoked());
        assert!(DkimKeyRecord::parse("v=DKIM1; p=").unwrap().is_revoked());
        for (bad, word) in [
            ("v=DKIM1; k=rsa", "`p` is missing"),
            ("k=rsa; v=DKIM1; p=", "v=DKIM1"),
            ("v=DKIM2; p=", "v=DKIM2"),
            ("v=DKIM1; k=dsa; p=", "k=dsa"),
            ("v=DKIM1; p=***", "p=***"),
        ] {
            let error = DkimKeyRecord::parse(bad).unwrap_err().to_string();
            assert!(error.contains(word), "{bad}: {error}");
        }
    }
}
