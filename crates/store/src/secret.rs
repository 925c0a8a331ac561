//! Secrets in memory and the random texts that people and programs carry: session tokens, API keys, set-up codes.
//!
//! Must not know any table. Only hashes of what is made here are ever stored.

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use crate::error::{Result, StoreError};

/// A secret text: never printed by Debug, wiped when dropped.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes a text into care.
    pub fn new(text: String) -> Secret {
        Secret(Zeroizing::new(text))
    }

    /// Twenty random letters and digits (100 bits): a password that we make for somebody.
    ///
    /// # Errors
    /// The system's random source fails.
    pub fn random() -> Result<Secret> {
        random_letters(20).map(Secret::new)
    }

    /// The text itself, for the one place that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(***)")
    }
}

/// Secret bytes such as a private key: never printed by Debug, wiped when dropped.
#[derive(Clone)]
pub struct SecretBytes(Zeroizing<Vec<u8>>);

impl SecretBytes {
    /// Takes bytes into care.
    pub fn new(bytes: Vec<u8>) -> SecretBytes {
        SecretBytes(Zeroizing::new(bytes))
    }

    /// The bytes themselves, for the one place that needs them.
    pub fn reveal(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretBytes(***)")
    }
}

/// Fills a buffer from the system's random source.
pub(crate) fn fill_random(buffer: &mut [u8]) -> Result<()> {
    SystemRandom::new().fill(buffer).map_err(|_| {
        StoreError::Sealed("read random bytes: the system's random source failed; restart the machine".into())
    })
}

/// 256 random bits as 43 letters of base64url.
pub(crate) fn random_token() -> Result<String> {
    let mut bytes = Zeroizing::new([0u8; 32]);
    fill_random(bytes.as_mut())?;
    Ok(URL_SAFE_NO_PAD.encode(bytes.as_ref()))
}

/// `n` random letters and digits without look-alikes, 5 bits each; for codes that people type.
pub(crate) fn random_letters(n: usize) -> Result<String> {
    const LETTERS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let mut bytes = Zeroizing::new(vec![0u8; n]);
    fill_random(&mut bytes)?;
    Ok(bytes.iter().map(|b| char::from(LETTERS[usize::from(b & 31)])).collect())
}

/// SHA-256; enough for values that already hold 100 or more random bits.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// Lowercase hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, b| {
        write!(out, "{b:02x}").expect("writing to a String never fails");
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_do_not_print_and_do_not_repeat() {
        let one = Secret::new(random_token().unwrap());
        assert_eq!(one.reveal().len(), 43);
        assert_ne!(one.reveal(), random_token().unwrap());
        assert!(!format!("{one:?}").contains(one.reveal()));
        assert_eq!(random_letters(20).unwrap().len(), 20);
        assert_eq!(hex(&sha256(b"")), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }
}
