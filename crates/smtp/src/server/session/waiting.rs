//! Waiting for the client: the idle time, the longest session, and the drain of a listener.

use std::ops::ControlFlow;

use tokio::sync::watch;
use tokio::time::Instant;

use super::super::input::Read;
use super::super::{Ended, Handler};
use super::{GO_ON, Next, Session};

impl<H: Handler> Session<'_, H> {
    /// Sends what was said and waits for more input, until the deadline or another limit that comes first.
    pub(super) async fn more(&mut self, deadline: Instant) -> Next {
        self.flush().await?;
        loop {
            let draining = self.is_draining();
            if draining {
                if self.transaction.is_none() {
                    return self.drained();
                }
                let grace = self.config.limits.grace;
                self.grace_ends.get_or_insert_with(|| Instant::now() + grace);
            }
            let until = [self.ends, self.grace_ends].into_iter().flatten().fold(deadline, Instant::min);
            let Self { pipe, drain, .. } = self;
            let pipe = pipe.as_mut().expect("no handshake is under way");
            let read = tokio::select! {
                biased;
                read = pipe.read(until) => read,
                () = turned_on(drain), if !draining => continue,
            };
            return match read {
                Read::More => GO_ON,
                Read::Closed => ControlFlow::Break(Ended::PeerClosed),
                Read::TimedOut => self.timed_out(),
            };
        }
    }

    fn timed_out(&mut self) -> Next {
        let passed = |at: Option<Instant>| at.is_some_and(|at| at <= Instant::now());
        if passed(self.grace_ends) {
            return self.drained();
        }
        let line = if passed(self.ends) {
            "421 4.4.2 The session has lasted too long, closing the connection"
        } else {
            "421 4.4.2 Timeout, closing the connection"
        };
        self.say(line)?;
        ControlFlow::Break(Ended::TimedOut)
    }

    pub(super) fn is_draining(&self) -> bool {
        self.drain.as_ref().is_some_and(|signal| *signal.borrow())
    }

    /// RFC 5321 3.8: a 421 may come at any time; the client comes back with what it has.
    pub(super) fn drained(&mut self) -> Next {
        self.say("421 4.3.2 Reconfiguration in progress")?;
        self.last_words = true;
        self.pipe().discard();
        ControlFlow::Break(Ended::Drained)
    }

    /// Says nothing any more until the client goes or its time is over.
    pub(super) async fn silence(&mut self) -> Next {
        let deadline = Instant::now() + self.config.limits.idle;
        self.flush().await?;
        loop {
            self.pipe().discard();
            match self.pipe().read(deadline).await {
                Read::More => {}
                Read::Closed => return ControlFlow::Break(Ended::PeerClosed),
                Read::TimedOut => return ControlFlow::Break(Ended::TimedOut),
            }
        }
    }
}

/// Waits until the signal is true; for ever when there is none or its sender is gone.
async fn turned_on(signal: &mut Option<watch::Receiver<bool>>) {
    if let Some(signal) = signal
        && signal.wait_for(|on| *on).await.is_ok()
    {
        return;
    }
    std::future::pending().await
}
