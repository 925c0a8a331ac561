//! What we know of a contact and whether its mailbox can be written to at all.

use std::collections::BTreeMap;

crate::words! {
    /// The result of the address check on entry; no RCPT probing ever (SR-33).
    pub enum AddressState {
        /// The domain takes mail (MX or address record).
        Mailable = "mailable",
        /// Not looked at yet, or DNS gave only temporary errors: may be mailed, delivery will find out.
        Unchecked = "unchecked",
        /// The domain does not exist or has neither MX nor address.
        NoMailServer = "no_mail_server",
        /// The domain says that it takes no mail (RFC 7505).
        NullMx = "null_mx",
    }
}

impl AddressState {
    /// Whether a message may start towards a mailbox in this state.
    pub const fn is_mailable(self) -> bool {
        match self {
            AddressState::Mailable | AddressState::Unchecked => true,
            AddressState::NoMailServer | AddressState::NullMx => false,
        }
    }
}

crate::words! {
    /// Marks that inform but do not block.
    pub enum AddressMark {
        /// `info@`, `postmaster@`: probably read by several people.
        Role = "role",
        /// A throw-away address provider.
        Disposable = "disposable",
        /// Looks like a misspelt large provider.
        Typo = "typo",
    }
}

/// Attribute values of a contact, by name. Names are 1–64 of `[a-z0-9_]`, starting with a letter.
pub type Attributes = BTreeMap<String, serde_json::Value>;

/// Most attributes that one contact may have.
pub const MAX_ATTRIBUTES: usize = 200;
/// Longest text value of an attribute, in bytes.
pub const MAX_ATTRIBUTE_BYTES: usize = 4096;

/// Why an attribute is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AttributeError {
    /// The name has a form that templates could not name.
    #[error("attribute name `{0}` should be 1 to 64 of a-z, 0-9 and _, starting with a letter")]
    Name(String),
    /// The value has line breaks or control characters (SEC-20).
    #[error("attribute `{0}` has a control character or line break: remove it")]
    Control(String),
    /// The value is too long.
    #[error("attribute `{0}` is longer than 4096 bytes: shorten it")]
    TooLong(String),
    /// The value is a list or an object.
    #[error("attribute `{0}` should be a text, a number, true, false or null")]
    Nested(String),
    /// Too many attributes.
    #[error("a contact has at most 200 attributes")]
    TooMany,
}

/// The letters of a letter with an accent, in lowercase; empty for everything that has none of a to z in it.
const fn plain_letters(c: char) -> &'static str {
    match c {
        'à' | 'á' | 'â' | 'ã' | 'å' | 'ā' | 'ă' | 'ą' => "a",
        'ä' | 'æ' => "ae",
        'ç' | 'ć' | 'č' | 'ĉ' | 'ċ' => "c",
        'ď' | 'đ' | 'ð' => "d",
        'è' | 'é' | 'ê' | 'ë' | 'ē' | 'ė' | 'ę' | 'ě' => "e",
        'ğ' | 'ģ' => "g",
        'ì' | 'í' | 'î' | 'ï' | 'ī' | 'į' | 'ı' => "i",
        'ķ' => "k",
        'ł' | 'ľ' | 'ĺ' | 'ļ' => "l",
        'ñ' | 'ń' | 'ň' | 'ņ' => "n",
        'ò' | 'ó' | 'ô' | 'õ' | 'ø' | 'ō' | 'ő' => "o",
        'ö' | 'œ' => "oe",
        'ř' | 'ŕ' => "r",
        'ś' | 'š' | 'ş' | 'ș' => "s",
        'ß' => "ss",
        'ť' | 'ţ' | 'ț' => "t",
        'þ' => "th",
        'ù' | 'ú' | 'û' | 'ū' | 'ů' | 'ű' | 'ų' => "u",
        'ü' => "ue",
        'ý' | 'ÿ' => "y",
        'ź' | 'ż' | 'ž' => "z",
        _ => "",
    }
}

/// Turns a column heading into an attribute name: lowercase, letters with accents become plain ones (città: citta,
/// größe: groesse), other characters become `_`.
pub fn attribute_name(heading: &str) -> String {
    let mut name = String::new();
    for c in heading.trim().to_lowercase().chars() {
        let plain = plain_letters(c);
        if c.is_ascii_alphanumeric() {
            name.push(c);
        } else if !plain.is_empty() {
            name.push_str(plain);
        } else if matches!(c, '\u{300}'..='\u{36f}') {
            // An accent that stands by itself behind its letter.
        } else if !name.ends_with('_') && !name.is_empty() {
            name.push('_');
        }
    }
    let name = name.trim_matches('_');
    let mut name = if name.starts_with(|c: char| c.is_ascii_digit()) { format!("n{name}") } else { name.to_owned() };
    name.truncate(64);
    name
}

/// Checks names, values and number of attributes.
///
/// # Errors
/// The first attribute that breaks a rule.
pub fn check_attributes(attributes: &Attributes) -> Result<(), AttributeError> {
    if attributes.len() > MAX_ATTRIBUTES {
        return Err(AttributeError::TooMany);
    }
    for (name, value) in attributes {
        let good = name.len() <= 64
            && name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if !good {
            return Err(AttributeError::Name(name.chars().take(64).collect()));
        }
        match value {
            serde_json::Value::String(text) => {
                if text.len() > MAX_ATTRIBUTE_BYTES {
                    return Err(AttributeError::TooLong(name.clone()));
                }
                if has_control(text) {
                    return Err(AttributeError::Control(name.clone()));
                }
            }
            serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::Number(_) => {}
            serde_json::Value::Array(_) | serde_json::Value::Object(_) => {
                return Err(AttributeError::Nested(name.clone()));
            }
        }
    }
    Ok(())
}

/// C0, DEL, C1 and the Unicode line and paragraph separators: nothing a contact's field may hold (SEC-20).
pub fn has_control(text: &str) -> bool {
    text.chars().any(|c| c.is_control() || c == '\u{2028}' || c == '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_become_names_that_templates_can_use() {
        for (heading, name) in [
            ("First Name", "first_name"),
            (" E-Mail ", "e_mail"),
            ("2nd", "n2nd"),
            ("Città", "citta"),
            ("__a__", "a"),
            ("Citta\u{300}", "citta"),
            ("Größe (cm)", "groesse_cm"),
            ("Imię", "imie"),
            ("ŁÓDŹ", "lodz"),
            ("Straße", "strasse"),
            ("電話", ""),
        ] {
            assert_eq!(attribute_name(heading), name);
        }
    }

    #[test]
    fn control_characters_and_nested_values_are_refused() {
        let one = |v: serde_json::Value| Attributes::from([("a".to_owned(), v)]);
        assert!(check_attributes(&one("fine ✓".into())).is_ok());
        for bad in ["a\r\nBcc: x", "a\u{0}", "a\u{2028}b", "a\u{85}"] {
            assert_eq!(check_attributes(&one(bad.into())), Err(AttributeError::Control("a".into())), "{bad:?}");
        }
        assert_eq!(check_attributes(&one(serde_json::json!([1]))), Err(AttributeError::Nested("a".into())));
        assert!(check_attributes(&Attributes::from([("A b".to_owned(), 1.into())])).is_err());
    }
}
