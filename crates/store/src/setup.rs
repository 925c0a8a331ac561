//! First-run set-up: a code printed on the console, valid 30 minutes, used once (SEC-80).

use postrider_domain::access::Role;
use postrider_domain::id::{AccountId, WorkspaceId};
use serde_json::json;
use subtle::ConstantTimeEq as _;

use crate::Store;
use crate::account::NewAccount;
use crate::actor::Actor;
use crate::db::{Lane, Tx};
use crate::error::Result;
use crate::password;
use crate::read::refused;
use crate::secret::{Secret, random_letters, sha256};
use crate::sql::{args, sql};
use crate::workspace::NewWorkspace;

/// How long a code is valid, in milliseconds.
pub const SETUP_CODE_LIFE_MS: i64 = 30 * 60_000;
/// Letters of a code: 100 random bits, so that guessing needs no counter.
const CODE_LETTERS: usize = 20;

/// Where the set-up stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetupState {
    /// There is an administrator.
    Done,
    /// Nothing but the set-up may answer.
    Open,
}

impl Store {
    /// Where the set-up stands.
    ///
    /// # Errors
    /// The database fails.
    pub async fn setup_state(&self) -> Result<SetupState> {
        // Who made a workspace with the command line on this machine has set the installation up as well.
        let row = self
            .read()
            .await?
            .opt(sql!("SELECT 1 AS done FROM setup WHERE done_at IS NOT NULL UNION SELECT 1 AS done FROM workspace LIMIT 1"), args![])
            .await?;
        Ok(if row.is_some() { SetupState::Done } else { SetupState::Open })
    }

    /// Makes a new code, for the console only; the code before it stops working. `None` when the set-up is done.
    ///
    /// # Errors
    /// The database fails.
    pub async fn begin_setup(&self) -> Result<Option<Secret>> {
        if self.setup_state().await? == SetupState::Done {
            return Ok(None);
        }
        let code = random_letters(CODE_LETTERS)?;
        let mut tx = self.begin(Lane::Web).await?;
        let changed = tx
            .execute(
                sql!(
                    "INSERT INTO setup (id, code_hash, expires_at) VALUES (1, $1, $2) \
                     ON CONFLICT (id) DO UPDATE SET code_hash = excluded.code_hash, expires_at = excluded.expires_at \
                     WHERE setup.done_at IS NULL"
                ),
                args![sha256(code.as_bytes()).to_vec(), self.now() + SETUP_CODE_LIFE_MS],
            )
            .await?;
        tx.commit().await?;
        Ok((changed == 1).then(|| Secret::new(code)))
    }

    /// Uses the code: makes the first workspace and its administrator. Works once.
    ///
    /// # Errors
    /// The code is wrong, too old or used, or a field is refused; nothing is changed then.
    pub async fn finish_setup(
        &self,
        code: &Secret,
        administrator: NewAccount,
        workspace: NewWorkspace,
    ) -> Result<(AccountId, WorkspaceId)> {
        let hash = password::hash(&administrator.password).await?;
        let mut tx = self.begin(Lane::Web).await?;
        let row =
            tx.opt(sql!("SELECT code_hash, expires_at, done_at FROM setup WHERE id = 1 {for_update}"), args![]).await?;
        let fits = match &row {
            None => false,
            Some(row) => {
                let stored = row.bytes_opt("code_hash")?.unwrap_or_default();
                let given = sha256(code.reveal().trim().as_bytes());
                row.int_opt("done_at")?.is_none()
                    && row.int_opt("expires_at")?.is_some_and(|end| self.now() < end)
                    && bool::from(stored.ct_eq(&given))
            }
        };
        if !fits {
            return Err(refused(
                "use the set-up code: it is wrong, used or older than 30 minutes; restart the server to see a new one",
            ));
        }
        let workspace = self.insert_workspace(&mut tx, &Actor::Console, workspace).await?;
        let account = self.insert_account(&mut tx, &Actor::Console, &administrator, hash).await?;
        self.put_role(&mut tx, workspace.id, account, Role::Administrator).await?;
        self.close_setup(&mut tx).await?;
        self.note(&mut tx, Some(workspace.id), &Actor::Console, "setup.finish", &account.to_string(), json!({}))
            .await?;
        tx.commit().await?;
        Ok((account, workspace.id))
    }

    /// Ends the set-up for good: from now on there is an administrator.
    pub(crate) async fn close_setup(&self, tx: &mut Tx) -> Result<()> {
        tx.execute(
            sql!(
                "INSERT INTO setup (id, done_at) VALUES (1, $1) \
                 ON CONFLICT (id) DO UPDATE SET code_hash = NULL, expires_at = NULL, done_at = excluded.done_at \
                 WHERE setup.done_at IS NULL"
            ),
            args![self.now()],
        )
        .await?;
        Ok(())
    }
}
