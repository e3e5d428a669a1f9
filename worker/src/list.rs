//! The proxy of a shared list: appended at the end, popped from the front, followed from anywhere.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ganger_shared::response::Items;
use ganger_shared::time::millis;
use ganger_shared::{Block, JobId, Name, Rejection, Request, Response, SubscriptionId};

use crate::calls::unexpected;
use crate::client::Client;
use crate::error::Error;
use crate::follow::ItemFeed;
use crate::pops::Popping;

/// Items that a follow takes ahead: 1,024, some of which are read while others come.
const WINDOW: u32 = 1_024;

/// One item of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its place, counted from the first item ever appended.
    pub index: u64,
    /// The job whose result it is; none for what a client appended.
    pub job: Option<JobId>,
    /// Its content.
    pub bytes: Bytes,
}

/// Items of a list, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// They.
    pub items: Vec<Item>,
    /// Items in the list after this.
    pub length: u64,
    /// What the last pops of this session took went back to the list, and comes once more.
    pub returned: bool,
}

/// Items as they lie on the wire, one by one.
pub(crate) fn each_item(start: u64, runs: Vec<Items>) -> impl Iterator<Item = Item> {
    let mut index = start;
    runs.into_iter().flat_map(move |run| {
        let first = index;
        index = index.saturating_add(u64::from(run.block.count()));
        let parts: Vec<Bytes> = run.block.iter().collect();
        (0_u32..).zip(parts).map(move |(offset, bytes)| Item {
            index: first.saturating_add(u64::from(offset)),
            job: run.jobs.map(|jobs| jobs.part(offset, 1).first),
            bytes,
        })
    })
}

/// A list of the broker; clones stand for the same one. It is made on first use, where the broker's
/// configuration allows it.
#[derive(Clone, Debug)]
pub struct List {
    client: Client,
    name: Name,
}

