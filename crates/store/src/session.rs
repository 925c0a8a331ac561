//! Sessions of logged-in people: 256 random bits in a cookie, their SHA-256 in the table (SEC-35, SEC-73).

use postrider_domain::access::Role;
use postrider_domain::id::{AccountId, WorkspaceId};
use serde::Serialize;
use serde_json::json;

use crate::Store;
use crate::access::{Grant, Identity, Who};
use crate::actor::Actor;
use crate::db::{Lane, Tx};
use crate::error::Result;
use crate::read::word;
use crate::secret::{Secret, random_token, sha256};
use crate::sql::{args, sql};

/// Longest life of a session in milliseconds, used or not.
pub const SESSION_LIFE_MS: i64 = 14 * 86_400_000;
/// A session that was not used for so long is over, in milliseconds.
pub const SESSION_IDLE_MS: i64 = 24 * 3_600_000;
/// `last_used_at` is written at most this often, in milliseconds: reading must not become writing.
const TOUCH_MS: i64 = 60_000;

/// Where a log-in came from.
#[derive(Debug, Clone, Default)]
pub struct NewSession {
    /// User agent, cut to 200 characters.
    pub agent: Option<String>,
    /// IP address.
    pub ip: Option<String>,
}

/// A session as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Session {
    /// Its name for its owner: 24 letters that open nothing.
    pub id: String,
    /// When it began, i64 milliseconds UTC.
    pub created_at: i64,
    /// When it ends at the latest, i64 milliseconds UTC.
    pub expires_at: i64,
    /// When it was used last, i64 milliseconds UTC, to the minute.
    pub last_used_at: i64,
    /// User agent at log-in.
    pub agent: Option<String>,
    /// IP address at log-in.
    pub ip: Option<String>,
}

/// The name of a session: a hash of the stored hash, so that neither the token nor its hash is shown.
fn session_name(hash: &[u8]) -> String {
    crate::message::hex(&sha256(&[b"session name ".as_slice(), hash].concat())[..12])
}

/// The name of the session that a token belongs to.
pub fn session_of_token(token: &str) -> String {
    session_name(&sha256(token.as_bytes()))
}

impl Store {
    /// Ends one session of an account.
    ///
    /// # Errors
    /// The account has no such open session.
    pub async fn end_session_named(&self, by: &Actor, account: AccountId, name: &str) -> Result<()> {
        let mut tx = self.begin(Lane::Web).await?;
        let rows = tx.all(sql!("SELECT hash FROM session WHERE account_id = $1"), args![account]).await?;
        for row in &rows {
            let hash = row.bytes("hash")?;
            if session_name(&hash) == name {
                tx.execute(sql!("DELETE FROM session WHERE hash = $1"), args![hash]).await?;
                self.note(&mut tx, None, by, "account.session_end", &account.to_string(), json!({})).await?;
                return tx.commit().await;
            }
        }
        Err(crate::read::not_found("session"))
    }

    pub(crate) async fn start_session(&self, tx: &mut Tx, account: AccountId, from: &NewSession) -> Result<Secret> {
        let token = Secret::new(random_token()?);
        let now = self.now();
        tx.execute(sql!("DELETE FROM session WHERE account_id = $1 AND expires_at <= $2"), args![account, now]).await?;
        let agent =
            from.agent.as_ref().map(|agent| agent.chars().filter(|c| !c.is_control()).take(200).collect::<String>());
        tx.execute(
            sql!(
                "INSERT INTO session (hash, account_id, created_at, expires_at, last_used_at, agent, ip) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7)"
            ),
            args![
                sha256(token.reveal().as_bytes()).to_vec(),
                account,
                now,
                now + SESSION_LIFE_MS,
                now,
                agent,
                from.ip.clone()
            ],
        )
        .await?;
        Ok(token)
    }

