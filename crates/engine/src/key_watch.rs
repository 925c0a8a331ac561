//! The life of DKIM keys: a new one signs when its record has been in DNS for an hour, and an old one's record is watched until
//! it is taken back.
//!
//! Must not make keys: people do. A key of the first try signs every later try as well; that is `book`'s matter.

use std::sync::Arc;

use postrider_domain::signing_key::{KeyState, may_sign};
use postrider_mail::dns_record::dkim_key::DkimKeyRecord;
use postrider_smtp::ResolveError;
use postrider_store::StoreError;
use postrider_store::actor::Actor;
use postrider_store::domain::WatchedKey;

use crate::shared::Shared;

/// How often records are looked at, in milliseconds.
const LOOK_MS: i64 = 5 * 60_000;

/// What DNS says of a key's record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Record {
    /// It is there, and it is ours.
    Ours,
    /// It was taken back with an empty `p=`.
    Revoked,
    /// It is not there, or it is another one.
    Other,
    /// DNS did not answer.
    Silent,
}

/// Watches until the engine stops.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut look_at = i64::MIN;
    while shared.rest(shared.config.times.poll).await {
        if shared.monotonic() < look_at {
            continue;
        }
        look_at = shared.monotonic() + LOOK_MS;
        if let Err(error) = look(&shared).await {
            shared.complain("look after DKIM keys", &error);
        }
    }
}

async fn look(shared: &Shared) -> Result<(), StoreError> {
    for watched in shared.store.dkim_keys_to_watch().await? {
        if !shared.is_running() {
            break;
        }
        let found = record(shared, &watched).await;
        one(shared, &watched, found).await?;
    }
    Ok(())
}

async fn record(shared: &Shared, watched: &WatchedKey) -> Record {
    let name = format!("{}._domainkey.{}", watched.key.selector, watched.name);
    match shared.config.resolver.txt(&name).await {
        Ok(records) => judge(&records, &watched.key.public_txt),
        Err(ResolveError::NotFound) => Record::Other,
        Err(ResolveError::Temporary(_)) => Record::Silent,
    }
}

fn judge(records: &[String], ours: &str) -> Record {
    let [text] = records else { return Record::Other };
    let (Ok(found), Ok(ours)) = (DkimKeyRecord::parse(text), DkimKeyRecord::parse(ours)) else { return Record::Other };
    if found.is_revoked() {
        Record::Revoked
    } else if found.key == ours.key && found.kind == ours.kind {
        Record::Ours
    } else {
        Record::Other
    }
}

async fn one(shared: &Shared, watched: &WatchedKey, found: Record) -> Result<(), StoreError> {
    let (store, key, now) = (&shared.store, &watched.key, shared.now());
    match (key.state(now), found) {
        (_, Record::Silent) => Ok(()),
        (KeyState::Pending, Record::Ours) => {
            if key.seen_at.is_none() {
                tracing::info!(event = "dkim_key.seen", key = %key.id, domain = watched.name, selector = key.selector);
                store.dkim_key_looked_at(key.id, Some(now), None).await?;
            }
            if !may_sign(key.seen_at, now) {
                return Ok(());
            }
            match store.activate_dkim_key(watched.workspace, &Actor::Engine, watched.domain, key.id).await {
                Ok(_) => {
                    tracing::info!(event = "dkim_key.signs", key = %key.id, domain = watched.name);
                    Ok(())
                }
                // Another node or a person was faster.
                Err(StoreError::Conflict { .. } | StoreError::NotFound { .. }) => Ok(()),
                Err(error) => Err(error),
            }
        }
        // It went again: the hour begins anew when it comes back.
        (KeyState::Pending, Record::Other | Record::Revoked) if key.seen_at.is_some() => {
            store.dkim_key_looked_at(key.id, None, None).await
        }
        (KeyState::Revocable | KeyState::Retired, Record::Revoked) => {
            tracing::info!(event = "dkim_key.revoked", key = %key.id, domain = watched.name);
            store.dkim_key_looked_at(key.id, key.seen_at, Some(now)).await
        }
        (KeyState::Pending | KeyState::Active | KeyState::Retired | KeyState::Revocable | KeyState::Revoked, _) => {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_record_counts() {
        let ours = "v=DKIM1; k=rsa; p=AAAA";
        let table: [(&[&str], Record); 6] = [
            (&["v=DKIM1; k=rsa; p=AAAA"], Record::Ours),
            (&["p=AA AA"], Record::Ours),
            (&["v=DKIM1; k=rsa; p=BBBB"], Record::Other),
            (&["v=DKIM1; k=rsa; p="], Record::Revoked),
            (&[], Record::Other),
            (&["v=DKIM1; k=rsa; p=AAAA", "v=DKIM1; k=rsa; p=AAAA"], Record::Other),
        ];
        for (records, want) in table {
            let records: Vec<String> = records.iter().map(|text| (*text).to_owned()).collect();
            assert_eq!(judge(&records, ours), want, "{records:?}");
        }
    }
}
