//! A resolver that tells the look-out whether questions are answered at all.
//!
//! Changes no answer. Must not know what is asked and why.

use std::net::IpAddr;
use std::sync::Arc;

use postrider_mail::mailbox::DomainName;
use postrider_smtp::{BoxFuture, MxAnswer, ResolveError, Resolver};
use postrider_store::Clock;

use super::notes::Notes;

/// Notes the answers of another resolver.
pub(crate) struct Listening {
    inner: Arc<dyn Resolver>,
    notes: Arc<Notes>,
    clock: Arc<dyn Clock>,
}

impl Listening {
    pub(crate) fn new(inner: Arc<dyn Resolver>, notes: Arc<Notes>, clock: Arc<dyn Clock>) -> Listening {
        Listening { inner, notes, clock }
    }

    fn note<T>(&self, name: &str, answer: &Result<T, ResolveError>) {
        let word = match answer {
            // That there is nothing is an answer.
            Ok(_) | Err(ResolveError::NotFound) => Ok(()),
            Err(ResolveError::Temporary(why)) => Err(why.as_str()),
        };
        self.notes.dns(self.clock.monotonic_ms(), name, word);
    }
}

impl Resolver for Listening {
    fn mx<'a>(&'a self, domain: &'a DomainName) -> BoxFuture<'a, Result<MxAnswer, ResolveError>> {
        Box::pin(async move {
            let answer = self.inner.mx(domain).await;
            self.note(domain.as_str(), &answer);
            answer
        })
    }

    fn addresses<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Result<Vec<IpAddr>, ResolveError>> {
        Box::pin(async move {
            let answer = self.inner.addresses(host).await;
            self.note(host, &answer);
            answer
        })
    }

    fn txt<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<String>, ResolveError>> {
        Box::pin(async move {
            let answer = self.inner.txt(name).await;
            self.note(name, &answer);
            answer
        })
    }

    fn zone_of<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<String, ResolveError>> {
        // A resolver that does not ask for these says so as a failure: not noted.
        self.inner.zone_of(name)
    }

    fn names_of<'a>(&'a self, address: IpAddr) -> BoxFuture<'a, Result<Vec<String>, ResolveError>> {
        self.inner.names_of(address)
    }

    fn caa<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<String>, ResolveError>> {
        self.inner.caa(name)
    }
}
