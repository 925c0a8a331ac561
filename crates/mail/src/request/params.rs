//! Reads the parameters after a path: strict values, each name once, unknown names refused.
//!
//! Must not know which of them the session offered; the server looks at the result.

use super::RequestError;
use crate::command::{BodyKind, MailParams, Notify, NotifyOn, RcptParams, Return, xtext_decode};

/// Parameters of MAIL.
pub(super) fn mail(text: &str) -> Result<MailParams, RequestError> {
    let mut params = MailParams::default();
    let mut auth_seen = false;
    for (name, value) in split(text) {
        match name.to_ascii_uppercase().as_str() {
            "SIZE" => {
                let size = value.filter(|value| value.len() <= 18).and_then(digits);
                set(&mut params.size, size, "SIZE")?;
            }
            "BODY" => {
                let kind = value.and_then(|value| match value.to_ascii_uppercase().as_str() {
                    "7BIT" => Some(BodyKind::SevenBit),
                    "8BITMIME" => Some(BodyKind::EightBitMime),
                    _ => None,
                });
                set(&mut params.body, kind, "BODY")?;
            }
            "SMTPUTF8" => {
                if value.is_some() || params.smtputf8 {
                    return Err(RequestError::Parameter("SMTPUTF8"));
                }
                params.smtputf8 = true;
            }
            "REQUIRETLS" => {
                if value.is_some() || params.require_tls {
                    return Err(RequestError::Parameter("REQUIRETLS"));
                }
                params.require_tls = true;
            }
            "RET" => {
                let ret = value.and_then(|value| match value.to_ascii_uppercase().as_str() {
                    "FULL" => Some(Return::Full),
                    "HDRS" => Some(Return::Headers),
                    _ => None,
                });
                set(&mut params.ret, ret, "RET")?;
            }
            "ENVID" => {
                let envid = value.filter(|value| (1..=100).contains(&value.len())).and_then(xtext_decode);
                set(&mut params.envid, envid, "ENVID")?;
            }
            // RFC 4954 section 5: read, checked and not trusted.
            "AUTH" => {
                if auth_seen || value.and_then(xtext_decode).is_none() {
                    return Err(RequestError::Parameter("AUTH"));
                }
                auth_seen = true;
            }
            _ => return Err(RequestError::UnknownParameter),
        }
    }
    Ok(params)
}

/// Parameters of RCPT.
pub(super) fn rcpt(text: &str) -> Result<RcptParams, RequestError> {
    let mut params = RcptParams::default();
    for (name, value) in split(text) {
        match name.to_ascii_uppercase().as_str() {
            "NOTIFY" => set(&mut params.notify, value.and_then(notify), "NOTIFY")?,
            "ORCPT" => {
                let orcpt = value.filter(|value| is_orcpt(value)).map(str::to_owned);
                set(&mut params.orcpt, orcpt, "ORCPT")?;
            }
            _ => return Err(RequestError::UnknownParameter),
        }
    }
    Ok(params)
}

/// `name[=value]` separated by blanks.
fn split(text: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    text.split(' ').filter(|word| !word.is_empty()).map(|word| match word.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (word, None),
    })
}

/// Stores a value that could be read and was not there yet.
fn set<T>(slot: &mut Option<T>, value: Option<T>, name: &'static str) -> Result<(), RequestError> {
    if slot.is_some() || value.is_none() {
        return Err(RequestError::Parameter(name));
    }
    *slot = value;
    Ok(())
}

fn digits(text: &str) -> Option<u64> {
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

fn notify(text: &str) -> Option<Notify> {
    if text.eq_ignore_ascii_case("NEVER") {
        return Some(Notify::Never);
    }
    let mut on = NotifyOn::default();
    for word in text.split(',') {
        let slot = match word.to_ascii_uppercase().as_str() {
            "SUCCESS" => &mut on.success,
            "FAILURE" => &mut on.failure,
            "DELAY" => &mut on.delay,
            _ => return None,
        };
        if *slot {
            return None;
        }
        *slot = true;
    }
    Some(Notify::On(on))
}

/// `addr-type;xtext` (RFC 3461 4.2), at most 500 octets, ASCII only: it goes on as it came. What other types than
/// rfc822 encode is not known here (RFC 6533 has its own for utf-8), but no type has an `=`.
fn is_orcpt(text: &str) -> bool {
    let Some((kind, address)) = text.split_once(';') else { return false };
    text.len() <= 500
        && !kind.is_empty()
        && kind.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !address.is_empty()
        && address.bytes().all(|byte| matches!(byte, 0x21..=0x7e) && byte != b'=')
        && (!kind.eq_ignore_ascii_case("rfc822") || xtext_decode(address).is_some())
}
