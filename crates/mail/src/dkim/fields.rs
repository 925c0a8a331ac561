//! Which header fields a signature covers, and how often each is named (RFC 6376 5.4, RF-50, SR-11).
//!
//! Must not know keys or canonical forms.

/// When a field is named in `h=` beyond the fields that are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Oversign {
    /// Once more than it occurs, even when it does not: nobody may add one.
    Always,
    /// Once more than it occurs, if it occurs.
    WhenPresent,
}

/// Signed fields, in the order of `h=`.
const SIGNED: &[(&str, Oversign)] = &[
    ("From", Oversign::Always),
    ("To", Oversign::Always),
    ("Cc", Oversign::WhenPresent),
    ("Subject", Oversign::Always),
    ("Date", Oversign::Always),
    ("Message-ID", Oversign::WhenPresent),
    ("Sender", Oversign::WhenPresent),
    ("Reply-To", Oversign::Always),
    ("In-Reply-To", Oversign::WhenPresent),
    ("References", Oversign::WhenPresent),
    ("MIME-Version", Oversign::WhenPresent),
    ("Content-Type", Oversign::WhenPresent),
    ("Content-Transfer-Encoding", Oversign::WhenPresent),
    ("List-Id", Oversign::WhenPresent),
    ("List-Unsubscribe", Oversign::Always),
    ("List-Unsubscribe-Post", Oversign::Always),
    ("Feedback-ID", Oversign::WhenPresent),
    ("CFBL-Address", Oversign::WhenPresent),
    ("CFBL-Feedback-ID", Oversign::WhenPresent),
];

/// Divides a header into fields without their final CRLF; stops at the empty line.
pub(super) fn split(header: &[u8]) -> Vec<&[u8]> {
    let mut fields = Vec::with_capacity(24);
    let mut start = 0;
    let mut from = 0;
    while start < header.len() && !header[start..].starts_with(b"\r\n") {
        let end = match memchr::memmem::find(&header[from..], b"\r\n") {
            Some(found) => from + found,
            None => header.len(),
        };
        if matches!(header.get(end + 2), Some(b' ' | b'\t')) {
            from = end + 2;
            continue;
        }
        fields.push(&header[start..end]);
        start = end + 2;
        from = start;
    }
    fields
}

/// The names for `h=` in order, each with the field that it stands for, or `None` where it is oversigned.
///
/// Several fields of a name are taken from the bottom up (RFC 6376 5.4.2).
pub(super) fn select<'a>(fields: &[&'a [u8]], unsigned: &[String]) -> Vec<(&'static str, Option<&'a [u8]>)> {
    let mut selected = Vec::with_capacity(fields.len() + SIGNED.len());
    for &(name, oversign) in SIGNED {
        if name != "From" && unsigned.iter().any(|left_out| left_out.eq_ignore_ascii_case(name)) {
            continue;
        }
        let before = selected.len();
        selected.extend(fields.iter().rev().filter(|field| has_name(field, name)).map(|field| (name, Some(*field))));
        match oversign {
            Oversign::Always => selected.push((name, None)),
            Oversign::WhenPresent if selected.len() > before => selected.push((name, None)),
            Oversign::WhenPresent => {}
        }
    }
    selected
}

fn has_name(field: &[u8], name: &str) -> bool {
    let Some((head, rest)) = field.split_at_checked(name.len()) else { return false };
    // RFC 5322 4.5 lets old messages have blanks before the colon.
    head.eq_ignore_ascii_case(name.as_bytes()) && rest.iter().find(|byte| !matches!(byte, b' ' | b'\t')) == Some(&b':')
}
