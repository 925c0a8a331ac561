//! Accounts: people who may log in, their roles in workspaces, and log-in itself (SEC-81).
//!
//! Must not tell anybody which mailboxes have an account: a refused log-in looks the same and takes the same time.

use postrider_domain::access::Role;
use postrider_domain::id::{AccountId, WorkspaceId};
use postrider_mail::mailbox::Mailbox;
use serde::Serialize;
use serde_json::json;

use crate::Store;
use crate::actor::Actor;
use crate::db::{Lane, Tx};
use crate::error::{Result, StoreError};
use crate::password;
use crate::read::{check_text, conflict, not_found, refused, word};
use crate::secret::Secret;
use crate::session::NewSession;
use crate::sql::{Row, args, sql};

/// Failed log-ins in a row before the account waits.
const FREE_FAILURES: i64 = 5;
/// The first wait in milliseconds; doubles with each failure.
const FIRST_WAIT_MS: i64 = 60_000;
/// The longest wait in milliseconds.
const LONGEST_WAIT_MS: i64 = 3_600_000;

/// A person who may log in, as a workspace sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Account {
    /// Its id.
    pub id: AccountId,
    /// The mailbox, as written.
    pub mailbox: String,
    /// The name; may be empty.
    pub name: String,
    /// The role in the workspace that asks.
    pub role: Role,
    /// When it was made, i64 milliseconds UTC.
    pub created_at: i64,
    /// When it was disabled, i64 milliseconds UTC.
    pub disabled_at: Option<i64>,
}

/// An account to be made.
#[derive(Debug, Clone)]
pub struct NewAccount {
    /// The mailbox that the person logs in with.
    pub mailbox: String,
    /// The name; may be empty.
    pub name: String,
    /// The password, 12 characters or more.
    pub password: Secret,
}

/// What becomes of the API keys that a person made when the password changes (SEC-35).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeysThen {
    /// They are revoked: the old password may have been known to others.
    Revoke,
    /// They stay, because programs depend on them.
    Keep,
}

/// The answer to a log-in.
#[derive(Debug, Clone)]
pub enum LogIn {
    /// Welcome; the token goes into a cookie and nowhere else.
    Welcome {
        /// Who it is.
        account: AccountId,
        /// The session's token.
        token: Secret,
    },
    /// Mailbox and password do not fit, the account is disabled, or there were too many failures; nobody learns which.
    Refused,
}

impl Account {
    fn read(row: &Row) -> Result<Account> {
        Ok(Account {
            id: AccountId(row.int("id")?),
            mailbox: row.text("mailbox")?,
            name: row.text("name")?,
            role: word(row, "role", Role::parse)?,
            created_at: row.int("created_at")?,
            disabled_at: row.int_opt("disabled_at")?,
        })
    }
}

/// Reads the mailbox of an account.
fn parse_mailbox(text: &str) -> Result<Mailbox> {
    Mailbox::parse(text.trim()).map_err(|error| refused(error.to_string()))
}

impl Store {
    /// Makes an account with a role in `workspace`. The first account of an installation ends the set-up.
    ///
    /// # Errors
    /// The mailbox has an account already (use [`Store::set_role`]), or a field is refused.
    pub async fn create_account(
        &self,
        workspace: WorkspaceId,
        by: &Actor,
        new: NewAccount,
        role: Role,
    ) -> Result<AccountId> {
        let hash = password::hash(&new.password).await?;
        let mut tx = self.begin(Lane::Web).await?;
        let account = self.insert_account(&mut tx, by, &new, hash).await?;
        self.put_role(&mut tx, workspace, account, role).await?;
        self.close_setup(&mut tx).await?;
        self.note(&mut tx, Some(workspace), by, "account.create", &account.to_string(), json!({ "role": role }))
            .await?;
        tx.commit().await?;
        Ok(account)
    }

    pub(crate) async fn insert_account(
        &self,
        tx: &mut Tx,
        _by: &Actor,
        new: &NewAccount,
        hash: String,
    ) -> Result<AccountId> {
        let mailbox = parse_mailbox(&new.mailbox)?;
        check_text("account name", &new.name, 100)?;
        let id = AccountId(self.next_id());
        let made = tx
            .execute(
                sql!(
                    "INSERT INTO account (id, mailbox, mailbox_norm, password_hash, name, created_at, failed_logins) \
                     VALUES ($1, $2, $3, $4, $5, $6, 0) ON CONFLICT (mailbox_norm) DO NOTHING"
                ),
                args![id, mailbox.wire(), mailbox.normalised(), hash, new.name.as_str(), self.now()],
            )
            .await?;
        if made == 0 {
            return Err(conflict("make the account: this mailbox has one already; give that account a role instead"));
        }
        Ok(id)
    }

