//! What the machine is told.

use ganger_shared::key::KeyId;
use ganger_shared::{LeaseRange, Request, SessionId};

/// One input of the machine.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly all of them are requests, and none is kept")]
pub enum Command {
    /// A client that has proven a key opens or resumes a session. The only way in; answered by
    /// Opened, or refused with `NotYours`.
    Open {
        /// As the client chose it.
        session: SessionId,
        /// Which key the client has proven.
        key: KeyId,
        /// The leases it still works on.
        held: Vec<LeaseRange>,
        /// What it calls itself.
        name: String,
    },
    /// A frame of an open session other than Open.
    Request {
        /// Whose.
        session: SessionId,
        /// The frame.
        request: Request,
    },
    /// The connection of a session broke; the grace begins.
    Disconnected {
        /// Whose.
        session: SessionId,
    },
    /// Time has passed: carries out what was due.
    Tick,
}
