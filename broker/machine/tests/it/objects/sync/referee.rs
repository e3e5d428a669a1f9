//! The rules of waiting: one holder, tokens that grow, everybody in turn and in time.
//!
//! What is held it asks the machine as an operator does; who waits, and since when, it knows from
//! what the clients said and were told.

use std::collections::BTreeSet;

use ganger_shared::admin::{AdminAnswer, AdminVerb, ObjectDetails};
use ganger_shared::value::Integer;
use ganger_shared::{By, CallError, RequestId, Response, SessionId, Time, Value};

use super::OBJECTS;
use crate::objects::desk::{Desk, Outcome, answered, name, returned};
use crate::simulation::broker::ask;

/// A call that is not answered yet.
#[derive(Clone, Debug)]
pub(super) struct Parked {
    pub(super) request: RequestId,
    pub(super) session: SessionId,
    pub(super) by: By,
    pub(super) object: usize,
    pub(super) method: &'static str,
    pub(super) until: Time,
    /// It waits on a condition and was notified.
    pub(super) is_told: bool,
}

pub(super) struct Referee {
    /// In the order in which they came.
    parked: Vec<Parked>,
    /// Of all grants so far.
    latest_token: u64,
    /// Of each object: who holds it, under which token.
    held: Vec<Vec<(SessionId, By, u64)>>,
    /// Releases of the semaphore that gave a unit of nobody's.
    added: u64,
    pub(super) seen: BTreeSet<&'static str>,
    now: Time,
}

impl Referee {
    pub(super) fn new() -> Self {
        Self {
            parked: Vec::new(),
            latest_token: 0,
            held: vec![Vec::new(); OBJECTS.len()],
            added: 0,
            seen: BTreeSet::new(),
            now: Time::ZERO,
        }
    }

    pub(super) fn called(&mut self, parked: Parked) {
        self.parked.push(parked);
    }

    /// Who holds the object, or one of them.
    pub(super) fn holder(&self, object: usize) -> Option<(SessionId, By)> {
        self.held[object].first().map(|&(session, by, _)| (session, by))
    }

    /// The client is not there to be answered.
    pub(super) fn left(&mut self, session: SessionId) {
        self.parked.retain(|parked| parked.session != session);
    }

    /// Owners end, and what they hold becomes free.
    pub(super) fn ending(&mut self, ends: impl Fn(&(SessionId, By)) -> bool, what: &'static str) {
        if self.held.iter().flatten().any(|&(session, by, _)| ends(&(session, by))) {
            self.seen.insert(what);
        }
    }

    /// Takes one answer; returns the token that it gives, and of which object.
    pub(super) fn heard(&mut self, response: &Response) -> Option<(usize, u64)> {
        let number = answered(response)?;
        let at = self.parked.iter().position(|parked| parked.request == number)?;
        let call = self.parked.remove(at);
        let Some(mut outcomes) = returned(response) else {
            assert!(matches!(call.by, By::Lease(_)), "{call:?} was rejected: {response:?}");
            self.seen.insert("a call of a lost lease was rejected");
            return None;
        };
        let outcome = outcomes.remove(0);
        if let Err(error) = &outcome {
            self.failed(&call, error);
        }
        let token = self.granted(&call, &outcome);
        self.judge_turn(&call, &outcome, at);
        match (call.method, &outcome) {
            ("notify" | "notify_all", Ok(count)) => {
                let count = count.as_int().and_then(Integer::as_u64).unwrap();
                let waiting = |other: &&mut Parked| {
                    (other.object, other.method) == (call.object, "wait") && !other.is_told
                };
                let now = self.now;
                let waiting = self.parked.iter_mut().filter(waiting).filter(|p| p.until > now);
                let mut told = 0;
                for parked in waiting.take(usize::try_from(count).unwrap()) {
                    (parked.is_told, told) = (true, told + 1);
                }
                assert_eq!(told, count, "so many are told");
            }
            ("release", Ok(_)) => self.released(&call),
            _ => {}
        }
        token.map(|token| (call.object, token))
    }

    fn failed(&mut self, call: &Parked, error: &CallError) {
        match error {
            CallError::Deadlock(_) => {
                assert_ne!(call.by, By::Session, "{error}");
                self.seen.insert("a circle was found");
            }
            CallError::Broken => {
                assert_eq!(call.method, "wait");
                self.seen.insert("a barrier broke");
            }
            CallError::StaleToken { token, latest } => {
                assert!(token < latest);
                self.seen.insert("a stale token was refused");
            }
            CallError::NotHeld(_) => {
                assert!(matches!(call.method, "release" | "wait" | "notify" | "notify_all"));
            }
            error => panic!("{call:?}: {error}"),
        }
    }