impl List {
    pub(crate) const fn new(client: Client, name: Name) -> Self {
        Self { client, name }
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &Name {
        &self.name
    }

    /// Appends one item and returns the length of the list then.
    ///
    /// # Errors
    /// [`Error::Rejected`], [`Error::Closed`].
    ///
    /// # Cancel safety
    /// Dropping the future does not take back what was sent.
    pub async fn append(&self, item: impl Into<Bytes>) -> Result<u64, Error> {
        self.append_block(Block::one(item)).await
    }

    /// Appends items, all together, and returns the length of the list then.
    ///
    /// # Errors
    /// [`Error::Rejected`], [`Error::Closed`]; [`Error::Invalid`] if they do not fit one frame.
    ///
    /// # Cancel safety
    /// Dropping the future does not take back what was sent.
    pub async fn append_many<T: AsRef<[u8]>>(
        &self,
        items: impl IntoIterator<Item = T>,
    ) -> Result<u64, Error> {
        self.append_block(items.into_iter().collect()).await
    }

    /// Appends the strings of a block as items, all together.
    ///
    /// # Errors
    /// As for [`append_many`](Self::append_many).
    pub async fn append_block(&self, items: Block) -> Result<u64, Error> {
        let session = self.client.session();
        let (size, most) = (items.size_bytes(), session.block_bytes_max());
        if size > most || items.count() > ganger_shared::limits::RUN_COUNT_MAX {
            let count = items.count();
            return Err(Error::Invalid(format!(
                "{count} items of {size} bytes do not fit a frame; append them in parts"
            )));
        }
        if items.count() == 0 {
            return self.len().await;
        }
        session.room().await;
        let list = self.name.clone();
        let append = |request, seq| Request::Append { request, list, seq, items };
        let (_, answered) = session.numbered(1, None, append);
        match answered.await? {
            Response::Length { length, .. } => Ok(length),
            _ => Err(unexpected()),
        }
    }

    /// How many items it has.
    ///
    /// # Errors
    /// [`Error::Rejected`], [`Error::Closed`].
    pub async fn len(&self) -> Result<u64, Error> {
        Ok(self.range(0, 0).await?.length)
    }

    /// Whether it has no items.
    ///
    /// # Errors
    /// [`Error::Rejected`], [`Error::Closed`].
    pub async fn is_empty(&self) -> Result<bool, Error> {
        Ok(self.len().await? == 0)
    }

    /// Reads at most `count` items without taking them, from the index `start`; a negative one counts
    /// from the end.
    ///
    /// # Errors
    /// [`Error::Rejected`], [`Error::Closed`].
    pub async fn range(&self, start: i64, count: u32) -> Result<Page, Error> {
        let session = self.client.session();
        session.room().await;
        let list = self.name.clone();
        page(session.call(|request| Request::Range { request, list, start, count }).await?)
    }

    /// Takes at most `max` items from the front, waiting up to `wait` for the first one; no items if
    /// none came.
    ///
    /// Each pop says to the broker that what the one before has taken is here. If it could not say so for
    /// longer than the broker's grace, that has gone back to the list and comes once more, to whoever
    /// pops: [`Page::returned`] says so.
    ///
    /// # Errors
    /// [`Error::Rejected`], [`Error::Closed`].
    ///
    /// # Cancel safety
    /// Nothing is lost: what a dropped pop would have taken, the next one of this session returns.
    pub async fn pop(&self, max: u32, wait: Duration) -> Result<Page, Error> {
        let session = self.client.session();
        let pops = session.pops(&self.name);
        let mut returned = false;
        while let Some(left) = pops.orphan() {
            match self.finish(left).await {
                Ok(taken) if taken.items.is_empty() => {}
                Ok(taken) => return Ok(Page { returned, ..taken }),
                Err(error) if is_conflict(&error) => returned = true,
                Err(error) => return Err(error),
            }
        }
        session.room().await;
        let wait_ms = millis(wait);
        loop {
            let (receipt, confirmed) = pops.next();
            let list = self.name.clone();
            let answered = session.call(|request| Request::Pop {
                request,
                list,
                receipt,
                confirmed,
                max,
                wait_ms,
            });
            match self.finish(pops.wait_for(receipt, answered)).await {
                // Once: the next one confirms nothing.
                Err(error) if confirmed > 0 && is_conflict(&error) => returned = true,
                taken => return Ok(Page { returned, ..taken? }),
            }
        }
    }

    /// What a pop has taken. It conflicts where what those before it took went back.
    async fn finish(&self, popping: Popping<'_>) -> Result<Page, Error> {
        let session = self.client.session();
        let taken = popping.arrive().await.and_then(page);
        match &taken {
            Err(error) if is_conflict(error) => session.pops(&self.name).all_returned(),
            _ => session.confirm_soon(&self.name),
        }
        taken
    }

    /// Reads items as they come, without taking them, from the index `start` on; a negative one counts
    /// from the end.
    #[must_use]
    pub fn follow(&self, start: i64) -> Follow {
        let feed = Arc::new(ItemFeed::new(self.name.clone(), start, WINDOW));
        let id = self.client.session().follow(&feed);
        Follow { client: self.client.clone(), id, feed }
    }
}

const fn is_conflict(error: &Error) -> bool {
    matches!(error, Error::Rejected(Rejection::Conflict(_)))
}

fn page(response: Response) -> Result<Page, Error> {
    match response {
        Response::Items { start, length, items, .. } => {
            Ok(Page { items: each_item(start, items).collect(), length, returned: false })
        }
        _ => Err(unexpected()),
    }
}

/// The items of a list, as they are appended. Dropping it ends it.
#[derive(Debug)]
pub struct Follow {
    client: Client,
    id: SubscriptionId,
    feed: Arc<ItemFeed>,
}

impl Follow {
    /// The next item, waiting for it; `None` once the broker has ended the follow.
    ///
    /// Indexes have gaps where others popped items in between.
    ///
    /// # Errors
    /// [`Error::Rejected`] if the list cannot be followed, [`Error::Closed`].
    ///
    /// # Cancel safety
    /// An item that was not returned is returned by the next call.
    pub async fn next(&mut self) -> Result<Option<Item>, Error> {
        let Some((item, grant)) = self.feed.next().await? else { return Ok(None) };
        if let Some(add) = grant {
            self.client.session().grant(self.id, add);
        }
        Ok(Some(item))
    }
}

impl Drop for Follow {
    fn drop(&mut self) {
        self.feed.end(None);
        self.client.session().unlisten(self.id);
    }
}
