//! The delivery steps of one connection: last_look, resolve, choose_host, render, sign, mark, converse, judge, settle.
//!
//! The final dot goes only after a durable mark, and MAIL FROM only to somebody who may be written to at that moment. No
//! transaction of the database is open while a socket is waited for. Must not know how the queue is kept.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use postrider_domain::gate::may_send;
use postrider_domain::outcome::{AttemptResult, Outcome};
use postrider_domain::stream::{InDoubtPolicy, Stream};
use postrider_mail::Stage;
use postrider_mail::mailbox::Mailbox;
use postrider_mail::redact::mailbox_for_log;
use postrider_mail::reply::Reply;
use postrider_smtp::{Failure, FailureKind};
use postrider_store::StoreError;
use postrider_store::mark::{MarkAnswer, MarkRefused, MarkRequest};
use postrider_store::settle::{AttemptRecord, Next, Settle};

use crate::connections::{Unreached, hosts, reach, timeouts};
use crate::courier::{Courier, Kit};
use crate::judge::{self, Ended};
use crate::plan::Flow;
use crate::render::{self, Order, Ready, Unmakable};
use crate::scheduler::{Handed, Landing};
use crate::workshop::Urgency;

/// What lacks for a message is asked for again after this time.
const STUCK_MS: i64 = 30_000;
/// A delivery whose mark could not be used now is ready again after this time.
const PUT_BACK_MS: i64 = 500;
/// A connection that gave deliveries back asks for others after this time.
const GIVE_BACK: Duration = Duration::from_millis(50);

/// A delivery with its message, marked or about to be.
struct Loaded {
    handed: Handed,
    ready: Ready,
    /// When the mark was asked for, on the monotonic clock; `None` without a mark.
    marked_at: Option<i64>,
}