    pub(crate) async fn put_role(
        &self,
        tx: &mut Tx,
        workspace: WorkspaceId,
        account: AccountId,
        role: Role,
    ) -> Result<()> {
        let put = tx
            .execute(
                sql!(
                    "INSERT INTO role (account_id, workspace_id, role) SELECT a.id, w.id, $3 FROM account a, workspace w \
                     WHERE a.id = $1 AND w.id = $2 \
                     ON CONFLICT (account_id, workspace_id) DO UPDATE SET role = excluded.role"
                ),
                args![account, workspace, role.as_str()],
            )
            .await?;
        if put == 0 { Err(not_found("account or workspace")) } else { Ok(()) }
    }

    /// The accounts that have a role in the workspace.
    ///
    /// # Errors
    /// The database fails.
    pub async fn accounts(&self, workspace: WorkspaceId) -> Result<Vec<Account>> {
        self.read()
            .await?
            .all(
                sql!(
                    "SELECT a.id, a.mailbox, a.name, r.role, a.created_at, a.disabled_at FROM role r \
                     JOIN account a ON a.id = r.account_id WHERE r.workspace_id = $1 ORDER BY a.id"
                ),
                args![workspace],
            )
            .await?
            .iter()
            .map(Account::read)
            .collect()
    }

    /// One account that has a role in the workspace.
    ///
    /// # Errors
    /// It has no role there.
    pub async fn account(&self, workspace: WorkspaceId, id: AccountId) -> Result<Account> {
        let row = self
            .read()
            .await?
            .opt(
                sql!(
                    "SELECT a.id, a.mailbox, a.name, r.role, a.created_at, a.disabled_at FROM role r \
                     JOIN account a ON a.id = r.account_id WHERE r.workspace_id = $1 AND a.id = $2"
                ),
                args![workspace, id],
            )
            .await?;
        Account::read(&row.ok_or_else(|| not_found("account"))?)
    }

    /// Gives the account of a mailbox a role in the workspace, or another role. Its sessions end, so that the next
    /// log-in has the new rights (SEC-35).
    ///
    /// # Errors
    /// No account has the mailbox.
    pub async fn set_role(&self, workspace: WorkspaceId, by: &Actor, mailbox: &str, role: Role) -> Result<AccountId> {
        let mailbox = parse_mailbox(mailbox)?;
        let mut tx = self.begin(Lane::Web).await?;
        let row = tx
            .opt(sql!("SELECT id FROM account WHERE mailbox_norm = $1"), args![mailbox.normalised()])
            .await?
            .ok_or_else(|| not_found("account"))?;
        let account = AccountId(row.int("id")?);
        let keeps = match role {
            Role::Administrator => true,
            Role::Editor | Role::Viewer => match self.may_lose_administrator(&mut tx, workspace, account).await {
                Ok(may) => may,
                // It had no role here: nobody loses anything.
                Err(StoreError::NotFound { .. }) => true,
                Err(error) => return Err(error),
            },
        };
        if !keeps {
            return Err(conflict(
                "change the role: it is the last administrator of the workspace; make another account administrator first",
            ));
        }
        self.put_role(&mut tx, workspace, account, role).await?;
        self.end_sessions_in(&mut tx, account).await?;
        self.note(&mut tx, Some(workspace), by, "account.role", &account.to_string(), json!({ "role": role })).await?;
        tx.commit().await?;
        Ok(account)
    }

    /// Whether a workspace would still have an administrator if this account were none; its roles are locked.
    async fn may_lose_administrator(&self, tx: &mut Tx, workspace: WorkspaceId, account: AccountId) -> Result<bool> {
        let roles = tx
            .all(
                sql!(
                    "SELECT r.account_id, r.role, a.disabled_at FROM role r JOIN account a ON a.id = r.account_id \
                     WHERE r.workspace_id = $1 ORDER BY r.account_id {for_update_of r}"
                ),
                args![workspace],
            )
            .await?;
        let (mut mine, mut others) = (None, 0);
        for row in &roles {
            let administrator = row.text("role")? == Role::Administrator.as_str();
            if row.int("account_id")? == account.get() {
                mine = Some(administrator);
            } else if administrator && row.int_opt("disabled_at")?.is_none() {
                others += 1;
            }
        }
        let mine = mine.ok_or_else(|| not_found("account"))?;
        Ok(!mine || others > 0)
    }

