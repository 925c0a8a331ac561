//! Who a request comes from and what it may do: the value that log-in and API keys both end in.

use postrider_domain::access::Scope;
use postrider_domain::id::{AccountId, ApiKeyId, WorkspaceId};

use crate::actor::Actor;

/// The account or key behind a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// A logged-in person.
    Account(AccountId),
    /// An API key.
    Key(ApiKeyId),
}

/// What an identity may do in one workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// The scopes there.
    pub scopes: Vec<Scope>,
}

/// An authenticated identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Who it is.
    pub who: Who,
    /// What it may do, by workspace.
    pub grants: Vec<Grant>,
}

/// The answer to "may this identity do that there".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Yes.
    Allowed,
    /// It is in the workspace but lacks the scope: 403.
    NoScope,
    /// It has no part in the workspace: 404, nobody learns that the workspace exists.
    NoWorkspace,
}

impl Identity {
    /// Whether the identity may do what `scope` allows in `workspace`.
    pub fn may(&self, workspace: WorkspaceId, scope: Scope) -> Access {
        match self.grants.iter().find(|grant| grant.workspace == workspace) {
            None => Access::NoWorkspace,
            Some(grant) if grant.scopes.contains(&scope) => Access::Allowed,
            Some(_) => Access::NoScope,
        }
    }

    /// The only workspace of the identity, if it has exactly one; keys always have.
    pub fn only_workspace(&self) -> Option<WorkspaceId> {
        match self.grants.as_slice() {
            [grant] => Some(grant.workspace),
            _ => None,
        }
    }

    /// The identity as the audit names it.
    pub const fn actor(&self) -> Actor {
        match self.who {
            Who::Account(id) => Actor::Account(id),
            Who::Key(id) => Actor::Key(id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_count_in_their_own_workspace_only() {
        let identity = Identity {
            who: Who::Key(ApiKeyId(1)),
            grants: vec![Grant { workspace: WorkspaceId(1), scopes: vec![Scope::ContactsRead] }],
        };
        assert_eq!(identity.may(WorkspaceId(1), Scope::ContactsRead), Access::Allowed);
        assert_eq!(identity.may(WorkspaceId(1), Scope::ContactsWrite), Access::NoScope);
        assert_eq!(identity.may(WorkspaceId(2), Scope::ContactsRead), Access::NoWorkspace);
        assert_eq!(identity.only_workspace(), Some(WorkspaceId(1)));
    }
}
