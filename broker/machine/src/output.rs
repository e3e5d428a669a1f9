//! What the machine wants done.

use ganger_shared::{Durability, Response, SessionId};

use crate::backlog::Load;
use crate::event::Event;
use crate::seq::Seq;

/// A response and what it promises.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Send {
    /// To whom. Dropped if the session has no connection: whatever matters is asked for again.
    pub session: SessionId,
    /// What.
    pub response: Response,
    /// How safe the events of this step must be before the response may leave. What promises
    /// nothing is `Memory` and leaves at once.
    pub promise: Durability,
}

/// The results of one or more steps, in order. Reused from step to step; the caller drains it.
#[derive(Debug, Default)]
pub struct Output {
    /// Responses, in the order in which each session must see them.
    pub sends: Vec<Send>,
    /// Events of objects that outlive the process, in order.
    pub journal: Vec<Event>,
    /// Position of the record that those events become; `None` where nothing is kept. The caller's
    /// to set, before the steps.
    pub record: Option<Seq>,
    /// Payloads to be read from the journal, which has them in records before that one.
    pub loads: Vec<Load>,
    /// Sessions that have ended without being told so: close their connections, with this reason.
    pub expelled: Vec<(SessionId, String)>,
}

impl Output {
    pub(crate) fn send(&mut self, session: SessionId, response: Response) {
        self.promise(session, Durability::Memory, response);
    }

    pub(crate) fn promise(&mut self, session: SessionId, promise: Durability, response: Response) {
        self.sends.push(Send { session, response, promise });
    }
}
