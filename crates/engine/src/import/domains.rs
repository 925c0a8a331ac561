//! The domains of imported mailboxes: does each take mail? Asked once, a limited number at a time, and remembered.
//!
//! What is found serves the sending as well: a domain whose site is known needs no lookup later. Must not know rows.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::stream::{self, StreamExt};
use postrider_domain::contact::AddressState;
use postrider_mail::mailbox::DomainName;
use postrider_store::StoreError;
use postrider_store::site::{DomainState, MailDomain};

use crate::resolve_sites::{Found, look_up, to_remember};
use crate::shared::Shared;

/// Domains kept in memory; a few large providers make up most of any list.
const KEPT: usize = 50_000;
/// Temporary errors are asked again after this time, in milliseconds.
const UNKNOWN_MS: i64 = 60_000;

/// See the module.
pub(crate) struct Domains {
    shared: Arc<Shared>,
    known: Mutex<HashMap<String, (AddressState, i64)>>,
}

impl Domains {
    pub(crate) fn new(shared: Arc<Shared>) -> Domains {
        Domains { shared, known: Mutex::default() }
    }

    /// The state of each domain.
    pub(crate) async fn look(
        &self,
        domains: impl Iterator<Item = &DomainName>,
    ) -> Result<HashMap<String, AddressState>, StoreError> {
        let now = self.shared.now();
        let mut states = HashMap::new();
        let mut ask: HashMap<String, DomainName> = HashMap::new();
        {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            for domain in domains {
                match known.get(domain.as_str()).filter(|(_, until)| now < *until) {
                    Some((state, _)) => drop(states.insert(domain.as_str().to_owned(), *state)),
                    None => drop(ask.insert(domain.as_str().to_owned(), domain.clone())),
                }
            }
        }
        if ask.is_empty() {
            return Ok(states);
        }
        let found = self.find(ask, now).await?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() + found.len() > KEPT {
            known.clear();
        }
        for (name, state, until) in found {
            known.insert(name.clone(), (state, until));
            states.insert(name, state);
        }
        Ok(states)
    }

    /// Asks the store, then DNS.
    async fn find(
        &self,
        ask: HashMap<String, DomainName>,
        now: i64,
    ) -> Result<Vec<(String, AddressState, i64)>, StoreError> {
        let names: Vec<String> = ask.keys().cloned().collect();
        let stored = self.shared.store.mail_domains(&names).await?;
        let mut found = Vec::with_capacity(ask.len());
        let mut lookups = Vec::new();
        for (name, domain) in ask {
            match stored.get(&name).filter(|d| d.look_again_at > now) {
                Some(MailDomain { state: DomainState::Found, look_again_at, .. }) => {
                    found.push((name, AddressState::Mailable, *look_again_at));
                }
                Some(MailDomain { state: DomainState::NullMx, look_again_at, .. }) => {
                    found.push((name, AddressState::NullMx, *look_again_at));
                }
                // What is missing may have come up since: a person waits for the answer of this import.
                Some(_) | None => lookups.push((name, domain)),
            }
        }
        let shared = &self.shared;
        let answers: Vec<(String, Found)> = stream::iter(lookups)
            .map(|(name, domain)| async move { (name, look_up(shared, &domain).await) })
            .buffer_unordered(shared.config.limits.lookups.max(1))
            .collect()
            .await;
        let remember: Vec<MailDomain> = answers.iter().map(|(name, found)| to_remember(shared, name, found)).collect();
        for (name, answer) in answers {
            let (state, keep) = match answer {
                Found::Site(_) => (AddressState::Mailable, shared.config.times.site_ttl_ms),
                Found::NullMx => (AddressState::NullMx, shared.config.times.site_ttl_ms),
                Found::Nowhere => (AddressState::NoMailServer, UNKNOWN_MS),
                Found::Temporary(_) => (AddressState::Unchecked, UNKNOWN_MS),
            };
            found.push((name, state, now + keep));
        }
        shared.store.remember_domains(&remember).await?;
        Ok(found)
    }
}
