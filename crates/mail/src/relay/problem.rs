//! What was wrong with a message that is sent all the same: a line in the error view. Must not know the view.

use std::fmt;

/// One header (or input, or place) and why it does not count as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The name as the message writes it, at most 100 characters of visible ASCII.
    pub header: String,
    /// What is wrong.
    pub reason: Reason,
}

impl Problem {
    pub(super) fn new(header: &str, reason: Reason) -> Problem {
        let visible = header.chars().map(|c| if c.is_ascii_graphic() { c } else { '?' });
        Problem { header: visible.take(100).collect(), reason }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.header, self.reason)
    }
}

/// Why a header does not count as written. The message is sent in each case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// No value.
    Empty,
    /// Something else than digits.
    NotANumber,
    /// A number beyond its range.
    OutOfRange,
    /// More characters or octets than allowed.
    TooLong,
    /// A character that the value may not hold.
    Characters,
    /// None of the words that the header knows.
    UnknownWord,
    /// No date, or none of the calendar.
    NotADate,
    /// No host name, or more than one.
    NotAHost,
    /// No JSON object of plain values.
    NotAnObject,
    /// More headers of the kind than are kept.
    TooMany,
    /// A label without a delivery id of its own.
    NeedsDeliveryType,
    /// An attribute whose value is not of its type.
    WrongType,
    /// An attribute whose name is none.
    FieldName,
    /// The first one counts.
    Repeated,
    /// No special header has this name; it was removed.
    Unknown,
    /// Switched off for this credential.
    Disabled,
    /// The address in it cannot be read.
    NotAMailbox,
    /// The header ends without its empty line; one was put in.
    NoEmptyLine,
    /// The line of an mbox file stood before the header; it was removed.
    MboxLine,
    /// Several authors need a Sender (RFC 5322 3.6.2).
    NoSender,
    /// Parts beyond what is looked at.
    TooManyParts,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Reason; 21] = [
        Reason::Empty,
        Reason::NotANumber,
        Reason::OutOfRange,
        Reason::TooLong,
        Reason::Characters,
        Reason::UnknownWord,
        Reason::NotADate,
        Reason::NotAHost,
        Reason::NotAnObject,
        Reason::TooMany,
        Reason::NeedsDeliveryType,
        Reason::WrongType,
        Reason::FieldName,
        Reason::Repeated,
        Reason::Unknown,
        Reason::Disabled,
        Reason::NotAMailbox,
        Reason::NoEmptyLine,
        Reason::MboxLine,
        Reason::NoSender,
        Reason::TooManyParts,
    ];

    /// The word that is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Reason::Empty => "empty",
            Reason::NotANumber => "not_a_number",
            Reason::OutOfRange => "out_of_range",
            Reason::TooLong => "too_long",
            Reason::Characters => "characters",
            Reason::UnknownWord => "unknown_word",
            Reason::NotADate => "not_a_date",
            Reason::NotAHost => "not_a_host",
            Reason::NotAnObject => "not_an_object",
            Reason::TooMany => "too_many",
            Reason::NeedsDeliveryType => "needs_delivery_type",
            Reason::WrongType => "wrong_type",
            Reason::FieldName => "field_name",
            Reason::Repeated => "repeated",
            Reason::Unknown => "unknown",
            Reason::Disabled => "disabled",
            Reason::NotAMailbox => "not_a_mailbox",
            Reason::NoEmptyLine => "no_empty_line",
            Reason::MboxLine => "mbox_line",
            Reason::NoSender => "no_sender",
            Reason::TooManyParts => "too_many_parts",
        }
    }

    /// The reason with this stored word.
    pub fn parse(word: &str) -> Option<Reason> {
        Reason::ALL.into_iter().find(|reason| reason.as_str() == word)
    }
}

impl fmt::Display for Reason {
    /// What is wrong and what to do, as a line of the error view.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::Empty => "it has no value; leave it out or give one",
            Reason::NotANumber => "its value is no whole number; write digits only",
            Reason::OutOfRange => "its number is out of range; see the table of headers",
            Reason::TooLong => "its value is too long and was not used; shorten it",
            Reason::Characters => "its value holds characters that are not allowed; remove them",
            Reason::UnknownWord => "its value is none of the words that it knows; see the table of headers",
            Reason::NotADate => "its value is no date of the form asked for, or not in the calendar",
            Reason::NotAHost => "its value is no host name; write it as t.example.com, without a path",
            Reason::NotAnObject => "its value is no JSON object of texts, numbers, true and false",
            Reason::TooMany => "there are more of these than are kept",
            Reason::NeedsDeliveryType => "a label needs the id of a delivery type, 2 or higher; add it",
            Reason::WrongType => "its value is not of the type that the attribute has",
            Reason::FieldName => "what follows Recipient- is no attribute name; use letters and digits",
            Reason::Repeated => "it comes more than once; the first one counts",
            Reason::Unknown => "no special header has this name; it was removed; check its spelling",
            Reason::Disabled => "it is switched off here and was removed; switch it on or leave it out",
            Reason::NotAMailbox => "its address cannot be read",
            Reason::NoEmptyLine => "no empty line stands between header and body; one was put in",
            Reason::MboxLine => "the line of an mbox file stood before the header; it was removed",
            Reason::NoSender => "a message of several authors needs a Sender",
            Reason::TooManyParts => {
                "the message has more parts, or deeper ones, than are looked at; those stay as they are"
            }
        })
    }
}
