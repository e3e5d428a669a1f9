//! The broker's one clock: wall-clock time that never runs backwards.
//!
//! Not read by the machine, which is told the time.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ganger_shared::Time;

/// Monotonic time since the start, added to the wall-clock time of the start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    anchor: Instant,
    started: Time,
}

impl Clock {
    /// A clock that starts with the system's.
    pub(crate) fn start() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Self { anchor: Instant::now(), started: Time::ZERO + since_epoch }
    }

    /// When it started.
    pub(crate) const fn started(&self) -> Time {
        self.started
    }

    /// The present moment.
    pub(crate) fn now(&self) -> Time {
        self.started + self.anchor.elapsed()
    }

    /// When [`now`](Self::now) will first say `time`; `None` if that is further away than the
    /// system can count.
    pub(crate) fn instant(&self, time: Time) -> Option<Instant> {
        self.anchor.checked_add(time.since(self.started))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_come_when_its_instant_has() {
        let clock = Clock::start();
        let soon = clock.now() + Duration::from_millis(2);
        let instant = clock.instant(soon).unwrap();
        while Instant::now() < instant {
            std::hint::spin_loop();
        }
        assert!(clock.now() >= soon);
    }
}