/// What one transaction came to.
enum Said {
    Reply(Reply),
    Failure(Failure),
    /// Nothing was said to this host about this delivery, and nothing counts: try again on a new connection.
    Again,
    /// It must not begin now, and nothing was said: put it back.
    NotNow,
    /// No dot may go; the mark was refused while the host waited.
    Refused(MarkRefused),
    /// The engine cannot go on.
    Over,
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
                    Err(unreached) => {
                        // The connection would have carried all of this domain: its failure is an attempt of each.
                        let domain = first.row.domain.clone();
                        let (failed, rest): (Vec<Handed>, Vec<Handed>) =
                            batch.into_iter().partition(|h| h.row.domain == domain);
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
        let hosts = hosts(shared, &handed.plan, &handed.row.domain, shared.random()).await?;
        let most = shared.config.limits.messages_per_connection.min(self.host_limit).max(1);
        if let Some(open) = &self.open {
            let fits = open.connection.is_usable()
                && open.carried < most
                && open.timeouts == wanted
                && hosts.iter().any(|h| h.name == open.host);
            if fits {
                return Ok(());
            }
            self.close().await;
        }
        let shared = &self.kit.shared;
        let reached = reach(shared, &handed.plan.route, &hosts, wanted).await;
        match reached {
            Ok(open) => {
                self.open = Some(open);
                Ok(())
            }
            Err(unreached) => {
                if unreached.ended.complains_of_speed() {
                    self.kit.scheduler.ease(&self.place);
                }
                Err(unreached)
            }
        }
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
                self.settle_unreached(&loaded.handed, &unreached, (at, begun));
                return true;
            }
            match self.converse(&mut loaded, second_time).await {
                Said::Again => second_time = true,
                Said::NotNow => {
                    self.kit.put_back(&loaded);
                    return true;
                }
                Said::Reply(reply) => {
                    self.learn(elapsed_ms(begun));
                    self.settle(&loaded.handed, Some(&loaded.ready), &Ended::accepted(&reply), (at, begun));
                    return true;
                }
                Said::Failure(failure) => {
                    self.learn(elapsed_ms(begun));
                    let ended = judge::of_failure(&failure);
                    if ended.complains_of_speed() {
                        self.kit.scheduler.ease(&self.place);
                    }
                    self.settle(&loaded.handed, Some(&loaded.ready), &ended, (at, begun));
                    if !failure.connection_usable {
                        self.open = None;
                    }
                    return true;
                }
                Said::Refused(why) => {
                    self.kit.refused(&loaded.handed, why);
                    return true;
                }
                Said::Over => return false,
            }
        }
    }

    /// The step `converse`: MAIL, RCPT, DATA, the mark, the message, the dot and its reply.
    async fn converse(&mut self, loaded: &mut Loaded, second_time: bool) -> Said {
        let kit = Arc::clone(&self.kit);
        // The last moment before MAIL FROM: who was closed since the mark was asked for gets nothing (LAW-21, SR-17).
        if kit.is_closed(&loaded.handed, loaded.marked_at) {
            return Said::NotNow;
        }
        let Some(open) = &mut self.open else { return Said::Again };
        self.domain = Some(loaded.handed.row.domain.clone());
        let fresh = open.carried == 0;
        open.carried += 1;
        let begun = if loaded.marked_at.is_some() {
            open.connection.begin(&loaded.ready.envelope).await
        } else {
            // Asked with MAIL FROM, awaited before the dot: the commit hides behind the dialogue.
            let asked_at = kit.shared.monotonic();
            let (mark, begun) =
                tokio::join!(kit.mark(&loaded.handed, &loaded.ready), open.connection.begin(&loaded.ready.envelope));
            match mark {
                Ok(()) => {
                    loaded.marked_at = Some(asked_at);
                    begun
                }
                Err(why) => {
                    // A refused mark closes the connection without the dot.
                    if let Some(open) = self.open.take() {
                        open.connection.abandon();
                    }
                    return why.map_or(Said::Over, Said::Refused);
                }
            }
        };
        match begun {
            Ok(()) => match open.connection.finish(&loaded.ready.stuffed).await {
                Ok(reply) => Said::Reply(reply),
                Err(failure) => Said::Failure(failure),
            },
            Err(failure) if !fresh && !second_time && lets_go(&failure) => {
                // The host ended a connection that had served before: no fault of this delivery, and no attempt.
                if failure.reply().is_some() {
                    self.host_limit = self.host_limit.min(open.carried.saturating_sub(1).max(1));
                }
                self.open = None;
                Said::Again
            }
            Err(failure) => Said::Failure(failure),
        }
    }

    /// Settles an attempt that got no connection.
    fn settle_unreached(&self, handed: &Handed, unreached: &Unreached, begun: (i64, Instant)) {
        let record = (unreached.host.clone(), unreached.ip.clone(), String::new());
        self.kit.settle(handed, handed.row.first_try_at.unwrap_or(begun.0), &unreached.ended, begun, record);
    }

    /// Settles an attempt that had a connection.
    fn settle(&self, handed: &Handed, ready: Option<&Ready>, ended: &Ended, begun: (i64, Instant)) {
        let record = self.open.as_ref().map(|o| (o.host.clone(), o.ip.to_string(), o.tls.clone())).unwrap_or_default();
        let first_try_at = ready.map_or(begun.0, |r| r.first_try_at);
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
        | FailureKind::Unfit(_) => false,
    }
}

fn elapsed_ms(begun: Instant) -> i64 {
    i64::try_from(begun.elapsed().as_millis()).unwrap_or(i64::MAX)
}

impl Kit {
    /// Ends what waited beyond the time after which nobody wants it any more.
    fn expire(&self, batch: Vec<Handed>) -> VecDeque<Handed> {
        let now = self.shared.now();
        let (late, rest): (Vec<Handed>, Vec<Handed>) =
            batch.into_iter().partition(|h| h.row.expires_at.is_some_and(|end| now > end));
        for handed in late {
            tracing::info!(event = "expired", delivery = %handed.row.delivery);
            self.shared.metrics.outcome(handed.plan.stream, postrider_domain::outcome::OutcomeKind::Expired);
            self.landings.settle(Settle {
                delivery: handed.row.delivery,
                lane: handed.lease.lane,
                lane_epoch: handed.lease.epoch,
                attempt: None,
                next: Next::Done(Outcome::Expired),
                suppress: None,
            });
        }
        rest.into()
    }

