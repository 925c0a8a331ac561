//! Import of contacts: what a row may hold, why it is refused, and when its contacts may be mailed.

use crate::consent::LegalBasis;
use crate::id::{ListId, PurposeId, WordingId};

crate::words! {
    /// Why a row of an import was refused; each word has one sentence in [`RefusedReason::sentence`].
    pub enum RefusedReason {
        /// The mailbox column is empty.
        NoMailbox = "no_mailbox",
        /// The mailbox cannot be parsed.
        BadMailbox = "bad_mailbox",
        /// The domain has no mail server.
        NoMailServer = "no_mail_server",
        /// The domain says it takes no mail.
        NullMx = "null_mx",
        /// Another number of cells than the heading has.
        CellCount = "cell_count",
        /// A cell is too long or has control characters.
        BadCell = "bad_cell",
        /// The bytes do not fit the character set of the file.
        BadEncoding = "bad_encoding",
        /// The same mailbox came earlier in the file.
        DuplicateInFile = "duplicate_in_file",
        /// The row is larger than a row may be.
        RowTooLarge = "row_too_large",
    }
}

impl RefusedReason {
    /// What a person reads beside the refused row.
    pub const fn sentence(self) -> &'static str {
        match self {
            RefusedReason::NoMailbox => "the row has no mailbox",
            RefusedReason::BadMailbox => "the mailbox is not valid",
            RefusedReason::NoMailServer => "domain has no mail server",
            RefusedReason::NullMx => "the domain says that it takes no mail",
            RefusedReason::CellCount => "the row has another number of cells than the heading",
            RefusedReason::BadCell => "a cell is too long or has a control character",
            RefusedReason::BadEncoding => "the row does not fit the character set of the file",
            RefusedReason::DuplicateInFile => "the same mailbox came earlier in the file",
            RefusedReason::RowTooLarge => "the row is larger than 1 MiB",
        }
    }
}

crate::words! {
    /// Where an import stands.
    pub enum ImportState {
        /// The file is there; nothing read yet.
        Waiting = "waiting",
        /// Being read.
        Running = "running",
        /// Every row is accounted for.
        Done = "done",
        /// Stopped by a person; what was read stays.
        Stopped = "stopped",
        /// Cannot go on; the reason is stored.
        Failed = "failed",
    }
}

/// The consent that an import claims for its rows; without all of it contacts are stored but not mailable.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ImportConsent {
    /// Where the contacts come from, in words.
    pub source: String,
    /// The legal basis.
    pub basis: Option<LegalBasis>,
    /// When they agreed, i64 milliseconds UTC.
    pub given_at: Option<i64>,
    /// The purpose.
    pub purpose: Option<PurposeId>,
    /// The wording they agreed to.
    pub wording: Option<WordingId>,
}

impl ImportConsent {
    /// Whether source, basis, date, purpose and wording are all named (LAW-24).
    pub fn is_complete(&self) -> bool {
        !self.source.trim().is_empty()
            && self.basis.is_some()
            && self.given_at.is_some()
            && self.purpose.is_some()
            && self.wording.is_some()
    }

    /// What is missing, in words.
    pub fn missing(&self) -> Vec<&'static str> {
        let mut missing = Vec::new();
        if self.source.trim().is_empty() {
            missing.push("source");
        }
        if self.basis.is_none() {
            missing.push("basis");
        }
        if self.given_at.is_none() {
            missing.push("given_at");
        }
        if self.purpose.is_none() {
            missing.push("purpose");
        }
        if self.wording.is_none() {
            missing.push("wording");
        }
        missing
    }
}

/// How the columns of a file are read.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mapping {
    /// Heading (or 1-based number) of the mailbox column; empty: guessed.
    pub mailbox: String,
    /// Heading of the zone column; empty: none.
    pub zone: String,
    /// Heading of the language column; empty: none.
    pub language: String,
    /// Heading → attribute name; headings not named become attributes of their own name.
    pub attributes: std::collections::BTreeMap<String, String>,
    /// Headings that are left out.
    pub ignore: Vec<String>,
    /// `,` `;` tab or `|`; empty: detected.
    pub delimiter: String,
    /// Character set label; empty: detected.
    pub charset: String,
    /// Lists that the contacts join.
    pub lists: Vec<ListId>,
}

/// The counts of an import; their sum is the number of rows read.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct ImportCounts {
    /// New contacts.
    pub created: i64,
    /// Contacts with changed fields.
    pub updated: i64,
    /// Contacts that were already so.
    pub unchanged: i64,
    /// Refused rows by reason.
    pub refused: std::collections::BTreeMap<String, i64>,
}

impl ImportCounts {
    /// Rows accounted for.
    pub fn rows(&self) -> i64 {
        self.created + self.updated + self.unchanged + self.refused.values().sum::<i64>()
    }
}
