//! Calls of one method of one object that are made at once: they leave as one frame, which the broker
//! judges, records and answers once.
//!
//! Not which methods do without a frame of their own, which is [`types::may_join`]'s.
//!
//! ```text
//!   add ─┐
//!   add ─┼─ wait for the flusher ─▶ one Call, kept and repeated as it is ─▶ Returned ─┬▶ the first's
//!   add ─┘                                                                            └▶ …
//! ```
//!
//! Who shares a frame is settled when it becomes a call of the session, before it is sent for the first
//! time, and never again: the broker knows a repeated frame by its first number, and answers it as the
//! whole that it was.
//!
//! [`types::may_join`]: ganger_shared::object::types::may_join

use ganger_shared::block::BlockBuilder;
use ganger_shared::{By, Name, Request};

use super::{Leave, Link, Session, State, append};
use crate::calls::{Answer, Answered, Call, Joiner};
use crate::oneshot;

/// Calls in one frame at most: 128. A change of many calls is told to watchers as a whole, whatever they
/// have room for; and more would hardly be cheaper.
const JOINED_MAX: u32 = 128;

/// Bytes of arguments in one frame at most: 16 KiB. What is larger gains nothing, and is copied once less
/// in a frame of its own.
const JOINED_BYTES: usize = 16 << 10;

/// Bytes of the arguments of one call that shares a frame: 2 KiB.
pub(crate) const JOINED_ARGS_MAX: usize = 2 << 10;

/// What is called, and on whose behalf.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target<'a> {
    pub(crate) object: &'a Name,
    pub(crate) typeid: &'a Name,
    pub(crate) method: &'static str,
    pub(crate) by: By,
    /// Whether it changes the object, and so has a number.
    pub(crate) is_numbered: bool,
}

/// Calls that were made and not sent.
#[derive(Debug)]
pub(super) struct Joined {
    object: Name,
    typeid: Name,
    method: &'static str,
    by: By,
    /// The number of the first; each has the next one.
    seq: Option<u64>,
    args: BlockBuilder,
    joiners: Vec<Joiner>,
}

impl Joined {
    fn new(target: Target<'_>, next_seq: u64) -> Self {
        Self {
            object: target.object.clone(),
            typeid: target.typeid.clone(),
            method: target.method,
            by: target.by,
            seq: target.is_numbered.then_some(next_seq),
            args: BlockBuilder::default(),
            joiners: Vec::new(),
        }
    }

    /// Whether one more goes into the same frame.
    fn takes(&self, target: Target<'_>, next_seq: u64, bytes: usize) -> bool {
        let next = self.seq.map(|first| first + u64::from(self.args.count()));
        self.args.count() < JOINED_MAX
            && self.args.size_bytes() + bytes <= JOINED_BYTES
            && next == target.is_numbered.then_some(next_seq)
            && (self.method, self.by) == (target.method, target.by)
            && (&self.object, &self.typeid) == (target.object, target.typeid)
    }

    pub(super) const fn count(&self) -> usize {
        self.joiners.len()
    }
}

impl Session {
    /// Calls a method, together with others that leave at the same time.
    pub(crate) fn join(&self, target: Target<'_>, args: &[u8]) -> Answered {
        let (sender, receiver) = oneshot::channel();
        let answered = Answered::new(receiver);
        let mut state = self.lock();
        if let Link::Ended(error) = &state.link {
            sender.send(Err(error.clone()));
            return answered;
        }
        let next_seq = state.next_seq;
        // One that the broker refuses for its size must not take others with it.
        let is_refused = args.len() > state.terms.payload_bytes_max as usize;
        let joins = |joined: &Joined| !is_refused && joined.takes(target, next_seq, args.len());
        if !state.joined.as_ref().is_some_and(joins) {
            state.send_joined();
        }
        let leave = state.leave_with_others();
        let joined = state.joined.get_or_insert_with(|| Joined::new(target, next_seq));
        joined.args.push(args);
        joined.joiners.push(sender);
        state.next_seq += u64::from(target.is_numbered);
        if let Leave::Now(_) = leave {
            state.send_gathered();
        } else if is_refused {
            state.send_joined();
        }
        drop(state);
        self.flusher.carry_out(leave);
        answered
    }
}

impl State {
    /// Makes a call of those that were joined, and queues its frame if there is a connection. Whatever
    /// they are not to be overtaken by comes after this.
    pub(super) fn send_joined(&mut self) {
        let Some(mut joined) = self.joined.take() else { return };
        let id = self.take_request();
        let request = Request::Call {
            request: id,
            object: joined.object,
            typeid: Some(joined.typeid),
            method: joined.method.to_owned(),
            seq: joined.seq,
            answered: self.answered(joined.seq),
            by: joined.by,
            wait_ms: 0,
            args: joined.args.finish(),
        };
        if let Some(out) = self.outgoing() {
            append(out, &request);
        }
        let answer = match joined.joiners.pop() {
            Some(sender) if joined.joiners.is_empty() => Answer::Once(sender),
            last => {
                joined.joiners.extend(last);
                Answer::Joined(joined.joiners)
            }
        };
        self.keep(id, Call { request: Some(Box::new(request)), answer });
    }

    /// The number below which all calls on objects are answered, of which the next one has `seq`.
    pub(super) fn answered(&self, seq: Option<u64>) -> u64 {
        let first = self.object_seqs.first().copied();
        first.or(seq).unwrap_or(self.next_seq)
    }
}
