//! The header field `TLS-Required: No` (RFC 8689 5): the author prefers delivery to protection. Must not decide what follows.

/// The field as it stands in a message.
pub const TLS_REQUIRED_NO: &str = "TLS-Required: No\r\n";

/// Whether a message (CRLF or bare LF) asks that policies of the recipient's domain do not hold it up. Two fields, or any
/// other value, say nothing (RFC 8689 4.2.1 leaves them without meaning).
pub fn asks_no_tls(message: &[u8]) -> bool {
    let mut found = 0;
    let mut no = false;
    let mut lines = message.split(|byte| *byte == b'\n').peekable();
    while let Some(line) = lines.next() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            break;
        }
        let folded = lines.peek().is_some_and(|next| matches!(next.first(), Some(b' ' | b'\t')));
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = line.split_at(colon);
        if !name.trim_ascii_end().eq_ignore_ascii_case(b"TLS-Required") {
            continue;
        }
        found += 1;
        no = value[1..].trim_ascii().eq_ignore_ascii_case(b"No") && !folded;
    }
    found == 1 && no
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_plain_no_counts() {
        let table = [
            ("From: a@b.example\r\nTLS-Required: No\r\n\r\nx", true),
            ("tls-required:no\n\nx", true),
            ("TLS-Required: No\r\n", true),
            ("TLS-Required: Yes\r\n\r\n", false),
            ("TLS-Required: No\r\nTLS-Required: No\r\n\r\n", false),
            ("TLS-Required: No\r\n way\r\n\r\n", false),
            ("Subject: x\r\n\r\nTLS-Required: No\r\n", false),
            ("X-TLS-Required: No\r\n\r\n", false),
            ("", false),
            (":\r\n:\r\n", false),
        ];
        for (message, want) in table {
            assert_eq!(asks_no_tls(message.as_bytes()), want, "{message:?}");
        }
    }
}
