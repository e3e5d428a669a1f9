//! Power fails at every call that changes the disk, and any part of what was not synced is there
//! afterwards: nothing that was acknowledged is lost, nothing that was cut off comes back, and no
//! crash is taken for damage.
//!
//! ```text
//!   a life of appends, syncs, compactions, restarts
//!     before each change of the disk: crashes ─▶ recovery, judged
//!                                                  before each change: crashes ─▶ recovery, judged
//!                                                  then a little more life, a crash, recovery, judged
//! ```

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use ganger_broker::storage::Until;
use ganger_chance::Rng;

use crate::life::{Asked, Life, open, replay};
use crate::sim::{Disk, Sim};

/// In an ordinary run: a minute of a debug build.
const IMAGES: u64 = 500_000;

/// Steps in a life.
const STEPS: u64 = 60;

pub(crate) fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Of crashes at one point.
#[derive(Clone, Copy)]
enum Depth {
    /// In a life.
    Life,
    /// In a recovery from one of those.
    Recovery,
}

/// What a crash keeps of `n` things, as sets of which are kept.
fn cases(n: usize, depth: Depth, rng: &mut Rng) -> BTreeSet<Vec<bool>> {
    let mut cases = BTreeSet::new();
    let (small, random, picked) = match depth {
        Depth::Life => (5, 8, usize::MAX),
        Depth::Recovery => (2, 2, 3),
    };
    if n <= small {
        cases.extend((0..1_u32 << n).map(|bits| (0..n).map(|at| bits >> at & 1 == 1).collect()));
        return cases;
    }
    cases.insert(vec![false; n]);
    cases.insert(vec![true; n]);
    let every = n.div_ceil(picked.min(24));
    let offset = usize::try_from(rng.below(every as u64)).unwrap();
    for at in (offset..n).step_by(every) {
        cases.insert((0..n).map(|item| item < at).collect());
        cases.insert((0..n).map(|item| item != at).collect());
    }
    for _ in 0..random {
        let per_mille = rng.between(100..=900);
        cases.insert((0..n).map(|_| rng.chance(per_mille)).collect());
    }
    cases
}

/// Counts of everything that was looked at.
#[derive(Default)]
struct Count {
    images: AtomicU64,
    in_recovery: AtomicU64,
    continued: AtomicU64,
    cut: AtomicU64,
}

/// Recovers from a crash, and judges what is there.
fn recover(image: Sim, asked: &Asked, least: usize, seed: u64, count: &Arc<Count>, depth: Depth) {
    count.images.fetch_add(1, Ordering::Relaxed);
    let mut rng = Rng::new(seed);
    let was = image.contents();
    let shown_to = Arc::new(Mutex::new(asked.clone()));
    if matches!(depth, Depth::Life) && rng.chance(60) {
        let (count, asked, mut rng) = (Arc::clone(count), asked.clone(), Rng::new(rng.draw()));
        image.watch(Some(Box::new(move |disk| {
            crash(disk, &asked, asked.durable, &mut rng, &count, Depth::Recovery);
        })));
    }
    let mut storage = open(&image);
    let shown = replay(&mut storage);
    image.watch(None);
    let fail = |reason: &str| -> ! {
        let Asked { records, durable, written, start, .. } = asked;
        panic!(
            "{reason} ({} records asked for, {written} written, {durable} durable, from {start:?}; \
             the files were {:?})",
            records.len(),
            was.keys().collect::<Vec<_>>()
        )
    };
    let shown = shown.unwrap_or_else(|error| fail(&format!("false alarm: {error}")));
    let judged = shown_to.lock().unwrap().judge(&shown, least);
    judged.unwrap_or_else(|reason| fail(&reason));
    if shown.last < asked.records.len() {
        count.cut.fetch_add(1, Ordering::Relaxed);
    }
    let more = match depth {
        Depth::Life => rng.chance(150),
        Depth::Recovery => rng.chance(50),
    };
    if more {
        // What was shown was served: from here on all of it must stay, whatever happens.
        count.continued.fetch_add(1, Ordering::Relaxed);
        let mut life = Life { sim: image.clone(), asked: Arc::clone(&shown_to), storage };
        for _ in 0..rng.below(3) {
            let until = if rng.chance(500) { Until::Durable } else { Until::Written };
            life.append(&mut rng, until).unwrap();
        }
        let kept = rng.below(3);
        let again = image.disk().crashed(|_| kept == 0 || kept == 1 && rng.chance(500));
        let mut asked = shown_to.lock().unwrap().clone();
        let least = if kept == 0 { asked.written } else { asked.durable };
        let shown = replay(&mut open(&again));
        let shown = shown.unwrap_or_else(|error| fail(&format!("false alarm, later: {error}")));
        asked.judge(&shown, least).unwrap_or_else(|reason| fail(&format!("later: {reason}")));
    }
}

