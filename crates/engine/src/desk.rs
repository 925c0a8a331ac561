//! The delivery steps that need no connection: last_look, render, sign, mark, judge, settle, and what becomes of a
//! delivery that may not begin.
//!
//! Must not know sockets: `deliver` calls these in their order.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use futures_util::future::join_all;
use postrider_domain::gate::{Withheld, may_send};
use postrider_domain::outcome::{AttemptResult, Outcome, OutcomeKind};
use postrider_domain::stream::{InDoubtPolicy, Stream};
use postrider_mail::mailbox::Mailbox;
use postrider_mail::redact::mailbox_for_log;
use postrider_store::StoreError;
use postrider_store::mark::{MarkAnswer, MarkRefused, MarkRequest};
use postrider_store::settle::{AttemptRecord, Next, Settle};

use crate::courier::Kit;
use crate::judge::{self, Ended};
use crate::plan::Flow;
use crate::render::{self, Order, Ready, Unmakable};
use crate::scheduler::{Handed, Landing};
use crate::workshop::Urgency;

/// What lacks for a message is asked for again after this time.
const STUCK_MS: i64 = 30_000;
/// A delivery whose mark could not be used now is ready again after this time.
const PUT_BACK_MS: i64 = 500;

/// A delivery with its message, marked or about to be.
pub(crate) struct Loaded {
    pub(crate) handed: Handed,
    pub(crate) ready: Ready,
    /// When the mark was asked for, on the monotonic clock; `None` without a mark.
    pub(crate) marked_at: Option<i64>,
}

pub(crate) fn elapsed_ms(begun: Instant) -> i64 {
    i64::try_from(begun.elapsed().as_millis()).unwrap_or(i64::MAX)
}

impl Kit {
    /// Ends what waited beyond the time after which nobody wants it any more.
    pub(crate) fn expire(&self, batch: Vec<Handed>) -> VecDeque<Handed> {
        let now = self.shared.now();
        let (late, rest): (Vec<Handed>, Vec<Handed>) =
            batch.into_iter().partition(|h| h.row.expires_at.is_some_and(|end| now > end));
        for handed in late {
            tracing::info!(event = "expired", delivery = %handed.row.delivery);
            self.shared.metrics.outcome(handed.plan.stream, OutcomeKind::Expired);
            self.landings.settle(Settle {
                delivery: handed.row.delivery,
                lane: handed.lease.lane,
                lane_epoch: handed.lease.epoch,
                attempt: None,
                next: Next::Done(Outcome::Expired),
                suppress: None,
                soft: None,
            });
        }
        rest.into()
    }

