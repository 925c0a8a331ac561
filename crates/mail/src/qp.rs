//! Quoted-printable (RFC 2045 6.7): whole texts, and pieces that are encoded once and spliced later.
//!
//! Must not know templates. Line ends of any kind come out as CRLF; output is 7-bit, lines have at
//! most 76 columns, and no line ends in a blank.

#[cfg(test)]
mod tests;

/// A line end that the reader removes again; put it between pieces that were encoded apart.
pub const SOFT_BREAK: &[u8] = b"=\r\n";

/// Columns that may be used before a soft break; the `=` itself is the 76th.
const COLUMNS: usize = 75;

/// Appends `text` to `out`, starting at column 0.
pub fn encode(text: &[u8], out: &mut Vec<u8>) {
    encode_segment(text, 0, out);
}

/// Appends a piece of a body to `out` and returns the column after it (at most 75).
///
/// `start_column` is where the piece before ended: 0 after a line end or [`SOFT_BREAK`]. A blank at
/// the end of the piece is encoded, so that anything may follow. A piece that starts at another
/// column than it was encoded for needs a [`SOFT_BREAK`] before it.
pub fn encode_segment(text: &[u8], start_column: usize, out: &mut Vec<u8>) -> usize {
    out.reserve(text.len() + text.len() / 16 + 8);
    let mut column = start_column.min(COLUMNS);
    let mut rest = text;
    while let Some(&byte) = rest.first() {
        let run = literal_run(rest);
        if run > 0 {
            column = push_run(&rest[..run], column, out);
            rest = &rest[run..];
            continue;
        }
        let after = &rest[1..];
        match byte {
            b'\r' | b'\n' => {
                out.extend_from_slice(b"\r\n");
                column = 0;
                rest = if byte == b'\r' { after.strip_prefix(b"\n").unwrap_or(after) } else { after };
            }
            // A blank may stand as it is when something visible follows on the same line.
            b' ' | b'\t' if !matches!(after.first(), None | Some(b'\r' | b'\n')) => {
                column = push_run(&rest[..1], column, out);
                rest = after;
            }
            _ => {
                if column + 3 > COLUMNS {
                    out.extend_from_slice(SOFT_BREAK);
                    column = 0;
                }
                out.extend_from_slice(&ESCAPES[usize::from(byte)]);
                column += 3;
                rest = after;
            }
        }
    }
    column
}

/// How many bytes at the front need no encoding: visible ones, and single blanks between those.
fn literal_run(text: &[u8]) -> usize {
    let mut at = 0;
    while at < text.len() {
        if LITERAL[usize::from(text[at])] {
            at += 1;
        } else if text[at] == b' ' && text.get(at + 1).is_some_and(|next| LITERAL[usize::from(*next)]) {
            at += 2;
        } else {
            break;
        }
    }
    at
}

/// Copies bytes that need no encoding, with soft breaks where the line is full.
fn push_run(mut run: &[u8], mut column: usize, out: &mut Vec<u8>) -> usize {
    loop {
        let room = COLUMNS - column;
        if run.len() <= room {
            out.extend_from_slice(run);
            return column + run.len();
        }
        let (piece, rest) = run.split_at(room);
        out.extend_from_slice(piece);
        out.extend_from_slice(SOFT_BREAK);
        column = 0;
        run = rest;
    }
}

/// Bytes that stand for themselves wherever they are: visible ASCII but `=`.
static LITERAL: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0x21;
    while byte <= 0x7e {
        table[byte] = byte != b'=' as usize;
        byte += 1;
    }
    table
};

/// `=XX` for each byte.
static ESCAPES: [[u8; 3]; 256] = {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut table = [[b'='; 3]; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = [b'=', DIGITS[byte >> 4], DIGITS[byte & 15]];
        byte += 1;
    }
    table
};

/// The bytes behind quoted-printable text; `None` for a stray `=` or bytes that may not stand in it.
///
/// Blanks at the end of a line are dropped, as RFC 2045 6.7 (3) wants.
pub fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut lines = text.split(|byte| *byte == b'\n').peekable();
    while let Some(line) = lines.next() {
        let line = line.strip_suffix(b"\r").unwrap_or(line).trim_ascii_end();
        let (line, is_soft) = match line.strip_suffix(b"=") {
            Some(line) => (line, true),
            None => (line, false),
        };
        let mut rest = line;
        while let Some((&byte, after)) = rest.split_first() {
            rest = match byte {
                b'=' => {
                    let [high, low, after @ ..] = after else { return None };
                    out.push(hex(*high)? << 4 | hex(*low)?);
                    after
                }
                b'\t' | b' '..=b'~' => {
                    out.push(byte);
                    after
                }
                _ => return None,
            };
        }
        if lines.peek().is_some() && !is_soft {
            out.extend_from_slice(b"\r\n");
        }
    }
    Some(out)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}
