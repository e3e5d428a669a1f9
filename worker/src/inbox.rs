//! Runs of jobs that have arrived for one subscription and were not taken yet.
//!
//! Bounded by the subscription's credit: the broker never leases more to it.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};

use bytes::Bytes;
use event_listener::{Event, listener};
use ganger_shared::{Block, JobRange, LeaseRange, Name, Time};

use crate::error::{Error, ProtocolError};
use crate::session::Held;

/// What one Assign grants, or a part of it. All counts are equal.
#[derive(Clone, Debug)]
pub(crate) struct Leased {
    pub(crate) held: Held,
    pub(crate) attempt: u32,
    pub(crate) jobs: JobRange,
    pub(crate) handler: Name,
    pub(crate) deadline: Option<Time>,
    pub(crate) time_limit_ms: Option<u64>,
    pub(crate) payloads: Block,
}

impl Leased {
    /// Everything but the first `count` jobs.
    pub(crate) fn rest(&self, count: u32) -> Self {
        let left = self.jobs.count - count;
        Self {
            held: Held { leases: self.held.leases.part(count, left), ..self.held },
            jobs: self.jobs.part(count, left),
            payloads: self.payloads.part(count, left),
            handler: self.handler.clone(),
            ..*self
        }
    }

    /// The first `count` jobs.
    pub(crate) fn start(&self, count: u32) -> Self {
        Self {
            held: Held { leases: self.held.leases.part(0, count), ..self.held },
            jobs: self.jobs.part(0, count),
            payloads: self.payloads.part(0, count),
            handler: self.handler.clone(),
            ..*self
        }
    }
}

/// A run from which single jobs are taken: the payloads are cut once, not at every job.
#[derive(Debug)]
struct Cut {
    run: Leased,
    payloads: std::vec::IntoIter<Bytes>,
}

impl Cut {
    fn new(run: Leased) -> Self {
        let payloads: Vec<Bytes> = run.payloads.iter().collect();
        Self { run, payloads: payloads.into_iter() }
    }

    fn taken(&self) -> u32 {
        let left = u32::try_from(self.payloads.len()).expect("no more than the run, a u32");
        self.run.jobs.count - left
    }

