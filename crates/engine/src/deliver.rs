//! The delivery steps of one connection: last_look, resolve, choose_host, render, sign, mark, converse, judge, settle.
//!
//! The final dot goes only after a durable mark, and MAIL FROM only to somebody who may be written to at that moment. No
//! transaction of the database is open while a socket is waited for. Must not know how the queue is kept.

use std::sync::Arc;
use std::time::{Duration, Instant};

use postrider_domain::shaping::TlsDemand;
use postrider_domain::stream::TlsWish;
use postrider_mail::Stage;
use postrider_mail::reply::Reply;
use postrider_smtp::ladder::Demand;
use postrider_smtp::{Envelope, Failure, FailureKind};

use crate::connections::{Unreached, hosts, reach, timeouts};
use crate::courier::Courier;
use crate::desk::{Loaded, elapsed_ms};
use crate::judge::{self, Ended};
use crate::plan::Source;
use crate::render::Ready;
use crate::scheduler::Handed;
use crate::transport::wished;

/// A connection that gave deliveries back asks for others after this time.
const GIVE_BACK: Duration = Duration::from_millis(50);

/// A connection that was used so lately was not closed for being idle.
const BUSY: Duration = Duration::from_secs(2);

/// What one transaction came to.
enum Said {
    Reply(Reply),
    Failure(Failure),
    /// Nothing was said to this host about this delivery, and nothing counts: try again on a new connection.
    Again,
    /// It must not begin now, and nothing was said: put it back.
    NotNow,
}

impl Courier {
    /// Carries a batch of one lane. Every delivery in it is settled, put back or forgotten at the end.
    pub(crate) async fn carry(&mut self, batch: Vec<Handed>) {
        let mut batch = self.kit.expire(batch);
        if self.open.is_none() {
            // A connection is made for somebody who may be written to; marks ask the same once more.
            batch = self.kit.last_look(batch).await;
            while let Some(first) = batch.front().cloned() {
                if let Err(reason) = self.kit.scheduler.may_begin(&first) {
                    tracing::debug!(event = "hand_out.given_back", reason = reason.as_str());
                    self.kit.scheduler.give_back(batch.into());
                    return tokio::time::sleep(GIVE_BACK).await;
                }
                let begun = (self.kit.shared.now(), Instant::now());
                match self.connect(&first).await {
                    Ok(()) => break,
                    Err(unreached) if self.others_may(&unreached) => {
                        // Another source or host takes it: no attempt.
                        self.kit.scheduler.give_back(batch.into());
                        return tokio::time::sleep(GIVE_BACK).await;
                    }
                    Err(unreached) => {
                        // The connection would have carried all of this domain: its failure is an attempt of each.
                        let (domain, tls) = (first.row.domain.clone(), first.row.tls);
                        let (failed, rest): (Vec<Handed>, Vec<Handed>) =
                            batch.into_iter().partition(|h| h.row.domain == domain && h.row.tls == tls);
                        for handed in failed {
                            self.settle_unreached(&handed, &unreached, begun);
                        }
                        batch = rest.into();
                    }
                }
            }
        }
        let loaded = self.kit.load(batch).await;
        let mut loaded = self.kit.mark_ahead(loaded).await;
        while let Some(next) = loaded.pop_front() {
            if !self.carry_one(next).await {
                for left in loaded {
                    self.kit.put_back(&left);
                }
                return;
            }
        }
    }

