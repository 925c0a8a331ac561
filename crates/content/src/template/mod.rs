//! The template language: a checked part of Jinja (minijinja's grammar) with `if`, `for`, `set` and a list of filters.
//!
//! Must not know HTML or mail. What passes here can neither name anything but the contact's values and our
//! built-ins nor cost more than [`crate::limits`] allow.

mod expression;
mod operator;
mod scan;
mod tag;

pub use expression::{BUILTINS, CONSTANTS, Checked, Simple, TextOp};
pub use tag::{Names, Parsed, Tag, TagKind, check_names, check_structure, parse};

/// What is wrong with a template, and where (byte offset in its source).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Fixed word for programs.
    pub code: &'static str,
    /// What is wrong and what to do.
    pub message: String,
    /// Byte offset in the source.
    pub offset: usize,
}

impl Fault {
    /// A fault at an offset.
    pub fn new(code: &'static str, offset: usize, message: impl Into<String>) -> Fault {
        Fault { code, message: message.into(), offset }
    }
}

/// Line and column (1-based, columns in characters) of a byte offset.
pub fn position(source: &str, offset: usize) -> (u32, u32) {
    let mut at = offset.min(source.len());
    while !source.is_char_boundary(at) {
        at -= 1;
    }
    let before = &source[..at];
    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (u32::try_from(line).unwrap_or(u32::MAX), u32::try_from(column).unwrap_or(u32::MAX))
}
