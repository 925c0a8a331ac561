//! Certificates of our own: what is shown, whose turn it is to renew, and what an authority asks us (RFC 8555).
//!
//! Keys and the account are sealed, so that a restart and every other node can use them. Must not know how a certificate is
//! ordered, nor what it says: both are told.

use postrider_domain::id::NodeId;
use serde_json::json;

use crate::db::Lane;
use crate::error::Result;
use crate::secret::SecretBytes;
use crate::sql::{Row, args, sql};
use crate::store::Store;

/// Most challenges that are kept; far more than any order has names.
const MOST_CHALLENGES: i64 = 1_000;
/// The longest error text that is kept, in characters.
const LONGEST_ERROR: usize = 1_000;

/// A certificate and how it fares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// `acme NAMES`, which all nodes share, or `files NODE`.
    pub place: String,
    /// The names that it is for.
    pub names: Vec<String>,
    /// The chain in PEM form; none before the first order is done, and none for own files.
    pub chain: Option<String>,
    /// From when, milliseconds UTC.
    pub not_before: Option<i64>,
    /// Until when, milliseconds UTC.
    pub not_after: Option<i64>,
    /// Counts the certificates that there were.
    pub version: i64,
    /// Failed tries since the last good one.
    pub failures: u32,
    /// What the last try said, when it failed.
    pub last_error: Option<String>,
    /// When that was, milliseconds UTC.
    pub failed_at: Option<i64>,
    /// No try before this time, milliseconds UTC.
    pub next_try_at: Option<i64>,
}

/// A certificate that was issued or read.
#[derive(Debug, Clone)]
pub struct NewCertificate {
    /// Where it belongs.
    pub place: String,
    /// The names that it is for.
    pub names: Vec<String>,
    /// The chain in PEM form; empty for own files, which stay where they are.
    pub chain: String,
    /// The private key in PEM form; none for own files.
    pub key: Option<SecretBytes>,
    /// From when, milliseconds UTC.
    pub not_before: i64,
    /// Until when, milliseconds UTC.
    pub not_after: i64,
}

fn key_place(place: &str) -> String {
    format!("certificate.{place}.sealed")
}

fn account_place(directory: &str) -> String {
    format!("acme_account.{directory}.sealed")
}

fn read(row: &Row) -> Result<Certificate> {
    Ok(Certificate {
        place: row.text("place")?,
        names: row.text("names")?.split(' ').filter(|name| !name.is_empty()).map(str::to_owned).collect(),
        chain: row.text_opt("chain")?,
        not_before: row.int_opt("not_before")?,
        not_after: row.int_opt("not_after")?,
        version: row.int("version")?,
        failures: u32::try_from(row.int("failures")?).unwrap_or(u32::MAX),
        last_error: row.text_opt("last_error")?,
        failed_at: row.int_opt("failed_at")?,
        next_try_at: row.int_opt("next_try_at")?,
    })
}

