//! Why a stored version cannot be used and why a message cannot be made; messages read after "could not".
//!
//! Must not know mailboxes: no message here repeats a contact's value.

use postrider_mail::header::HeaderError;
use thiserror::Error;

/// Part of a message that an error is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PartName {
    /// The subject.
    Subject,
    /// The text part.
    Text,
    /// The HTML part.
    Html,
}

impl PartName {
    /// The word used in messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            PartName::Subject => "subject",
            PartName::Text => "text part",
            PartName::Html => "HTML part",
        }
    }
}

impl std::fmt::Display for PartName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a message cannot be made for a recipient; the delivery is withheld as unrenderable.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RenderError {
    /// The template failed on this recipient's values.
    #[error("render the {part}: {message}; give the variables a default or correct the contact")]
    Template {
        /// Where.
        part: PartName,
        /// What the template engine says, without values.
        message: String,
    },
    /// The template used up its instructions, bytes or work (SEC-22).
    #[error("render the {part}: it needs more than {limit}; make its loops and texts smaller")]
    Budget {
        /// Where.
        part: PartName,
        /// Which bound.
        limit: &'static str,
    },
    /// A value that becomes a whole address is no http, https, mailto or tel address.
    #[error(
        "render the {part}: the value of `{name}` is no web address; it should begin with https://, http://, mailto: or tel:"
    )]
    UnsafeUrl {
        /// Where.
        part: PartName,
        /// The variable, or the expression it stands in.
        name: String,
    },
    /// A value is longer than a template may handle.
    #[error("render the {part}: the value of `{name}` is longer than 16 KiB; shorten it")]
    ValueTooLong {
        /// Where.
        part: PartName,
        /// The variable.
        name: String,
    },
    /// A marketing message came without the facts for its list headers (SR-10).
    #[error("render the message: marketing needs list headers; give the list facts")]
    NoList,
    /// A fact cannot stand in its header.
    #[error("render the message: {0} holds blanks, control characters, angle brackets or nothing; correct it")]
    Fact(&'static str),
    /// A header could not be written.
    #[error(transparent)]
    Header(#[from] HeaderError),
}

/// Why stored bytes are no usable version.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CompiledError {
    /// Made by another renderer.
    #[error(
        "read the compiled version: it was made by renderer {found}, this program has renderer {ours}; compile the draft again"
    )]
    Renderer {
        /// Number in the bytes.
        found: u16,
        /// Our number.
        ours: u16,
    },
    /// No version at all.
    #[error("read the compiled version: {0}; compile the draft again")]
    Corrupt(String),
}

/// Why a single message cannot be put together.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SingleError {
    /// Neither text nor HTML.
    #[error("compose the message: it has neither text nor HTML; give one")]
    NoBody,
    /// No recipient.
    #[error("compose the message: it has no recipient; give one")]
    NoRecipient,
    /// A part is over 1 MiB.
    #[error("compose the message: its {0} is over 1 MiB; shorten it")]
    TooLong(PartName),
    /// The HTML is nested too deeply or has too many elements to derive a text from.
    #[error("compose the message: its HTML has over 10,000 elements or 100 levels; simplify it or give the text too")]
    HtmlTooLarge,
    /// From needs SMTPUTF8, which we do not use for our own mailboxes.
    #[error("compose the message: the From or Reply-To mailbox has letters beyond ASCII before the @; use another")]
    FromNotAscii,
    /// A fact cannot stand in its header.
    #[error("compose the message: {0} holds blanks, control characters, angle brackets or nothing; correct it")]
    Fact(&'static str),
    /// A header could not be written.
    #[error(transparent)]
    Header(#[from] HeaderError),
}