    /// Takes the account's role in the workspace away, ends its sessions and revokes the keys that it made there.
    ///
    /// # Errors
    /// It has no role there, or it is the last administrator.
    pub async fn remove_role(&self, workspace: WorkspaceId, by: &Actor, account: AccountId) -> Result<()> {
        let mut tx = self.begin(Lane::Web).await?;
        if !self.may_lose_administrator(&mut tx, workspace, account).await? {
            return Err(conflict(
                "remove the account: it is the last administrator of the workspace; make another account administrator first",
            ));
        }
        tx.execute(sql!("DELETE FROM role WHERE workspace_id = $1 AND account_id = $2"), args![workspace, account])
            .await?;
        tx.execute(
            sql!(
                "UPDATE api_key SET revoked_at = $3 WHERE workspace_id = $1 AND created_by = $2 AND revoked_at IS NULL"
            ),
            args![workspace, account.to_string(), self.now()],
        )
        .await?;
        self.end_sessions_in(&mut tx, account).await?;
        self.note(&mut tx, Some(workspace), by, "account.remove", &account.to_string(), json!({})).await?;
        tx.commit().await
    }

    /// Logs a person in: checks the password, counts failures and starts a session.
    ///
    /// # Errors
    /// The database fails; a wrong password is [`LogIn::Refused`].
    pub async fn log_in(&self, mailbox: &str, password: &Secret, from: &NewSession) -> Result<LogIn> {
        let norm = Mailbox::parse(mailbox.trim()).map(|m| m.normalised()).unwrap_or_default();
        let row = self
            .read()
            .await?
            .opt(
                sql!("SELECT id, password_hash, disabled_at, locked_until FROM account WHERE mailbox_norm = $1"),
                args![norm],
            )
            .await?;
        let now = self.now();
        let (account, hash, open) = match &row {
            None => (None, None, false),
            Some(row) => {
                let waits = row.int_opt("locked_until")?.is_some_and(|until| now < until);
                let open = row.int_opt("disabled_at")?.is_none() && !waits;
                (Some(AccountId(row.int("id")?)), Some(row.text("password_hash")?), open)
            }
        };
        // The password is checked even where the answer is no already, so that the clock tells nothing.
        let fits = password::verify(password, hash.clone()).await?;
        let Some(account) = account else { return Ok(LogIn::Refused) };
        let mut tx = self.begin(Lane::Web).await?;
        if !(fits && open) {
            if open {
                self.count_failure(&mut tx, account).await?;
            }
            self.note(
                &mut tx,
                None,
                &Actor::Account(account),
                "account.log_in_refused",
                &account.to_string(),
                json!({}),
            )
            .await?;
            tx.commit().await?;
            return Ok(LogIn::Refused);
        }
        // The password may have changed while it was being hashed; then the old one starts no session.
        let same = tx
            .execute(
                sql!(
                    "UPDATE account SET failed_logins = 0, locked_until = NULL \
                     WHERE id = $1 AND password_hash = $2 AND disabled_at IS NULL"
                ),
                args![account, hash],
            )
            .await?;
        if same == 0 {
            return Ok(LogIn::Refused);
        }
        let token = self.start_session(&mut tx, account, from).await?;
        self.note(&mut tx, None, &Actor::Account(account), "account.log_in", &account.to_string(), json!({})).await?;
        tx.commit().await?;
        Ok(LogIn::Welcome { account, token })
    }

    async fn count_failure(&self, tx: &mut Tx, account: AccountId) -> Result<()> {
        let row = tx
            .one(
                sql!("UPDATE account SET failed_logins = failed_logins + 1 WHERE id = $1 RETURNING failed_logins"),
                args![account],
            )
            .await?;
        if let Some(wait) = wait_after(row.int("failed_logins")?) {
            tx.execute(sql!("UPDATE account SET locked_until = $2 WHERE id = $1"), args![account, self.now() + wait])
                .await?;
        }
        Ok(())
    }

