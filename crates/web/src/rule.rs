//! Who may call a route. A route cannot be added without one of these, and each is written into the OpenAPI file.
//!
//! Must not know: how a caller proves who they are (that is `caller`).

use postrider_domain::access::Scope;
use serde_json::{Value, json};

/// The access rule of one route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// A key, a session or the local administrator that has this scope in the workspace.
    Scope(Scope),
    /// Any valid key, session or the local administrator; the route works in no particular workspace.
    AnyKey,
    /// A logged-in account (or the local administrator); API keys are refused.
    Session,
    /// Everybody.
    Public,
    /// Everybody, but only until set-up is done.
    Setup,
    /// Only the command line on the same machine (unix socket or in-process).
    LocalOnly,
    /// Who runs the installation: the local administrator, or whoever has the scope `admin` in each of its workspaces.
    Installation,
}

impl Rule {
    /// The word of `x-postrider-scope`.
    pub const fn word(self) -> &'static str {
        match self {
            Rule::Scope(scope) => scope.as_str(),
            Rule::AnyKey => "any",
            Rule::Session => "session",
            Rule::Public => "public",
            Rule::Setup => "setup",
            Rule::LocalOnly => "local",
            Rule::Installation => "installation",
        }
    }

    /// The OpenAPI `security` of the operation: alternatives, an empty list means none needed.
    pub fn security(self) -> Value {
        match self {
            Rule::Scope(scope) => {
                json!([{ "key": [scope.as_str()] }, { "session": [scope.as_str()] }, { "local": [] }])
            }
            Rule::AnyKey => json!([{ "key": [] }, { "session": [] }, { "local": [] }]),
            Rule::Installation => {
                let admin = Scope::Admin.as_str();
                json!([{ "key": [admin] }, { "session": [admin] }, { "local": [] }])
            }
            Rule::Session => json!([{ "session": [] }, { "local": [] }]),
            Rule::Public | Rule::Setup => json!([]),
            Rule::LocalOnly => json!([{ "local": [] }]),
        }
    }
}
