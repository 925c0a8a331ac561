//! Header fields with bytes beyond ASCII, made ASCII: encoded words, A-labels, parameters of RFC 2231.
//!
//! For messages that came without SMTPUTF8 and may go to hosts that lack it. Must not know which message it is.

use super::block::Field;
use crate::header;
use crate::mailbox::Mailbox;
use crate::report::text::decode_words;

/// How a field is built, as far as encoding it goes.
enum Kind {
    /// Words for people.
    Text,
    /// Names and addresses.
    Addresses,
    /// A value with parameters.
    Parameters,
    /// Words for machines: nothing in it can be encoded.
    Machine,
}

const ADDRESSES: &[&str] = &[
    "from",
    "sender",
    "reply-to",
    "to",
    "cc",
    "bcc",
    "resent-from",
    "resent-sender",
    "resent-to",
    "resent-cc",
    "disposition-notification-to",
    "return-receipt-to",
    "errors-to",
];
const MACHINE: &[&str] = &[
    "received",
    "return-path",
    "dkim-signature",
    "domainkey-signature",
    "authentication-results",
    "arc-seal",
    "arc-message-signature",
    "arc-authentication-results",
    "message-id",
    "in-reply-to",
    "references",
    "date",
    "resent-date",
    "resent-message-id",
    "mime-version",
    "content-transfer-encoding",
    "content-id",
    "list-id",
    "list-unsubscribe",
    "list-unsubscribe-post",
    "auto-submitted",
];
/// Most octets of a value that are read: as long as a header may be.
const VALUE_MAX: usize = super::read::HEADER_MAX;
/// Octets of a parameter's value on one line, after percent encoding.
const PARAMETER_LINE: usize = 60;

fn kind(name: &str) -> Kind {
    let is = |names: &[&str]| names.iter().any(|known| known.eq_ignore_ascii_case(name));
    if is(ADDRESSES) {
        Kind::Addresses
    } else if is(&["content-type", "content-disposition"]) {
        Kind::Parameters
    } else if is(MACHINE) {
        Kind::Machine
    } else {
        Kind::Text
    }
}

/// The whole field in ASCII with its CRLF; `None` when it holds a mailbox that only SMTPUTF8 can carry.
pub(super) fn encode(bytes: &[u8], field: &Field) -> Option<Vec<u8>> {
    let name = String::from_utf8_lossy(field.name(bytes)).into_owned();
    let value = field.text(bytes, VALUE_MAX);
    let mut out = Vec::with_capacity(value.len() * 2 + 80);
    let written = match kind(&name) {
        Kind::Text => header::text(&name, &decode_words(&value), &mut out).is_ok(),
        Kind::Addresses => {
            addresses(&name, &value, &mut out)?;
            true
        }
        Kind::Parameters => {
            parameters(&name, &value, &mut out);
            true
        }
        Kind::Machine => false,
    };
    if !written {
        out.clear();
        let ascii = |byte: &u8| if byte.is_ascii() { *byte } else { b'?' };
        out.extend(bytes.get(field.whole()).unwrap_or_default().iter().map(ascii));
    }
    Some(out)
}

/// Each entry of the list; those in ASCII stay as written.
fn addresses(name: &str, value: &str, out: &mut Vec<u8>) -> Option<()> {
    out.extend_from_slice(name.as_bytes());
    out.push(b':');
    let mut column = name.len() + 1;
    for entry in entries(value) {
        let (entry, end) = match entry.chars().next_back() {
            Some(c @ (',' | ';' | ':')) => (&entry[..entry.len() - 1], Some(c)),
            _ => (entry, None),
        };
        let entry = entry.trim();
        if entry.is_ascii() {
            for word in entry.split(' ').filter(|word| !word.is_empty()) {
                column = header::push_token(word.as_bytes(), column, out);
            }
        } else {
            column = one_address(entry, end == Some(':'), column, out)?;
        }
        if let Some(end) = end {
            out.push(end as u8);
            column += 1;
        }
    }
    out.extend_from_slice(b"\r\n");
    Some(())
}

fn one_address(entry: &str, is_group: bool, column: usize, out: &mut Vec<u8>) -> Option<usize> {
    let ascii = |address: &str| {
        if address.is_ascii() {
            return Some(address.to_owned());
        }
        Mailbox::parse(address).ok().filter(|mailbox| !mailbox.needs_smtputf8()).map(|mailbox| mailbox.wire())
    };
    if is_group {
        return Some(header::phrase(&display(entry), column, out));
    }
    match entry.rsplit_once('<') {
        Some((phrase, address)) => {
            let address = ascii(address.split('>').next().unwrap_or_default().trim())?;
            let name = display(phrase);
            let column = if name.is_empty() { column } else { header::phrase(&name, column, out) };
            Some(header::push_token(format!("<{address}>").as_bytes(), column, out))
        }
        None => {
            // `ann@example.org (Ann)`: the comment becomes the name.
            let (address, comment) = entry.split_once('(').unwrap_or((entry, ""));
            let address = ascii(address.trim())?;
            let name = display(comment.trim_end().trim_end_matches(')'));
            if name.is_empty() {
                return Some(header::push_token(address.as_bytes(), column, out));
            }
            let column = header::phrase(&name, column, out);
            Some(header::push_token(format!("<{address}>").as_bytes(), column, out))
        }
    }
}

/// A display name without its quotes and with its encoded words read; no control characters.
fn display(phrase: &str) -> String {
    let mut name = String::with_capacity(phrase.len());
    let mut chars = phrase.trim().chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => {}
            '\\' => name.extend(chars.next()),
            c => name.push(c),
        }
    }
    let name = decode_words(&name);
    name.chars().filter(|c| !header::has_control(c.encode_utf8(&mut [0; 4]))).collect::<String>().trim().to_owned()
}

