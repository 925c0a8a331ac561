//! Contacts from a file: a streaming, resumable job.

pub mod columns;
pub mod rows;
pub mod text;