    /// The steps `resolve` and `choose_host`, up to a connection that is past EHLO, TLS and login.
    async fn connect(&mut self, handed: &Handed) -> Result<(), Box<Unreached>> {
        let shared = &self.kit.shared;
        let wanted = timeouts(shared, handed.plan.policy.timeout_ms);
        let (hosts, mut policy) = tokio::join!(
            hosts(shared, &handed.plan, &self.place, &handed.row.domain, shared.random()),
            shared.transport.policy(shared, &handed.plan, &handed.row.domain),
        );
        let hosts = hosts?;
        if policy.demand == Demand::Ladder && self.manner.tls == TlsDemand::Required {
            // The profile of the site, or the workspace, forbids clear text.
            policy.demand = Demand::Encrypted;
        }
        policy.demand = wished(policy.demand, handed.row.tls);
        let most = self.host_limit.min(self.manner.per_connection);
        let most = shared.config.limits.messages_per_connection.min(most).max(1);
        if let Some(open) = &mut self.open {
            let fits = open.connection.is_usable()
                && open.carried < most
                && open.timeouts == wanted
                && hosts.iter().any(|h| h.name == open.host)
                && open.suffices(shared, &policy).await;
            if fits {
                open.require_tls = policy.demand == Demand::RequireTls;
                return Ok(());
            }
            self.close().await;
        }
        self.kit.check_site(handed, &self.place, &hosts);
        self.leaving = self.kit.scheduler.leaving(&self.place);
        let shared = &self.kit.shared;
        let reached = reach(shared, &handed.plan.route, &hosts, wanted, &policy, &self.leaving).await;
        match reached {
            Ok(open) => {
                self.kit.scheduler.reached(&self.place);
                self.open = Some(open);
                Ok(())
            }
            Err(mut unreached) => {
                if let Some(changed) = self.kit.reconsider(&self.place, handed, &unreached.ended) {
                    unreached.ended = changed;
                }
                // What one message asks for beyond its domain says nothing about the site.
                if handed.row.tls != Some(TlsWish::Require) {
                    self.kit.scheduler.heed(&self.place, &unreached.ended);
                }
                Err(unreached)
            }
        }
    }

    /// A connection that did not come about: whether that is the matter of this source, or of this host of a smarthost, and
    /// others can be used instead.
    fn others_may(&self, unreached: &Unreached) -> bool {
        let ended = &unreached.ended;
        let ours = match &self.place.source {
            Source::Direct | Source::Route(_) => false,
            // Nothing was said about the delivery yet: connect, greeting, TLS and login are the host's matter.
            Source::Host(..) => true,
            Source::Egress(_) => ended.no_way_from_here,
        };
        ours && self.kit.scheduler.pass_over(&self.place, &ended.text)
    }

    /// Carries one delivery; false when the rest of the batch should be put back.
    async fn carry_one(&mut self, mut loaded: Loaded) -> bool {
        if let Err(reason) = self.kit.scheduler.may_begin(&loaded.handed) {
            tracing::debug!(event = "delivery.put_back", delivery = %loaded.handed.row.delivery, reason = reason.as_str());
            self.kit.put_back(&loaded);
            return false;
        }
        let shared = Arc::clone(&self.kit.shared);
        let (at, begun) = (shared.now(), Instant::now());
        let mut second_time = false;
        loop {
            if let Err(unreached) = self.connect(&loaded.handed).await {
                if self.others_may(&unreached) {
                    self.kit.put_back(&loaded);
                    return false;
                }
                self.settle_unreached(&loaded.handed, &unreached, (at, begun));
                return true;
            }
            if loaded.marked_at.is_none() {
                // Before MAIL FROM, because the mark is the last look: it asks consent and suppression again.
                let asked_at = shared.monotonic();
                match self.kit.mark(&loaded.handed, &loaded.ready).await {
                    Ok(()) => loaded.marked_at = Some(asked_at),
                    Err(Some(why)) => {
                        self.kit.refused(&loaded.handed, why);
                        return true;
                    }
                    Err(None) => return false,
                }
            }
            match self.converse(&loaded, second_time).await {
                Said::Again => second_time = true,
                Said::NotNow => {
                    self.kit.put_back(&loaded);
                    return true;
                }
                Said::Reply(reply) => {
                    self.learn(elapsed_ms(begun));
                    self.rested = Instant::now();
                    self.settle(&loaded.handed, Some(&loaded.ready), &Ended::accepted(&reply), (at, begun));
                    return true;
                }
                Said::Failure(failure) => {
                    self.learn(elapsed_ms(begun));
                    let host = self.open.as_ref().map_or("", |open| open.host.as_str());
                    let ended = judge::of_failure(host, &failure);
                    self.settle(&loaded.handed, Some(&loaded.ready), &ended, (at, begun));
                    if !failure.connection_usable {
                        self.open = None;
                    }
                    return true;
                }
            }
        }
    }

