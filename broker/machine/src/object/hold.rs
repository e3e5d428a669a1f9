//! A grant: who holds one unit of something, under which fencing token.

use ganger_shared::{CallError, SessionId, Time};
use serde::{Deserialize, Serialize};

use super::Owner;

/// One unit that somebody holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hold {
    /// Grows with every grant of anything in this broker, and is never used again.
    pub(crate) token: u64,
    pub(crate) owner: Owner,
    /// How often it was acquired and not released.
    pub(crate) count: u32,
    pub(crate) since: Time,
}

/// [`Hold`] in the journal.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct KeptHold {
    token: u64,
    session: SessionId,
    by: ganger_shared::By,
    count: u32,
    since: Time,
}

impl From<&Hold> for KeptHold {
    fn from(hold: &Hold) -> Self {
        let Hold { token, owner, count, since } = *hold;
        Self { token, session: owner.session, by: owner.by, count, since }
    }
}

impl From<KeptHold> for Hold {
    fn from(kept: KeptHold) -> Self {
        let KeptHold { token, session, by, count, since } = kept;
        Self { token, owner: Owner { session, by }, count, since }
    }
}

/// What is wrong with a release of something that the caller does not hold; `token` is what it
/// showed, `latest` that of the latest grant.
pub(super) fn not_held(token: Option<u64>, latest: Option<u64>, holder: Option<Hold>) -> CallError {
    match (token, latest) {
        (Some(token), Some(latest)) if token < latest => CallError::StaleToken { token, latest },
        _ => CallError::NotHeld(match holder {
            None => "nobody holds it".to_owned(),
            Some(hold) => format!(
                "session {} holds it under token {}, not the caller",
                hold.owner.session, hold.token
            ),
        }),
    }
}
