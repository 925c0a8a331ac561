//! Contacts from a file: a streaming, resumable job.
//!
//! ```text
//! text      character set and delimiter      rows      the splitter, bounded and forgiving
//! columns   from a row to a contact          domains   which domains take mail
//! job       the thread, the slices, the end
//! ```

mod columns;
mod domains;
pub(crate) mod job;
mod rows;
mod text;
