//! Changes of a watched object: asked for, kept until they are taken, asked for again after a broken
//! connection.
//!
//! Bounded by the window and one revision: the broker sends no more before they are granted again.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use event_listener::{Event, listener};
use ganger_shared::{Change, Name, Request, RequestId, SubscriptionId, Time};

use crate::client::Client;
use crate::error::{Error, ProtocolError};

/// Changes that are sent ahead of those that were taken: 256, as many as the broker remembers.
const WINDOW: u32 = 256;

/// The changes of an object, as they happen. Dropping it ends it.
#[derive(Debug)]
pub struct Watch {
    client: Client,
    id: SubscriptionId,
    feed: Arc<ChangeFeed>,
}

impl Watch {
    /// Begins one, once the broker has agreed.
    pub(crate) async fn begin(
        client: Client,
        object: Name,
        from: Option<u64>,
    ) -> Result<Self, Error> {
        let feed = Arc::new(ChangeFeed::new(object, from));
        let id = client.session().watch_object(&feed);
        let watch = Self { client, id, feed };
        watch.feed.begun().await?;
        Ok(watch)
    }

    /// The revision of the latest change that [`next`](Self::next) has returned, or after which the watch
    /// began: a later watch goes on from there.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.feed.lock().taken_to
    }

    /// The next change, waiting for it; `None` once the client has ended the watch.
    ///
    /// Changes of the same revision happened together. After a broken connection it goes on where it was.
    ///
    /// # Errors
    /// [`Error::Rejected`] if the object was removed, or changes were forgotten before they could be sent
    /// ([`Rejection::Forgotten`](ganger_shared::Rejection::Forgotten)): watch from now on, then read the
    /// object. [`Error::Closed`].
    ///
    /// # Cancel safety
    /// A change that was not returned is returned by the next call.
    pub async fn next(&mut self) -> Result<Option<Change>, Error> {
        let Some((change, grant)) = self.feed.next().await? else { return Ok(None) };
        if let Some(add) = grant {
            self.client.session().grant(self.id, add);
        }
        Ok(Some(change))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.feed.end(None);
        self.client.session().unlisten(self.id);
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct ChangeFeed {
    object: Name,
    state: Mutex<State>,
    arrived: Event,
}

#[derive(Debug)]
struct State {
    /// When the object was made, once the broker has said so.
    made: Option<Time>,
    /// The revision from which to ask again after a broken connection.
    seen: Option<u64>,
    taken_to: u64,
    changes: VecDeque<Change>,
    /// Changes taken and not granted again.
    taken: u32,
    request: RequestId,
    ended: Option<Option<Error>>,
}

impl ChangeFeed {
    fn new(object: Name, from: Option<u64>) -> Self {
        let state = State {
            made: None,
            seen: from,
            taken_to: 0,
            changes: VecDeque::new(),
            taken: 0,
            request: RequestId(0),
            ended: None,
        };
        Self { object, state: Mutex::new(state), arrived: Event::new() }
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
        let waiting = u32::try_from(state.changes.len()).unwrap_or(u32::MAX);
        Request::Watch {
            request,
            subscription,
            object: self.object.clone(),
            made: state.made,
            from: state.seen,
            window: WINDOW.saturating_sub(waiting),
        }
    }

    /// The broker has agreed.
    pub(crate) fn begin(&self, made: Time, revision: u64) {
        let mut state = self.lock();
        if state.made.is_none() {
            (state.made, state.seen, state.taken_to) = (Some(made), Some(revision), revision);
        }
        drop(state);
        self.arrived.notify(usize::MAX);
    }

    async fn begun(&self) -> Result<(), Error> {
        let begun = || {
            let state = self.lock();
            match &state.ended {
                Some(Some(error)) => Some(Err(error.clone())),
                Some(None) => Some(Ok(())),
                None => state.made.map(|_| Ok(())),
            }
        };
        loop {
            if let Some(begun) = begun() {
                return begun;
            }
            listener!(self.arrived => arrived);
            if let Some(begun) = begun() {
                return begun;
            }
            arrived.await;
        }
    }

    /// # Errors
    /// Changes that have come before, or that were not asked for.
    pub(crate) fn push(&self, changes: Vec<Change>) -> Result<(), ProtocolError> {
        let mut state = self.lock();
        if state.changes.len() >= WINDOW as usize {
            return Err(ProtocolError::Unexpected("it sent more changes than were asked for"));
        }
        let revisions = changes.iter().map(|change| change.revision);
        let is_later = changes.first().is_some_and(|first| Some(first.revision) > state.seen);
        if state.made.is_none() || !is_later || !revisions.is_sorted() {
            return Err(ProtocolError::Unexpected("it sent changes out of order"));
        }
        state.seen = changes.last().map(|last| last.revision);
        state.changes.extend(changes);
        drop(state);
        self.arrived.notify(usize::MAX);
        Ok(())
    }

    pub(crate) fn is_open(&self) -> bool {
        self.lock().ended.is_none()
    }

    pub(crate) fn end(&self, error: Option<Error>) {
        self.lock().ended.get_or_insert(error);
        self.arrived.notify(usize::MAX);
    }

    /// The next change, and how many more the broker may send if it is time to say so.
    async fn next(&self) -> Result<Option<(Change, Option<u32>)>, Error> {
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
    fn take(&self) -> Option<Result<Option<(Change, Option<u32>)>, Error>> {
        let mut state = self.lock();
        if let Some(change) = state.changes.pop_front() {
            state.taken_to = change.revision;
            state.taken += 1;
            let grant = (state.taken > WINDOW / 2).then(|| std::mem::take(&mut state.taken));
            return Some(Ok(Some((change, grant))));
        }
        state.ended.clone().map(|ended| ended.map_or(Ok(None), Err))
    }
}
