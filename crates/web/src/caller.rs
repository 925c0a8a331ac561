//! Who sends a request and in which workspace it acts: API key, session, or the local command line.
//!
//! Must not know: routes. The rule of a route is given; the answer is a `Caller` or a problem.

use axum::extract::{FromRequestParts, MatchedPath};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use postrider_domain::access::Scope;
use postrider_domain::id::{AccountId, WorkspaceId};
use postrider_store::access::{Access, Identity, Who};
use postrider_store::actor::Actor;

use crate::Web;
use crate::client::{Client, Origin, check_origin, cookie, is_unsafe};
use crate::problem::Problem;
use crate::rule::Rule;

/// The cookie of a session. `__Host-` binds it to this host, to TLS and to the path `/`.
pub const COOKIE: &str = "__Host-postrider";
/// The header that names the workspace for callers that belong to several.
pub const WORKSPACE_HEADER: &str = "postrider-workspace";

/// Put into the extensions of a request by the program itself when it came over its unix socket or from inside the
/// process: full rights, no key needed. Nothing that arrives over the network can carry it.
#[derive(Debug, Clone, Copy)]
pub struct LocalAdmin;

/// Somebody whom we know, before a workspace is chosen.
#[derive(Debug, Clone)]
pub enum Known {
    /// The command line on this machine.
    Local,
    /// A key or a logged-in account.
    Identity(Identity),
}

impl Known {
    /// The actor as the audit names it.
    pub fn actor(&self) -> Actor {
        match self {
            Known::Local => Actor::Console,
            Known::Identity(identity) => identity.actor(),
        }
    }

    /// The logged-in account; `None` for keys and the command line.
    pub fn account(&self) -> Option<AccountId> {
        match self {
            Known::Local => None,
            Known::Identity(identity) => match identity.who {
                Who::Account(id) => Some(id),
                Who::Key(_) => None,
            },
        }
    }

    /// Whether it is an API key.
    pub fn is_key(&self) -> bool {
        match self {
            Known::Local => false,
            Known::Identity(identity) => match identity.who {
                Who::Account(_) => false,
                Who::Key(_) => true,
            },
        }
    }

    /// The workspaces that it may see; `None` means all.
    pub fn workspaces(&self) -> Option<Vec<WorkspaceId>> {
        match self {
            Known::Local => None,
            Known::Identity(identity) => Some(identity.grants.iter().map(|g| g.workspace).collect()),
        }
    }

    /// Whether it may do what `scope` allows in `workspace`.
    pub fn may(&self, workspace: WorkspaceId, scope: Scope) -> Access {
        match self {
            Known::Local => Access::Allowed,
            Known::Identity(identity) => identity.may(workspace, scope),
        }
    }
}

/// The caller of a route that works in one workspace.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The workspace in which the request acts.
    pub workspace: WorkspaceId,
    /// Who acts, for the audit and the ledger.
    pub actor: Actor,
    /// Who it is in full.
    pub known: Known,
    /// Where the request came from.
    pub client: Client,
}

/// The caller of a route that needs no workspace.
#[derive(Debug, Clone)]
pub struct Person {
    /// Who it is.
    pub known: Known,
    /// Where the request came from.
    pub client: Client,
}

impl Web {
    /// Finds out who sends a request. `None` when nothing in it says so; a key or cookie that is not valid is a problem.
    ///
    /// # Errors
    /// 401 for a key or session that is not valid (any more), 403 for a session used from another site.
    pub(crate) async fn identify(&self, parts: &Parts) -> Result<Option<Known>, Problem> {
        if parts.extensions.get::<LocalAdmin>().is_some() {
            return Ok(Some(Known::Local));
        }
        if let Some(key) = parts.headers.get(header::AUTHORIZATION) {
            let key = key.to_str().ok().and_then(bearer).ok_or_else(Problem::unauthenticated)?;
            let identity = self.store().authenticate_key(key).await?.ok_or_else(Problem::unauthenticated)?;
            return Ok(Some(Known::Identity(identity)));
        }
        if let Some(token) = cookie(&parts.headers, COOKIE) {
            if is_unsafe(&parts.method) {
                check_origin(&parts.headers, Origin::Proven)?;
            }
            let identity = self.store().authenticate_session(token).await?.ok_or_else(Problem::unauthenticated)?;
            return Ok(Some(Known::Identity(identity)));
        }
        Ok(None)
    }

