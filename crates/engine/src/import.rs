//! Contacts from a file: a streaming, resumable job.
//!
//! ```text
//! domains   which domains take mail
//! job       the thread, the slices, the end
//! ```
//!
//! How a file is read is in `postrider-sheet`.

mod domains;
pub(crate) mod job;
