//! What jobs wait for before they may start.
//!
//! Not who looks whether it has come: nobody polls, the broker's machine does at each change.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::bounded;
use crate::id::JobRange;
use crate::limits::PREREQUISITE_RANGES_MAX;
use crate::name::Name;

/// Something that has to come true before jobs may start. Once it was true it counts as met, whatever
/// comes afterwards. Append variants, never change one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Prerequisite {
    /// Other jobs have ended. They have been accepted and are not forgotten.
    Jobs {
        /// Which; of any session.
        #[serde(deserialize_with = "bounded::vec::<_, _, PREREQUISITE_RANGES_MAX>")]
        jobs: Vec<JobRange>,
        /// How many of them.
        need: Need,
        /// What it means if they end otherwise than done.
        on_failure: OnFailure,
    },
    /// A counter is at least at a number. It is made if there is none.
    Counter {
        /// Which.
        object: Name,
        /// The number.
        at_least: i64,
    },
    /// A list has at least so many items. It is made if there is none.
    List {
        /// Which.
        list: Name,
        /// How many.
        at_least: u64,
    },
}

/// How many of the jobs have to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Need {
    /// All of them.
    All,
    /// One of them.
    Any,
}

/// What the end of a job that is not done (dead or cancelled) means for the jobs that wait for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnFailure {
    /// They are dead letters as soon as the prerequisite cannot be met any more.
    Fail,
    /// Any end will do.
    Run,
}

/// A prerequisite that is not met, and how far it has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// Which.
    pub prerequisite: Prerequisite,
    /// Jobs that have ended, the counter's number, or the list's items.
    pub have: i64,
}

impl Prerequisite {
    /// How many jobs it names; 0 if it is not about jobs.
    #[must_use]
    pub fn jobs_count(&self) -> u64 {
        match self {
            Self::Jobs { jobs, .. } => jobs.iter().map(|jobs| u64::from(jobs.count)).sum(),
            Self::Counter { .. } | Self::List { .. } => 0,
        }
    }
}

impl fmt::Display for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let have = self.have;
        match &self.prerequisite {
            Prerequisite::Jobs { jobs, need, .. } => {
                let Some(JobRange { first, .. }) = jobs.first() else { return Ok(()) };
                let count = self.prerequisite.jobs_count();
                let how = match need {
                    Need::All => "all",
                    Need::Any => "one",
                };
                write!(f, "{how} of {count} jobs from {first} on: {have} ended")
            }
            Prerequisite::Counter { object, at_least } => {
                write!(f, "counter {object} >= {at_least}: it is {have}")
            }
            Prerequisite::List { list, at_least } => {
                write!(f, "list {list} >= {at_least} items: it has {have}")
            }
        }
    }
}
