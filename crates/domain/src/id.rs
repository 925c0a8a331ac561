//! Identifiers as types: 64-bit numbers inside, a prefix and 13 base32 letters outside.
//!
//! The number is made by the store (time-ordered); here is only its form.

/// Why a text is no identifier of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is no id of this kind: it should look like `{prefix}_` followed by 13 letters or digits")]
pub struct IdError {
    /// The text that was given, cut to 64 characters.
    pub given: String,
    /// The prefix that the kind has.
    pub prefix: &'static str,
}

/// Crockford's base32 in lowercase: no i, l, o, u, so that ids can be read aloud.
const LETTERS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// The 13 letters of a number, most significant first, so that text order is number order.
pub fn letters(id: i64) -> String {
    let bits = id as u64;
    (0..13).rev().map(|i| LETTERS[((bits >> (i * 5)) & 31) as usize] as char).collect()
}

/// The number behind 13 letters; `None` for any other text, including numbers that do not fit an i64.
pub fn number(text: &str) -> Option<i64> {
    if text.len() != 13 {
        return None;
    }
    let mut bits: u128 = 0;
    for byte in text.bytes() {
        let value = LETTERS.iter().position(|l| *l == byte)?;
        bits = (bits << 5) | value as u128;
    }
    i64::try_from(bits).ok()
}

macro_rules! ids {
    ($($(#[$meta:meta])* $name:ident = $prefix:literal;)+) => { $(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub i64);
        impl $name {
            /// The prefix of the text form.
            pub const PREFIX: &'static str = $prefix;
            /// The bare number, as stored.
            pub const fn get(self) -> i64 { self.0 }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}_{}", $prefix, letters(self.0))
            }
        }
        impl std::str::FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                text.strip_prefix(concat!($prefix, "_")).and_then(number).map($name)
                    .ok_or_else(|| IdError { given: text.chars().take(64).collect(), prefix: $prefix })
            }
        }
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> { s.collect_str(self) }
        }
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(d)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )+ };
}

ids! {
    /// One organisation's part of the installation (tenant).
    WorkspaceId = "wsp";
    /// A person or mailbox in the book.
    ContactId = "con";
    /// A list: fixed membership.
    ListId = "lst";
    /// A purpose for which consent is given.
    PurposeId = "pur";
    /// One version of a purpose's wording.
    WordingId = "wrd";
    /// A mailing.
    CampaignId = "cmp";
    /// One text of a campaign.
    VariantId = "var";
    /// One compiled, immutable content.
    VersionId = "ver";
    /// The row that must reach an outcome for one recipient.
    DeliveryId = "dlv";
    /// One try of a delivery.
    AttemptId = "att";
    /// A message submitted one at a time.
    MessageId = "msg";
    /// A suppressed address.
    SuppressionId = "sup";
    /// A From domain that we may sign for.
    DomainId = "dom";
    /// A DKIM key of a sending domain.
    DkimKeyId = "dkk";
    /// How mail leaves.
    RouteId = "rte";
    /// A local address and name that mail leaves from.
    SourceId = "src";
    /// Egress sources that share what leaves.
    PoolId = "pol";
    /// A person who may log in.
    AccountId = "acc";
    /// An API key.
    ApiKeyId = "key";
    /// An import of contacts.
    ImportId = "imp";
    /// A line of the audit.
    AuditId = "aud";
    /// A question that only the engine may answer.
    InquiryId = "inq";
    /// A text that campaigns are begun from.
    TemplateId = "tpl";
    /// A saved view of the contacts.
    ViewId = "viw";
    /// A picture for messages.
    PictureId = "pic";
    /// Something that needs a person.
    AlarmId = "alm";
    /// A running process of the installation.
    NodeId = "nod";
    /// A rule that steers queues.
    QueueRuleId = "rul";
    /// What an application hands its mail to us with.
    CredentialId = "crd";
    /// A submission that was refused, for the error view.
    RelayNoteId = "rln";
    /// The unit of the queue that a node leases.
    LaneId = "lan";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_goes_there_and_back_and_keeps_the_order() {
        let mut last = String::new();
        for n in [0, 1, 31, 32, 1 << 40, i64::MAX - 1, i64::MAX] {
            let text = CampaignId(n).to_string();
            assert_eq!(text.parse::<CampaignId>(), Ok(CampaignId(n)));
            assert!(text > last, "{text} after {last}");
            last = text;
        }
    }

    #[test]
    fn another_kind_or_a_changed_letter_is_refused() {
        let id = ContactId(77).to_string();
        assert!(id.replace("con", "cmp").parse::<ContactId>().is_err());
        assert!(id.to_uppercase().parse::<ContactId>().is_err());
        assert!("con_zzzzzzzzzzzzz".parse::<ContactId>().is_err(), "does not fit an i64");
        assert!("con_".parse::<ContactId>().is_err());
    }
}
