//! Signed tokens that come back to us from outside: opt-out links, hosted copies, return-paths, mailto opt-outs.
//!
//! Must not know what a token allows. There is exactly one valid spelling of each token (letter case
//! aside where mail hosts may change it), and a token of one kind is never valid as another.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq as _;

use crate::base32;

#[cfg(test)]
mod tests;
mod varint;

/// Octets of the tag in tokens that travel in URLs: 128 bits (SR-14).
const URL_TAG: usize = 16;
/// Octets of the tag in return-path tokens: 96 bits fit beside the ids into 39 characters.
const RETURN_PATH_TAG: usize = 12;
/// Octets of the tag in mailto tokens.
const MAILTO_TAG: usize = 14;
/// Longer text is no token of ours; do not decode it.
const TEXT_MAX: usize = 128;

/// The kinds of token; each signs with a key of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    OptOut,
    Hosted,
    ReturnPath,
    Mailto,
}

impl Kind {
    const ALL: [Kind; 4] = [Kind::OptOut, Kind::Hosted, Kind::ReturnPath, Kind::Mailto];

    /// What separates the key of this kind from the others. Never change one: old links would die.
    fn label(self) -> &'static [u8] {
        match self {
            Kind::OptOut => b"postrider link key v1: opt-out",
            Kind::Hosted => b"postrider link key v1: hosted copy",
            Kind::ReturnPath => b"postrider link key v1: return-path",
            Kind::Mailto => b"postrider link key v1: mailto opt-out",
        }
    }

    fn index(self) -> usize {
        match self {
            Kind::OptOut => 0,
            Kind::Hosted => 1,
            Kind::ReturnPath => 2,
            Kind::Mailto => 3,
        }
    }

    /// The first byte of a token in a URL.
    fn byte(self) -> u8 {
        match self {
            Kind::OptOut => 0x01,
            Kind::Hosted => 0x02,
            Kind::ReturnPath => 0x03,
            Kind::Mailto => 0x04,
        }
    }
}

/// One secret that signs tokens. Its id travels in the token. `Debug` does not show the secret.
#[derive(Clone)]
pub struct LinkKey {
    id: u8,
    /// Derived once, by kind.
    keys: [hmac::Key; 4],
}

impl LinkKey {
    /// A key from 32 random bytes that were made and sealed elsewhere.
    pub fn new(id: u8, secret: &[u8; 32]) -> LinkKey {
        let root = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let derive = |kind: Kind| hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&root, kind.label()).as_ref());
        LinkKey { id, keys: Kind::ALL.map(derive) }
    }

    /// The id that is stored with a delivery, so that its retries sign with the same key.
    pub fn id(&self) -> u8 {
        self.id
    }

    fn tag(&self, kind: Kind, payload: &[u8]) -> hmac::Tag {
        hmac::sign(&self.keys[kind.index()], payload)
    }
}

impl std::fmt::Debug for LinkKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LinkKey({}, ***)", self.id)
    }
}

/// The key for new tokens and those that old tokens may still carry.
#[derive(Debug, Clone)]
pub struct LinkKeys {
    /// Signs what is new.
    pub current: LinkKey,
    /// Still verify.
    pub retired: Vec<LinkKey>,
}

impl LinkKeys {
    /// Keys with `current` for new tokens.
    pub fn new(current: LinkKey, retired: Vec<LinkKey>) -> LinkKeys {
        LinkKeys { current, retired }
    }

    /// The key with this id.
    pub fn find(&self, id: u8) -> Option<&LinkKey> {
        std::iter::once(&self.current).chain(&self.retired).find(|key| key.id == id)
    }
}

/// What an opt-out link names: valid for ever, also when the delivery's row is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OptOutToken {
    /// The workspace.
    pub workspace: i64,
    /// The contact who opts out.
    pub contact: i64,
    /// The purpose that is withdrawn.
    pub purpose: i64,
    /// The delivery whose link it is.
    pub delivery: i64,
}

impl OptOutToken {
    /// The token for a URL: base64url without padding, at most 78 characters.
    pub fn encode(&self, key: &LinkKey) -> String {
        encode_url(Kind::OptOut, key, self.ids())
    }

    /// The ids of a token that one of our keys signed; anything else is `None`.
    pub fn decode(text: &str, keys: &LinkKeys) -> Option<OptOutToken> {
        let [workspace, contact, purpose, delivery] = decode_url(Kind::OptOut, text, keys)?;
        Some(OptOutToken { workspace, contact, purpose, delivery })
    }

    fn ids(&self) -> [i64; 4] {
        [self.workspace, self.contact, self.purpose, self.delivery]
    }
}

/// What the link to the hosted copy of a message names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct HostedToken {
    /// The workspace.
    pub workspace: i64,
    /// The contact to whom the message went.
    pub contact: i64,
    /// The purpose of the message.
    pub purpose: i64,
    /// The delivery that is shown.
    pub delivery: i64,
}

impl HostedToken {
    /// The token for a URL: base64url without padding, at most 78 characters.
    pub fn encode(&self, key: &LinkKey) -> String {
        encode_url(Kind::Hosted, key, [self.workspace, self.contact, self.purpose, self.delivery])
    }

