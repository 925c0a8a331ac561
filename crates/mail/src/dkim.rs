//! DKIM signatures (RFC 6376, 8301, 8463): relaxed/relaxed, oversigned, over the bytes that go out.
//!
//! Must not know where keys are kept. Sign the CRLF form before dot-stuffing. `verify` is for messages that people hand in.

use std::sync::Arc;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use memchr::memmem;
use thiserror::Error;

use crate::mailbox::DomainName;

mod canonical;
mod fields;
#[cfg(test)]
mod tests;
pub mod verify;

pub use canonical::BodyHasher;

/// Why a key cannot be used or a message cannot be signed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DkimError {
    /// The bytes are no usable private key.
    #[error("read the DKIM key: it is no PKCS#8 private key, RSA of at least 2,048 bits or Ed25519; make a new one")]
    Key,
    /// The cryptographic library refused.
    #[error("make or use the DKIM key: the cryptographic library failed; try again")]
    Crypto,
    /// The selector is no domain label sequence.
    #[error("use the DKIM selector: it must be letters, digits, hyphens and dots, at most 63 octets a label")]
    Selector,
    /// RFC 6376 5.4 requires From.
    #[error("sign the message: it has no From field; add one")]
    NoFrom,
}

/// A private key, parsed once and shared by all threads that sign.
pub struct SigningKey(Kind);

enum Kind {
    Rsa(RsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl SigningKey {
    /// Makes an RSA key of 2,048 bits: takes some 100 ms, so keep it off threads that must not wait.
    ///
    /// # Errors
    /// [`DkimError::Crypto`].
    pub fn generate_rsa2048() -> Result<SigningKey, DkimError> {
        RsaKeyPair::generate(KeySize::Rsa2048).map(|key| SigningKey(Kind::Rsa(key))).map_err(|_| DkimError::Crypto)
    }

    /// Makes an Ed25519 key (RFC 8463), only ever as a second signature: many receivers cannot read it.
    ///
    /// # Errors
    /// [`DkimError::Crypto`].
    pub fn generate_ed25519() -> Result<SigningKey, DkimError> {
        Ed25519KeyPair::generate().map(|key| SigningKey(Kind::Ed25519(key))).map_err(|_| DkimError::Crypto)
    }

    /// Reads a private key in PKCS#8 DER, RSA (2,048 bits and more) or Ed25519.
    ///
    /// # Errors
    /// [`DkimError::Key`].
    pub fn from_pkcs8(der: &[u8]) -> Result<SigningKey, DkimError> {
        if let Ok(key) = RsaKeyPair::from_pkcs8(der) {
            return Ok(SigningKey(Kind::Rsa(key)));
        }
        Ed25519KeyPair::from_pkcs8_maybe_unchecked(der)
            .map(|key| SigningKey(Kind::Ed25519(key)))
            .map_err(|_| DkimError::Key)
    }

    /// The private key in PKCS#8 DER, to be sealed by the caller.
    ///
    /// # Errors
    /// [`DkimError::Crypto`].
    pub fn to_pkcs8(&self) -> Result<Vec<u8>, DkimError> {
        let der: Pkcs8V1Der<'static> = match &self.0 {
            Kind::Rsa(key) => key.as_der(),
            Kind::Ed25519(key) => key.as_der(),
        }
        .map_err(|_| DkimError::Crypto)?;
        Ok(der.as_ref().to_vec())
    }

    /// The public half as DER SubjectPublicKeyInfo (RSA) or as its 32 bytes (Ed25519), as `p=` carries it.
    pub fn public_key(&self) -> Vec<u8> {
        match &self.0 {
            Kind::Rsa(key) => {
                let der: Result<PublicKeyX509Der<'static>, _> = key.public_key().as_der();
                // RFC 6376 3.6.1 lets p= hold the bare RSAPublicKey too, should the wrapping ever fail.
                der.map_or_else(|_| key.public_key().as_ref().to_vec(), |der| der.as_ref().to_vec())
            }
            Kind::Ed25519(key) => key.public_key().as_ref().to_vec(),
        }
    }

    /// The TXT record for `selector._domainkey.domain`: `v=DKIM1; k=rsa; p=...`.
    pub fn public_txt(&self) -> String {
        let kind = match &self.0 {
            Kind::Rsa(_) => "rsa",
            Kind::Ed25519(_) => "ed25519",
        };
        format!("v=DKIM1; k={kind}; p={}", STANDARD.encode(self.public_key()))
    }

    /// The `a=` tag.
    pub fn algorithm(&self) -> &'static str {
        match &self.0 {
            Kind::Rsa(_) => "rsa-sha256",
            Kind::Ed25519(_) => "ed25519-sha256",
        }
    }