    /// A token is larger than all before, or that of whoever acquires again.
    fn granted(&mut self, call: &Parked, outcome: &Outcome) -> Option<u64> {
        let ("acquire", Ok(Value::Int(token))) = (call.method, outcome) else {
            if (call.method, outcome) == ("acquire", &Ok(Value::None)) {
                self.seen.insert("time was up");
            }
            return None;
        };
        let token = token.as_u64().unwrap();
        let again = self.held[call.object].contains(&(call.session, call.by, token));
        if OBJECTS[call.object].1 == "rlock/1" && again {
            self.seen.insert("acquired again");
            return Some(token);
        }
        assert!(token > self.latest_token, "token {token} after {}", self.latest_token);
        self.latest_token = token;
        self.held[call.object].push((call.session, call.by, token));
        Some(token)
    }

    /// Whether nobody who came earlier waits for the same and has not got it; `at` is the place that
    /// the call had.
    fn judge_turn(&mut self, call: &Parked, outcome: &Outcome, at: usize) {
        let is_served = match (call.method, outcome) {
            ("acquire", Ok(value)) => !value.is_none(),
            ("wait", Ok(value)) => *value != Value::Bool(false),
            _ => false,
        };
        let typeid = OBJECTS[call.object].1;
        let is_last = at == self.parked.len();
        if let ("wait", Ok(value)) = (call.method, outcome) {
            self.seen.insert(match (typeid, value) {
                ("condition/1", Value::Bool(true)) => "notified",
                ("condition/1", _) => "not notified in time",
                ("barrier/1", _) => "a barrier let go",
                (_, Value::Bool(true)) => "an event let go",
                _ => "time was up",
            });
            if typeid == "condition/1" {
                assert_eq!(*value, Value::Bool(call.is_told), "{call:?}");
            }
        }
        // The last of a barrier's parties need not wait.
        if !is_served || typeid == "barrier/1" && is_last {
            return;
        }
        if call.method == "acquire" && !is_last {
            self.seen.insert("granted after a wait");
        }
        for other in &self.parked[..at] {
            let waits_alike = match (typeid, other.method) {
                ("condition/1", "wait") => other.is_told || other.until <= self.now,
                _ => true,
            };
            // Whoever has an rlock gets it again at once.
            let holds =
                self.held[call.object].iter().any(|h| (h.0, h.1) == (call.session, call.by));
            let may_pass = other.object != call.object || typeid == "rlock/1" && holds;
            assert!(may_pass || !waits_alike, "{call:?} before {other:?}");
        }
    }

    fn released(&mut self, call: &Parked) {
        let owns = self.held[call.object].iter().any(|h| (h.0, h.1) == (call.session, call.by));
        if OBJECTS[call.object].1 == "semaphore/1" && !owns {
            self.added += 1;
        }
    }

    /// What must hold whenever the machine is at rest.
    pub(super) fn judge(&mut self, desk: &mut Desk) {
        self.now = desk.now;
        for (index, (object, typeid, units)) in OBJECTS.into_iter().enumerate() {
            let show = AdminVerb::ObjectShow { object: name(object) };
            let Some(AdminAnswer::Object(details)) = ask(&mut desk.machine, desk.now, show) else {
                panic!("{object} is gone")
            };
            self.held[index] = details.holders.iter().map(|h| (h.session, h.by, h.token)).collect();
            let holders = details.holders.len() as u64;
            let acquiring = details.waiters.iter().any(|waiter| waiter.method == "acquire");
            match (typeid, units) {
                ("semaphore/1" | "bounded_semaphore/1", Some(units)) => {
                    let most = units + if typeid == "semaphore/1" { self.added } else { 0 };
                    assert!(holders <= most, "{holders} have units of {object}, of {most}");
                    assert!(!acquiring || holders == most, "units of {object} are free");
                }
                ("barrier/1" | "event/1", _) => assert_eq!(holders, 0),
                _ => {
                    assert!(holders <= 1, "{holders} hold {object}");
                    assert!(!acquiring || holders == 1, "{object} is free");
                }
            }
            self.judge_people(&details, index);
        }
    }

    fn judge_people(&mut self, details: &ObjectDetails, object: usize) {
        for holder in &details.holders {
            if OBJECTS[object].1 == "condition/1" {
                // Whoever has waited on it has a token that no answer names.
                self.latest_token = self.latest_token.max(holder.token);
            }
            assert!(holder.token <= self.latest_token, "{holder:?} got its token in secret");
            if matches!(holder.by, By::Lease(_)) {
                assert!(holder.job.is_some(), "{holder:?} holds it, and its lease is over");
            }
        }
        let parked = self.parked.iter().filter(|parked| parked.object == object);
        assert_eq!(parked.clone().count(), details.waiters.len(), "{details:?}");
        for call in parked {
            // Also whose time is up goes on with the condition only.
            let goes_on = (OBJECTS[object].1, call.method) == ("condition/1", "wait");
            assert!(goes_on || call.until > self.now, "{call:?} at {:?}", self.now);
        }
    }
}
