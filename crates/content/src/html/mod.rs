//! HTML: where each tag of the template stands, style inlining, findings, links, and the text derived from it.
//!
//! Must not know mail. Template tags are replaced by opaque marks before any HTML library sees the text.

pub mod body;
pub mod inline;
pub mod inspect;
pub mod markdown;
pub mod marks;
pub mod mjml;
pub mod scanner;
pub mod text;
