//! Items of a followed list that have arrived and were not taken yet.
//!
//! Bounded by the window: the broker sends no more before they are granted again.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};

use event_listener::{Event, listener};
use ganger_shared::response::Items;
use ganger_shared::{Name, Request, RequestId, SubscriptionId};

use crate::error::{Error, ProtocolError};
use crate::list::{Item, each_item};

/// See the module.
#[derive(Debug)]
pub(crate) struct Feed {
    list: Name,
    window: u32,
    state: Mutex<State>,
    arrived: Event,
}

#[derive(Debug)]
struct State {
    /// The index from which to ask again after a broken connection.
    next: i64,
    items: VecDeque<Item>,
    /// Items taken and not granted again.
    taken: u32,
    request: RequestId,
    ended: Option<Option<Error>>,
}

impl Feed {
    pub(crate) fn new(list: Name, start: i64, window: u32) -> Self {
        let state = State {
            next: start,
            items: VecDeque::new(),
            taken: 0,
            request: RequestId(0),
            ended: None,
        };
        Self { list, window, state: Mutex::new(state), arrived: Event::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing that runs under this lock panics")
    }

    pub(crate) fn request(&self) -> RequestId {
        self.lock().request
    }

    pub(crate) fn frame(&self, subscription: SubscriptionId, request: RequestId) -> Request {
        let mut state = self.lock();
        state.request = request;
        // What waits here to be taken counts, and what was taken is granted by this frame.
        state.taken = 0;
        let waiting = u32::try_from(state.items.len()).unwrap_or(u32::MAX);
        Request::Follow {
            request,
            subscription,
            list: self.list.clone(),
            start: state.next,
            window: self.window.saturating_sub(waiting),
        }
    }

    /// # Errors
    /// More items than the window allows.
    pub(crate) fn push(&self, start: u64, items: Vec<Items>) -> Result<(), ProtocolError> {
        let mut state = self.lock();
        let before = state.items.len();
        let count: usize = items.iter().map(|run| run.block.count() as usize).sum();
        if before + count > self.window as usize {
            return Err(ProtocolError::Unexpected("it sent more items than were asked for"));
        }
        state.items.extend(each_item(start, items));
        if let Some(last) = state.items.back() {
            state.next = i64::try_from(last.index.saturating_add(1)).unwrap_or(i64::MAX);
        }
        drop(state);
        self.arrived.notify_additional(count);
        Ok(())
    }

    pub(crate) fn is_open(&self) -> bool {
        self.lock().ended.is_none()
    }

    pub(crate) fn end(&self, error: Option<Error>) {
        self.lock().ended.get_or_insert(error);
        self.arrived.notify(usize::MAX);
    }

    /// The next item, and how many more the broker may send if it is time to say so.
    pub(crate) async fn next(&self) -> Result<Option<(Item, Option<u32>)>, Error> {
        loop {
            if let Some(done) = self.take() {
                return done;
            }
            listener!(self.arrived => arrived);
            if let Some(done) = self.take() {
                return done;
            }
            arrived.await;
        }
    }

    #[expect(clippy::type_complexity, reason = "what `next` returns, once it is known")]
    fn take(&self) -> Option<Result<Option<(Item, Option<u32>)>, Error>> {
        let mut state = self.lock();
        if let Some(item) = state.items.pop_front() {
            state.taken += 1;
            let grant = (state.taken > self.window / 2).then(|| std::mem::take(&mut state.taken));
            return Some(Ok(Some((item, grant))));
        }
        state.ended.clone().map(|ended| ended.map_or(Ok(None), Err))
    }
}
