//! What the content crate promises, seen from outside: whole drafts in, whole messages out.

// Helpers fail by panicking, like the tests that use them.
#![allow(clippy::unwrap_used)]

mod blocks;
mod bombs;
mod escaping;
mod findings;
mod footer;
mod golden;
mod helpers;
mod injection;
mod message;
mod mjml;
mod random_blocks;
mod single;
mod templates;
mod texts;
