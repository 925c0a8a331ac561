//! Verifying the DKIM signatures of a received message (RFC 6376 6.1), for messages that a person hands in to prove that a
//! relay signs.
//!
//! Must not ask DNS: the caller brings the key record. Every message is hostile; the work is linear in its size.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ED25519, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;

use super::canonical::{BodyHasher, header_field};
use super::fields;
use crate::dns_record::dkim_key::{DkimKeyRecord, KeyType};
use crate::mailbox::{DomainName, Mailbox};

/// Most signatures that are looked at; what comes after them is not read.
const MOST: usize = 20;

/// Why a signature does not prove anything; reads after "the signature does not count:".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum VerifyError {
    /// A tag is missing or unreadable.
    #[error("one of its tags cannot be read")]
    Malformed,
    /// Another algorithm, or SHA-1 (RFC 8301 3.1).
    #[error("it is made with an algorithm that no receiver accepts any more")]
    Algorithm,
    /// `l=` leaves the end of the message open to anybody.
    #[error("it covers only a part of the body (l=)")]
    PartOfBody,
    /// RFC 6376 5.4 requires From.
    #[error("it does not cover the From field")]
    NoFrom,
    /// The body is another one.
    #[error("the body was changed after it was signed")]
    Body,
    /// The header is another one, or the key is.
    #[error("the header was changed after it was signed, or the key is another one")]
    Header,
    /// The key record forbids it.
    #[error("its key is revoked, or not for mail")]
    Key,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Simple,
    Relaxed,
}

/// A signature of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// `d=`, lowercase.
    pub domain: String,
    /// `s=`, lowercase.
    pub selector: String,
    kind: KeyType,
    header: Form,
    body: Form,
    signed: Vec<String>,
    body_hash: Vec<u8>,
    signature: Vec<u8>,
    /// Which of the message's fields it is.
    at: usize,
}

/// The bytes of a message as its lines end on the wire: a file may have LF alone.
pub fn with_crlf(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + message.len() / 40);
    let mut before = 0;
    for &byte in message {
        if byte == b'\n' && before != b'\r' {
            out.push(b'\r');
        }
        out.push(byte);
        before = byte;
    }
    out
}

fn parts(message: &[u8]) -> (Vec<&[u8]>, &[u8]) {
    let end = memchr::memmem::find(message, b"\r\n\r\n").map_or(message.len(), |at| at + 2);
    (fields::split(&message[..end]), message.get(end + 2..).unwrap_or_default())
}

fn name_of(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == b':').next().unwrap_or_default().trim_ascii()
}

/// The domain of the one mailbox in the one From field; `None` when there is none, or more than one field.
pub fn from_domain(message: &[u8]) -> Option<DomainName> {
    let (fields, _) = parts(message);
    let mut found = fields.iter().filter(|field| name_of(field).eq_ignore_ascii_case(b"from"));
    let field = found.next()?;
    if found.next().is_some() {
        return None;
    }
    let text = String::from_utf8_lossy(field);
    let value = text.split_once(':')?.1.trim();
    let mailbox = match (value.rfind('<'), value.rfind('>')) {
        (Some(open), Some(close)) if open < close => &value[open + 1..close],
        _ => value,
    };
    Mailbox::parse(mailbox.trim()).ok().map(|mailbox| mailbox.domain().clone())
}

/// The signatures of a message whose lines end in CRLF, with those that cannot be read as errors.
pub fn signatures(message: &[u8]) -> Vec<Result<Signature, VerifyError>> {
    let (fields, _) = parts(message);
    let is_ours = |field: &[u8]| name_of(field).eq_ignore_ascii_case(b"dkim-signature");
    let found = fields.iter().enumerate().filter(|(_, field)| is_ours(field));
    found.take(MOST).map(|(at, field)| read(at, field)).collect()
}

fn read(at: usize, field: &[u8]) -> Result<Signature, VerifyError> {
    let text = std::str::from_utf8(field).map_err(|_| VerifyError::Malformed)?;
    let value = text.split_once(':').ok_or(VerifyError::Malformed)?.1;
    let mut tags: Vec<(&str, String)> = Vec::new();
    for tag in value.split(';').filter(|tag| !tag.trim().is_empty()) {
        let (name, value) = tag.split_once('=').ok_or(VerifyError::Malformed)?;
        let name = name.trim();
        // RFC 6376 3.2: a tag twice makes the whole list invalid.
        if tags.iter().any(|(known, _)| *known == name) {
            return Err(VerifyError::Malformed);
        }
        tags.push((name, value.split_whitespace().collect()));
    }
    let tag = |name: &str| tags.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str());
    let need = |name: &str| tag(name).filter(|value| !value.is_empty()).ok_or(VerifyError::Malformed);
    if need("v")? != "1" {
        return Err(VerifyError::Malformed);
    }
    let kind = match need("a")?.to_ascii_lowercase().as_str() {
        "rsa-sha256" => KeyType::Rsa,
        "ed25519-sha256" => KeyType::Ed25519,
        _ => return Err(VerifyError::Algorithm),
    };
    if tag("l").is_some() {
        return Err(VerifyError::PartOfBody);
    }
    let (header, body) = match tag("c").map(|forms| forms.split_once('/').unwrap_or((forms, "simple"))) {
        None => (Form::Simple, Form::Simple),
        Some((header, body)) => (form(header)?, form(body)?),
    };
    let signed: Vec<String> = need("h")?.split(':').map(|name| name.to_ascii_lowercase()).collect();
    if !signed.iter().any(|name| name == "from") {
        return Err(VerifyError::NoFrom);
    }
    let bytes = |name: &str| STANDARD.decode(need(name)?).map_err(|_| VerifyError::Malformed);
    let domain = DomainName::parse(need("d")?).map_err(|_| VerifyError::Malformed)?;
    Ok(Signature {
        domain: domain.as_str().to_owned(),
        selector: need("s")?.to_ascii_lowercase(),
        kind,
        header,
        body,
        signed,
        body_hash: bytes("bh")?,
        signature: bytes("b")?,
        at,
    })
}

