//! RFC 2047 encoded words in UTF-8: at most 75 octets each, lines of at most 76, cut between characters.
//!
//! Must not know fields. The Q form uses only what is safe in a phrase (RFC 2047 5 (3)), so that one
//! encoder serves Subject and display names.

use super::ENCODED_COLUMNS;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const Q_START: &[u8] = b"=?utf-8?Q?";
const B_START: &[u8] = b"=?utf-8?B?";
const END: &[u8] = b"?=";
/// Octets around the payload.
const FRAME: usize = Q_START.len() + END.len();

/// Appends ` =?utf-8?..?=` words, folded between them, and returns the column after the last.
pub(super) fn encode(value: &str, mut column: usize, out: &mut Vec<u8>) -> usize {
    let q_length: usize = value.chars().map(q_cost).sum();
    // Filters dislike base64 around text that is mostly ASCII, so it must be clearly shorter.
    let uses_q = q_length <= value.len().div_ceil(3) * 6;
    // The cheapest payload that any single character needs.
    let least = if uses_q { 12 } else { 8 };
    let mut rest = value;
    while !rest.is_empty() {
        if column + 1 + FRAME + least > ENCODED_COLUMNS {
            out.extend_from_slice(b"\r\n");
            column = 0;
        }
        let room = ENCODED_COLUMNS - column - 1 - FRAME;
        let end = if uses_q { fit_q(rest, room) } else { fit_b(rest, room) };
        let (piece, after) = rest.split_at(end);
        out.push(b' ');
        let written = out.len();
        if uses_q {
            out.extend_from_slice(Q_START);
            push_q(piece, out);
        } else {
            out.extend_from_slice(B_START);
            push_b(piece, out);
        }
        out.extend_from_slice(END);
        column += 1 + out.len() - written;
        rest = after;
        if !rest.is_empty() {
            out.extend_from_slice(b"\r\n");
            column = 0;
        }
    }
    column
}

/// Whether a character stands for itself in the Q form of a phrase.
fn is_literal(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '!' | '*' | '+' | '-' | '/')
}

fn q_cost(c: char) -> usize {
    if is_literal(c) || c == ' ' { 1 } else { 3 * c.len_utf8() }
}

/// Octets of `text` whose Q form fits into `room`.
fn fit_q(text: &str, room: usize) -> usize {
    let mut used = 0;
    for (at, c) in text.char_indices() {
        used += q_cost(c);
        if used > room {
            return at;
        }
    }
    text.len()
}

/// Octets of `text` whose base64 form fits into `room`.
fn fit_b(text: &str, room: usize) -> usize {
    text.floor_char_boundary(room / 4 * 3)
}

fn push_q(text: &str, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte == b' ' {
            out.push(b'_');
        } else if is_literal(char::from(byte)) {
            out.push(byte);
        } else {
            out.extend_from_slice(&[b'=', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
    }
}

fn push_b(text: &str, out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + text.len().div_ceil(3) * 4, 0);
    STANDARD.encode_slice(text, &mut out[start..]).expect("the room is what base64 of this length needs");
}
