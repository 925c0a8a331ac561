//! Secrets at rest: one master key in a file, sealed values bound to their place, derived keys (SEC-70).
//!
//! A dump of the database alone reveals no secret and no suppressed mailbox. Must not know any table.

use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::{hkdf, hmac};
use zeroize::Zeroizing;

use crate::error::{Result, StoreError};

/// The form of a sealed value: this byte, the nonce, the ciphertext with its tag.
const FORM: u8 = 1;

/// Seals and opens secrets, and holds the keys derived from the master key.
pub(crate) struct Sealer {
    key: LessSafeKey,
    root: hkdf::Prk,
    pepper: hmac::Key,
}

/// A key that is derived from the master key, by purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyPurpose {
    /// Keyed digests of mailboxes: suppressions and erased contacts.
    Pepper,
    /// The `#hmac8` of mailboxes in logs (SEC-74).
    Log,
    /// The evidence ledger's MACs.
    Ledger,
    /// Message-IDs that nobody can guess.
    MessageId,
    /// A note beside the database that tells whether a master key fits it.
    Check,
}

impl KeyPurpose {
    const fn label(self) -> &'static [u8] {
        match self {
            KeyPurpose::Pepper => b"postrider pepper 1",
            KeyPurpose::Log => b"postrider log 1",
            KeyPurpose::Ledger => b"postrider ledger 1",
            KeyPurpose::MessageId => b"postrider message-id 1",
            KeyPurpose::Check => b"postrider check 1",
        }
    }
}

impl Sealer {
    /// The sealer of a master key.
    pub(crate) fn new(master: &[u8; 32]) -> Sealer {
        let root = hkdf::Salt::new(hkdf::HKDF_SHA256, b"postrider").extract(master);
        let mut sealing = Zeroizing::new([0u8; 32]);
        fill(&root, b"postrider seal 1", &mut sealing);
        let unbound = UnboundKey::new(&AES_256_GCM_SIV, sealing.as_slice()).expect("the key has 32 bytes");
        let mut pepper = Zeroizing::new([0u8; 32]);
        fill(&root, KeyPurpose::Pepper.label(), &mut pepper);
        let pepper = hmac::Key::new(hmac::HMAC_SHA256, pepper.as_slice());
        Sealer { key: LessSafeKey::new(unbound), root, pepper }
    }

    /// Seals a secret for one place, `table.row.column`; it opens nowhere else.
    pub(crate) fn seal(&self, place: &str, secret: &[u8]) -> Result<Vec<u8>> {
        let nonce: [u8; NONCE_LEN] = random()?;
        let mut out = Vec::with_capacity(1 + NONCE_LEN + secret.len() + 16);
        out.push(FORM);
        out.extend_from_slice(&nonce);
        let mut buffer = secret.to_vec();
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(place.as_bytes()), &mut buffer)
            .map_err(|_| StoreError::Sealed(format!("sealing {place} failed")))?;
        out.extend_from_slice(&buffer);
        Ok(out)
    }

    /// Opens what was sealed for this place with this master key.
    pub(crate) fn open(&self, place: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        let wrong = || StoreError::Sealed(format!("{place} does not open with this master key, or was changed"));
        let (head, body) = sealed.split_at_checked(1 + NONCE_LEN).ok_or_else(wrong)?;
        let (form, nonce) = head.split_first().ok_or_else(wrong)?;
        if *form != FORM {
            return Err(StoreError::Sealed(format!("{place} was sealed by a newer postrider: install that one")));
        }
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| wrong())?;
        let mut buffer = Zeroizing::new(body.to_vec());
        let length =
            self.key.open_in_place(nonce, Aad::from(place.as_bytes()), &mut buffer).map_err(|_| wrong())?.len();
        buffer.truncate(length);
        Ok(buffer)
    }

    /// A key for one purpose.
    pub(crate) fn derived(&self, purpose: KeyPurpose) -> Zeroizing<[u8; 32]> {
        let mut key = Zeroizing::new([0u8; 32]);
        fill(&self.root, purpose.label(), &mut key);
        key
    }

    /// The keyed digest of a normalised mailbox, or of `@domain`: what a suppression keeps when the rest is erased.
    pub(crate) fn digest(&self, text: &str) -> [u8; 32] {
        let mut out = [0u8; 32];
        out.copy_from_slice(hmac::sign(&self.pepper, text.as_bytes()).as_ref());
        out
    }
}