fn form(word: &str) -> Result<Form, VerifyError> {
    match word.to_ascii_lowercase().as_str() {
        "simple" => Ok(Form::Simple),
        "relaxed" => Ok(Form::Relaxed),
        _ => Err(VerifyError::Malformed),
    }
}

impl Signature {
    /// Whether the signing domain stands for a From domain: one of them is the other, or lies above it. Two domains that
    /// only share a parent are not taken for one.
    pub fn is_aligned(&self, from: &DomainName) -> bool {
        let (ours, theirs) = (self.domain.as_str(), from.as_str());
        let above = |parent: &str, child: &str| {
            parent.contains('.') && child.strip_suffix(parent).is_some_and(|head| head.ends_with('.'))
        };
        ours == theirs || above(ours, theirs) || above(theirs, ours)
    }

    /// Verifies it over a message whose lines end in CRLF.
    ///
    /// # Errors
    /// Why it does not count.
    pub fn verify(&self, message: &[u8], key: &DkimKeyRecord) -> Result<(), VerifyError> {
        if key.is_revoked() || !key.for_mail || !key.sha256 || key.kind != self.kind {
            return Err(VerifyError::Key);
        }
        let (mut fields, body) = parts(message);
        if self.body_hash != hash(self.body, body) {
            return Err(VerifyError::Body);
        }
        let own = fields.get(self.at).copied().ok_or(VerifyError::Malformed)?;
        let mut data = Vec::with_capacity(2_048);
        for name in &self.signed {
            // From the bottom up (RFC 6376 5.4.2); a name without a field stands for nothing.
            let found = fields.iter().rposition(|field| name_of(field).eq_ignore_ascii_case(name.as_bytes()));
            let Some(at) = found else { continue };
            self.append(fields[at], &mut data);
            data.extend_from_slice(b"\r\n");
            fields[at] = b"";
        }
        self.append(&without_b(own), &mut data);
        let algorithm: &'static dyn VerificationAlgorithm = match self.kind {
            KeyType::Rsa => &RSA_PKCS1_2048_8192_SHA256,
            KeyType::Ed25519 => &ED25519,
        };
        let public = UnparsedPublicKey::new(algorithm, &key.key);
        let verified = match self.kind {
            KeyType::Rsa => public.verify(&data, &self.signature),
            // RFC 8463 section 3.
            KeyType::Ed25519 => public.verify(digest(&SHA256, &data).as_ref(), &self.signature),
        };
        verified.map_err(|_| VerifyError::Header)
    }

    fn append(&self, field: &[u8], out: &mut Vec<u8>) {
        match self.header {
            Form::Simple => out.extend_from_slice(field),
            Form::Relaxed => header_field(field, out),
        }
    }
}

fn hash(form: Form, body: &[u8]) -> Vec<u8> {
    match form {
        Form::Relaxed => {
            let mut hasher = BodyHasher::new();
            hasher.update(body);
            hasher.finish().to_vec()
        }
        Form::Simple => {
            // RFC 6376 3.4.3: empty lines at the end count as one line end, and no body as one.
            let mut body = body;
            while let Some(shorter) = body.strip_suffix(b"\r\n") {
                body = shorter;
            }
            let mut whole = body.to_vec();
            whole.extend_from_slice(b"\r\n");
            digest(&SHA256, &whole).as_ref().to_vec()
        }
    }
}

