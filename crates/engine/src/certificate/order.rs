//! One order: account, proof of each name by http-01, certificate (RFC 8555 7). Must not know when one is due.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, ChallengeType, Error, ExternalAccountKey, Identifier, NewAccount,
    NewOrder, Order, OrderStatus, RetryPolicy,
};
use postrider_store::StoreError;
use postrider_store::secret::SecretBytes;
use zeroize::Zeroizing;

use super::AcmeConfig;
use super::guarded::Guarded;
use crate::shared::Shared;

/// Answers to challenges are served this long, in milliseconds.
const CHALLENGE_MS: i64 = 3_600_000;
/// How long the authority may take over one step.
const STEP: Duration = Duration::from_secs(120);
/// The first look at how a step goes.
const FIRST_LOOK: Duration = Duration::from_millis(200);

/// An account with the owner of an authority (RFC 8555 7.3.4).
#[derive(Debug, Clone)]
pub struct ExternalAccount {
    /// The key's name.
    pub id: String,
    /// The key itself, as bytes.
    pub key: Zeroizing<Vec<u8>>,
}

impl ExternalAccount {
    /// Reads the key as authorities hand it out: base64url, with or without padding.
    pub fn read(id: &str, key: &str) -> Option<ExternalAccount> {
        let key = URL_SAFE_NO_PAD.decode(key.trim().trim_end_matches('=')).ok().filter(|key| !key.is_empty())?;
        Some(ExternalAccount { id: id.to_owned(), key: Zeroizing::new(key) })
    }
}

/// How soon to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// After the usual pauses.
    Ordinary,
    /// The authority says that we ask too often.
    TooOften,
}

/// Why no certificate came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OrderFault {
    pub(super) text: String,
    pub(super) trouble: Trouble,
}

impl OrderFault {
    pub(super) fn ordinary(text: impl Into<String>) -> OrderFault {
        OrderFault { text: text.into(), trouble: Trouble::Ordinary }
    }
}

impl From<Error> for OrderFault {
    fn from(error: Error) -> OrderFault {
        let trouble = match &error {
            Error::Api(problem) if problem.r#type.as_deref() == Some("urn:ietf:params:acme:error:rateLimited") => {
                Trouble::TooOften
            }
            _ => Trouble::Ordinary, // the library's list grows
        };
        OrderFault { text: error.to_string(), trouble }
    }
}

impl From<StoreError> for OrderFault {
    fn from(error: StoreError) -> OrderFault {
        OrderFault::ordinary(error.to_string())
    }
}

/// Orders a certificate: its chain and its key, PEM.
pub(super) async fn order(shared: &Shared, acme: &AcmeConfig) -> Result<(String, Zeroizing<String>), OrderFault> {
    let names: Vec<Identifier> = acme.names.iter().map(|name| Identifier::Dns(name.clone())).collect();
    let begun = account(shared, acme).await?.new_order(&NewOrder::new(&names)).await;
    let mut order = match begun {
        Ok(order) => order,
        Err(error) if is_unknown_account(&error) => {
            // The authority has forgotten us, or its database was set back: a new account is made.
            shared.store.forget_acme_account(&acme.directory).await?;
            account(shared, acme).await?.new_order(&NewOrder::new(&names)).await?
        }
        Err(error) => return Err(error.into()),
    };
    let mut tokens = Vec::new();
    let issued = prove_and_finish(shared, &mut order, &mut tokens).await;
    if let Err(error) = shared.store.drop_acme_challenges(&tokens).await {
        shared.complain("forget answered challenges", &error);
    }
    issued
}

async fn prove_and_finish(
    shared: &Shared,
    order: &mut Order,
    tokens: &mut Vec<String>,
) -> Result<(String, Zeroizing<String>), OrderFault> {
    let patience = RetryPolicy::new().initial_delay(FIRST_LOOK).backoff(1.5).timeout(STEP);
    let mut all = order.authorizations();
    while let Some(one) = all.next().await {
        let mut one = one?;
        match one.status {
            AuthorizationStatus::Valid => continue,
            AuthorizationStatus::Pending => {}
            AuthorizationStatus::Invalid
            | AuthorizationStatus::Revoked
            | AuthorizationStatus::Expired
            | AuthorizationStatus::Deactivated => {
                return Err(OrderFault::ordinary(format!("the proof for {} is {:?}", one.identifier(), one.status)));
            }
        }
        let mut challenge = one
            .challenge(ChallengeType::Http01)
            .ok_or_else(|| OrderFault::ordinary("the authority offers no http-01 for one of the names"))?;
        let answer = challenge.key_authorization();
        let until = shared.now() + CHALLENGE_MS;
        shared.store.keep_acme_challenge(&challenge.token, answer.as_str(), until).await?;
        tokens.push(challenge.token.clone());
        challenge.set_ready().await?;
    }
    let status = order.poll_ready(&patience).await;
    if !matches!(status, Ok(OrderStatus::Ready)) {
        // What went wrong with which name says more than the order's own word.
        if let Some(why) = refused_proof(order).await {
            return Err(OrderFault::ordinary(why));
        }
        let status = status?;
        return Err(OrderFault::ordinary(format!("the authority calls the order {status:?}")));
    }
    let key = Zeroizing::new(order.finalize().await?);
    let chain = order.poll_certificate(&patience).await?;
    Ok((chain, key))
}

/// Why a name was not proved, in the authority's words.
async fn refused_proof(order: &mut Order) -> Option<String> {
    let mut all = order.authorizations();
    while let Some(one) = all.next().await {
        let mut one = one.ok()?;
        one.refresh().await.ok()?;
        let name = one.identifier().to_string();
        if let Some(problem) = one.challenges.iter().find_map(|challenge| challenge.error.as_ref()) {
            return Some(format!(
                "the authority could not prove {name}: {problem}; http://{name}/.well-known/acme-challenge/ must lead here"
            ));
        }
    }
    None
}

fn is_unknown_account(error: &Error) -> bool {
    matches!(error, Error::Api(problem) if problem.r#type.as_deref() == Some("urn:ietf:params:acme:error:accountDoesNotExist"))
}

/// Our account: the one that is kept, or a new one.
async fn account(shared: &Shared, acme: &AcmeConfig) -> Result<Account, OrderFault> {
    let builder = || Account::builder_with_http(Box::new(Guarded(acme.fetcher.clone())));
    if let Some(kept) = shared.store.acme_account(&acme.directory).await? {
        let credentials: AccountCredentials = serde_json::from_slice(kept.reveal())
            .map_err(|_| OrderFault::ordinary("the account that is kept cannot be read"))?;
        return Ok(builder().from_credentials(credentials).await?);
    }
    let contact: Vec<&str> = acme.contact.iter().map(String::as_str).collect();
    // The settings ask the operator whether they agree to the authority's terms; without that there is no AcmeConfig.
    let new = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
    let external = acme.external.as_ref().map(|known| ExternalAccountKey::new(known.id.clone(), &known.key));
    let (account, credentials) = builder().create(&new, acme.directory.clone(), external.as_ref()).await?;
    let text = Zeroizing::new(
        serde_json::to_vec(&credentials).map_err(|_| OrderFault::ordinary("the account cannot be written down"))?,
    );
    shared.store.keep_acme_account(&acme.directory, &SecretBytes::new(text.to_vec())).await?;
    Ok(account)
}
