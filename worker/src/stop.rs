//! Tells a running handler that its work is no longer wanted, and why.

use std::sync::atomic::{AtomicU8, Ordering};

use event_listener::{Event, listener};

/// Why a handler is to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// Somebody cancelled the job. What the handler says of it still counts, for a short while.
    Cancelled,
    /// The attempt took longer than its time limit.
    TimeLimit,
    /// The lease is lost: whatever the handler does from here on counts for nothing.
    LeaseLost,
    /// The worker is stopping and will not wait any longer; the job will run elsewhere.
    Drained,
}

/// From the weakest to the strongest.
const REASONS: [StopReason; 4] =
    [StopReason::Cancelled, StopReason::TimeLimit, StopReason::LeaseLost, StopReason::Drained];

/// The strongest reason that was given, if any.
#[derive(Debug, Default)]
pub(crate) struct Stop {
    /// 0 while the work is wanted, else 1 + the index of the reason.
    reason: AtomicU8,
    event: Event,
}

impl Stop {
    pub(crate) fn reason(&self) -> Option<StopReason> {
        let code = self.reason.load(Ordering::Acquire);
        code.checked_sub(1).map(|index| REASONS[usize::from(index)])
    }

    /// The reason that ranks higher stands.
    pub(crate) fn set(&self, reason: StopReason) {
        let code = (1..).zip(REASONS).find(|&(_, r)| r == reason).map_or(0, |(code, _)| code);
        if self.reason.fetch_max(code, Ordering::AcqRel) < code {
            self.event.notify(usize::MAX);
        }
    }

    /// Waits for any reason.
    pub(crate) async fn stopped(&self) -> StopReason {
        self.until(|_| true).await
    }

    /// Waits for a reason that leaves no point in going on, whatever the handler thinks.
    pub(crate) async fn abandoned(&self) -> StopReason {
        self.until(|reason| reason != StopReason::Cancelled).await
    }

    /// Waits for the worker to give up on its handlers.
    pub(crate) async fn drained(&self) -> StopReason {
        self.until(|reason| reason == StopReason::Drained).await
    }

    async fn until(&self, wanted: impl Fn(StopReason) -> bool) -> StopReason {
        loop {
            if let Some(reason) = self.reason().filter(|&reason| wanted(reason)) {
                return reason;
            }
            listener!(self.event => event);
            if let Some(reason) = self.reason().filter(|&reason| wanted(reason)) {
                return reason;
            }
            event.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stronger_reason_stands_whatever_comes_before_and_after() {
        let stop = Stop::default();
        assert_eq!(stop.reason(), None);
        stop.set(StopReason::Cancelled);
        assert_eq!(stop.reason(), Some(StopReason::Cancelled));
        stop.set(StopReason::LeaseLost);
        stop.set(StopReason::Cancelled);
        assert_eq!(ganger_rt::block_on(stop.abandoned()), StopReason::LeaseLost);
    }
}