    fn sign(&self, data: &[u8]) -> Result<Vec<u8>, DkimError> {
        match &self.0 {
            Kind::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), data, &mut signature)
                    .map_err(|_| DkimError::Crypto)?;
                Ok(signature)
            }
            // RFC 8463 section 3: PureEdDSA over the SHA-256 of the data.
            Kind::Ed25519(key) => {
                let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, data);
                key.try_sign(hash.as_ref()).map(|signature| signature.as_ref().to_vec()).map_err(|_| DkimError::Crypto)
            }
        }
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey({}, ***)", self.algorithm())
    }
}

/// Cuts a TXT value into the character strings of at most 255 octets that DNS holds (RFC 6376 3.6.2.2).
pub fn txt_strings(txt: &str) -> Vec<&str> {
    let mut strings = Vec::new();
    let mut rest = txt;
    while rest.len() > 255 {
        let (string, after) = rest.split_at(rest.floor_char_boundary(255));
        strings.push(string);
        rest = after;
    }
    strings.push(rest);
    strings
}

/// Signs for one domain and selector.
#[derive(Debug, Clone)]
pub struct Signer {
    domain: DomainName,
    selector: String,
    key: Arc<SigningKey>,
    unsigned: Vec<String>,
}

impl Signer {
    /// A signer whose `d=` is `domain` and whose `s=` is `selector`.
    ///
    /// # Errors
    /// [`DkimError::Selector`].
    pub fn new(domain: DomainName, selector: &str, key: Arc<SigningKey>) -> Result<Signer, DkimError> {
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        };
        if selector.len() > 200 || !selector.split('.').all(is_label) {
            return Err(DkimError::Selector);
        }
        Ok(Signer { domain, selector: selector.to_owned(), key, unsigned: Vec::new() })
    }

    /// Leaves these fields unsigned, for relays that rewrite them (RF-51: Date and Message-ID). From
    /// stays signed whatever is named here.
    #[must_use]
    pub fn leaving_unsigned(mut self, names: &[&str]) -> Signer {
        self.unsigned = names.iter().map(|name| name.to_ascii_lowercase()).collect();
        self
    }

    /// The `d=` domain.
    pub fn domain(&self) -> &DomainName {
        &self.domain
    }

    /// The `s=` selector.
    pub fn selector(&self) -> &str {
        &self.selector
    }

    /// The whole `DKIM-Signature` field with its CRLF, to be put in front of `message` (header,
    /// empty line, body; CRLF line ends). `at_ms` becomes `t=`, in whole seconds.
    ///
    /// # Errors
    /// [`DkimError`].
    pub fn sign(&self, message: &[u8], at_ms: i64) -> Result<Vec<u8>, DkimError> {
        let (header, body) = split_message(message);
        let mut hasher = BodyHasher::new();
        hasher.update(body);
        self.sign_with_body_hash(header, &hasher.finish(), at_ms)
    }

    /// As [`Signer::sign`] for a body whose relaxed SHA-256 is known. `header` may end with the empty line.
    ///
    /// # Errors
    /// [`DkimError`].
    pub fn sign_with_body_hash(&self, header: &[u8], body_hash: &[u8; 32], at_ms: i64) -> Result<Vec<u8>, DkimError> {
        let fields = fields::split(header);
        let selected = fields::select(&fields, &self.unsigned);
        if !selected.iter().any(|(name, field)| *name == "From" && field.is_some()) {
            return Err(DkimError::NoFrom);
        }
        let unsigned = self.unsigned_field(&selected, body_hash, at_ms);
        let mut data = Vec::with_capacity(header.len() + 512);
        for field in selected.iter().filter_map(|(_, field)| *field) {
            canonical::header_field(field, &mut data);
            data.extend_from_slice(b"\r\n");
        }
        canonical::header_field(&unsigned, &mut data);
        let signature = STANDARD.encode(self.key.sign(&data)?);
        let mut field = unsigned;
        push_folded_value(signature.as_bytes(), 3, &mut field);
        field.extend_from_slice(b"\r\n");
        Ok(field)
    }

    /// The field up to and with `b=`, as it is hashed.
    fn unsigned_field(&self, selected: &[(&'static str, Option<&[u8]>)], body_hash: &[u8; 32], at_ms: i64) -> Vec<u8> {
        let mut line = Folder::start("DKIM-Signature:");
        line.tag("v=1;");
        line.tag(&format!("a={};", self.key.algorithm()));
        line.tag("c=relaxed/relaxed;");
        line.tag(&format!("d={};", self.domain));
        line.tag(&format!("s={};", self.selector));
        line.tag(&format!("t={};", at_ms.max(0) / 1_000));
        let last = selected.len().saturating_sub(1);
        for (index, (name, _)) in selected.iter().enumerate() {
            let end = if index == last { ";" } else { ":" };
            match index {
                0 => line.tag(&format!("h={name}{end}")),
                _ => line.word(&[name, end]),
            }
        }
        line.tag(&format!("bh={};", STANDARD.encode(body_hash)));
        line.out.extend_from_slice(b"\r\n b=");
        line.out
    }
}

/// Header (with the CRLF of its last field) and body of a message.
fn split_message(message: &[u8]) -> (&[u8], &[u8]) {
    if let Some(body) = message.strip_prefix(b"\r\n") {
        return (b"", body);
    }
    match memmem::find(message, b"\r\n\r\n") {
        Some(at) => (&message[..at + 2], &message[at + 4..]),
        None => (message, b""),
    }
}

/// Appends a value that may be folded anywhere, keeping lines within 78 columns.
fn push_folded_value(value: &[u8], column: usize, out: &mut Vec<u8>) {
    let (first, rest) = value.split_at(value.len().min(78 - column));
    out.extend_from_slice(first);
    for piece in rest.chunks(77) {
        out.extend_from_slice(b"\r\n ");
        out.extend_from_slice(piece);
    }
}

/// Writes the tags of the signature within 78 columns.
struct Folder {
    out: Vec<u8>,
    column: usize,
}

impl Folder {
    fn start(name: &str) -> Folder {
        let mut out = Vec::with_capacity(1_024);
        out.extend_from_slice(name.as_bytes());
        Folder { out, column: name.len() }
    }

    /// A tag after a blank or a fold.
    fn tag(&mut self, text: &str) {
        if self.column + 1 + text.len() > 78 {
            self.out.extend_from_slice(b"\r\n");
            self.column = 0;
        }
        self.out.push(b' ');
        self.out.extend_from_slice(text.as_bytes());
        self.column += 1 + text.len();
    }

    /// A piece of the current tag, after a fold only where the line is full.
    fn word(&mut self, parts: &[&str]) {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        if self.column + length > 78 {
            self.out.extend_from_slice(b"\r\n ");
            self.column = 1;
        }
        for part in parts {
            self.out.extend_from_slice(part.as_bytes());
        }
        self.column += length;
    }
}
