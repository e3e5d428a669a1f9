//! How many proxies there are of each object without a name, as far as their programs say so.
//!
//! Not what values refer to, which the machine follows. A program that is killed takes its counts
//! along, so an object without a name goes in the end however many proxies are counted: when nobody
//! has used it for a day.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::kind::Shared;

/// How long an object is kept for proxies that say nothing.
const SILENCE_MAX: Duration = Duration::from_secs(24 * 3600);

/// The proxies of all programs.
#[derive(Debug, Default)]
pub(crate) struct References {
    counted: Mutex<BTreeMap<Shared, Count>>,
}

#[derive(Debug)]
struct Count {
    proxies: u64,
    used: Instant,
}

impl References {
    /// One proxy more.
    pub(crate) fn add(&self, shared: &Shared) {
        let mut counted = self.lock();
        let now = Instant::now();
        let count = counted.entry(shared.clone()).or_insert(Count { proxies: 0, used: now });
        count.proxies += 1;
        count.used = now;
    }

    /// One less. Says whether that was the last one.
    pub(crate) fn drop_one(&self, shared: &Shared) -> bool {
        let mut counted = self.lock();
        let Some(count) = counted.get_mut(shared) else { return false };
        count.proxies = count.proxies.saturating_sub(1);
        let is_last = count.proxies == 0;
        if is_last {
            counted.remove(shared);
        }
        is_last
    }

    /// Somebody calls it.
    pub(crate) fn note_used(&self, shared: &Shared) {
        if let Some(count) = self.lock().get_mut(shared) {
            count.used = Instant::now();
        }
    }

    /// Those that have proxies; forgets those of which nothing was heard for too long.
    pub(crate) fn counted(&self) -> Vec<(Shared, u64)> {
        let mut counted = self.lock();
        counted.retain(|_, count| count.used.elapsed() < SILENCE_MAX);
        counted.iter().map(|(shared, count)| (shared.clone(), count.proxies)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Shared, Count>> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