fn fill(root: &hkdf::Prk, label: &[u8], out: &mut [u8; 32]) {
    root.expand(&[label], hkdf::HKDF_SHA256)
        .and_then(|okm| okm.fill(out))
        .expect("HKDF-SHA-256 gives 32 bytes for any label");
}

/// Random bytes from the system.
pub(crate) fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0u8; N];
    aws_lc_rs::rand::SecureRandom::fill(&SystemRandom::new(), &mut bytes)
        .map_err(|_| StoreError::Sealed("the system gives no random bytes".into()))?;
    Ok(bytes)
}

/// Reads the master key, or makes it at the first start. Others than its owner must not read it.
pub(crate) fn master_key(path: &Path) -> Result<Zeroizing<[u8; 32]>> {
    let file = |e| StoreError::file(path, e);
    match fs::File::open(path) {
        Ok(mut opened) => {
            only_ours(path, &opened)?;
            let mut bytes = Zeroizing::new(Vec::with_capacity(33));
            Read::by_ref(&mut opened).take(33).read_to_end(&mut bytes).map_err(file)?;
            let mut key = Zeroizing::new([0u8; 32]);
            if bytes.len() != key.len() {
                let found = bytes.len();
                return Err(StoreError::Config(format!(
                    "the master key {} has {found} bytes instead of 32: restore it from your backup",
                    path.display()
                )));
            }
            key.copy_from_slice(&bytes);
            Ok(key)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let key = Zeroizing::new(random::<32>()?);
            // Written beside and renamed, so that a crash leaves either no key or a whole one.
            let fresh = path.with_extension("key.new");
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(true);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            let mut out = options.open(&fresh).map_err(|e| StoreError::file(&fresh, e))?;
            out.write_all(key.as_slice()).and_then(|()| out.sync_all()).map_err(|e| StoreError::file(&fresh, e))?;
            fs::rename(&fresh, path).map_err(file)?;
            if let Some(folder) = path.parent() {
                fs::File::open(folder).and_then(|d| d.sync_all()).map_err(|e| StoreError::file(folder, e))?;
            }
            Ok(key)
        }
        Err(error) => Err(file(error)),
    }
}

#[cfg(unix)]
fn only_ours(path: &Path, file: &fs::File) -> Result<()> {
    use std::os::unix::fs::MetadataExt;
    let mode = file.metadata().map_err(|e| StoreError::file(path, e))?.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(StoreError::Config(format!(
            "the master key {} may be read by others (mode {mode:o}): run `chmod 600 {0}`",
            path.display()
        )));
    }
    Ok(())
}

#[cfg(not(unix))]
fn only_ours(_: &Path, _: &fs::File) -> Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_opens_only_in_its_place_with_its_key_and_unchanged() {
        let sealer = Sealer::new(&[7; 32]);
        let sealed = sealer.seal("route.5.password", b"swordfish").unwrap();
        assert!(!sealed.windows(9).any(|w| w == b"swordfish"));
        assert_eq!(sealer.open("route.5.password", &sealed).unwrap().as_slice(), b"swordfish");
        assert!(sealer.open("route.6.password", &sealed).is_err());
        assert!(Sealer::new(&[8; 32]).open("route.5.password", &sealed).is_err());
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(sealer.open("route.5.password", &changed).is_err(), "byte {at}");
            assert!(sealer.open("route.5.password", &sealed[..at]).is_err(), "cut at {at}");
        }
        assert_ne!(sealed, sealer.seal("route.5.password", b"swordfish").unwrap(), "a nonce is used once");
    }

    #[test]
    fn derived_keys_differ_by_purpose_and_stay_the_same() {
        let sealer = Sealer::new(&[7; 32]);
        assert_eq!(sealer.derived(KeyPurpose::Log), Sealer::new(&[7; 32]).derived(KeyPurpose::Log));
        assert_ne!(sealer.derived(KeyPurpose::Log), sealer.derived(KeyPurpose::Ledger));
        assert_ne!(sealer.digest("a@example.org"), sealer.digest("b@example.org"));
    }

    #[test]
    fn the_key_file_is_made_once_and_refused_when_others_may_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.key");
        let first = master_key(&path).unwrap();
        assert_eq!(first, master_key(&path).unwrap());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
            assert!(master_key(&path).unwrap_err().to_string().contains("chmod 600"));
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        }
        fs::write(&path, b"short").unwrap();
        assert!(master_key(&path).is_err());
    }
}
