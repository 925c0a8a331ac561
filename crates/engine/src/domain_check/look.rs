//! Questions to DNS with a limit of time each, since a person waits. Must not judge the answers.

use std::future::Future;
use std::net::IpAddr;
use std::time::Duration;

use postrider_mail::mailbox::DomainName;
use postrider_smtp::{MxAnswer, ResolveError, Resolver};

use super::{Finding, FindingCode};

/// One question may take this long; the person who asked waits 13 s for all of them.
const LONGEST: Duration = Duration::from_secs(3);

/// The resolver, patient for a short time.
pub(super) struct Look<'a> {
    resolver: &'a dyn Resolver,
}

/// A question that DNS did not answer.
pub(super) struct Silent(pub(super) String);

impl<'a> Look<'a> {
    pub(super) fn new(resolver: &'a dyn Resolver) -> Look<'a> {
        Look { resolver }
    }

    /// The TXT records of a name; none when there are none.
    pub(super) async fn txt(&self, name: &str) -> Result<Vec<String>, Silent> {
        within(self.resolver.txt(name)).await.map(Option::unwrap_or_default)
    }

    pub(super) async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, Silent> {
        within(self.resolver.addresses(name)).await.map(Option::unwrap_or_default)
    }

    /// Where mail for a name goes; `None` when it has neither MX nor address.
    pub(super) async fn mx(&self, name: &DomainName) -> Result<Option<MxAnswer>, Silent> {
        within(self.resolver.mx(name)).await
    }

    pub(super) async fn zone_of(&self, name: &str) -> Result<Option<String>, Silent> {
        within(self.resolver.zone_of(name)).await
    }

    pub(super) async fn names_of(&self, address: IpAddr) -> Result<Vec<String>, Silent> {
        within(self.resolver.names_of(address)).await.map(Option::unwrap_or_default)
    }

    pub(super) async fn caa(&self, name: &str) -> Result<Vec<String>, Silent> {
        within(self.resolver.caa(name)).await.map(Option::unwrap_or_default)
    }
}

impl Silent {
    pub(super) fn finding(&self, about: &str) -> Finding {
        Finding::new(FindingCode::DnsSilent, about, self.0.clone())
    }
}

async fn within<T>(question: impl Future<Output = Result<T, ResolveError>>) -> Result<Option<T>, Silent> {
    match tokio::time::timeout(LONGEST, question).await {
        Ok(Ok(answer)) => Ok(Some(answer)),
        Ok(Err(ResolveError::NotFound)) => Ok(None),
        Ok(Err(ResolveError::Temporary(why))) => Err(Silent(why)),
        Err(_) => Err(Silent(format!("no answer within {} s", LONGEST.as_secs()))),
    }
}
