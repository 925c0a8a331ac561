//! Set-up, log-in, sessions, keys and roles, on both databases.

use postrider_domain::access::{Role, Scope};

use crate::StoreError;
use crate::access::{Access, Who};
use crate::account::{KeysThen, LogIn, NewAccount};
use crate::actor::Actor;
use crate::api_key::NewApiKey;
use crate::book_rig::{BY, place};
use crate::page::PageRequest;
use crate::secret::Secret;
use crate::session::{NewSession, SESSION_IDLE_MS, SESSION_LIFE_MS};
use crate::setup::SetupState;
use crate::testing::open_both;
use crate::workspace::NewWorkspace;

fn account(mailbox: &str) -> NewAccount {
    NewAccount { mailbox: mailbox.into(), name: "Ann".into(), password: Secret::new("correct horse battery".into()) }
}

fn right() -> Secret {
    Secret::new("correct horse battery".into())
}

fn wrong() -> Secret {
    Secret::new("incorrect horse battery".into())
}

async fn token(store: &crate::Store, mailbox: &str, password: &Secret) -> Option<Secret> {
    match store.log_in(mailbox, password, &NewSession::default()).await.unwrap() {
        LogIn::Welcome { token, .. } => Some(token),
        LogIn::Refused => None,
    }
}

#[tokio::test]
async fn the_set_up_code_works_once_for_thirty_minutes() {
    for store in open_both("setup").await {
        assert_eq!(store.setup_state().await.unwrap(), SetupState::Open);
        let workspace = || NewWorkspace { name: "First".into(), ..NewWorkspace::default() };
        let first = store.begin_setup().await.unwrap().unwrap();
        let code = store.begin_setup().await.unwrap().unwrap();
        for bad in [first.clone(), Secret::new(String::new()), Secret::new("00000000000000000000".into())] {
            let refused = store.finish_setup(&bad, account("ann@example.org"), workspace()).await;
            assert!(matches!(refused, Err(StoreError::Refused { .. })), "{}", store.kind);
        }
        store.clock.advance(30 * 60_000);
        assert!(store.finish_setup(&code, account("ann@example.org"), workspace()).await.is_err(), "too old");
        let code = store.begin_setup().await.unwrap().unwrap();
        store.clock.advance(30 * 60_000 - 1);
        let (ann, workspace_id) = store.finish_setup(&code, account("ann@example.org"), workspace()).await.unwrap();
        assert_eq!(store.setup_state().await.unwrap(), SetupState::Done);
        assert!(store.finish_setup(&code, account("bob@example.org"), workspace()).await.is_err(), "used");
        assert!(store.begin_setup().await.unwrap().is_none(), "no new code after that");
        assert_eq!(store.workspaces().await.unwrap().len(), 1, "refused ones left nothing behind");

        let token = token(&store, "ANN@example.org", &right()).await.unwrap();
        let identity = store.authenticate_session(token.reveal()).await.unwrap().unwrap();
        assert_eq!(identity.who, Who::Account(ann));
        assert_eq!(identity.may(workspace_id, Scope::Admin), Access::Allowed);
    }
}

#[tokio::test]
async fn failed_log_ins_make_the_account_wait_and_tell_nothing() {
    for store in open_both("login").await {
        let home = place(&store, "Home").await;
        store.create_account(home.workspace, &BY, account("ann@example.org"), Role::Editor).await.unwrap();
        assert!(token(&store, "nobody@example.org", &right()).await.is_none());
        assert!(token(&store, "not a mailbox", &right()).await.is_none());
        for _ in 0..5 {
            assert!(token(&store, "ann@example.org", &wrong()).await.is_none());
        }
        assert!(token(&store, "ann@example.org", &right()).await.is_none(), "waits");
        store.clock.advance(60_001);
        assert!(token(&store, "ann@example.org", &right()).await.is_some());
        store.disable_account("ann@example.org").await.unwrap();
        assert!(token(&store, "ann@example.org", &right()).await.is_none(), "disabled");
    }
}

#[tokio::test]
async fn sessions_end_by_time_by_role_and_by_a_new_password() {
    for store in open_both("sessions").await {
        let home = place(&store, "Home").await;
        let ann = store.create_account(home.workspace, &BY, account("ann@example.org"), Role::Editor).await.unwrap();
        let alive = async |t: &Secret| store.authenticate_session(t.reveal()).await.unwrap().is_some();
        let log_in = async || token(&store, "ann@example.org", &right()).await.unwrap();

        let one = log_in().await;
        assert!(alive(&one).await);
        assert!(store.authenticate_session("something else").await.unwrap().is_none());
        store.end_session(one.reveal()).await.unwrap();
        assert!(!alive(&one).await, "logged out");

        let idle = log_in().await;
        store.clock.advance(SESSION_IDLE_MS);
        assert!(!alive(&idle).await, "not used for a day");

        let old = log_in().await;
        for _ in 0..SESSION_LIFE_MS / (SESSION_IDLE_MS / 2) {
            assert!(alive(&old).await, "in use");
            store.clock.advance(SESSION_IDLE_MS / 2);
        }
        assert!(!alive(&old).await, "fourteen days, however busy");

        let before = log_in().await;
        store.set_role(home.workspace, &BY, "ann@example.org", Role::Viewer).await.unwrap();
        assert!(!alive(&before).await, "the role changed");

        let (a, b) = (log_in().await, log_in().await);
        let new = Secret::new("another long password".into());
        assert!(store.change_password(ann, &wrong(), &new, KeysThen::Keep).await.is_err());
        assert!(alive(&a).await);
        store.change_password(ann, &right(), &new, KeysThen::Keep).await.unwrap();
        assert!(!alive(&a).await && !alive(&b).await, "a new password ends every session (SEC-35)");
        assert!(token(&store, "ann@example.org", &right()).await.is_none());
        let c = token(&store, "ann@example.org", &new).await.unwrap();
        assert!(alive(&c).await);
        assert_eq!(store.end_all_sessions().await.unwrap(), 1);
        assert!(!alive(&c).await);
    }
}

