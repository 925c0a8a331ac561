//! Files of contacts as pure code: character set, delimiter, rows, what the columns mean, and the contact of a row.
//!
//! ```text
//! text      character set and delimiter      rows      the splitter, bounded and forgiving
//! columns   from a row to a contact          sheet     all of it at once, from the first bytes of a file
//! ```
//!
//! The importer reads with it and the API shows with it what the importer would read. Must not know DNS, SQL or where a
//! file lies.

pub mod columns;
pub mod rows;
mod sheet;
pub mod text;

pub use sheet::Sheet;
