//! Waiting for time to pass.
//!
//! Not a clock for decisions: those take the time as an argument.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::time::{Duration, Instant};

use crate::base;

/// A wait took longer than its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimedOut;

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("timed out")
    }
}

impl Error for TimedOut {}

/// Waits for at least `duration`; one beyond what the clock can count means for ever.
///
/// # Cancel safety
///
/// Nothing is lost; a new call starts from the beginning (use [`sleep_until`] to go on).
pub async fn sleep(duration: Duration) {
    base::sleep(duration).await;
}

/// Waits until `deadline`; returns at once when it has passed.
///
/// # Cancel safety
///
/// Nothing is lost.
pub async fn sleep_until(deadline: Instant) {
    let left = deadline.saturating_duration_since(Instant::now());
    if !left.is_zero() {
        base::sleep(left).await;
    }
}

/// Awaits `future` for at most `limit`.
///
/// A future that is ready when first polled wins over any limit, zero included.
///
/// # Errors
///
/// [`TimedOut`] when the limit came first; `future` is dropped then.
///
/// # Cancel safety
///
/// That of `future`.
///
/// ```
/// use std::time::Duration;
///
/// let late = ganger_rt::timeout(Duration::from_millis(1), std::future::pending::<()>());
/// assert_eq!(ganger_rt::block_on(late), Err(ganger_rt::TimedOut));
/// ```
pub async fn timeout<T>(limit: Duration, future: impl Future<Output = T>) -> Result<T, TimedOut> {
    base::timeout(limit, future).await.map_err(|_| TimedOut)
}
