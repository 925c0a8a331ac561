//! What is looked up for many deliveries and changes seldom: plans, routes, sending identities, versions.
//!
//! Settings are read again after each ring; versions never change; keys are parsed once. Must not know sockets.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use postrider_content::{Compiled, Prepared};
use postrider_domain::id::{CampaignId, DkimKeyId, MessageId, PoolId, PurposeId, RouteId, VersionId, WorkspaceId};
use postrider_domain::retry::RetryPolicy;
use postrider_mail::dkim::{Signer, SigningKey};
use postrider_mail::mailbox::{DomainName, Mailbox};
use postrider_mail::token::LinkKeys;
use postrider_store::domain::SecretDkimKey;
use postrider_store::lane::{LaneLease, QueueRow};
use postrider_store::{Store, StoreError};
use zeroize::Zeroizing;

use crate::plan::{Plan, Route};

/// Versions kept ready; a node seldom sends more campaigns at once.
const VERSIONS: usize = 64;

/// The workspace as messages show it.
pub(crate) struct Office {
    /// Without a slash at the end.
    pub(crate) public_url: String,
    pub(crate) link_keys: LinkKeys,
    pub(crate) hosted_copies: bool,
    pub(crate) zone: String,
}

/// Who signs for a From domain.
pub(crate) struct Identity {
    pub(crate) key: DkimKeyId,
    pub(crate) return_path_host: DomainName,
    pub(crate) signer: Signer,
}

/// What a delivery carries.
#[derive(Clone)]
pub(crate) enum Text {
    /// A version, rendered for each recipient.
    Version {
        prepared: Arc<Prepared>,
        /// The purpose of its unsubscribe links.
        purpose: Option<PurposeId>,
    },
    /// Bytes that were composed when the message was taken.
    Whole { bytes: Arc<Vec<u8>>, from: Mailbox },
}

impl Text {
    /// The From mailbox.
    pub(crate) fn from(&self) -> &Mailbox {
        match self {
            Text::Version { prepared, .. } => prepared.compiled().from_mailbox(),
            Text::Whole { from, .. } => from,
        }
    }
}

/// Workspace, campaign, stream, and the route that a rule of the queue gave.
type PlanKey = (WorkspaceId, Option<CampaignId>, postrider_domain::stream::Stream, Option<RouteId>);

#[derive(Default)]
struct Shelves {
    offices: HashMap<WorkspaceId, Arc<Office>>,
    routes: HashMap<(WorkspaceId, Option<RouteId>), Arc<Route>>,
    plans: HashMap<PlanKey, Arc<Plan>>,
    identities: HashMap<(WorkspaceId, String), Option<Arc<Identity>>>,
    keys: HashMap<DkimKeyId, Arc<Identity>>,
    versions: HashMap<VersionId, Arc<Prepared>>,
}

/// The caches.
pub(crate) struct Book {
    store: Store,
    shelves: Mutex<Shelves>,
}