    /// The step `last_look`: consent and suppression as they are now.
    async fn last_look(&self, batch: VecDeque<Handed>) -> VecDeque<Handed> {
        let ids: Vec<_> = batch.iter().map(|h| h.row.delivery).collect();
        let facts = match self.shared.store.last_look(&ids).await {
            Ok(facts) => facts,
            Err(error) => {
                self.shared.complain("take a last look", &error);
                return batch; // the mark looks as well
            }
        };
        let mut rest = VecDeque::with_capacity(batch.len());
        for handed in batch {
            match facts.iter().find(|(id, _)| *id == handed.row.delivery).map(|(_, facts)| may_send(facts)) {
                Some(Ok(())) => rest.push_back(handed),
                Some(Err(reason)) => self.withhold(&handed, reason),
                None => self.landings.land(handed.lease.lane, handed.row.delivery, Landing::Gone),
            }
        }
        rest
    }

    /// The steps `render` and `sign` for the whole batch, on the threads of the workshop.
    async fn load(&self, batch: VecDeque<Handed>) -> VecDeque<Loaded> {
        let mut orders = Vec::with_capacity(batch.len());
        let mut waiting = Vec::with_capacity(batch.len());
        for handed in batch {
            match self.order(&handed).await {
                Ok(Some(order)) => {
                    let urgency = match handed.plan.stream {
                        Stream::Transactional => Urgency::First,
                        Stream::Marketing => Urgency::InTurn,
                    };
                    let begun = Instant::now();
                    let metrics = self.shared.metrics.clone();
                    orders.push(self.workshop.order(urgency, move || {
                        let made = render::make(&order);
                        metrics.signed(begun.elapsed());
                        made
                    }));
                    waiting.push(handed);
                }
                Ok(None) => {
                    let flow = Flow::of(&handed.plan);
                    tracing::warn!(event = "setup.missing", what = "a sending domain with a key for the From domain");
                    self.scheduler.stick(flow, self.shared.now() + STUCK_MS);
                    self.scheduler.give_back(vec![handed]);
                }
                Err(StoreError::Corrupt(what)) => {
                    tracing::error!(event = "delivery.unmakable", delivery = %handed.row.delivery, what);
                    self.withhold(&handed, postrider_domain::gate::Withheld::Unrenderable);
                }
                Err(error) => {
                    self.shared.complain("look up what a message is made from", &error);
                    self.scheduler.stick(Flow::of(&handed.plan), self.shared.now() + 1_000);
                    self.scheduler.give_back(vec![handed]);
                }
            }
        }
        let made = join_all(orders).await;
        let mut loaded = VecDeque::with_capacity(waiting.len());
        for (handed, made) in waiting.into_iter().zip(made) {
            match made {
                Some(Ok(ready)) => loaded.push_back(Loaded { handed, ready, marked_at: None }),
                Some(Err(why)) => self.unmakable(&handed, &why),
                None => {
                    tracing::error!(event = "delivery.unmakable", delivery = %handed.row.delivery, what = "a panic");
                    self.withhold(&handed, postrider_domain::gate::Withheld::Unrenderable);
                }
            }
        }
        loaded
    }

    fn unmakable(&self, handed: &Handed, why: &Unmakable) {
        tracing::warn!(event = "delivery.unmakable", delivery = %handed.row.delivery, what = %why);
        let reason = match why {
            Unmakable::Mailbox(_) => postrider_domain::gate::Withheld::Unmailable,
            Unmakable::Render(_) | Unmakable::Sign(_) | Unmakable::Stuff(_) | Unmakable::NoPurpose => {
                postrider_domain::gate::Withheld::Unrenderable
            }
        };
        self.withhold(handed, reason);
    }

