//! Who may do what: roles of accounts and scopes of API keys. Scopes default to none (SEC-71).

crate::words! {
    /// What an API key, or a logged-in account by its role, may do.
    pub enum Scope {
        /// Submit single messages.
        Send = "send",
        /// Read contacts, lists, purposes, consents and suppressions.
        ContactsRead = "contacts:read",
        /// Change them, import.
        ContactsWrite = "contacts:write",
        /// Read campaigns, reports, deliveries and attempts.
        CampaignsRead = "campaigns:read",
        /// Write, test, schedule, start, pause and stop campaigns.
        CampaignsWrite = "campaigns:write",
        /// Download personal data in bulk.
        Export = "export",
        /// Domains, routes, accounts, keys, workspaces, audit.
        Admin = "admin",
    }
}

crate::words! {
    /// The role of an account in a workspace.
    pub enum Role {
        /// Everything.
        Administrator = "administrator",
        /// Contacts and campaigns.
        Editor = "editor",
        /// Reads.
        Viewer = "viewer",
    }
}

impl Role {
    /// The scopes that the role has.
    pub const fn scopes(self) -> &'static [Scope] {
        match self {
            Role::Administrator => Scope::ALL,
            Role::Editor => &[
                Scope::Send,
                Scope::ContactsRead,
                Scope::ContactsWrite,
                Scope::CampaignsRead,
                Scope::CampaignsWrite,
                Scope::Export,
            ],
            Role::Viewer => &[Scope::ContactsRead, Scope::CampaignsRead],
        }
    }
}

/// Reads a space- or comma-separated list of scopes.
///
/// # Errors
/// The first word that is no scope.
pub fn parse_scopes(text: &str) -> Result<Vec<Scope>, String> {
    let mut scopes = Vec::new();
    for word in text.split([' ', ',']).filter(|w| !w.is_empty()) {
        let scope = Scope::parse(word).ok_or_else(|| word.to_owned())?;
        if !scopes.contains(&scope) {
            scopes.push(scope);
        }
    }
    Ok(scopes)
}
