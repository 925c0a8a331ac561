//! The two classes of mail and what each does by default.

crate::words! {
    /// A class of mail with its own rules (DESIGN section 2).
    pub enum Stream {
        /// Answers to what one person did: receipts, log-in codes. Opt-outs do not bind.
        Transactional = "transactional",
        /// Everything sent to many: needs consent, opt-out and list headers.
        Marketing = "marketing",
    }
}

crate::words! {
    /// What happens to deliveries whose final dot may have gone when we died (DESIGN section 4).
    pub enum InDoubtPolicy {
        /// Send the same bytes again: at worst one recognisable duplicate.
        Resend = "resend",
        /// Take the message for accepted: at worst one recipient misses it.
        Assume = "assume",
        /// Wait for a person.
        Hold = "hold",
    }
}

crate::words! {
    /// What the sender of a single message wants of TLS on its way (RFC 8689).
    pub enum TlsWish {
        /// REQUIRETLS: every host on the way proves itself and promises the same, or the message comes back.
        Require = "require",
        /// `TLS-Required: No`: better in clear than not at all, whatever the recipient's domain asks for.
        Optional = "optional",
    }
}

crate::words! {
    /// How opens and clicks are counted (LAW-10).
    pub enum TrackingMode {
        /// Not at all.
        None = "none",
        /// Shared addresses and counters, nothing about a person.
        Aggregate = "aggregate",
        /// Per recipient, only with that contact's tracking consent.
        Individual = "individual",
    }
}