impl Book {
    pub(crate) fn new(store: Store) -> Book {
        Book { store, shelves: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Shelves> {
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets what people may have changed; parsed keys and versions stay.
    pub(crate) fn forget_settings(&self) {
        let mut shelves = self.lock();
        shelves.offices.clear();
        shelves.routes.clear();
        shelves.plans.clear();
        shelves.identities.clear();
    }

    /// How the deliveries of a lane are sent.
    pub(crate) async fn plan(&self, lease: &LaneLease) -> Result<Arc<Plan>, StoreError> {
        let key = (lease.workspace, lease.campaign, lease.stream, lease.route);
        if let Some(plan) = self.lock().plans.get(&key) {
            return Ok(Arc::clone(plan));
        }
        let (policy, route, purpose) = match lease.campaign {
            Some(campaign) => {
                let campaign = self.store.campaign(lease.workspace, campaign).await?;
                (campaign.policy, campaign.route, campaign.audience.purpose)
            }
            None => (RetryPolicy::default_for(lease.stream), None, None),
        };
        let route = self.route(lease.workspace, lease.route.or(route)).await?;
        let pools = self.pools(lease, &route).await?;
        let plan = Arc::new(Plan {
            workspace: lease.workspace,
            campaign: lease.campaign,
            stream: lease.stream,
            purpose,
            policy,
            route,
            zone: self.office(lease.workspace).await?.zone.clone(),
            pools,
        });
        self.lock().plans.insert(key, Arc::clone(&plan));
        Ok(plan)
    }

    /// The pools that the mail of a lane may leave by.
    async fn pools(&self, lease: &LaneLease, route: &Route) -> Result<Vec<Option<PoolId>>, StoreError> {
        let egress = &route.settings.egress;
        let Some(campaign) = lease.campaign else { return Ok(egress.pools_of(lease.stream)) };
        if egress.rules.iter().all(|rule| rule.domain.is_none()) {
            return Ok(vec![egress.pool_of(lease.stream, None)]);
        }
        // All texts of a campaign have one From mailbox.
        let variants = self.store.variants(lease.workspace, campaign).await?;
        let from = variants.first().and_then(|variant| Mailbox::parse(&variant.draft.from_mailbox).ok());
        Ok(vec![egress.pool_of(lease.stream, from.as_ref().map(|from| from.domain().as_str()))])
    }

    /// A route with its secret; the default one when none is named.
    pub(crate) async fn route(&self, workspace: WorkspaceId, named: Option<RouteId>) -> Result<Arc<Route>, StoreError> {
        if let Some(route) = self.lock().routes.get(&(workspace, named)) {
            return Ok(Arc::clone(route));
        }
        let stored =
            match named {
                Some(id) => self.store.route(workspace, id).await?,
                None => self.store.default_route(workspace).await?.ok_or_else(|| {
                    StoreError::refused("the workspace has no route: add one with `postrider route add`")
                })?,
            };
        let secret = self.store.route_secret(workspace, stored.id).await?;
        let password = secret.map(|secret| Zeroizing::new(secret.reveal().to_owned()));
        let mut host_passwords = HashMap::new();
        if !stored.settings.hosts.is_empty() {
            for (host, secret) in self.store.host_secrets(workspace, stored.id).await? {
                host_passwords.insert(host, Zeroizing::new(secret.reveal().to_owned()));
            }
        }
        let proved = if stored.settings.signing.needs_proof() {
            let proofs = self.store.relay_proofs(workspace, stored.id).await?;
            proofs.into_iter().map(|proof| proof.domain).collect()
        } else {
            Vec::new()
        };
        let route = Arc::new(Route { id: stored.id, settings: stored.settings, password, host_passwords, proved });
        self.lock().routes.insert((workspace, named), Arc::clone(&route));
        Ok(route)
    }

    /// The workspace as messages show it.
    pub(crate) async fn office(&self, workspace: WorkspaceId) -> Result<Arc<Office>, StoreError> {
        if let Some(office) = self.lock().offices.get(&workspace) {
            return Ok(Arc::clone(office));
        }
        let stored = self.store.workspace(workspace).await?;
        let office = Arc::new(Office {
            public_url: stored.public_url.trim_end_matches('/').to_owned(),
            link_keys: self.store.link_keys(workspace).await?,
            hosted_copies: stored.hosted_copies,
            zone: stored.time_zone,
        });
        self.lock().offices.insert(workspace, Arc::clone(&office));
        Ok(office)
    }

    /// Who signs a delivery: the key of its first try, else the one that signs for the From domain now.
    pub(crate) async fn identity(
        &self,
        row: &QueueRow,
        from: &DomainName,
    ) -> Result<Option<Arc<Identity>>, StoreError> {
        if let Some(key) = row.dkim_key {
            if let Some(identity) = self.lock().keys.get(&key) {
                return Ok(Some(Arc::clone(identity)));
            }
            match self.store.signing_key_by_id(row.workspace, key).await {
                Ok(secret) => return self.keep(&secret).map(Some),
                // Removed since: what waits is signed by the key of today.
                Err(StoreError::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let name = (row.workspace, from.as_str().to_owned());
        if let Some(identity) = self.lock().identities.get(&name) {
            return Ok(identity.clone());
        }
        let secret = self.store.signing_key(row.workspace, from.as_str()).await?;
        let identity = secret.as_ref().map(|secret| self.keep(secret)).transpose()?;
        self.lock().identities.insert(name, identity.clone());
        Ok(identity)
    }

    fn keep(&self, secret: &SecretDkimKey) -> Result<Arc<Identity>, StoreError> {
        if let Some(identity) = self.lock().keys.get(&secret.id) {
            return Ok(Arc::clone(identity));
        }
        let corrupt = |what: String| StoreError::Corrupt(format!("the DKIM key {}: {what}", secret.id));
        let key = SigningKey::from_pkcs8(secret.private.reveal()).map_err(|error| corrupt(error.to_string()))?;
        let domain = DomainName::parse(&secret.domain).map_err(|error| corrupt(error.to_string()))?;
        let identity = Arc::new(Identity {
            key: secret.id,
            return_path_host: DomainName::parse(&secret.return_path_host)
                .map_err(|error| corrupt(error.to_string()))?,
            signer: Signer::new(domain, &secret.selector, Arc::new(key)).map_err(|error| corrupt(error.to_string()))?,
        });
        self.lock().keys.insert(secret.id, Arc::clone(&identity));
        Ok(identity)
    }

    /// What a delivery carries.
    pub(crate) async fn text(&self, row: &QueueRow, plan: &Plan) -> Result<Text, StoreError> {
        let Some(version) = row.version else {
            let message = row.message.ok_or_else(|| {
                StoreError::Corrupt(format!("the delivery {} has neither a version nor a message", row.delivery))
            })?;
            return self.whole(row.workspace, message).await;
        };
        let purpose = match (plan.purpose, row.message) {
            (Some(purpose), _) => Some(purpose),
            // A test send: its links name the purpose of the campaign that it tests.
            (None, Some(message)) => match self.store.message(row.workspace, message).await?.test_of {
                Some(campaign) => self.store.campaign(row.workspace, campaign).await?.audience.purpose,
                None => None,
            },
            (None, None) => None,
        };
        Ok(Text::Version { prepared: self.version(row.workspace, version).await?, purpose })
    }

    async fn version(&self, workspace: WorkspaceId, id: VersionId) -> Result<Arc<Prepared>, StoreError> {
        if let Some(prepared) = self.lock().versions.get(&id) {
            return Ok(Arc::clone(prepared));
        }
        let stored = self.store.version(workspace, id).await?;
        let corrupt = |error: &dyn std::fmt::Display| StoreError::Corrupt(format!("the version {id}: {error}"));
        let compiled = Compiled::from_bytes(&stored.compiled).map_err(|error| corrupt(&error))?;
        let prepared = Arc::new(Prepared::new(compiled).map_err(|error| corrupt(&error))?);
        let mut shelves = self.lock();
        if shelves.versions.len() >= VERSIONS
            && let Some(oldest) = shelves.versions.keys().min().copied()
        {
            shelves.versions.remove(&oldest);
        }
        shelves.versions.insert(id, Arc::clone(&prepared));
        Ok(prepared)
    }

    async fn whole(&self, workspace: WorkspaceId, message: MessageId) -> Result<Text, StoreError> {
        let bytes = self.store.message_bytes(workspace, message).await?;
        let from = self.store.message(workspace, message).await?.from_mailbox;
        let from = Mailbox::parse(&from)
            .map_err(|error| StoreError::Corrupt(format!("the message {message}: its From mailbox: {error}")))?;
        Ok(Text::Whole { bytes: Arc::new(bytes), from })
    }
}
