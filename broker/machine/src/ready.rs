//! The ready jobs of a queue, apart by where their results go, so that a full list holds back its
//! own jobs and no others.
//!
//! Not who takes them, nor what a full list is: see [`crate::dispatch`].
//!
//! ```text
//!   lane of          runs by place          its head
//!   mail.results     1  4  9           ──▶  1     the next one is the first of the heads
//!   other            2  3              ──▶  2
//!   full             0  7                   shut: it has no head
//! ```
//!
//! Whatever happens to one run costs a few steps down a tree, however many runs are held back and
//! in however many lanes.

use std::collections::BTreeMap;

use ganger_shared::JobId;

use crate::list::ListKey;
use crate::run::RunKey;

/// A place among ready jobs: the most urgent first, then the oldest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// 9 minus the priority.
    pub(crate) patience: u8,
    pub(crate) order: u64,
    /// Tells parts of one run apart.
    pub(crate) job: JobId,
}

#[derive(Debug, Default)]
pub(crate) struct Ready {
    /// By the list that takes the results. Without runs there is at most one: the latest, which
    /// saves most queues making it anew for every job.
    lanes: BTreeMap<Option<ListKey>, Lane>,
    /// The first run of each lane that is not shut.
    heads: BTreeMap<Place, RunKey>,
    /// Jobs in lanes that are shut.
    held_back: u64,
}

#[derive(Debug, Default)]
struct Lane {
    runs: BTreeMap<Place, RunKey>,
    jobs: u64,
    is_shut: bool,
}

impl Lane {
    fn first(&self) -> Option<(Place, RunKey)> {
        self.runs.first_key_value().map(|(&place, &run)| (place, run))
    }
}

impl Ready {
    pub(crate) const fn new() -> Self {
        Self { lanes: BTreeMap::new(), heads: BTreeMap::new(), held_back: 0 }
    }

    /// Puts a run of `jobs` jobs into its place.
    pub(crate) fn insert(
        &mut self,
        results: Option<ListKey>,
        place: Place,
        run: RunKey,
        jobs: u32,
    ) {
        let lane = self.lanes.entry(results).or_default();
        let before = lane.first();
        lane.runs.insert(place, run);
        lane.jobs += u64::from(jobs);
        if lane.is_shut {
            self.held_back += u64::from(jobs);
        } else if before.is_none_or(|(first, _)| place < first) {
            if let Some((first, _)) = before {
                self.heads.remove(&first);
            }
            self.heads.insert(place, run);
        }
    }

    /// Takes a run of `jobs` jobs out.
    pub(crate) fn remove(&mut self, results: Option<ListKey>, place: Place, jobs: u32) {
        let Some(lane) = self.lanes.get_mut(&results) else { return };
        lane.runs.remove(&place);
        lane.jobs -= u64::from(jobs);
        if lane.is_shut {
            self.held_back -= u64::from(jobs);
        } else if self.heads.remove(&place).is_some()
            && let Some((first, run)) = lane.first()
        {
            self.heads.insert(first, run);
        }
        if lane.runs.is_empty() {
            lane.is_shut = false;
            if self.lanes.len() > 1 {
                self.lanes.remove(&results);
            }
        }
    }

    /// The run whose turn is next, of all that are not held back.
    pub(crate) fn next(&self) -> Option<RunKey> {
        self.heads.first_key_value().map(|(_, &run)| run)
    }

    /// Holds back the jobs whose results go to `list`.
    pub(crate) fn shut(&mut self, list: ListKey) {
        let Some(lane) = self.lanes.get_mut(&Some(list)) else { return };
        if let Some((first, _)) = lane.first()
            && !lane.is_shut
        {
            lane.is_shut = true;
            self.held_back += lane.jobs;
            self.heads.remove(&first);
        }
    }

    /// Lets the jobs whose results go to `list` go on; whether they were held back.
    pub(crate) fn open(&mut self, list: ListKey) -> bool {
        let Some(lane) = self.lanes.get_mut(&Some(list)).filter(|lane| lane.is_shut) else {
            return false;
        };
        lane.is_shut = false;
        self.held_back -= lane.jobs;
        self.heads.extend(lane.first());
        true
    }

    /// How many jobs are held back.
    pub(crate) const fn held_back(&self) -> u64 {
        self.held_back
    }

    /// The first run of each lane of a list, and whether the lane is shut.
    pub(crate) fn lanes(&self) -> impl Iterator<Item = (ListKey, Place, bool)> {
        self.lanes.iter().filter_map(|(&list, lane)| Some((list?, lane.first()?.0, lane.is_shut)))
    }

    /// Every run, the one whose turn is next first, as if no list were full.
    pub(crate) fn in_order(&self) -> impl Iterator<Item = RunKey> {
        let mut lanes: BTreeMap<Place, _> = BTreeMap::new();
        for lane in self.lanes.values() {
            let mut runs = lane.runs.iter();
            lanes.extend(runs.next().map(|(&place, &run)| (place, (run, runs))));
        }
        core::iter::from_fn(move || {
            let (_, (run, mut runs)) = lanes.pop_first()?;
            lanes.extend(runs.next().map(|(&place, &next)| (place, (next, runs))));
            Some(run)
        })
    }

    /// For each priority of each lane, the run whose turn is next.
    pub(crate) fn firsts(&self) -> impl Iterator<Item = RunKey> {
        self.lanes.values().flat_map(|lane| {
            let first = JobId { session: ganger_shared::SessionId(0), seq: 0 };
            let mut from = Place { patience: 0, order: 0, job: first };
            core::iter::from_fn(move || {
                let (place, &run) = lane.runs.range(from..).next()?;
                from.patience = place.patience + 1;
                Some(run)
            })
        })
    }

    pub(crate) fn get(&self, results: Option<ListKey>, place: &Place) -> Option<RunKey> {
        self.lanes.get(&results)?.runs.get(place).copied()
    }

    /// How many runs there are.
    pub(crate) fn len(&self) -> usize {
        self.lanes.values().map(|lane| lane.runs.len()).sum()
    }

    /// Asserts that heads and counts are those of the lanes.
    pub(crate) fn check(&self) {
        let open = self.lanes.values().filter(|lane| !lane.is_shut);
        let heads: BTreeMap<Place, RunKey> = open.filter_map(Lane::first).collect();
        assert_eq!(self.heads, heads, "heads of the lanes that are not shut");
        let shut = self.lanes.values().filter(|lane| lane.is_shut);
        assert_eq!(self.held_back, shut.map(|lane| lane.jobs).sum::<u64>(), "jobs held back");
        let empty = self.lanes.values().filter(|lane| lane.runs.is_empty());
        assert!(empty.clone().all(|lane| lane.jobs == 0 && !lane.is_shut), "empty lanes");
        assert!(empty.count() <= 1, "lanes without runs");
    }
}
