//! A moment, as the machine and the wire know it.
//!
//! Not a clock: whoever owns a clock makes these and passes them in.

use core::time::Duration;

use serde::{Deserialize, Serialize};

/// Milliseconds since the Unix epoch.
///
/// Wall-clock time, because due times and deadlines outlive a process; the broker makes it from a
/// monotonic clock anchored at its start, so that it never runs backwards within one run.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Time(u64);

impl Time {
    /// The Unix epoch.
    pub const ZERO: Self = Self(0);
    /// Later than every moment that can be asked for.
    pub const NEVER: Self = Self(u64::MAX);

    /// The moment `millis` milliseconds after the Unix epoch.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// This moment plus `millis` milliseconds, or [`Time::NEVER`] where that overflows.
    #[must_use]
    pub const fn plus_millis(self, millis: u64) -> Self {
        Self(self.0.saturating_add(millis))
    }

    /// The time from `earlier` to this moment; zero if `earlier` is the later one.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl core::ops::Add<Duration> for Time {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        self.plus_millis(millis(span))
    }
}

/// Whole milliseconds, as the wire has spans of time; the most there are for a longer one.
///
/// ```
/// use core::time::Duration;
/// use ganger_shared::time::millis;
///
/// assert_eq!(millis(Duration::from_micros(2_999)), 2);
/// assert_eq!(millis(Duration::MAX), u64::MAX);
/// ```
#[must_use]
pub fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
