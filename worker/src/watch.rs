//! Changes of a watched object: asked for, kept until they are taken, asked for again after a broken
//! connection.
//!
//! Bounded by the window and one revision: the broker sends no more before they are granted again.

use std::sync::Arc;

use ganger_shared::{Change, Name, Request, RequestId, SubscriptionId, Time};

use crate::client::Client;
use crate::error::{Error, ProtocolError};
use crate::feed::Feed;

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
        self.feed.feed.lock().place.taken_to
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
    feed: Feed<Change, Place>,
}

#[derive(Debug)]
struct Place {
    /// When the object was made, once the broker has said so.
    made: Option<Time>,
    /// The revision from which to ask again after a broken connection.
    seen: Option<u64>,
    taken_to: u64,
}

impl ChangeFeed {
    const fn new(object: Name, from: Option<u64>) -> Self {
        let place = Place { made: None, seen: from, taken_to: 0 };
        Self { object, feed: Feed::new(place, WINDOW) }
    }

    pub(crate) fn request(&self) -> RequestId {
        self.feed.request()
    }

    pub(crate) fn frame(&self, subscription: SubscriptionId, request: RequestId) -> Request {
        let object = self.object.clone();
        self.feed.ask(request, |place, window| Request::Watch {
            request,
            subscription,
            object,
            made: place.made,
            from: place.seen,
            window,
        })
    }

    /// The broker has agreed.
    pub(crate) fn begin(&self, made: Time, revision: u64) {
        self.feed.change(|place| {
            if place.made.is_none() {
                *place = Place { made: Some(made), seen: Some(revision), taken_to: revision };
            }
        });
    }

    async fn begun(&self) -> Result<(), Error> {
        self.feed.reached(|place| place.made.is_some()).await
    }

    /// # Errors
    /// Changes that have come before, or that were not asked for.
    pub(crate) fn push(&self, changes: Vec<Change>) -> Result<(), ProtocolError> {
        self.feed.push(|place, waiting| {
            if waiting >= WINDOW as usize {
                return Err(ProtocolError::Unexpected("it sent more changes than were asked for"));
            }
            let revisions = changes.iter().map(|change| change.revision);
            let is_later = changes.first().is_some_and(|first| Some(first.revision) > place.seen);
            if place.made.is_none() || !is_later || !revisions.is_sorted() {
                return Err(ProtocolError::Unexpected("it sent changes out of order"));
            }
            place.seen = changes.last().map(|last| last.revision);
            Ok(changes)
        })
    }

    pub(crate) fn is_open(&self) -> bool {
        self.feed.is_open()
    }

    pub(crate) fn end(&self, error: Option<Error>) {
        self.feed.end(error);
    }

    /// The next change, and how many more the broker may send if it is time to say so.
    async fn next(&self) -> Result<Option<(Change, Option<u32>)>, Error> {
        let next = self.feed.next().await?;
        if let Some((change, _)) = &next {
            self.feed.lock().place.taken_to = change.revision;
        }
        Ok(next)
    }
}
