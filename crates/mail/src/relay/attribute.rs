//! Attributes of the recipient: `Recipient-RequestType: gold` becomes `request_type` = "gold", with a type.
//!
//! Must not know which attributes a workspace has, beyond the kinds that the rules name.

use std::collections::BTreeMap;

use serde_json::Value;

use super::problem::Reason;
use super::value;
use crate::header::has_control;

/// Most attributes of one message.
pub const ATTRIBUTES_MAX: usize = 100;
/// Most characters of a text, unless the rules name a shorter column.
const TEXT_MAX: usize = 1_000;
/// Longest name in octets.
const NAME_MAX: usize = 60;

/// What an attribute holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttributeValue {
    /// Text without control characters.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// `yyyy-MM-dd`.
    Date(String),
    /// `yyyy-MM-ddThh:mm:ss`, without a zone, as the application means it.
    DateTime(String),
    /// True or false.
    Boolean(bool),
}

impl AttributeValue {
    /// As JSON: text, number or boolean; dates as text of ISO 8601.
    pub fn json(&self) -> Value {
        match self {
            AttributeValue::Text(text) | AttributeValue::Date(text) | AttributeValue::DateTime(text) => {
                Value::String(text.clone())
            }
            AttributeValue::Integer(number) => Value::from(*number),
            AttributeValue::Boolean(truth) => Value::Bool(*truth),
        }
    }
}

/// What an attribute has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttributeKind {
    /// Text of at most so many characters.
    Text(usize),
    /// A whole number.
    Integer,
    /// A date.
    Date,
    /// A date with a time.
    DateTime,
    /// `1`, `0`, `true` or `false`.
    Boolean,
}

/// The attribute's name: `RequestType` and `Request-Type` become `request_type`. `None` when it is none: a letter first,
/// then letters, digits and underscores, at most 60.
pub fn attribute_field(written: &str) -> Option<String> {
    if written.len() > NAME_MAX {
        return None;
    }
    let mut name = String::with_capacity(written.len() + 4);
    let bytes = written.as_bytes();
    for (at, &byte) in bytes.iter().enumerate() {
        match byte {
            b'A'..=b'Z' => {
                let before = at.checked_sub(1).map(|before| bytes[before]);
                let after_small = before.is_some_and(|before| before.is_ascii_lowercase() || before.is_ascii_digit());
                // `HTMLPart`: the last capital begins a word.
                let begins_word = before.is_some_and(|before| before.is_ascii_uppercase())
                    && bytes.get(at + 1).is_some_and(u8::is_ascii_lowercase);
                if (after_small || begins_word) && !name.ends_with('_') {
                    name.push('_');
                }
                name.push(char::from(byte.to_ascii_lowercase()));
            }
            b'a'..=b'z' | b'0'..=b'9' => name.push(char::from(byte)),
            b'_' | b'-' if !name.is_empty() && !name.ends_with('_') => name.push('_'),
            _ => return None,
        }
    }
    (name.starts_with(|c: char| c.is_ascii_lowercase()) && !name.ends_with('_')).then_some(name)
}

/// Reads a value: of its kind if the rules name one, else of the first kind that it fits.
pub(super) fn read(field: &str, text: &str, kinds: &BTreeMap<String, AttributeKind>) -> Result<AttributeValue, Reason> {
    if has_control(text) {
        return Err(Reason::Characters);
    }
    let Some(kind) = kinds.get(field) else { return guess(text) };
    let fits = match kind {
        AttributeKind::Text(longest) if text.chars().count() > *longest => return Err(Reason::TooLong),
        AttributeKind::Text(_) => Some(AttributeValue::Text(text.to_owned())),
        AttributeKind::Integer => text.parse().ok().map(AttributeValue::Integer),
        AttributeKind::Date => value::date(text).map(AttributeValue::Date),
        AttributeKind::DateTime => value::date_time(text).map(AttributeValue::DateTime),
        AttributeKind::Boolean => match text {
            "1" => Some(true),
            "0" => Some(false),
            word => truth(word),
        }
        .map(AttributeValue::Boolean),
    };
    fits.ok_or(Reason::WrongType)
}

/// `1` and `0` are numbers when nothing else is known, and `007` is a text.
fn guess(text: &str) -> Result<AttributeValue, Reason> {
    if text.chars().count() > TEXT_MAX {
        return Err(Reason::TooLong);
    }
    if let Some(truth) = truth(text) {
        return Ok(AttributeValue::Boolean(truth));
    }
    if let Some(number) = text.parse::<i64>().ok().filter(|number| number.to_string() == text) {
        return Ok(AttributeValue::Integer(number));
    }
    if let Some(date) = value::date(text) {
        return Ok(AttributeValue::Date(date));
    }
    if let Some(time) = value::date_time(text) {
        return Ok(AttributeValue::DateTime(time));
    }
    Ok(AttributeValue::Text(text.to_owned()))
}

fn truth(word: &str) -> Option<bool> {
    if word.eq_ignore_ascii_case("true") {
        return Some(true);
    }
    word.eq_ignore_ascii_case("false").then_some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn camel_case_becomes_snake_case() {
        for (written, wanted) in [
            ("RequestType", Some("request_type")),
            ("requestType", Some("request_type")),
            ("Request-Type", Some("request_type")),
            ("request_type", Some("request_type")),
            ("Address2Line", Some("address2_line")),
            ("HTMLPart", Some("html_part")),
            ("REQUESTTYPE", Some("requesttype")),
            ("Name", Some("name")),
            ("2nd", None),
            ("", None),
            ("-A", None),
            ("A-", None),
            ("A.B", None),
            ("\u{e9}", None),
        ] {
            assert_eq!(attribute_field(written).as_deref(), wanted, "{written}");
        }
        assert_eq!(attribute_field(&"a".repeat(61)), None);
    }

    #[test]
    fn values_have_the_kind_that_they_fit_or_must_have() {
        let free = BTreeMap::new();
        for (text, wanted) in [
            ("42", AttributeValue::Integer(42)),
            ("007", AttributeValue::Text("007".to_owned())),
            ("TRUE", AttributeValue::Boolean(true)),
            ("2026-02-28", AttributeValue::Date("2026-02-28".to_owned())),
            ("2026-02-30", AttributeValue::Text("2026-02-30".to_owned())),
            ("2026-02-28 23:59:59", AttributeValue::DateTime("2026-02-28T23:59:59".to_owned())),
            ("gold", AttributeValue::Text("gold".to_owned())),
        ] {
            assert_eq!(read("x", text, &free), Ok(wanted), "{text}");
        }
        let kinds = BTreeMap::from([
            ("n".to_owned(), AttributeKind::Integer),
            ("b".to_owned(), AttributeKind::Boolean),
            ("t".to_owned(), AttributeKind::Text(3)),
            ("d".to_owned(), AttributeKind::Date),
        ]);
        assert_eq!(read("b", "1", &kinds), Ok(AttributeValue::Boolean(true)));
        assert_eq!(read("b", "2", &kinds), Err(Reason::WrongType));
        assert_eq!(read("n", "x", &kinds), Err(Reason::WrongType));
        assert_eq!(read("t", "42", &kinds), Ok(AttributeValue::Text("42".to_owned())));
        assert_eq!(read("t", "four", &kinds), Err(Reason::TooLong));
        assert_eq!(read("d", "2026-13-01", &kinds), Err(Reason::WrongType));
        assert_eq!(read("x", "a\u{7}", &kinds), Err(Reason::Characters));
        assert_eq!(AttributeValue::Boolean(true).json(), Value::Bool(true));
    }
}