    /// The step `last_look`: consent and suppression as they are now.
    pub(crate) async fn last_look(&self, batch: VecDeque<Handed>) -> VecDeque<Handed> {
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
    pub(crate) async fn load(&self, batch: VecDeque<Handed>) -> VecDeque<Loaded> {
        let mut orders = Vec::with_capacity(batch.len());
        let mut waiting = Vec::with_capacity(batch.len());
        // A batch is of one lane, and so of one stream.
        let urgency = match batch.front().map(|handed| handed.plan.stream) {
            Some(Stream::Transactional) => Urgency::First,
            Some(Stream::Marketing) | None => Urgency::InTurn,
        };
        for handed in batch {
            match self.order(&handed).await {
                Ok(Some(order)) => {
                    let begun = Instant::now();
                    let metrics = self.shared.metrics.clone();
                    orders.push(move || {
                        let made = render::make(&order);
                        metrics.signed(begun.elapsed());
                        made
                    });
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
                    self.withhold(&handed, Withheld::Unrenderable);
                }
                Err(error) => {
                    self.shared.complain("look up what a message is made from", &error);
                    self.scheduler.stick(Flow::of(&handed.plan), self.shared.now() + 1_000);
                    self.scheduler.give_back(vec![handed]);
                }
            }
        }
        let made = self.workshop.order(urgency, orders).await;
        let mut loaded = VecDeque::with_capacity(waiting.len());
        for (handed, made) in waiting.into_iter().zip(made) {
            match made {
                Some(Ok(ready)) => loaded.push_back(Loaded { handed, ready, marked_at: None }),
                Some(Err(why)) => self.unmakable(&handed, &why),
                None => {
                    tracing::error!(event = "delivery.unmakable", delivery = %handed.row.delivery, what = "a panic");
                    self.withhold(&handed, Withheld::Unrenderable);
                }
            }
        }
        loaded
    }

    fn unmakable(&self, handed: &Handed, why: &Unmakable) {
        tracing::warn!(event = "delivery.unmakable", delivery = %handed.row.delivery, what = %why);
        let reason = match why {
            Unmakable::Mailbox(_) => Withheld::Unmailable,
            Unmakable::Render(_) | Unmakable::Sign(_) | Unmakable::Stuff(_) | Unmakable::NoPurpose => {
                Withheld::Unrenderable
            }
        };
        self.withhold(handed, reason);
    }

    /// Marks the whole batch when its policy is to send again after a crash; else each right before its MAIL FROM.
    pub(crate) async fn mark_ahead(&self, loaded: VecDeque<Loaded>) -> VecDeque<Loaded> {
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
    pub(crate) fn put_back(&self, loaded: &Loaded) {
        let handed = &loaded.handed;
        self.landings.settle(Settle {
            delivery: handed.row.delivery,
            lane: handed.lease.lane,
            lane_epoch: handed.lease.epoch,
            attempt: None,
            next: Next::Later { ready_at: self.shared.now() + PUT_BACK_MS },
            suppress: None,
            soft: None,
        });
    }

    /// Everything that the message of a delivery is made from; `None` when nobody may sign for its From domain.
    async fn order(&self, handed: &Handed) -> Result<Option<Order>, StoreError> {
        let (row, plan) = (&handed.row, &handed.plan);
        let text = self.book.text(row, plan).await?;
        let Some(identity) = self.book.identity(row, text.from().domain()).await? else { return Ok(None) };
        // Unsigned marketing never starts: without proof nobody knows that the relay signs.
        let relay = plan.route.settings.signing.needs_proof() && plan.stream == Stream::Marketing;
        if relay && !plan.route.proved.iter().any(|domain| domain == text.from().domain().as_str()) {
            tracing::warn!(event = "setup.missing", what = "a received message that proves that the relay signs");
            return Ok(None);
        }
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
    pub(crate) async fn mark(&self, handed: &Handed, ready: &Ready) -> Result<(), Option<MarkRefused>> {
        let begun = Instant::now();
        // Judged as late as can be: a mark that is granted knows of every rule that was committed before it.
        let Ok(rules) = self.scheduler.steered(handed) else { return Err(Some(MarkRefused::RulesChanged)) };
        let answer = self
            .shared
            .writer
            .mark(MarkRequest {
                rules,
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
    pub(crate) fn refused(&self, handed: &Handed, why: MarkRefused) {
        let (lane, delivery) = (handed.lease.lane, handed.row.delivery);
        match why {
            MarkRefused::Withheld(reason) => self.withhold(handed, reason),
            MarkRefused::LaneLost => {
                self.landings.land(lane, delivery, Landing::Gone);
                self.scheduler.lane_lost(lane, handed.lease.epoch);
            }
            MarkRefused::NotReady | MarkRefused::Held => self.landings.land(lane, delivery, Landing::Gone),
            MarkRefused::RulesChanged => {
                self.landings.land(lane, delivery, Landing::Unchanged);
                self.shared.store.bell().ring(postrider_store::Topic::Campaign);
            }
            MarkRefused::CampaignNotSending | MarkRefused::WorkspaceSuspended | MarkRefused::NoSpace => {
                // Nothing was written: the row is ready as it was, and is read again when it may go.
                self.landings.land(lane, delivery, Landing::Later(self.shared.now() + 1_000));
                self.shared.store.bell().ring(postrider_store::Topic::Campaign);
            }
        }
    }

    /// Does something unless consent or address of this delivery was changed in this process after its mark was asked
    /// for, so that the mark may not have seen it.
    pub(crate) fn unless_closed<T>(
        &self,
        handed: &Handed,
        marked_at: Option<i64>,
        act: impl FnOnce() -> T,
    ) -> Option<T> {
        let since = marked_at.unwrap_or(i64::MIN);
        self.shared.store.closures().unless_closed(handed.row.contact, &handed.row.mailbox_norm, since, act)
    }

    /// Settles a delivery as withheld.
    pub(crate) fn withhold(&self, handed: &Handed, reason: Withheld) {
        tracing::info!(event = "withheld", delivery = %handed.row.delivery, reason = %reason);
        self.shared.metrics.outcome(handed.plan.stream, OutcomeKind::Withheld);
        self.landings.settle(Settle {
            delivery: handed.row.delivery,
            lane: handed.lease.lane,
            lane_epoch: handed.lease.epoch,
            attempt: None,
            next: Next::Done(Outcome::Withheld(reason)),
            suppress: None,
            soft: None,
        });
    }

    /// The steps `judge` and `settle`.
    pub(crate) fn settle(
        &self,
        handed: &Handed,
        first_try_at: i64,
        ended: &Ended,
        begun: (i64, Instant),
        (host, ip, tls, source): (String, String, String, String),
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
                source,
                tls,
                rule: ended.rule.clone(),
            }),
            soft: judge::soft(ended, &next),
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