    /// Marks the whole batch when its policy is to send again after a crash; else each is marked beside its MAIL FROM.
    async fn mark_ahead(&self, loaded: VecDeque<Loaded>) -> VecDeque<Loaded> {
        let ahead = loaded.front().is_some_and(|l| l.handed.plan.policy.in_doubt == InDoubtPolicy::Resend);
        if !ahead {
            return loaded;
        }
        let asked_at = self.shared.monotonic();
        let answers = join_all(loaded.iter().map(|l| self.mark(&l.handed, &l.ready))).await;
        let mut marked = VecDeque::with_capacity(loaded.len());
        for (mut loaded, answer) in loaded.into_iter().zip(answers) {
            match answer {
                Ok(()) => {
                    loaded.marked_at = Some(asked_at);
                    marked.push_back(loaded);
                }
                Err(Some(why)) => self.refused(&loaded.handed, why),
                Err(None) => {} // the engine ends: the row stays as it is
            }
        }
        marked
    }

    /// Gives a marked delivery back: the dot did not go, and nothing counts as an attempt.
    fn put_back(&self, loaded: &Loaded) {
        let handed = &loaded.handed;
        self.landings.settle(Settle {
            delivery: handed.row.delivery,
            lane: handed.lease.lane,
            lane_epoch: handed.lease.epoch,
            attempt: None,
            next: Next::Later { ready_at: self.shared.now() + PUT_BACK_MS },
            suppress: None,
        });
    }

    /// Everything that the message of a delivery is made from; `None` when nobody may sign for its From domain.
    async fn order(&self, handed: &Handed) -> Result<Option<Order>, StoreError> {
        let (row, plan) = (&handed.row, &handed.plan);
        let text = self.book.text(row, plan).await?;
        let Some(identity) = self.book.identity(row, text.from().domain()).await? else { return Ok(None) };
        let mut row = row.clone();
        if let (None, Some(_), Some(contact)) = (&row.vars, row.version, row.contact) {
            // A test send to a contact has no frozen variables: the contact's own, as they are now.
            row.vars = Some(self.shared.store.contact(row.workspace, contact).await?.attributes.into_iter().collect());
        }
        Ok(Some(Order {
            first_try_at: row.first_try_at.unwrap_or_else(|| self.shared.now()),
            plan: Arc::clone(plan),
            office: self.book.office(row.workspace).await?,
            row,
            identity,
            text,
            message_id_key: *self.shared.message_id_key,
            signing: self.shared.config.limits.signing,
        }))
    }

    /// The step `mark`. `Err(None)` when the engine cannot go on.
    async fn mark(&self, handed: &Handed, ready: &Ready) -> Result<(), Option<MarkRefused>> {
        let begun = Instant::now();
        let answer = self
            .shared
            .writer
            .mark(MarkRequest {
                delivery: handed.row.delivery,
                lane: handed.lease.lane,
                lane_epoch: handed.lease.epoch,
                first_try_at: ready.first_try_at,
                dkim_key: ready.dkim_key,
                link_key: ready.link_key,
            })
            .await;
        match answer {
            Ok(MarkAnswer::Granted) => {
                self.shared.metrics.mark("granted", begun.elapsed());
                Ok(())
            }
            Ok(MarkAnswer::Refused(why)) => {
                self.shared.metrics.mark("refused", begun.elapsed());
                Err(Some(why))
            }
            Err(error) => {
                self.shared.complain("mark a delivery", &error);
                Err(None)
            }
        }
    }

    /// What becomes of a delivery whose mark was refused.
    fn refused(&self, handed: &Handed, why: MarkRefused) {
        let (lane, delivery) = (handed.lease.lane, handed.row.delivery);
        match why {
            MarkRefused::Withheld(reason) => self.withhold(handed, reason),
            MarkRefused::LaneLost => {
                self.landings.land(lane, delivery, Landing::Gone);
                self.scheduler.lane_lost(lane, handed.lease.epoch);
            }
            MarkRefused::NotReady | MarkRefused::Held => self.landings.land(lane, delivery, Landing::Gone),
            MarkRefused::CampaignNotSending | MarkRefused::WorkspaceSuspended | MarkRefused::NoSpace => {
                // Nothing was written: the row is ready as it was, and is read again when it may go.
                self.landings.land(lane, delivery, Landing::Later(self.shared.now() + 1_000));
                self.shared.store.bell().ring(postrider_store::Topic::Campaign);
            }
        }
    }