impl Store {
    /// Every certificate of the installation, by place.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn certificates(&self) -> Result<Vec<Certificate>> {
        let rows = self
            .read()
            .await?
            .all(
                sql!(
                    "SELECT place, names, chain, not_before, not_after, version, failures, last_error, failed_at, next_try_at \
                     FROM certificate ORDER BY place LIMIT 1000"
                ),
                args![],
            )
            .await?;
        rows.iter().map(read).collect()
    }

    /// The certificate of a place.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn certificate(&self, place: &str) -> Result<Option<Certificate>> {
        let row = self
            .read()
            .await?
            .opt(
                sql!(
                    "SELECT place, names, chain, not_before, not_after, version, failures, last_error, failed_at, next_try_at \
                     FROM certificate WHERE place = $1"
                ),
                args![place],
            )
            .await?;
        row.as_ref().map(read).transpose()
    }

    /// Chain and key of a place, PEM; for the listeners only.
    ///
    /// # Errors
    /// The master key does not open it, or the database cannot be read.
    pub async fn certificate_pair(&self, place: &str) -> Result<Option<(String, SecretBytes)>> {
        let row = self
            .read()
            .await?
            .opt(
                sql!(
                    "SELECT chain, sealed FROM certificate WHERE place = $1 AND sealed IS NOT NULL AND chain IS NOT NULL"
                ),
                args![place],
            )
            .await?;
        row.map(|row| {
            let key = self.unseal(&key_place(place), &row.bytes("sealed")?)?;
            Ok((row.text("chain")?, SecretBytes::new(key.to_vec())))
        })
        .transpose()
    }

    /// Takes the turn to order a certificate until a moment, milliseconds UTC; false while another node has it, or when
    /// `known`, the number of the certificate that the caller wants to replace, is not the present one any more.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn claim_certificate(
        &self,
        place: &str,
        names: &[String],
        node: NodeId,
        known: i64,
        until: i64,
    ) -> Result<bool> {
        let mut tx = self.begin(Lane::Web).await?;
        tx.execute(
            sql!(
                "INSERT INTO certificate (place, names, version, failures, claimed_until) VALUES ($1, $2, 0, 0, 0) \
                 ON CONFLICT (place) DO NOTHING"
            ),
            args![place, names.join(" ")],
        )
        .await?;
        let taken = tx
            .execute(
                sql!(
                    "UPDATE certificate SET claimed_by = $2, claimed_until = $4 \
                     WHERE place = $1 AND version = $5 AND (claimed_until <= $3 OR claimed_by = $2)"
                ),
                args![place, node, self.now(), until, known],
            )
            .await?;
        tx.commit().await?;
        Ok(taken > 0)
    }

    /// Keeps a certificate in place of the one before.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn keep_certificate(&self, new: &NewCertificate) -> Result<()> {
        let sealed = new.key.as_ref().map(|key| self.seal(&key_place(&new.place), key.reveal())).transpose()?;
        let chain = Some(new.chain.as_str()).filter(|chain| !chain.is_empty());
        let mut tx = self.begin(Lane::Web).await?;
        tx.execute(
            sql!(
                "INSERT INTO certificate (place, names, chain, sealed, not_before, not_after, version, failures, claimed_until) \
                 VALUES ($1, $2, $3, $4, $5, $6, 1, 0, 0) \
                 ON CONFLICT (place) DO UPDATE SET names = excluded.names, chain = excluded.chain, sealed = excluded.sealed, \
                   not_before = excluded.not_before, not_after = excluded.not_after, version = certificate.version + 1, \
                   failures = 0, last_error = NULL, failed_at = NULL, next_try_at = NULL, claimed_by = NULL, claimed_until = 0"
            ),
            args![new.place.as_str(), new.names.join(" "), chain, sealed, new.not_before, new.not_after],
        )
        .await?;
        tx.commit().await
    }

    /// Notes that no new certificate came, why, and when the next try may be, milliseconds UTC. The present one stays.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn certificate_failed(
        &self,
        place: &str,
        names: &[String],
        error: &str,
        next_try_at: Option<i64>,
    ) -> Result<()> {
        let error: String = error.chars().filter(|c| *c != '\0').take(LONGEST_ERROR).collect();
        let mut tx = self.begin(Lane::Web).await?;
        tx.execute(
            sql!(
                "INSERT INTO certificate (place, names, version, failures, last_error, failed_at, next_try_at, claimed_until) \
                 VALUES ($1, $2, 0, 1, $3, $4, $5, 0) \
                 ON CONFLICT (place) DO UPDATE SET failures = certificate.failures + 1, last_error = excluded.last_error, \
                   failed_at = excluded.failed_at, next_try_at = excluded.next_try_at, claimed_by = NULL, claimed_until = 0"
            ),
            args![place, names.join(" "), error, self.now(), next_try_at],
        )
        .await?;
        tx.commit().await
    }

    /// Forgets the certificates that nobody uses any more: those of other names, and of this node's files when it has none.
    /// Other nodes' files stay.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn forget_certificates_but(&self, place: &str, own_files: &str) -> Result<u64> {
        let mut tx = self.begin(Lane::Web).await?;
        let gone = tx
            .execute(
                sql!("DELETE FROM certificate WHERE place <> $1 AND (place = $2 OR place LIKE 'acme %')"),
                args![place, own_files],
            )
            .await?;
        tx.commit().await?;
        Ok(gone)
    }

    /// Our account with an authority, as its client wrote it down.
    ///
    /// # Errors
    /// The master key does not open it, or the database cannot be read.
    pub async fn acme_account(&self, directory: &str) -> Result<Option<SecretBytes>> {
        let row = self
            .read()
            .await?
            .opt(sql!("SELECT sealed FROM acme_account WHERE directory = $1"), args![directory])
            .await?;
        row.map(|row| {
            let opened = self.unseal(&account_place(directory), &row.bytes("sealed")?)?;
            Ok(SecretBytes::new(opened.to_vec()))
        })
        .transpose()
    }

    /// Keeps our account with an authority, unless another node was first.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn keep_acme_account(&self, directory: &str, account: &SecretBytes) -> Result<()> {
        let sealed = self.seal(&account_place(directory), account.reveal())?;
        let mut tx = self.begin(Lane::Web).await?;
        tx.execute(
            sql!(
                "INSERT INTO acme_account (directory, sealed, created_at) VALUES ($1, $2, $3) \
                 ON CONFLICT (directory) DO NOTHING"
            ),
            args![directory, sealed, self.now()],
        )
        .await?;
        tx.commit().await
    }

    /// Forgets an account that the authority does not know any more.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn forget_acme_account(&self, directory: &str) -> Result<()> {
        let mut tx = self.begin(Lane::Web).await?;
        tx.execute(sql!("DELETE FROM acme_account WHERE directory = $1"), args![directory]).await?;
        tx.commit().await
    }

    /// Keeps the answer to a challenge until a moment, milliseconds UTC; answers whose time is over go.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn keep_acme_challenge(&self, token: &str, answer: &str, until: i64) -> Result<()> {
        let mut tx = self.begin(Lane::Web).await?;
        tx.execute(sql!("DELETE FROM acme_challenge WHERE expires_at <= $1"), args![self.now()]).await?;
        tx.execute(
            sql!(
                "INSERT INTO acme_challenge (token, answer, expires_at) SELECT $1, $2, $3 \
                 WHERE (SELECT count(*) FROM acme_challenge) < $4 \
                 ON CONFLICT (token) DO UPDATE SET answer = excluded.answer, expires_at = excluded.expires_at"
            ),
            args![token, answer, until, MOST_CHALLENGES],
        )
        .await?;
        tx.commit().await
    }

    /// Forgets challenges that are over.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn drop_acme_challenges(&self, tokens: &[String]) -> Result<()> {
        if tokens.is_empty() {
            return Ok(());
        }
        let mut tx = self.begin(Lane::Web).await?;
        tx.execute(sql!("DELETE FROM acme_challenge WHERE token IN {texts $1}"), args![json!(tokens)]).await?;
        tx.commit().await
    }

    /// The answer to a challenge; `None` when we asked for none such, or its time is over.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn acme_challenge(&self, token: &str) -> Result<Option<String>> {
        let row = self
            .read()
            .await?
            .opt(
                sql!("SELECT answer FROM acme_challenge WHERE token = $1 AND expires_at > $2"),
                args![token, self.now()],
            )
            .await?;
        row.map(|row| row.text("answer")).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{TestStore, open_both};

    const PLACE: &str = "acme mail.example.org";

    fn names() -> Vec<String> {
        vec!["mail.example.org".to_owned()]
    }

    fn issued(key: &str) -> NewCertificate {
        NewCertificate {
            place: PLACE.into(),
            names: names(),
            chain: "chain".into(),
            key: Some(SecretBytes::new(key.as_bytes().to_vec())),
            not_before: 1,
            not_after: 1_000,
        }
    }

    async fn story(store: TestStore) {
        let (one, two) = (NodeId(1), NodeId(2));
        let now = store.now();
        assert_eq!(store.certificate(PLACE).await.unwrap(), None);
        assert!(store.claim_certificate(PLACE, &names(), one, 0, now + 1_000).await.unwrap());
        assert!(store.claim_certificate(PLACE, &names(), one, 0, now + 1_000).await.unwrap(), "its own turn");
        assert!(!store.claim_certificate(PLACE, &names(), two, 0, now + 1_000).await.unwrap());
        store.clock.advance(1_001);
        assert!(store.claim_certificate(PLACE, &names(), two, 0, now + 9_000).await.unwrap(), "the first one is gone");

        store.certificate_failed(PLACE, &names(), "no\0 answer", Some(77)).await.unwrap();
        store.certificate_failed(PLACE, &names(), "no answer again", Some(78)).await.unwrap();
        let row = store.certificate(PLACE).await.unwrap().unwrap();
        assert_eq!((row.failures, row.last_error.as_deref(), row.next_try_at), (2, Some("no answer again"), Some(78)));
        assert!(store.certificate_pair(PLACE).await.unwrap().is_none());

        store.keep_certificate(&issued("key one")).await.unwrap();
        let row = store.certificate(PLACE).await.unwrap().unwrap();
        assert_eq!((row.version, row.failures, row.last_error, row.next_try_at), (1, 0, None, None));
        assert_eq!((row.not_before, row.not_after), (Some(1), Some(1_000)));
        assert!(!store.claim_certificate(PLACE, &names(), one, 0, i64::MAX).await.unwrap(), "it is renewed already");
        store.keep_certificate(&issued("key two")).await.unwrap();
        let (chain, key) = store.certificate_pair(PLACE).await.unwrap().unwrap();
        assert_eq!((chain.as_str(), key.reveal()), ("chain", &b"key two"[..]));
        store.certificate_failed(PLACE, &names(), "later", None).await.unwrap();
        assert!(store.certificate_pair(PLACE).await.unwrap().is_some(), "a failed renewal takes nothing away");

        let mine = NewCertificate { place: "files a".into(), chain: String::new(), key: None, ..issued("") };
        store.keep_certificate(&mine).await.unwrap();
        store.keep_certificate(&NewCertificate { place: "files b".into(), ..mine }).await.unwrap();
        assert_eq!(store.forget_certificates_but("files b", "files b").await.unwrap(), 1, "the one of the authority");
        let places: Vec<String> = store.certificates().await.unwrap().into_iter().map(|c| c.place).collect();
        assert_eq!(places, ["files a", "files b"]);

        let account = |text: &str| SecretBytes::new(text.as_bytes().to_vec());
        assert!(store.acme_account("https://ca.example/").await.unwrap().is_none());
        store.keep_acme_account("https://ca.example/", &account("one")).await.unwrap();
        store.keep_acme_account("https://ca.example/", &account("two")).await.unwrap();
        assert_eq!(store.acme_account("https://ca.example/").await.unwrap().unwrap().reveal(), b"one");
        store.forget_acme_account("https://ca.example/").await.unwrap();
        assert!(store.acme_account("https://ca.example/").await.unwrap().is_none());

        let now = store.now();
        store.keep_acme_challenge("token", "token.thumb", now + 100).await.unwrap();
        assert_eq!(store.acme_challenge("token").await.unwrap().as_deref(), Some("token.thumb"));
        assert_eq!(store.acme_challenge("other").await.unwrap(), None);
        store.clock.advance(100);
        assert_eq!(store.acme_challenge("token").await.unwrap(), None, "its time is over");
        store.keep_acme_challenge("second", "second.thumb", store.now() + 100).await.unwrap();
        store.drop_acme_challenges(&["second".to_owned()]).await.unwrap();
        assert_eq!(store.acme_challenge("second").await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_certificate_is_ordered_by_one_node_and_used_by_all() {
        for store in open_both("certificate").await {
            story(store).await;
        }
    }
}