    /// The ids of a token that one of our keys signed; anything else is `None`.
    pub fn decode(text: &str, keys: &LinkKeys) -> Option<HostedToken> {
        let [workspace, contact, purpose, delivery] = decode_url(Kind::Hosted, text, keys)?;
        Some(HostedToken { workspace, contact, purpose, delivery })
    }
}

/// What the local part of our return-path names; the delivery's row must still be there to act on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ReturnPathToken {
    /// The delivery.
    pub delivery: i64,
    /// The day of its first try, in days since 1970-01-01 UTC.
    pub day: u16,
}

impl ReturnPathToken {
    /// The local part `b-...`: 39 characters, lowercase.
    pub fn encode(&self, key: &LinkKey) -> String {
        encode_local::<RETURN_PATH_TAG>(Kind::ReturnPath, "b-", key, &self.payload(key.id))
    }

    /// Reads a local part, in any letter case; `None` unless one of our keys signed it.
    pub fn decode(local: &str, keys: &LinkKeys) -> Option<ReturnPathToken> {
        let bytes = decode_local(local, "b-")?;
        let payload: [u8; 11] = bytes.get(..11)?.try_into().ok()?;
        let [id, ids @ .., day_high, day_low] = payload;
        let token = ReturnPathToken { delivery: i64::from_be_bytes(ids), day: u16::from_be_bytes([day_high, day_low]) };
        same(local, &token.encode(keys.find(id)?)).then_some(token)
    }

    fn payload(&self, id: u8) -> [u8; 11] {
        let mut payload = [id; 11];
        payload[1..9].copy_from_slice(&self.delivery.to_be_bytes());
        payload[9..].copy_from_slice(&self.day.to_be_bytes());
        payload
    }
}

/// What the local part of the mailto opt-out names; the delivery's row tells contact and purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MailtoToken {
    /// The delivery.
    pub delivery: i64,
}

impl MailtoToken {
    /// The local part `u-...`: 39 characters, lowercase.
    pub fn encode(&self, key: &LinkKey) -> String {
        encode_local::<MAILTO_TAG>(Kind::Mailto, "u-", key, &self.payload(key.id))
    }

    /// Reads a local part, in any letter case; `None` unless one of our keys signed it.
    pub fn decode(local: &str, keys: &LinkKeys) -> Option<MailtoToken> {
        let bytes = decode_local(local, "u-")?;
        let payload: [u8; 9] = bytes.get(..9)?.try_into().ok()?;
        let [id, ids @ ..] = payload;
        let token = MailtoToken { delivery: i64::from_be_bytes(ids) };
        same(local, &token.encode(keys.find(id)?)).then_some(token)
    }

    fn payload(&self, id: u8) -> [u8; 9] {
        let mut payload = [id; 9];
        payload[1..].copy_from_slice(&self.delivery.to_be_bytes());
        payload
    }
}

fn encode_url(kind: Kind, key: &LinkKey, ids: [i64; 4]) -> String {
    let mut bytes = Vec::with_capacity(2 + 4 * 10 + URL_TAG);
    bytes.extend_from_slice(&[kind.byte(), key.id]);
    for id in ids {
        varint::encode(id as u64, &mut bytes);
    }
    let tag = key.tag(kind, &bytes);
    bytes.extend_from_slice(&tag.as_ref()[..URL_TAG]);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Reads the ids, writes the token anew and compares: what is not the one true spelling falls out.
fn decode_url(kind: Kind, text: &str, keys: &LinkKeys) -> Option<[i64; 4]> {
    if text.len() > TEXT_MAX {
        return None;
    }
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let [first, id, rest @ ..] = bytes.as_slice() else { return None };
    if *first != kind.byte() {
        return None;
    }
    let mut rest = rest;
    let mut ids = [0; 4];
    for slot in &mut ids {
        let (value, after) = varint::decode(rest)?;
        *slot = value as i64;
        rest = after;
    }
    let expected = encode_url(kind, keys.find(*id)?, ids);
    bool::from(text.as_bytes().ct_eq(expected.as_bytes())).then_some(ids)
}

fn encode_local<const TAG: usize>(kind: Kind, prefix: &str, key: &LinkKey, payload: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(payload.len() + TAG);
    bytes.extend_from_slice(payload);
    bytes.extend_from_slice(&key.tag(kind, payload).as_ref()[..TAG]);
    let mut text = String::with_capacity(40);
    text.push_str(prefix);
    base32::encode_into(&bytes, &mut text);
    text
}

fn decode_local(local: &str, prefix: &str) -> Option<Vec<u8>> {
    if local.len() > TEXT_MAX {
        return None;
    }
    let (head, rest) = local.split_at_checked(prefix.len())?;
    if !head.eq_ignore_ascii_case(prefix) {
        return None;
    }
    base32::decode(rest)
}

/// Compares what came with the lowercase token that it should be, in constant time.
fn same(came: &str, expected: &str) -> bool {
    came.to_ascii_lowercase().as_bytes().ct_eq(expected.as_bytes()).into()
}
