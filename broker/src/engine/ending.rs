//! How a broker ends: because it was asked to, or because it cannot go on.
//!
//! ```text
//!   stop ─▶ the journal's threads finish ─▶ say_goodbye
//!   fail ─▶ every connection closes without a word: nobody is answered any more
//! ```

use event_listener::listener;

use super::Engine;
use crate::error::BrokerError;
use crate::outbox::ComeBack;

impl Engine {
    /// Takes nothing more, and lets the journal's threads finish what they have.
    pub(crate) fn stop(&self) {
        let mut core = self.lock_even_ended();
        core.ended = true;
        core.journal = None;
        drop(core);
        self.over.notify(usize::MAX);
        self.moved.notify(usize::MAX);
    }

    /// Waits until the broker takes nothing more, for whatever reason.
    pub(crate) async fn ended(&self) {
        loop {
            listener!(self.over => over);
            if self.lock().is_err() {
                return;
            }
            over.await;
        }
    }

    /// After [`stop`](Self::stop) and the end of the journal's threads: lets out what has become
    /// safe, and says goodbye to everybody.
    pub(crate) fn say_goodbye(&self, reason: &str) {
        let mut core = self.lock_even_ended();
        if let Some(progress) = &self.progress {
            core.outbox.release(progress.seen());
        }
        core.outbox.flush();
        core.outbox.dismiss_all(reason, ComeBack::Yes);
    }

    /// Ends every connection without a word.
    pub(crate) fn close_all(&self) {
        self.lock_even_ended().outbox.close_all();
    }

    /// Why the broker has ended by itself, if it has and nobody was told.
    pub(crate) fn journal_failure(&self) -> Option<BrokerError> {
        let failed = self.progress.as_ref().and_then(|progress| progress.take().err());
        failed.or_else(|| self.failure())
    }

    /// Ends the broker: nobody is answered any more.
    pub(crate) fn fail(&self, error: BrokerError) {
        let mut core = self.lock_even_ended();
        core.ended = true;
        core.journal = None;
        core.outbox.close_all();
        drop(core);
        let mut failure = self.failure.lock().expect("nothing panics while it holds the failure");
        failure.get_or_insert(error);
        drop(failure);
        self.over.notify(usize::MAX);
        self.moved.notify(usize::MAX);
    }

    /// Waits for the end that nobody asked for.
    pub(crate) async fn failed(&self) -> BrokerError {
        loop {
            listener!(self.over => over);
            if let Some(error) = self.failure() {
                return error;
            }
            over.await;
        }
    }

    fn failure(&self) -> Option<BrokerError> {
        self.failure.lock().expect("nothing panics while it holds the failure").take()
    }

    /// Open sessions.
    pub(crate) fn sessions(&self) -> usize {
        self.lock().map_or(0, |core| core.outbox.len())
    }
}
