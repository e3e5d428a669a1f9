//! Items of a followed list that have arrived and were not taken yet.

use ganger_shared::response::Items;
use ganger_shared::{Name, Request, RequestId, SubscriptionId};

use crate::error::{Error, ProtocolError};
use crate::feed::Feed;
use crate::list::{Item, each_item};

/// See the module.
#[derive(Debug)]
pub(crate) struct ItemFeed {
    list: Name,
    window: u32,
    /// Its place is the index from which to ask again after a broken connection.
    feed: Feed<Item, i64>,
}

impl ItemFeed {
    pub(crate) const fn new(list: Name, start: i64, window: u32) -> Self {
        Self { list, window, feed: Feed::new(start, window) }
    }

    pub(crate) fn request(&self) -> RequestId {
        self.feed.request()
    }

    pub(crate) fn frame(&self, subscription: SubscriptionId, request: RequestId) -> Request {
        let list = self.list.clone();
        self.feed.ask(request, |&start, window| Request::Follow {
            request,
            subscription,
            list,
            start,
            window,
        })
    }

    /// # Errors
    /// More items than the window allows.
    pub(crate) fn push(&self, start: u64, items: Vec<Items>) -> Result<(), ProtocolError> {
        let count: usize = items.iter().map(|run| run.block.count() as usize).sum();
        self.feed.push(|next, waiting| {
            if waiting + count > self.window as usize {
                return Err(ProtocolError::Unexpected("it sent more items than were asked for"));
            }
            let items: Vec<Item> = each_item(start, items).collect();
            if let Some(last) = items.last() {
                *next = i64::try_from(last.index.saturating_add(1)).unwrap_or(i64::MAX);
            }
            Ok(items)
        })
    }

    pub(crate) fn is_open(&self) -> bool {
        self.feed.is_open()
    }

    pub(crate) fn end(&self, error: Option<Error>) {
        self.feed.end(error);
    }

    /// The next item, and how many more the broker may send if it is time to say so.
    pub(crate) async fn next(&self) -> Result<Option<(Item, Option<u32>)>, Error> {
        self.feed.next().await
    }
}