    /// Applies the rule of a route; what the handler needs to know goes into the request's extensions.
    ///
    /// # Errors
    /// 401, 403, or 404 for a workspace that the caller has no part in.
    pub(crate) async fn admit(&self, rule: Rule, parts: &mut Parts, client: Client) -> Result<(), Problem> {
        match rule {
            Rule::Public => return Ok(()),
            Rule::Setup => {
                return if self.is_set_up().await? {
                    Err(Problem::conflict("Postrider is set up already: log in at POST /api/v1/session"))
                } else {
                    Ok(())
                };
            }
            Rule::Scope(_) | Rule::AnyKey | Rule::Session | Rule::LocalOnly | Rule::Installation => {}
        }
        let known = self.identify(parts).await?.ok_or_else(Problem::unauthenticated)?;
        match rule {
            Rule::Session if known.is_key() => {
                return Err(Problem::forbidden("this needs a person who is logged in; an API key may not do it"));
            }
            Rule::LocalOnly if !matches!(known, Known::Local) => {
                return Err(Problem::forbidden("only the command line on the server itself may do this"));
            }
            Rule::Installation if !self.runs_installation(&known).await? => {
                return Err(Problem::forbidden(
                    "this concerns the whole installation: only the command line on the server, or an administrator of \
                     all workspaces, may do it",
                ));
            }
            Rule::Scope(scope) => {
                let workspace = self.choose_workspace(&known, parts).await?;
                match known.may(workspace, scope) {
                    Access::Allowed => {}
                    Access::NoScope => {
                        return Err(Problem::new(
                            StatusCode::FORBIDDEN,
                            "missing_scope",
                            format!("this needs the scope `{scope}`: use a key or a role that has it"),
                        ));
                    }
                    Access::NoWorkspace => return Err(Problem::not_found("workspace")),
                }
                parts.extensions.insert(Caller {
                    workspace,
                    actor: known.actor(),
                    known: known.clone(),
                    client: client.clone(),
                });
            }
            Rule::AnyKey | Rule::Session | Rule::LocalOnly | Rule::Installation | Rule::Public | Rule::Setup => {}
        }
        parts.extensions.insert(Person { known, client });
        Ok(())
    }

    /// Whether somebody administers every workspace there is.
    ///
    /// # Errors
    /// The database fails.
    pub(crate) async fn runs_installation(&self, known: &Known) -> Result<bool, Problem> {
        match known {
            Known::Local => Ok(true),
            Known::Identity(identity) => {
                let all = self.store().workspaces().await?;
                Ok(!all.is_empty() && all.iter().all(|w| identity.may(w.id, Scope::Admin) == Access::Allowed))
            }
        }
    }

    /// The workspace that the path names, or the header, or the query of the event stream, or the only one of the caller.
    async fn choose_workspace(&self, known: &Known, parts: &Parts) -> Result<WorkspaceId, Problem> {
        let in_path = parts
            .extensions
            .get::<MatchedPath>()
            .is_some_and(|path| path.as_str().starts_with("/api/v1/workspaces/{workspace}"))
            .then(|| parts.uri.path().split('/').nth(4).unwrap_or_default());
        let in_header = || parts.headers.get(WORKSPACE_HEADER).map(|named| named.to_str().unwrap_or_default());
        // A browser's event stream cannot send a header.
        let in_query = || {
            let query = (parts.uri.path() == "/api/v1/live").then(|| parts.uri.query().unwrap_or_default())?;
            query.split('&').find_map(|pair| pair.strip_prefix("workspace=")).filter(|named| !named.is_empty())
        };
        if let Some(named) = in_path.or_else(in_header).or_else(in_query) {
            let id: WorkspaceId = named.parse().map_err(|_| Problem::not_found("workspace"))?;
            return match known {
                Known::Local => Ok(self.store().workspace(id).await?.id),
                Known::Identity(identity) => identity
                    .grants
                    .iter()
                    .find(|g| g.workspace == id)
                    .map(|g| g.workspace)
                    .ok_or_else(|| Problem::not_found("workspace")),
            };
        }
        let only = match known {
            Known::Local => match self.store().workspaces().await?.as_slice() {
                [one] => Some(one.id),
                [] => {
                    let detail = "there is no workspace yet: make one with POST /api/v1/workspaces or `postrider workspace create`";
                    return Err(Problem::new(StatusCode::CONFLICT, "no_workspace", detail));
                }
                [_, _, ..] => None,
            },
            Known::Identity(identity) => identity.only_workspace(),
        };
        only.ok_or_else(|| {
            Problem::new(
                StatusCode::BAD_REQUEST,
                "no_workspace",
                "say in which workspace: send the header `Postrider-Workspace: wsp_…`, or use --workspace (GET /api/v1/workspaces lists them)",
            )
        })
    }
}

/// The key of `Bearer pr_…`; the scheme in any letter case (RFC 9110 11.1).
fn bearer(value: &str) -> Option<&str> {
    let (scheme, key) = value.split_once(' ')?;
    let key = key.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !key.is_empty()).then_some(key)
}

impl FromRequestParts<Web> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Web) -> Result<Caller, Problem> {
        parts.extensions.get::<Caller>().cloned().ok_or_else(Problem::unauthenticated)
    }
}

impl FromRequestParts<Web> for Person {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Web) -> Result<Person, Problem> {
        parts.extensions.get::<Person>().cloned().ok_or_else(Problem::unauthenticated)
    }
}

impl FromRequestParts<Web> for Client {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &Web) -> Result<Client, std::convert::Infallible> {
        Ok(parts.extensions.get::<Client>().cloned().unwrap_or_default())
    }
}
