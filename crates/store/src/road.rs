//! The roads by which an opt-out reaches us, as the ledger names them.
//!
//! Must not know SQL.

postrider_domain::words! {
    /// The road of an opt-out.
    pub enum OptOutRoad {
        /// The mail program's button (RFC 8058).
        OneClick = "one_click",
        /// The page behind the link.
        Page = "page",
        /// A mail to the unsubscribe address.
        Mailto = "mailto",
        /// The API, for people who asked somewhere else.
        Api = "api",
    }
}