/// The entries of an address list, each with the sign that ends it.
fn entries(value: &str) -> impl Iterator<Item = &str> {
    let mut in_quotes = false;
    let mut in_angle = false;
    let mut depth = 0_usize;
    let mut escaped = false;
    value.split_inclusive(move |c| {
        if std::mem::take(&mut escaped) {
            return false;
        }
        match c {
            '\\' => escaped = true,
            '"' if depth == 0 => in_quotes = !in_quotes,
            '(' if !in_quotes => depth += 1,
            ')' if !in_quotes => depth = depth.saturating_sub(1),
            '<' if !in_quotes => in_angle = true,
            '>' if !in_quotes => in_angle = false,
            ',' | ';' | ':' => return !in_quotes && !in_angle && depth == 0,
            _ => {}
        }
        false
    })
}

/// The value as written, its parameters beyond ASCII by RFC 2231.
fn parameters(name: &str, value: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    let mut in_quotes = false;
    let mut escaped = false;
    let pieces = value.split(move |c| {
        if std::mem::take(&mut escaped) {
            return false;
        }
        match c {
            '\\' => escaped = in_quotes,
            '"' => in_quotes = !in_quotes,
            ';' => return !in_quotes,
            _ => {}
        }
        false
    });
    for (at, piece) in pieces.map(str::trim).filter(|piece| !piece.is_empty()).enumerate() {
        if at > 0 {
            out.extend_from_slice(b";\r\n ");
        }
        let parameter = piece.split_once('=').filter(|(name, _)| at > 0 && name.trim().is_ascii());
        match parameter {
            Some((name, value)) if !value.is_ascii() => extended(name.trim(), value.trim(), out),
            _ => out.extend(piece.chars().map(|c| if c.is_ascii() { c as u8 } else { b'?' })),
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// `name*=utf-8''%C3%A9`, in numbered sections where it is long (RFC 2231 3 and 4).
fn extended(name: &str, value: &str, out: &mut Vec<u8>) {
    let value = display(value);
    let name = name.trim_end_matches('*');
    let mut encoded = String::with_capacity(value.len() * 3);
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`{|}~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    if encoded.len() <= PARAMETER_LINE {
        out.extend_from_slice(format!("{name}*=utf-8''{encoded}").as_bytes());
        return;
    }
    let mut rest = encoded.as_str();
    let mut section = 0;
    while !rest.is_empty() {
        let mut end = rest.len().min(PARAMETER_LINE);
        // Never through an escape.
        if let Some(escape) = rest[..end].rfind('%').filter(|escape| end - escape < 3 && end < rest.len()) {
            end = escape;
        }
        let begin = if section == 0 { "utf-8''" } else { ";\r\n " };
        let (before, charset) = if section == 0 { ("", begin) } else { (begin, "") };
        out.extend_from_slice(format!("{before}{name}*{section}*={charset}{}", &rest[..end]).as_bytes());
        rest = &rest[end..];
        section += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::super::block;
    use super::*;

    fn encoded(line: &str) -> Option<String> {
        let block = block::scan(line.as_bytes(), 0..line.len());
        encode(line.as_bytes(), &block.fields[0]).map(|out| String::from_utf8(out).unwrap())
    }

    #[test]
    fn fields_become_ascii() {
        for (line, wanted) in [
            ("Subject: our caf\u{e9}\r\n", "Subject: =?utf-8?Q?our_caf=C3=A9?=\r\n"),
            ("X-Note: =?utf-8?Q?=C3=A9?= and \u{e9}\r\n", "X-Note: =?utf-8?Q?=C3=A9_and_=C3=A9?=\r\n"),
            ("From: \"J\u{f6}rg\" <j@b.example>\r\n", "From: =?utf-8?Q?J=C3=B6rg?= <j@b.example>\r\n"),
            (
                "To: Ann <a@b.example>,\r\n J\u{f6}rg <j@b\u{fc}cher.example>\r\n",
                "To: Ann <a@b.example>, =?utf-8?Q?J=C3=B6rg?= <j@xn--bcher-kva.example>\r\n",
            ),
            ("Cc: Gr\u{fc}n: a@b.example;\r\n", "Cc: =?utf-8?Q?Gr=C3=BCn?=: a@b.example;\r\n"),
            ("To: a@b.example (J\u{f6}rg)\r\n", "To: =?utf-8?Q?J=C3=B6rg?= <a@b.example>\r\n"),
            (
                "Content-Type: application/pdf; name=\"\u{e9} a.pdf\"; x=y\r\n",
                "Content-Type: application/pdf;\r\n name*=utf-8''%C3%A9%20a.pdf;\r\n x=y\r\n",
            ),
            ("Message-ID: <\u{e9}@b.example>\r\n", "Message-ID: <??@b.example>\r\n"),
        ] {
            assert_eq!(encoded(line).as_deref(), Some(wanted), "{line}");
        }
        assert_eq!(encoded("From: J\u{f6}rg <j\u{f6}rg@b.example>\r\n"), None);
        let long =
            encoded(&format!("Content-Disposition: attachment; filename=\"{}\"\r\n", "\u{e9}".repeat(50))).unwrap();
        assert!(long.lines().all(|line| line.len() < 90), "{long}");
        assert!(long.contains("filename*0*=utf-8''%C3") && long.contains(" filename*4*="), "{long}");
    }
}
