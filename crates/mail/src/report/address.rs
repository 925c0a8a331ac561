//! Mailboxes as reports write them: in angle brackets, after `rfc822;`, bare in the middle of a line.
//!
//! Finds, does not judge: what is found is a text that a report claims to be a mailbox.

/// Longest mailbox that is kept, in octets (RFC 5321 4.5.3.1: 64 + 1 + 255).
const MAILBOX_MAX: usize = 320;

/// A mailbox in a line, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) mailbox: String,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// The first mailbox of a line.
pub(super) fn find(line: &str) -> Option<Found> {
    let line = super::text::cut(line, 2_048);
    let mut from = 0;
    while let Some(found) = line[from..].find('@') {
        let at = from + found;
        let start = local_start(line, at);
        let end = at + 1 + line[at + 1..].find(|c: char| !is_domain(c)).unwrap_or(line.len() - at - 1);
        let local = &line[start..at];
        let domain = line[at + 1..end].trim_end_matches(['.', '-']);
        let end = at + 1 + domain.len();
        if !local.is_empty() && !domain.is_empty() && local.len() + domain.len() < MAILBOX_MAX {
            return Some(Found { mailbox: format!("{local}@{domain}"), start, end });
        }
        from = at + 1;
    }
    None
}

/// Where the local part before the `@` begins; a quoted one is taken whole.
fn local_start(line: &str, at: usize) -> usize {
    let before = &line[..at];
    if let Some(inside) = before.strip_suffix('"')
        && let Some(open) = inside.rfind('"')
    {
        return open;
    }
    let start =
        before.rfind(|c: char| !is_local(c)).map_or(0, |i| i + before[i..].chars().next().map_or(1, char::len_utf8));
    start + (before[start..].len() - before[start..].trim_start_matches(['\'', '=', '.', '*', '#']).len())
}

fn is_local(c: char) -> bool {
    c.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c)
}

fn is_domain(c: char) -> bool {
    c.is_alphanumeric() || c == '.' || c == '-' || c == '_'
}

/// The value of a recipient field, `rfc822; ann@example.org` (RFC 3464 2.3.1), `<ann@example.org>` or bare.
pub(super) fn of_field(value: &str) -> Option<String> {
    let (kind, value) = match value.split_once(';') {
        Some((kind, value)) if !value.trim().is_empty() => (kind.trim(), value),
        _ => ("", value),
    };
    let unescaped;
    let value = if kind.eq_ignore_ascii_case("utf-8") {
        unescaped = unescape(value);
        unescaped.as_str()
    } else {
        value
    };
    match find(value) {
        Some(found) => Some(found.mailbox),
        // A local name without a domain is still the word by which the report means somebody.
        None => {
            let word = value.trim().trim_matches(['<', '>']);
            let plain = !word.is_empty() && word.len() < MAILBOX_MAX && !word.contains(char::is_whitespace);
            plain.then(|| word.to_owned())
        }
    }
}

/// `\x{E9}` becomes its character (RFC 6533 3); control characters and what is no escape stay as they are.
fn unescape(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let mut rest = value;
    while let Some(at) = rest.find("\\x{") {
        let (before, escape) = rest.split_at(at);
        out.push_str(before);
        let digits = escape[3..].split('}').next().filter(|digits| (1..=6).contains(&digits.len()));
        let read = digits.and_then(|digits| Some((digits.len(), u32::from_str_radix(digits, 16).ok()?)));
        match read.and_then(|(length, code)| Some((length, char::from_u32(code).filter(|c| !c.is_control())?))) {
            Some((length, c)) if escape.as_bytes().get(3 + length) == Some(&b'}') => {
                out.push(c);
                rest = &escape[4 + length..];
            }
            _ => {
                out.push_str(&escape[..3]);
                rest = &escape[3..];
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mailboxes_are_found() {
        for (line, mailbox) in [
            ("<ann@example.org>: unknown", "ann@example.org"),
            ("  ann.o'neil+x@example.org.", "ann.o'neil+x@example.org"),
            ("To: \"a b\"@example.org,", "\"a b\"@example.org"),
            ("mailto:ann@example.org?x", "ann@example.org"),
            ("jos\u{e9}@ex\u{e4}mple.org", "jos\u{e9}@ex\u{e4}mple.org"),
            ("a@ and b@example.org", "b@example.org"),
            ("'ann@example.org'", "ann@example.org"),
        ] {
            let found = find(line).unwrap();
            assert_eq!(found.mailbox, mailbox, "{line}");
            assert_eq!(&line[found.start..found.end], mailbox, "{line}");
        }
        assert_eq!(find("no mailbox @ all"), None);
        assert_eq!(of_field("rfc822; <ann@example.org>").unwrap(), "ann@example.org");
        assert_eq!(of_field("x400; ann").unwrap(), "ann");
        assert_eq!(of_field("  "), None);
        assert_eq!(of_field("utf-8; jos\\x{E9}@example.org").unwrap(), "jos\u{e9}@example.org");
        assert_eq!(unescape("a\\x{+}\\x{D}\\x{110000}\\x{E9"), "a\\x{+}\\x{D}\\x{110000}\\x{E9");
    }
}