#[tokio::test]
async fn keys_have_their_scopes_their_workspace_and_their_end() {
    for store in open_both("keys").await {
        let (home, other) = (place(&store, "Home").await, place(&store, "Other").await);
        let ann =
            store.create_account(home.workspace, &BY, account("ann@example.org"), Role::Administrator).await.unwrap();
        let by = Actor::Account(ann);
        let new = |scopes: Vec<Scope>, expires_at| NewApiKey { name: "program".into(), scopes, expires_at };
        let (key, secret) =
            store.create_key(home.workspace, &by, new(vec![Scope::Send, Scope::ContactsRead], None)).await.unwrap();
        assert!(secret.reveal().starts_with(&key.prefix) && secret.reveal().starts_with("pr_"));
        let identity = store.authenticate_key(secret.reveal()).await.unwrap().unwrap();
        for scope in Scope::ALL {
            let want =
                if matches!(scope, Scope::Send | Scope::ContactsRead) { Access::Allowed } else { Access::NoScope };
            assert_eq!(identity.may(home.workspace, *scope), want, "{scope}");
            assert_eq!(identity.may(other.workspace, *scope), Access::NoWorkspace, "{scope}");
        }
        let (_, none) = store.create_key(home.workspace, &by, new(vec![], None)).await.unwrap();
        let bare = store.authenticate_key(none.reveal()).await.unwrap().unwrap();
        assert!(Scope::ALL.iter().all(|s| bare.may(home.workspace, *s) == Access::NoScope), "scopes default to none");

        for bad in ["", "pr_", "pr_\0", &secret.reveal()[..20], &format!("{}x", secret.reveal())] {
            assert!(store.authenticate_key(bad).await.unwrap().is_none(), "{bad:?}");
        }
        let (_, short) =
            store.create_key(home.workspace, &by, new(vec![Scope::Send], Some(store.now() + 1_000))).await.unwrap();
        assert!(store.authenticate_key(short.reveal()).await.unwrap().is_some());
        store.clock.advance(1_000);
        assert!(store.authenticate_key(short.reveal()).await.unwrap().is_none(), "over");

        assert!(store.revoke_key(other.workspace, &BY, key.id).await.is_err(), "not theirs");
        assert!(store.authenticate_key(secret.reveal()).await.unwrap().is_some());
        store.revoke_key(home.workspace, &by, key.id).await.unwrap();
        assert!(store.authenticate_key(secret.reveal()).await.unwrap().is_none(), "revoked");

        store.reset_password("ann@example.org", &Secret::new("a password from the console".into())).await.unwrap();
        assert!(store.authenticate_key(none.reveal()).await.unwrap().is_none(), "went with the password");
        assert!(
            store.keys(home.workspace).await.unwrap().iter().all(|k| k.revoked_at.is_some() || k.expires_at.is_some())
        );
        assert!(store.keys(other.workspace).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn accounts_are_seen_where_they_have_a_role_and_the_last_administrator_stays() {
    for store in open_both("accounts").await {
        let (home, other) = (place(&store, "Home").await, place(&store, "Other").await);
        let ann =
            store.create_account(home.workspace, &BY, account("ann@example.org"), Role::Administrator).await.unwrap();
        assert!(matches!(
            store.create_account(other.workspace, &BY, account("Ann@Example.org"), Role::Viewer).await,
            Err(StoreError::Conflict { .. })
        ));
        assert!(matches!(store.account(other.workspace, ann).await, Err(StoreError::NotFound { .. })));
        assert!(store.remove_role(home.workspace, &BY, ann).await.is_err(), "the last administrator");
        let bob =
            store.create_account(home.workspace, &BY, account("bob@example.org"), Role::Administrator).await.unwrap();
        assert!(store.remove_role(other.workspace, &BY, ann).await.is_err(), "no role there");
        store.remove_role(home.workspace, &BY, ann).await.unwrap();
        let left: Vec<_> = store.accounts(home.workspace).await.unwrap().into_iter().map(|a| a.id).collect();
        assert_eq!(left, [bob]);
    }
}

#[tokio::test]
async fn the_audit_says_who_and_what_and_never_a_mailbox() {
    for store in open_both("audit").await {
        let home = place(&store, "Home").await;
        store.create_account(home.workspace, &BY, account("ann@example.org"), Role::Administrator).await.unwrap();
        let contact = crate::book_rig::contact(&store, home, "carl@example.net").await;
        let mut lines = Vec::new();
        let mut page = PageRequest::first(3);
        loop {
            let got = store.audit(home.workspace, &page).await.unwrap();
            lines.extend(got.items);
            if got.next.is_none() {
                break;
            }
            page = page.after(got.next);
        }
        assert!(lines.windows(2).all(|w| w[0].id > w[1].id), "newest first, none twice");
        let acts: Vec<&str> = lines.iter().map(|l| l.action.as_str()).collect();
        for act in ["workspace.create", "list.create", "account.create", "contact.create"] {
            assert!(acts.contains(&act), "{act} in {acts:?}");
        }
        assert!(lines.iter().any(|l| l.object == contact.to_string()));
        let text = serde_json::to_string(&lines).unwrap();
        assert!(!text.contains('@'), "{text}");
    }
}
