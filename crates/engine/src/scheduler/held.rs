//! Sites that are held as a whole, from whatever source mail goes there: the circuit breaker asks for it.
//!
//! Must not know why: a rule's name is shown to people.

use postrider_domain::shaping::Stopped;

use super::Scheduler;

impl Scheduler {
    /// Nothing goes to a site until this time of the monotonic clock; then connections come back one by one.
    pub(crate) fn hold_site(&self, site: &str, rule: &str, until: i64, reply: &str) {
        let since = self.shared.monotonic();
        let stop = Stopped { since, until, rule: rule.to_owned(), reply: reply.to_owned(), recovers: true };
        self.lock().sites.hold(site, &stop);
        self.look.notify_one();
    }

    /// What was held by this rule goes on at once.
    pub(crate) fn release_site(&self, site: &str, rule: &str) {
        self.lock().sites.release(site, rule);
        self.look.notify_one();
    }
}
