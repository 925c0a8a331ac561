//! Consent: purposes, their states and what counts as permission (GDPR 4(11), 6, 7; LAW-20…28).

crate::words! {
    /// What a purpose is for.
    pub enum PurposeKind {
        /// A newsletter.
        Newsletter = "newsletter",
        /// Any other commercial communication.
        Commercial = "commercial",
        /// Counting this person's opens and clicks; never bundled with another purpose (LAW-12).
        Tracking = "tracking",
    }
}

crate::words! {
    /// Where the consent of one contact for one purpose stands.
    pub enum ConsentState {
        /// Asked, not answered.
        Requested = "requested",
        /// Given, with evidence.
        Granted = "granted",
        /// Asked and refused.
        Refused = "refused",
        /// Taken back by an opt-out.
        Withdrawn = "withdrawn",
    }
}

crate::words! {
    /// The legal basis named with an entry of the evidence ledger (LAW-20).
    pub enum LegalBasis {
        /// GDPR 6(1)(a).
        Consent = "consent",
        /// ePrivacy 13(2): own similar goods, address from a sale.
        SoftOptIn = "soft_opt_in",
        /// GDPR 6(1)(b).
        Contract = "contract",
        /// GDPR 6(1)(c).
        LegalObligation = "legal_obligation",
        /// GDPR 6(1)(f), with a note.
        LegitimateInterest = "legitimate_interest",
    }
}

crate::words! {
    /// Who or what wrote an entry of the ledger.
    pub enum ConsentActor {
        /// The person: a form, a link, a reply.
        Person = "person",
        /// An import with named source and basis.
        Import = "import",
        /// An API key.
        ApiKey = "api_key",
        /// A logged-in operator.
        Operator = "operator",
    }
}

crate::words! {
    /// What an entry of the ledger records.
    pub enum LedgerKind {
        /// Consent was asked for.
        Requested = "requested",
        /// Consent was given.
        Granted = "granted",
        /// Consent was refused.
        Refused = "refused",
        /// Consent was taken back.
        Withdrawn = "withdrawn",
        /// Payloads of earlier entries were erased; names their sequence numbers.
        Erased = "erased",
    }
}

impl LedgerKind {
    /// The state that the entry leaves behind; `None` for entries that change no state.
    pub const fn state(self) -> Option<ConsentState> {
        match self {
            LedgerKind::Requested => Some(ConsentState::Requested),
            LedgerKind::Granted => Some(ConsentState::Granted),
            LedgerKind::Refused => Some(ConsentState::Refused),
            LedgerKind::Withdrawn => Some(ConsentState::Withdrawn),
            LedgerKind::Erased => None,
        }
    }
}

/// Whether an import may turn a present state into `Granted`.
///
/// A person's refusal or withdrawal is never overturned by a file: only the person can do that.
pub const fn import_may_grant(present: Option<ConsentState>) -> bool {
    match present {
        None | Some(ConsentState::Requested) => true,
        Some(ConsentState::Granted | ConsentState::Refused | ConsentState::Withdrawn) => false,
    }
}

/// The evidence that lies beside an entry of the ledger (LAW-20); goes at erasure.
#[derive(Debug, Clone, PartialEq, Default, serde::Serialize, serde::Deserialize)]
pub struct Evidence {
    /// Where it came from, in the operator's words ("stand at the fair of Turin").
    pub source: String,
    /// The legal basis.
    pub basis: Option<LegalBasis>,
    /// When the person agreed or objected, i64 milliseconds UTC; may lie before the entry.
    pub given_at: Option<i64>,
    /// The wording's id, as text, and the SHA-256 of its full text in hex.
    pub wording: Option<(String, String)>,
    /// Form or page address.
    pub page: Option<String>,
    /// IP address and user agent of the act, when the law lets us keep them.
    pub ip: Option<String>,
    /// User agent.
    pub agent: Option<String>,
    /// How: `import`, `one_click`, `page`, `api`, `mailto`.
    pub method: String,
    /// The delivery that carried the link, as text.
    pub delivery: Option<String>,
    /// Free note.
    pub note: Option<String>,
}
