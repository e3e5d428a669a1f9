//! A bound on how often strangers can make the broker write into its log.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lines in one second; enough to see what is going on.
const LINES_MAX: u32 = 10;

/// At most ten warnings a second; the first one after a pause says how many were left out.
#[derive(Debug)]
pub(crate) struct LogQuota {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    since: Instant,
    lines: u32,
    left_out: u64,
}

impl LogQuota {
    pub(crate) fn new() -> Self {
        let state = State { since: Instant::now(), lines: 0, left_out: 0 };
        Self { state: Mutex::new(state) }
    }

    /// Whether one more line may be logged. Logs how many were left out before it.
    pub(crate) fn allows(&self) -> bool {
        let Some(left_out) = self.take(Instant::now()) else { return false };
        if left_out > 0 {
            log::warn!(left_out; "refusals were not logged");
        }
        true
    }

    /// How many lines were left out before this one, or `None` to leave this one out.
    fn take(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if now.duration_since(state.since) >= Duration::from_secs(1) {
            state.since = now;
            state.lines = 0;
        }
        if state.lines == LINES_MAX {
            state.left_out += 1;
            return None;
        }
        state.lines += 1;
        Some(std::mem::take(&mut state.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_over_the_quota_are_counted_and_told_later() {
        let quota = LogQuota::new();
        let start = Instant::now();
        for _ in 0..LINES_MAX {
            assert_eq!(quota.take(start), Some(0));
        }
        assert_eq!(quota.take(start), None);
        assert_eq!(quota.take(start), None);
        assert_eq!(quota.take(start + Duration::from_secs(1)), Some(2));
        assert_eq!(quota.take(start + Duration::from_secs(1)), Some(0));
    }
}