    /// Whether consent or address of this delivery was changed in this process after its mark was asked for, so that
    /// the mark may not have seen it.
    fn is_closed(&self, handed: &Handed, marked_at: Option<i64>) -> bool {
        let since = marked_at.unwrap_or_else(|| self.shared.monotonic());
        self.shared.store.closures().is_closed(handed.row.contact, &handed.row.mailbox_norm, since)
    }

    /// Settles a delivery as withheld.
    fn withhold(&self, handed: &Handed, reason: postrider_domain::gate::Withheld) {
        tracing::info!(event = "withheld", delivery = %handed.row.delivery, reason = %reason);
        self.shared.metrics.outcome(handed.plan.stream, postrider_domain::outcome::OutcomeKind::Withheld);
        self.landings.settle(Settle {
            delivery: handed.row.delivery,
            lane: handed.lease.lane,
            lane_epoch: handed.lease.epoch,
            attempt: None,
            next: Next::Done(Outcome::Withheld(reason)),
            suppress: None,
        });
    }

    /// The steps `judge` and `settle`.
    pub(crate) fn settle(
        &self,
        handed: &Handed,
        first_try_at: i64,
        ended: &Ended,
        begun: (i64, Instant),
        (host, ip, tls): (String, String, String),
    ) {
        let shared = &self.shared;
        let (row, plan) = (&handed.row, &handed.plan);
        let duration_ms = elapsed_ms(begun.1);
        let next = judge::next(plan, row, first_try_at, ended, shared.now(), shared.spread());
        log_attempt(self, handed, ended, next.as_ref(), duration_ms, &host, &ip);
        shared.metrics.attempt(plan.stream, ended.result, ended.stage, duration_ms);
        if let Some(Next::Done(outcome)) = &next {
            shared.metrics.outcome(plan.stream, outcome.kind());
        }
        let Some(next) = next else {
            // It stays marked: in doubt, until a person decides.
            return self.landings.land(handed.lease.lane, row.delivery, Landing::Gone);
        };
        self.landings.settle(Settle {
            delivery: row.delivery,
            lane: handed.lease.lane,
            lane_epoch: handed.lease.epoch,
            attempt: Some(AttemptRecord {
                at: begun.0,
                duration_ms,
                stage: ended.stage,
                result: ended.result,
                code: ended.code,
                enhanced: ended.enhanced.clone(),
                text: ended.text.clone(),
                class: ended.class,
                host,
                ip,
                source: String::new(),
                tls,
            }),
            next,
            suppress: ended.suppress,
        });
    }
}

/// One line an attempt: accepted ones at debug level, because a campaign has a million of them.
fn log_attempt(kit: &Kit, handed: &Handed, ended: &Ended, next: Option<&Next>, ms: i64, host: &str, ip: &str) {
    let row = &handed.row;
    let n = row.attempts.saturating_add(1);
    let fate = match next {
        Some(Next::Later { .. }) => "later",
        Some(Next::Done(outcome)) => outcome.kind().as_str(),
        None => "in doubt",
    };
    let code = ended.code.unwrap_or(0);
    match ended.result {
        AttemptResult::Accepted => {
            tracing::debug!(
                event = "attempt", delivery = %row.delivery, n, of = row.max_attempts, result = %ended.result, fate, ms, host, ip, code
            );
        }
        AttemptResult::Deferred | AttemptResult::Rejected | AttemptResult::Broken => {
            let mailbox =
                Mailbox::parse(&row.mailbox).map(|m| mailbox_for_log(&kit.shared.log_key, &m)).unwrap_or_default();
            tracing::info!(
                event = "attempt", delivery = %row.delivery, n, of = row.max_attempts, result = %ended.result, fate, ms, host, ip, code,
                stage = %ended.stage, class = ended.class.map_or("", |c| c.as_str()), mailbox
            );
        }
    }
}
