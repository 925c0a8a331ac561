//! The places of a message in which a value may stand, each with its own escaping.
//!
//! Must not know how values are found.

/// Where a value stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// Text of an HTML element.
    Html,
    /// A quoted HTML attribute that is no address.
    Attribute,
    /// The beginning of an address attribute: the value brings its scheme.
    UrlStart,
    /// Inside of an address attribute, after its beginning.
    UrlPart,
    /// Plain text.
    Plain,
    /// The beginning of an address in plain text.
    PlainUrlStart,
    /// Inside of an address in plain text.
    PlainUrlPart,
    /// A header value; encoded by RFC 2047 later.
    Header,
}

impl Place {
    /// The name of the filter that escapes for this place, as it stands in the compiled template.
    pub(crate) const fn filter(self) -> &'static str {
        match self {
            Place::Html | Place::Attribute => "_html",
            Place::UrlStart => "_url",
            Place::UrlPart => "_url_part",
            Place::Plain | Place::Header => "_plain",
            Place::PlainUrlStart => "_plain_url",
            Place::PlainUrlPart => "_plain_url_part",
        }
    }
}