    /// Changes one's own password. Every session of the account ends, this one included (SEC-35).
    ///
    /// # Errors
    /// The old password does not fit, or the new one is refused.
    pub async fn change_password(&self, account: AccountId, old: &Secret, new: &Secret, keys: KeysThen) -> Result<()> {
        let row = self
            .read()
            .await?
            .opt(sql!("SELECT password_hash FROM account WHERE id = $1"), args![account])
            .await?
            .ok_or_else(|| not_found("account"))?;
        let stored = row.text("password_hash")?;
        if !password::verify(old, Some(stored.clone())).await? {
            return Err(refused("change the password: the present password does not fit"));
        }
        let hash = password::hash(new).await?;
        let mut tx = self.begin(Lane::Web).await?;
        let changed = tx
            .execute(
                sql!("UPDATE account SET password_hash = $2 WHERE id = $1 AND password_hash = $3"),
                args![account, hash, stored],
            )
            .await?;
        if changed == 0 {
            return Err(conflict("change the password: it was changed a moment ago; log in again"));
        }
        self.after_new_password(&mut tx, &Actor::Account(account), account, keys).await?;
        tx.commit().await
    }

    /// Sets a new password from the console (`postrider account reset`): sessions end, keys made by the account are
    /// revoked, waits and blocks are lifted.
    ///
    /// # Errors
    /// No account has the mailbox, or the password is refused.
    pub async fn reset_password(&self, mailbox: &str, new: &Secret) -> Result<AccountId> {
        let mailbox = parse_mailbox(mailbox)?;
        let hash = password::hash(new).await?;
        let mut tx = self.begin(Lane::Web).await?;
        let row = tx
            .opt(
                sql!(
                    "UPDATE account SET password_hash = $2, failed_logins = 0, locked_until = NULL, disabled_at = NULL \
                     WHERE mailbox_norm = $1 RETURNING id"
                ),
                args![mailbox.normalised(), hash],
            )
            .await?
            .ok_or_else(|| not_found("account"))?;
        let account = AccountId(row.int("id")?);
        self.after_new_password(&mut tx, &Actor::Console, account, KeysThen::Revoke).await?;
        tx.commit().await?;
        Ok(account)
    }

    async fn after_new_password(&self, tx: &mut Tx, by: &Actor, account: AccountId, keys: KeysThen) -> Result<()> {
        self.end_sessions_in(tx, account).await?;
        match keys {
            KeysThen::Keep => {}
            KeysThen::Revoke => {
                tx.execute(
                    sql!("UPDATE api_key SET revoked_at = $2 WHERE created_by = $1 AND revoked_at IS NULL"),
                    args![account.to_string(), self.now()],
                )
                .await?;
            }
        }
        self.note(tx, None, by, "account.password", &account.to_string(), json!({})).await
    }

    /// Disables an account everywhere, from the console only: it may have roles in several workspaces.
    ///
    /// # Errors
    /// No account has the mailbox.
    pub async fn disable_account(&self, mailbox: &str) -> Result<AccountId> {
        let mailbox = parse_mailbox(mailbox)?;
        let mut tx = self.begin(Lane::Web).await?;
        let row = tx
            .opt(
                sql!("UPDATE account SET disabled_at = $2 WHERE mailbox_norm = $1 RETURNING id"),
                args![mailbox.normalised(), self.now()],
            )
            .await?
            .ok_or_else(|| not_found("account"))?;
        let account = AccountId(row.int("id")?);
        self.end_sessions_in(&mut tx, account).await?;
        self.note(&mut tx, None, &Actor::Console, "account.disable", &account.to_string(), json!({})).await?;
        tx.commit().await?;
        Ok(account)
    }
}

/// How long an account waits after its n-th failure in a row; `None` while it need not.
fn wait_after(failures: i64) -> Option<i64> {
    let over = failures - FREE_FAILURES;
    (over >= 0).then(|| FIRST_WAIT_MS.saturating_mul(1 << over.min(6)).min(LONGEST_WAIT_MS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_begin_after_five_failures_and_stop_growing_at_an_hour() {
        assert_eq!(wait_after(4), None);
        assert_eq!(wait_after(5), Some(60_000));
        assert_eq!(wait_after(6), Some(120_000));
        assert_eq!(wait_after(1_000_000), Some(3_600_000));
    }
}
