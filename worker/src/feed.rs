//! What the broker sends ahead, kept until it is taken: up to a window, which grows as it is taken.
//!
//! Not what is asked for, nor where to go on after a broken connection, which is each caller's own.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};

use event_listener::{Event, listener};
use ganger_shared::RequestId;

use crate::error::{Error, ProtocolError};

/// Things of type `T` that have arrived, and the caller's own `P`: how far it has come.
#[derive(Debug)]
pub(crate) struct Feed<T, P> {
    window: u32,
    state: Mutex<State<T, P>>,
    arrived: Event,
}

/// What [`Feed::lock`] gives.
#[derive(Debug)]
pub(crate) struct State<T, P> {
    pub(crate) place: P,
    arrived: VecDeque<T>,
    /// Those taken and not granted again.
    taken: u32,
    request: RequestId,
    ended: Option<Option<Error>>,
}

impl<T, P> Feed<T, P> {
    pub(crate) const fn new(place: P, window: u32) -> Self {
        let state =
            State { place, arrived: VecDeque::new(), taken: 0, request: RequestId(0), ended: None };
        Self { window, state: Mutex::new(state), arrived: Event::new() }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State<T, P>> {
        self.state.lock().expect("nothing that runs under this lock panics")
    }

    /// The latest request that asked for it.
    pub(crate) fn request(&self) -> RequestId {
        self.lock().request
    }

    pub(crate) fn is_open(&self) -> bool {
        self.lock().ended.is_none()
    }

    /// Nothing more comes; of several reasons the first one counts.
    pub(crate) fn end(&self, error: Option<Error>) {
        self.lock().ended.get_or_insert(error);
        self.arrived.notify(usize::MAX);
    }

    /// Begins to ask for it under a number, with what the window has room for.
    pub(crate) fn ask<R>(&self, request: RequestId, ask: impl FnOnce(&P, u32) -> R) -> R {
        let mut state = self.lock();
        state.request = request;
        // What waits here to be taken counts, and what was taken is granted by this frame.
        state.taken = 0;
        let waiting = u32::try_from(state.arrived.len()).unwrap_or(u32::MAX);
        ask(&state.place, self.window.saturating_sub(waiting))
    }

    /// Has what waits for `place` look at it again.
    pub(crate) fn change(&self, change: impl FnOnce(&mut P)) {
        change(&mut self.lock().place);
        self.arrived.notify(usize::MAX);
    }

    /// Takes in what has come; `accept` gets its place and how many wait already.
    ///
    /// # Errors
    /// Those of `accept`; nothing is taken in then.
    pub(crate) fn push<I: IntoIterator<Item = T>>(
        &self,
        accept: impl FnOnce(&mut P, usize) -> Result<I, ProtocolError>,
    ) -> Result<(), ProtocolError> {
        let mut state = self.lock();
        let waiting = state.arrived.len();
        let more = accept(&mut state.place, waiting)?;
        state.arrived.extend(more);
        let count = state.arrived.len() - waiting;
        drop(state);
        self.arrived.notify_additional(count);
        Ok(())
    }

    /// The next one, and how many more the broker may send if it is time to say so; `None` at the end.
    pub(crate) async fn next(&self) -> Result<Option<(T, Option<u32>)>, Error> {
        self.until(|state| {
            if let Some(next) = state.arrived.pop_front() {
                state.taken += 1;
                let is_due = state.taken > self.window / 2;
                return Some(Ok(Some((next, is_due.then(|| std::mem::take(&mut state.taken))))));
            }
            state.ended.clone().map(|ended| ended.map_or(Ok(None), Err))
        })
        .await
    }

    /// Waits for a place of which `is_there` is true, or for the end.
    pub(crate) async fn reached(&self, is_there: impl Fn(&P) -> bool) -> Result<(), Error> {
        self.until(|state| match &state.ended {
            Some(Some(error)) => Some(Err(error.clone())),
            Some(None) => Some(Ok(())),
            None => is_there(&state.place).then_some(Ok(())),
        })
        .await
    }

    async fn until<R>(&self, done: impl Fn(&mut State<T, P>) -> Option<R>) -> R {
        loop {
            if let Some(found) = done(&mut self.lock()) {
                return found;
            }
            listener!(self.arrived => arrived);
            if let Some(found) = done(&mut self.lock()) {
                return found;
            }
            arrived.await;
        }
    }
}
