//! Parameters of MAIL and RCPT, in both directions: SIZE, BODY, SMTPUTF8, and those of DSN (RFC 3461).
//!
//! Must not know which parameters a peer offers.

/// BODY= (RFC 6152, RFC 3030).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyKind {
    /// 7BIT, the default.
    SevenBit,
    /// 8BITMIME.
    EightBitMime,
}

/// RET= (RFC 3461 4.3): what a failure report should return.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Return {
    /// The whole message.
    Full,
    /// Its header only.
    Headers,
}

/// NOTIFY= (RFC 3461 4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notify {
    /// No report at all.
    Never,
    /// A report on these events.
    On(NotifyOn),
}

/// The events on which a report is wanted; at least one is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NotifyOn {
    /// It arrived.
    pub success: bool,
    /// It failed for good.
    pub failure: bool,
    /// It is late.
    pub delay: bool,
}

/// What follows the reverse-path.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MailParams {
    /// SIZE= in octets (RFC 1870).
    pub size: Option<u64>,
    /// BODY=.
    pub body: Option<BodyKind>,
    /// SMTPUTF8 (RFC 6531).
    pub smtputf8: bool,
    /// RET=.
    pub ret: Option<Return>,
    /// ENVID= after xtext decoding, at most 100 octets.
    pub envid: Option<String>,
    /// REQUIRETLS (RFC 8689).
    pub require_tls: bool,
}

/// What follows the forward-path.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RcptParams {
    /// NOTIFY=.
    pub notify: Option<Notify>,
    /// ORCPT= as it came (`rfc822;` and xtext), at most 500 octets.
    pub orcpt: Option<String>,
}

impl MailParams {
    /// Appends the parameters, each after a blank.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        if let Some(size) = self.size {
            out.extend_from_slice(b" SIZE=");
            out.extend_from_slice(size.to_string().as_bytes());
        }
        match self.body {
            None => {}
            Some(BodyKind::SevenBit) => out.extend_from_slice(b" BODY=7BIT"),
            Some(BodyKind::EightBitMime) => out.extend_from_slice(b" BODY=8BITMIME"),
        }
        if self.smtputf8 {
            out.extend_from_slice(b" SMTPUTF8");
        }
        match self.ret {
            None => {}
            Some(Return::Full) => out.extend_from_slice(b" RET=FULL"),
            Some(Return::Headers) => out.extend_from_slice(b" RET=HDRS"),
        }
        if let Some(envid) = &self.envid {
            out.extend_from_slice(b" ENVID=");
            out.extend_from_slice(xtext_encode(envid).as_bytes());
        }
        if self.require_tls {
            out.extend_from_slice(b" REQUIRETLS");
        }
    }
}

impl RcptParams {
    /// Whether ORCPT keeps to one word of visible ASCII, so that it cannot become a second parameter.
    pub(super) fn is_well_formed(&self) -> bool {
        self.orcpt
            .as_ref()
            .is_none_or(|orcpt| !orcpt.is_empty() && orcpt.bytes().all(|byte| matches!(byte, 0x21..=0x7e)))
    }

    /// Appends the parameters, each after a blank.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match self.notify {
            None => {}
            Some(Notify::Never) => out.extend_from_slice(b" NOTIFY=NEVER"),
            Some(Notify::On(NotifyOn { success, failure, delay })) => {
                let mut separator = &b" NOTIFY="[..];
                for (wanted, word) in [(success, &b"SUCCESS"[..]), (failure, b"FAILURE"), (delay, b"DELAY")] {
                    if wanted {
                        out.extend_from_slice(separator);
                        out.extend_from_slice(word);
                        separator = b",";
                    }
                }
            }
        }
        if let Some(orcpt) = &self.orcpt {
            out.extend_from_slice(b" ORCPT=");
            out.extend_from_slice(orcpt.as_bytes());
        }
    }
}

/// xtext (RFC 3461 section 4): `+`, `=` and all that is not visible ASCII as `+XX`.
pub fn xtext_encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if matches!(byte, 0x21..=0x7e) && byte != b'+' && byte != b'=' {
            out.push(char::from(byte));
        } else {
            out.push('+');
            out.push(char::from(b"0123456789ABCDEF"[usize::from(byte >> 4)]));
            out.push(char::from(b"0123456789ABCDEF"[usize::from(byte & 15)]));
        }
    }
    out
}

/// The text behind xtext; `None` when it is malformed, or holds control characters or bad UTF-8.
pub fn xtext_decode(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'+' => {
                let digits = [bytes.next()?, bytes.next()?];
                // RFC 3461: hexchar has upper-case digits only.
                if !digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'A'..=b'F')) {
                    return None;
                }
                let digits = std::str::from_utf8(&digits).ok()?;
                out.push(u8::from_str_radix(digits, 16).ok()?);
            }
            b'=' => return None,
            0x21..=0x7e => out.push(byte),
            _ => return None,
        }
    }
    let text = String::from_utf8(out).ok()?;
    (!crate::header::has_control(&text)).then_some(text)
}
