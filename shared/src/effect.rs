//! What happens together with the end of a job: all of it, or nothing and the job goes on.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::block::Block;
use crate::bounded;
use crate::job::JobOptions;
use crate::limits::{METHOD_BYTES_MAX, PREREQUISITES_MAX};
use crate::name::Name;
use crate::prerequisite::Prerequisite;

/// One thing that happens in the step that ends a job. Append variants, never change one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// A method of a shared object is called on behalf of the job: one that can be taken back while it
    /// is not sure that all others succeed. `docs/objects.md` says which can.
    Call {
        /// The object.
        object: Name,
        /// Its type, where an object that does not exist is to be made.
        typeid: Option<Name>,
        /// The method; at most 64 bytes.
        #[serde(deserialize_with = "bounded::text::<_, METHOD_BYTES_MAX>")]
        method: String,
        /// Its arguments: encoded values, one after the other.
        args: Bytes,
    },
    /// Jobs are submitted.
    Submit {
        /// Their queue; made on first use where the configuration allows it.
        queue: Name,
        /// The number of the first one in the worker's session; the others follow on.
        first_seq: u64,
        /// What they have in common.
        options: JobOptions,
        /// One payload each.
        payloads: Block,
    },
    /// Jobs are submitted that wait for prerequisites before they may start.
    SubmitWhen {
        /// Their queue; made on first use where the configuration allows it.
        queue: Name,
        /// The number of the first one in the worker's session; the others follow on.
        first_seq: u64,
        /// What they have in common.
        options: JobOptions,
        /// One payload each.
        payloads: Block,
        /// All of which have to be met.
        #[serde(deserialize_with = "bounded::vec::<_, _, PREREQUISITES_MAX>")]
        prerequisites: Vec<Prerequisite>,
    },
}

impl Effect {
    /// What it is about, for people: `seen.add` or `submit mail`.
    #[must_use]
    pub fn about(&self) -> String {
        match self {
            Self::Call { object, method, .. } => format!("{object}.{method}"),
            Self::Submit { queue, .. } | Self::SubmitWhen { queue, .. } => {
                format!("submit {queue}")
            }
        }
    }
}
