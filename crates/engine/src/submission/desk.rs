//! Who may do what: credentials, sending domains and routes, read from the store and kept ready.
//!
//! A change counts within a second. Must not know SMTP.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use postrider_domain::id::{CredentialId, RouteId, WorkspaceId};
use postrider_domain::relay::{CredentialKind, CredentialSettings, RefusedFor};
use postrider_domain::route::RouteKind;
use postrider_smtp::IpRange;
use postrider_store::StoreError;
use postrider_store::bell::Topic;
use postrider_store::credential::Entry;
use postrider_store::lane::UNRESOLVED;
use postrider_store::relay_note::NewRelayNote;
use tokio::sync::Semaphore;

use super::SubmissionConfig;
use super::door::{Door, Refused};
use super::notes::Notes;
use crate::book::Book;
use crate::shared::Shared;

/// The credentials are read again at least this often.
const FRESH: Duration = Duration::from_secs(1);
/// Notes and uses are written this often.
const NOTES: Duration = Duration::from_secs(2);

/// A credential that may be used.
pub(super) struct Known {
    pub(super) entry: Entry,
    networks: Vec<IpRange>,
}

impl Known {
    pub(super) fn id(&self) -> CredentialId {
        self.entry.credential.id
    }

    pub(super) fn workspace(&self) -> WorkspaceId {
        self.entry.credential.workspace
    }

    pub(super) fn settings(&self) -> &CredentialSettings {
        &self.entry.credential.settings
    }

    /// Whether it may be used from this address.
    pub(super) fn admits(&self, client: IpAddr) -> bool {
        let anywhere = self.entry.credential.kind == CredentialKind::Password && self.networks.is_empty();
        anywhere || self.networks.iter().any(|range| range.contains(client))
    }
}

#[derive(Default)]
struct Cards {
    by_name: HashMap<String, Arc<Known>>,
    by_address: Vec<Arc<Known>>,
    all: Vec<Arc<Known>>,
    /// From domains that have a key, as far as they were asked for.
    signs: HashMap<(WorkspaceId, String), bool>,
}

/// The desk of a node.
pub(super) struct Desk {
    shared: Arc<Shared>,
    book: Arc<Book>,
    door: Arc<Door>,
    cards: Arc<Mutex<Cards>>,
    notes: Notes,
    used: Mutex<HashSet<CredentialId>>,
    /// Bytes of messages that may be on their way in.
    pub(super) room: Arc<Semaphore>,
    pub(super) name: String,
}