    /// The step `converse`: MAIL, RCPT, DATA, the message, the dot and its reply. The mark stands.
    async fn converse(&mut self, loaded: &Loaded, second_time: bool) -> Said {
        let kit = Arc::clone(&self.kit);
        let Some(open) = &mut self.open else { return Said::Again };
        self.domain = Some(loaded.handed.row.domain.clone());
        let fresh = open.carried == 0;
        open.carried += 1;
        let strict;
        let envelope = if open.require_tls {
            strict = Envelope { require_tls: true, ..loaded.ready.envelope.clone() };
            &strict
        } else {
            &loaded.ready.envelope
        };
        let begun = {
            let mut begin = std::pin::pin!(open.connection.begin(envelope));
            // The last moment: who was closed since the mark was asked for gets no MAIL FROM, and nobody is closed between
            // this look and the write, which the first poll does (LAW-21, SR-17).
            let first = std::future::poll_fn(|cx| {
                let polled = kit.unless_closed(&loaded.handed, loaded.marked_at, || begin.as_mut().poll(cx));
                std::task::Poll::Ready(polled)
            });
            match first.await {
                None => return Said::NotNow,
                Some(std::task::Poll::Ready(begun)) => begun,
                Some(std::task::Poll::Pending) => begin.await,
            }
        };
        match begun {
            Ok(()) => match open.connection.finish(&loaded.ready.stuffed).await {
                Ok(reply) => Said::Reply(reply),
                Err(failure) => Said::Failure(failure),
            },
            Err(failure) if !fresh && !second_time && lets_go(&failure) => {
                // The host ended a connection that had served before: no fault of this delivery, and no attempt.
                let carried = open.carried.saturating_sub(1).max(1);
                if failure.reply().is_some() {
                    self.host_limit = self.host_limit.min(carried);
                }
                self.open = None;
                // Who was left waiting may have closed for that reason; who was busy has had enough messages.
                if self.rested.elapsed() < BUSY {
                    self.kit.scheduler.let_go(&self.place, carried);
                }
                Said::Again
            }
            Err(failure) => Said::Failure(failure),
        }
    }

    /// Settles an attempt that got no connection.
    fn settle_unreached(&self, handed: &Handed, unreached: &Unreached, begun: (i64, Instant)) {
        let record = (unreached.host.clone(), unreached.ip.clone(), String::new(), self.leaving.name.clone());
        self.kit.settle(handed, handed.row.first_try_at.unwrap_or(begun.0), &unreached.ended, begun, record);
    }

    /// Settles an attempt that had a connection.
    fn settle(&self, handed: &Handed, ready: Option<&Ready>, ended: &Ended, begun: (i64, Instant)) {
        let source = || self.leaving.name.clone();
        let record = self.open.as_ref().map(|o| (o.host.clone(), o.ip.to_string(), o.tls.clone(), source()));
        let record = record.unwrap_or_default();
        let first_try_at = ready.map_or(begun.0, |r| r.first_try_at);
        let changed = self.kit.reconsider(&self.place, handed, ended);
        let ended = changed.as_ref().unwrap_or(ended);
        self.kit.scheduler.heed(&self.place, ended);
        self.kit.settle(handed, first_try_at, ended, begun, record);
    }
}

/// The host closed a connection between two transactions, silently or with a 421.
fn lets_go(failure: &Failure) -> bool {
    match &failure.kind {
        FailureKind::IdleClosed => true,
        FailureKind::Refused(reply) => reply.code == 421 && failure.stage <= Stage::Mail,
        FailureKind::Closed => failure.stage <= Stage::Mail,
        FailureKind::Timeout
        | FailureKind::Protocol(_)
        | FailureKind::Tls(_)
        | FailureKind::AuthUnavailable(_)
        | FailureKind::TooLarge { .. }
        | FailureKind::NeedsSmtpUtf8
        | FailureKind::NeedsRequireTls
        | FailureKind::Unfit(_) => false,
    }
}