/// The field with an empty `b=` (RFC 6376 3.7).
fn without_b(field: &[u8]) -> Vec<u8> {
    let colon = memchr::memchr(b':', field).map_or(field.len(), |at| at + 1);
    let mut out = field[..colon].to_vec();
    for (n, tag) in field[colon..].split(|byte| *byte == b';').enumerate() {
        if n > 0 {
            out.push(b';');
        }
        match memchr::memchr(b'=', tag) {
            Some(at) if tag[..at].trim_ascii() == b"b" => out.extend_from_slice(&tag[..=at]),
            Some(_) | None => out.extend_from_slice(tag),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::dkim::{Signer, SigningKey};

    const MESSAGE: &str = "From: News <news@shop.example.org>\r\nTo: ann@example.net\r\nSubject: Hello\r\n world\r\n\
        Date: Sun, 22 Nov 2026 10:00:00 +0000\r\n\r\nGood day,\r\n\r\nhow are you?  \r\n\r\n";

    fn signed(key: SigningKey, domain: &str) -> (Vec<u8>, DkimKeyRecord) {
        let record = DkimKeyRecord::parse(&key.public_txt()).unwrap();
        let signer = Signer::new(DomainName::parse(domain).unwrap(), "rel1", Arc::new(key)).unwrap();
        let mut message = signer.sign(MESSAGE.as_bytes(), 1_800_000_000_000).unwrap();
        message.extend_from_slice(MESSAGE.as_bytes());
        (message, record)
    }

    #[test]
    fn a_signature_counts_until_something_is_changed() {
        for key in [SigningKey::generate_rsa2048().unwrap(), SigningKey::generate_ed25519().unwrap()] {
            let (message, record) = signed(key, "example.org");
            let check = |message: &[u8]| match signatures(message).remove(0) {
                Ok(signature) => signature.verify(message, &record),
                Err(error) => Err(error),
            };
            assert_eq!(check(&message), Ok(()));
            let text = String::from_utf8(message.clone()).unwrap();
            // A hop adds fields above, and a file has other line ends.
            let travelled = format!("Received: by mx\r\n{}", text.replace("\r\n", "\n"));
            assert_eq!(check(&with_crlf(travelled.as_bytes())), Ok(()));
            for (from, to, why) in [
                ("how are you", "how were you", VerifyError::Body),
                ("Hello", "Hallo", VerifyError::Header),
                ("+0000", "+0100", VerifyError::Header),
                ("DKIM-Signature: v=1;", "DKIM-Signature: v=2;", VerifyError::Malformed),
                ("-sha256", "-sha1", VerifyError::Algorithm),
                ("v=1;", "v=1; l=5;", VerifyError::PartOfBody),
                ("v=1;", "v=1; d=evil.example;", VerifyError::Malformed),
            ] {
                assert_eq!(check(text.replacen(from, to, 1).as_bytes()), Err(why), "{from} -> {to}");
            }
            let revoked = DkimKeyRecord { key: vec![], ..record.clone() };
            assert_eq!(signatures(&message).remove(0).unwrap().verify(&message, &revoked), Err(VerifyError::Key));
        }
    }

    #[test]
    fn simple_forms_are_read_as_well() {
        let key = SigningKey::generate_ed25519().unwrap();
        let record = DkimKeyRecord::parse(&key.public_txt()).unwrap();
        let body_hash = STANDARD.encode(hash(Form::Simple, b"Good day,\r\n\r\nhow are you?  \r\n\r\n"));
        let field = format!(
            "DKIM-Signature: v=1; a=ed25519-sha256; d=example.org; s=x; h=From : Subject;\r\n\tbh={body_hash}; b="
        );
        let data = format!("From: News <news@shop.example.org>\r\nSubject: Hello\r\n world\r\n{field}");
        let signature = STANDARD.encode(key.sign(data.as_bytes()).unwrap());
        let message = format!("{field}{}\r\n{MESSAGE}", &signature);
        let found = signatures(message.as_bytes()).remove(0).unwrap();
        assert_eq!(found.verify(message.as_bytes(), &record), Ok(()));
        let spaced = message.replace("Subject: Hello", "Subject:  Hello");
        assert_eq!(found.verify(spaced.as_bytes(), &record), Err(VerifyError::Header));
    }

    #[test]
    fn only_domains_of_one_family_are_aligned() {
        let (message, _) = signed(SigningKey::generate_ed25519().unwrap(), "example.org");
        let signature = signatures(&message).remove(0).unwrap();
        for (from, aligned) in [
            ("example.org", true),
            ("shop.example.org", true),
            ("notexample.org", false),
            ("example.org.evil.test", false),
            ("org", false),
        ] {
            assert_eq!(DomainName::parse(from).is_ok_and(|from| signature.is_aligned(&from)), aligned, "{from}");
        }
        assert_eq!(from_domain(&message).unwrap().as_str(), "shop.example.org");
        assert_eq!(from_domain(format!("From: x@y.test\r\n{MESSAGE}").as_bytes()), None, "two From fields");
        assert_eq!(from_domain(b"From: a@b.test"), DomainName::parse("b.test").ok());
    }

    #[test]
    fn nonsense_is_no_signature() {
        for text in ["", "\r\n\r\n", "DKIM-Signature", "DKIM-Signature: ;;;=\r\n\r\n", "DKIM-Signature: v=1\r\n\r\nx"] {
            assert!(signatures(text.as_bytes()).iter().all(Result::is_err), "{text:?}");
        }
    }
}