impl Desk {
    pub(super) fn new(shared: Arc<Shared>, book: Arc<Book>, config: &SubmissionConfig) -> Arc<Desk> {
        let cards: Arc<Mutex<Cards>> = Arc::default();
        let seen = Arc::clone(&cards);
        let usual = CredentialSettings::default().connections;
        let allowed = move |client: IpAddr| {
            let cards = seen.lock().unwrap_or_else(PoisonError::into_inner);
            let own = cards.all.iter().filter(|known| known.admits(client)).map(|known| known.settings().connections);
            own.max().unwrap_or(usual)
        };
        Arc::new(Desk {
            door: Door::new(config.connections, allowed),
            room: Arc::new(Semaphore::new(config.bytes.min(Semaphore::MAX_PERMITS))),
            name: config.name.clone(),
            shared,
            book,
            cards,
            notes: Notes::default(),
            used: Mutex::default(),
        })
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    pub(super) fn door(&self) -> &Arc<Door> {
        &self.door
    }

    /// Keeps the credentials fresh until the engine ends.
    pub(super) async fn keep_fresh(self: Arc<Self>) {
        let mut bell = self.shared.store.bell().listen();
        loop {
            match self.shared.store.entries().await {
                Ok(entries) => self.replace(entries),
                Err(error) => self.shared.complain("read the credentials", &error),
            }
            let heard = async {
                // A route, a domain or a credential changed.
                while !matches!(bell.recv().await, Ok(Topic::Campaign) | Err(_)) {}
            };
            tokio::select! {
                () = heard => {}
                running = self.shared.rest(FRESH) => if !running { return },
            }
        }
    }

    fn replace(&self, entries: Vec<Entry>) {
        let mut fresh = Cards::default();
        for entry in entries {
            // What cannot be read admits nobody; the API takes no such range.
            let networks = entry.credential.settings.networks.iter().filter_map(|range| range.parse().ok()).collect();
            let known = Arc::new(Known { entry, networks });
            match (&known.entry.credential.kind, &known.entry.credential.username) {
                (CredentialKind::Password, Some(name)) => _ = fresh.by_name.insert(name.clone(), Arc::clone(&known)),
                (CredentialKind::Password, None) => {}
                (CredentialKind::Address, _) => fresh.by_address.push(Arc::clone(&known)),
            }
            fresh.all.push(known);
        }
        *self.cards.lock().unwrap_or_else(PoisonError::into_inner) = fresh;
    }

    /// The credential of a user name and password.
    pub(super) fn log_in(&self, username: &str, password: &str) -> Option<Arc<Known>> {
        let known = self.cards.lock().unwrap_or_else(PoisonError::into_inner).by_name.get(username).cloned()?;
        known.entry.opens(password).then_some(known)
    }

    /// Whether a credential is as it was; a session keeps one for longer than it may live.
    pub(super) fn still(&self, known: &Known) -> Option<Arc<Known>> {
        let cards = self.cards.lock().unwrap_or_else(PoisonError::into_inner);
        cards.all.iter().find(|now| now.id() == known.id()).cloned()
    }

    /// The credentials that an address alone opens, narrowest meaning first come.
    pub(super) fn by_address(&self, client: IpAddr) -> Vec<Arc<Known>> {
        let cards = self.cards.lock().unwrap_or_else(PoisonError::into_inner);
        cards.by_address.iter().filter(|known| known.admits(client)).cloned().collect()
    }

    /// Whether anybody could ever come from this address.
    pub(super) fn is_listed(&self, client: IpAddr) -> bool {
        let cards = self.cards.lock().unwrap_or_else(PoisonError::into_inner);
        cards.all.iter().any(|known| known.admits(client))
    }

    /// Whether a workspace may sign for a From domain.
    pub(super) async fn signs(&self, workspace: WorkspaceId, domain: &str) -> Result<bool, StoreError> {
        let key = (workspace, domain.to_owned());
        if let Some(signs) = self.cards.lock().unwrap_or_else(PoisonError::into_inner).signs.get(&key) {
            return Ok(*signs);
        }
        let signs = self.shared.store.signing_key(workspace, domain).await?.is_some();
        self.cards.lock().unwrap_or_else(PoisonError::into_inner).signs.insert(key, signs);
        Ok(signs)
    }

    /// The site of the lane in which a message waits.
    pub(super) async fn site(&self, workspace: WorkspaceId, route: Option<RouteId>) -> Result<String, StoreError> {
        let route = self.book.route(workspace, route).await?;
        Ok(match route.settings.kind {
            RouteKind::Mx => UNRESOLVED.to_owned(),
            RouteKind::Smarthost => format!("route:{}", route.id),
        })
    }

    /// Whether nothing can be taken now.
    pub(super) fn is_full(&self) -> bool {
        self.shared.writer.is_short_of_space()
    }

    /// A credential was used.
    pub(super) fn used(&self, id: CredentialId) {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
    }

    pub(super) fn note(&self, note: NewRelayNote) {
        tracing::info!(event = "submission.refused", reason = note.reason.as_str(), client = %note.client, reply = %note.reply);
        self.shared.metrics.refused_submission(note.reason);
        self.notes.add(note);
    }

    /// Somebody did not get in.
    pub(super) fn turned_away(&self, client: IpAddr, refused: Refused) {
        let detail = match refused {
            Refused::Concurrency => "connections of one client network",
            Refused::Crowded => "connections of this node",
        };
        let known = self.by_address(client).first().cloned();
        self.note(NewRelayNote {
            workspace: known.as_ref().map(|known| known.workspace()),
            credential: known.as_ref().map(|known| known.id()),
            reason: RefusedFor::Limit,
            client: client.to_string(),
            detail: detail.to_owned(),
            reply: "421".to_owned(),
        });
    }

    /// Writes notes and uses until the engine ends, and what is left then.
    pub(super) async fn keep_notes(self: Arc<Self>) {
        loop {
            let running = self.shared.rest(NOTES).await;
            let used = std::mem::take(&mut *self.used.lock().unwrap_or_else(PoisonError::into_inner));
            for id in used {
                if let Err(error) = self.shared.store.credential_used(id).await {
                    self.shared.complain("note the use of a credential", &error);
                }
            }
            if let Err(error) = self.shared.store.note_refusals(&self.notes.take()).await {
                self.shared.complain("note what was refused", &error);
            }
            if !running {
                return;
            }
        }
    }
}