/// Crashes in every way that there is time for.
fn crash(
    disk: &Disk,
    asked: &Asked,
    least: usize,
    rng: &mut Rng,
    count: &Arc<Count>,
    depth: Depth,
) {
    if matches!(depth, Depth::Recovery) && !rng.chance(300) {
        return;
    }
    for case in cases(disk.unsynced(), depth, rng) {
        if matches!(depth, Depth::Recovery) {
            count.in_recovery.fetch_add(1, Ordering::Relaxed);
        }
        // All that was written is there: as after the end of the process.
        let least = if matches!(depth, Depth::Life) && case.iter().all(|&kept| kept) {
            asked.written
        } else {
            least
        };
        recover(disk.crashed(|item| case[item]), asked, least, rng.draw(), count, depth);
    }
}

/// Prints the seed if the life under it panics.
struct OnPanic(u64);

impl Drop for OnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("a crash was not survived; repeat it with SEED={}", self.0);
        }
    }
}

fn live(seed: u64, count: &Arc<Count>) {
    let _on_panic = OnPanic(seed);
    let mut rng = Rng::new(seed);
    let sim = Sim::new();
    let asked = Arc::new(Mutex::new(Asked::default()));
    let (watched, counted, mut chance) = (Arc::clone(&asked), Arc::clone(count), Rng::new(!seed));
    sim.watch(Some(Box::new(move |disk| {
        let asked = watched.lock().unwrap().clone();
        crash(disk, &asked, asked.durable, &mut chance, &counted, Depth::Life);
    })));
    let mut life = Life::begin(sim, asked).unwrap();
    for _ in 0..rng.between(1..=STEPS) {
        life.step(&mut rng).unwrap();
    }
    life.sim.watch(None);
}

#[test]
fn no_crash_loses_what_was_acknowledged_or_brings_back_what_was_not() {
    let count = Arc::new(Count::default());
    if let Some(seed) = number("SEED") {
        live(seed, &count);
        return;
    }
    let images = number("CRASH_IMAGES").unwrap_or(IMAGES);
    let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    // Half of the seeds are the same each time, the others nobody has run before.
    let fresh = since.as_secs() << 20;
    let begun = std::time::Instant::now();
    let lives = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().unwrap().get() {
            scope.spawn(|| {
                while count.images.load(Ordering::Relaxed) < images {
                    let life = lives.fetch_add(1, Ordering::Relaxed);
                    live(if life.is_multiple_of(2) { life } else { fresh + life }, &count);
                }
            });
        }
    });
    let lives = lives.into_inner();
    let [images, in_recovery, continued, cut] =
        [&count.images, &count.in_recovery, &count.continued, &count.cut]
            .map(|count| count.load(Ordering::Relaxed));
    println!(
        "{images} crashes in {lives} lives: {in_recovery} in a recovery, {continued} lived on, \
         {cut} cut something off; {:.1} s; fresh seeds from SEED={fresh}",
        begun.elapsed().as_secs_f64()
    );
    // That the crashes were of every sort.
    assert!(in_recovery * 20 > images && continued * 50 > images && cut * 20 > images);
}
