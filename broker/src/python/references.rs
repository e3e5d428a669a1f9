//! How many proxies there are of each object without a name, as far as their programs say so.
//!
//! Not what values refer to, which the machine follows. A program that is killed takes its counts
//! along, so an object without a name goes in the end however many proxies are counted: when nobody
//! has used it for a day. Nor are counts kept over a restart: of an object that is called again, nobody
//! knows then how many proxies there are, and it too stays for a day.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ganger_shared::ObjectId;

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
    /// `None` if there are some from before the broker started.
    proxies: Option<u64>,
    used: Instant,
}

impl References {
    /// One proxy more.
    pub(crate) fn add(&self, shared: &Shared) {
        let mut counted = self.lock();
        let now = Instant::now();
        let none = Count { proxies: Some(0), used: now };
        let count = counted.entry(shared.clone()).or_insert(none);
        count.proxies = count.proxies.map(|proxies| proxies + 1);
        count.used = now;
    }

    /// One less. Says whether that was the last one.
    pub(crate) fn drop_one(&self, shared: &Shared) -> bool {
        let mut counted = self.lock();
        let Some(count) = counted.get_mut(shared) else { return false };
        count.proxies = count.proxies.map(|proxies| proxies.saturating_sub(1));
        let is_last = count.proxies == Some(0);
        if is_last {
            counted.remove(shared);
        }
        is_last
    }

    /// Somebody has called it, who has a proxy.
    pub(crate) fn note_used(&self, shared: &Shared) {
        let (mut counted, now) = (self.lock(), Instant::now());
        match counted.get_mut(shared) {
            Some(count) => count.used = now,
            None if ObjectId::of(&shared.object).is_some() => {
                counted.insert(shared.clone(), Count { proxies: None, used: now });
            }
            None => {}
        }
    }

    /// Those that have proxies; forgets those of which nothing was heard for too long.
    pub(crate) fn counted(&self) -> Vec<(Shared, Option<u64>)> {
        let mut counted = self.lock();
        counted.retain(|_, count| count.used.elapsed() < SILENCE_MAX);
        counted.iter().map(|(shared, count)| (shared.clone(), count.proxies)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Shared, Count>> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