    /// Who a session token belongs to; `None` when it is unknown, ended, too old or its account disabled.
    ///
    /// # Errors
    /// The database fails.
    pub async fn authenticate_session(&self, token: &str) -> Result<Option<Identity>> {
        let hash = sha256(token.as_bytes()).to_vec();
        let now = self.now();
        let mut reader = self.read().await?;
        let Some(row) = reader
            .opt(
                sql!(
                    "SELECT s.account_id, s.last_used_at FROM session s JOIN account a ON a.id = s.account_id \
                     WHERE s.hash = $1 AND s.expires_at > $2 AND s.last_used_at > $3 AND a.disabled_at IS NULL"
                ),
                args![hash.clone(), now, now - SESSION_IDLE_MS],
            )
            .await?
        else {
            return Ok(None);
        };
        let account = AccountId(row.int("account_id")?);
        let mut grants = Vec::new();
        for role in reader
            .all(
                sql!("SELECT workspace_id, role FROM role WHERE account_id = $1 ORDER BY workspace_id"),
                args![account],
            )
            .await?
        {
            grants.push(Grant {
                workspace: WorkspaceId(role.int("workspace_id")?),
                scopes: word(&role, "role", Role::parse)?.scopes().to_vec(),
            });
        }
        drop(reader);
        if now - row.int("last_used_at")? > TOUCH_MS {
            let mut tx = self.begin(Lane::Web).await?;
            tx.execute(sql!("UPDATE session SET last_used_at = $2 WHERE hash = $1"), args![hash, now]).await?;
            tx.commit().await?;
        }
        Ok(Some(Identity { who: Who::Account(account), grants }))
    }

    /// The open sessions of an account, newest first.
    ///
    /// # Errors
    /// The database fails.
    pub async fn sessions(&self, account: AccountId) -> Result<Vec<Session>> {
        let now = self.now();
        let rows = self
            .read()
            .await?
            .all(
                sql!(
                    "SELECT hash, created_at, expires_at, last_used_at, agent, ip FROM session \
                     WHERE account_id = $1 AND expires_at > $2 AND last_used_at > $3 ORDER BY created_at DESC LIMIT 500"
                ),
                args![account, now, now - SESSION_IDLE_MS],
            )
            .await?;
        rows.iter()
            .map(|row| {
                Ok(Session {
                    id: session_name(&row.bytes("hash")?),
                    created_at: row.int("created_at")?,
                    expires_at: row.int("expires_at")?,
                    last_used_at: row.int("last_used_at")?,
                    agent: row.text_opt("agent")?,
                    ip: row.text_opt("ip")?,
                })
            })
            .collect()
    }

    /// Logs one session out; an unknown token changes nothing.
    ///
    /// # Errors
    /// The database fails.
    pub async fn end_session(&self, token: &str) -> Result<()> {
        let mut tx = self.begin(Lane::Web).await?;
        tx.execute(sql!("DELETE FROM session WHERE hash = $1"), args![sha256(token.as_bytes()).to_vec()]).await?;
        tx.commit().await
    }

    /// Logs an account out everywhere; the number of sessions that ended.
    ///
    /// # Errors
    /// The database fails.
    pub async fn end_sessions(&self, by: &Actor, account: AccountId) -> Result<u64> {
        let mut tx = self.begin(Lane::Web).await?;
        let ended = self.end_sessions_in(&mut tx, account).await?;
        self.note(&mut tx, None, by, "session.end_all", &account.to_string(), json!({ "sessions": ended })).await?;
        tx.commit().await?;
        Ok(ended)
    }

    /// Logs everybody out (`postrider sessions revoke`); the number of sessions that ended.
    ///
    /// # Errors
    /// The database fails.
    pub async fn end_all_sessions(&self) -> Result<u64> {
        let mut tx = self.begin(Lane::Web).await?;
        let ended = tx.execute(sql!("DELETE FROM session"), args![]).await?;
        self.note(&mut tx, None, &Actor::Console, "session.end_all", "", json!({ "sessions": ended })).await?;
        tx.commit().await?;
        Ok(ended)
    }

    pub(crate) async fn end_sessions_in(&self, tx: &mut Tx, account: AccountId) -> Result<u64> {
        tx.execute(sql!("DELETE FROM session WHERE account_id = $1"), args![account]).await
    }
}