    fn take(&mut self) -> Option<Leased> {
        let offset = self.taken();
        let payload = self.payloads.next()?;
        Some(Leased {
            held: Held {
                leases: LeaseRange::one(self.run.held.leases.part(offset, 1).first),
                ..self.run.held
            },
            jobs: self.run.jobs.part(offset, 1),
            payloads: Block::one(payload),
            handler: self.run.handler.clone(),
            ..self.run
        })
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Inbox {
    queue: Name,
    credit: u32,
    state: Mutex<State>,
    arrived: Event,
}

#[derive(Debug, Default)]
struct State {
    cut: Option<Cut>,
    runs: VecDeque<Leased>,
    /// Jobs in all of these.
    waiting: u32,
    ended: Option<Ended>,
}

#[derive(Clone, Debug)]
enum Ended {
    Unsubscribed,
    Failed(Error),
}

impl Inbox {
    pub(crate) fn new(queue: Name, credit: u32) -> Self {
        Self { queue, credit, state: Mutex::default(), arrived: Event::new() }
    }

    pub(crate) const fn queue(&self) -> &Name {
        &self.queue
    }

    pub(crate) const fn credit(&self) -> u32 {
        self.credit
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing that runs under this lock panics")
    }

    /// Takes in a run; says no once it has ended.
    ///
    /// # Errors
    /// More jobs than the credit allows.
    pub(crate) fn push(&self, run: Leased) -> Result<bool, ProtocolError> {
        let count = run.jobs.count;
        let mut state = self.lock();
        if state.ended.is_some() {
            return Ok(false);
        }
        state.waiting = state.waiting.saturating_add(count);
        if state.waiting > self.credit {
            return Err(ProtocolError::Unexpected("it sent more jobs than were asked for"));
        }
        state.runs.push_back(run);
        drop(state);
        self.arrived.notify_additional(count as usize);
        Ok(true)
    }

    pub(crate) fn is_open(&self) -> bool {
        self.lock().ended.is_none()
    }

    /// Forgets what was not taken: its leases are lost.
    pub(crate) fn clear(&self) {
        let mut state = self.lock();
        state.cut = None;
        state.runs.clear();
        state.waiting = 0;
    }

    /// No more comes; what is there can still be taken.
    pub(crate) fn end(&self, error: Option<Error>) {
        let mut state = self.lock();
        if state.ended.is_none() {
            state.ended = Some(error.map_or(Ended::Unsubscribed, Ended::Failed));
        }
        drop(state);
        self.arrived.notify(usize::MAX);
    }

    /// Ends it and takes what is left, to be given back.
    pub(crate) fn empty(&self) -> Vec<Leased> {
        let mut state = self.lock();
        state.ended.get_or_insert(Ended::Unsubscribed);
        let left = std::iter::from_fn(|| state.next_run()).collect();
        drop(state);
        self.arrived.notify(usize::MAX);
        left
    }

    /// The next whole run, or what single takes have left of one.
    pub(crate) async fn next_run(&self) -> Result<Option<Leased>, Error> {
        self.take(State::next_run).await
    }

    /// The next single job.
    pub(crate) async fn next_one(&self) -> Result<Option<Leased>, Error> {
        self.take(State::next_one).await
    }

    async fn take(
        &self,
        take: impl Fn(&mut State) -> Option<Leased>,
    ) -> Result<Option<Leased>, Error> {
        loop {
            if let Some(done) = self.try_take(&take) {
                return done;
            }
            listener!(self.arrived => arrived);
            if let Some(done) = self.try_take(&take) {
                return done;
            }
            arrived.await;
        }
    }

    fn try_take(
        &self,
        take: impl Fn(&mut State) -> Option<Leased>,
    ) -> Option<Result<Option<Leased>, Error>> {
        let mut state = self.lock();
        if let Some(run) = take(&mut state) {
            state.waiting -= run.jobs.count;
            return Some(Ok(Some(run)));
        }
        match &state.ended {
            None => None,
            Some(Ended::Unsubscribed) => Some(Ok(None)),
            Some(Ended::Failed(error)) => Some(Err(error.clone())),
        }
    }
}

impl State {
    fn next_run(&mut self) -> Option<Leased> {
        if let Some(cut) = self.cut.take() {
            let taken = cut.taken();
            if taken < cut.run.jobs.count {
                return Some(cut.run.rest(taken));
            }
        }
        self.runs.pop_front()
    }

    fn next_one(&mut self) -> Option<Leased> {
        if let Some(one) = self.cut.as_mut().and_then(Cut::take) {
            return Some(one);
        }
        self.cut = None;
        let run = self.runs.pop_front()?;
        if run.jobs.count == 1 {
            return Some(run);
        }
        self.cut.insert(Cut::new(run)).take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ganger_shared::{JobId, LeaseId, SessionId};

    fn run(first: u64, texts: &[&str]) -> Leased {
        let payloads: Block = texts.iter().collect();
        let count = payloads.count();
        Leased {
            held: Held { epoch: 0, leases: LeaseRange { first: LeaseId(first), count } },
            attempt: 1,
            jobs: JobRange { first: JobId { session: SessionId(1), seq: first }, count },
            handler: Name::new("h").unwrap(),
            deadline: None,
            time_limit_ms: None,
            payloads,
        }
    }

    fn describe(run: &Leased) -> (u64, u64, Vec<Vec<u8>>) {
        assert_eq!(run.held.leases.count, run.jobs.count);
        let payloads = run.payloads.slices().map(<[u8]>::to_vec).collect();
        (run.held.leases.first.0, run.jobs.first.seq, payloads)
    }

    #[test]
    fn jobs_taken_one_by_one_leave_the_rest_of_their_run() {
        ganger_rt::block_on(async {
            let inbox = Inbox::new(Name::new("q").unwrap(), 10);
            assert!(inbox.push(run(10, &["a", "bb", "ccc"])).unwrap());
            assert!(inbox.push(run(20, &["d"])).unwrap());
            let one = inbox.next_one().await.unwrap().unwrap();
            assert_eq!(describe(&one), (10, 10, vec![b"a".to_vec()]));
            let rest = inbox.next_run().await.unwrap().unwrap();
            assert_eq!(describe(&rest), (11, 11, vec![b"bb".to_vec(), b"ccc".to_vec()]));
            let last = inbox.next_one().await.unwrap().unwrap();
            assert_eq!(describe(&last), (20, 20, vec![b"d".to_vec()]));
        });
    }

    #[test]
    fn ended_inbox_gives_what_is_left_and_takes_nothing() {
        let inbox = Inbox::new(Name::new("q").unwrap(), 10);
        assert!(inbox.push(run(1, &["a", "b"])).unwrap());
        let left = inbox.empty();
        assert_eq!(left.iter().map(describe).map(|(lease, ..)| lease).collect::<Vec<_>>(), [1]);
        assert!(!inbox.push(run(3, &["c"])).unwrap());
        assert!(ganger_rt::block_on(inbox.next_one()).unwrap().is_none());
    }

    #[test]
    fn more_jobs_than_the_credit_are_a_mistake_of_the_peer() {
        let inbox = Inbox::new(Name::new("q").unwrap(), 2);
        assert!(inbox.push(run(1, &["a"])).unwrap());
        assert!(inbox.push(run(2, &["b"])).unwrap());
        ganger_rt::block_on(inbox.next_one()).unwrap();
        assert!(inbox.push(run(3, &["c"])).unwrap());
        assert!(inbox.push(run(4, &["d"])).is_err());
    }
}
