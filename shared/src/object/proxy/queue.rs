//! Queues of items.

use core::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::super::types::Takes;
use super::{Caller, Invocation, answer, args, call, proxy};

/// Waits for ever.
const FOR_EVER: Duration = Duration::MAX;

proxy! {
    /// A shared queue of `T`, first in, first out. It is a queue of jobs as well: workers can have what
    /// is put, and what is submitted can be got.
    QueueProxy<T>
}

impl<C: Caller, T: Serialize + DeserializeOwned + Sync> QueueProxy<C, T> {
    /// Puts an item in, waiting for room as long as it takes.
    ///
    /// # Errors
    /// [`CallError::ShutDown`](crate::CallError::ShutDown).
    ///
    /// # Cancel safety
    /// A call whose future is dropped goes on: the item may still come in.
    pub async fn put(&self, item: &T) -> Result<(), C::Error> {
        self.put_within(item, FOR_EVER).await
    }

    /// Puts an item in, waiting for room no longer than that.
    ///
    /// # Errors
    /// [`CallError::Full`](crate::CallError::Full) when the time is up; those of [`put`](Self::put).
    pub async fn put_within(&self, item: &T, wait: Duration) -> Result<(), C::Error> {
        let args = args!(item);
        let call = Invocation { args, ..Invocation::waiting("put", wait) };
        self.object.call(call).await.map(drop)
    }

    /// Puts an item in if there is room.
    ///
    /// # Errors
    /// As for [`put_within`](Self::put_within).
    pub async fn try_put(&self, item: &T) -> Result<(), C::Error> {
        call!(self, Room, "put_nowait", item)
    }

    /// Puts items in, all or none, if there is room for all of them.
    ///
    /// # Errors
    /// As for [`put_within`](Self::put_within); the caller's if they do not fit a frame.
    pub async fn try_put_all(&self, items: &[T]) -> Result<(), C::Error> {
        let mut args = Vec::with_capacity(items.len());
        for item in items {
            args.push(args!(item));
        }
        self.object.call_many("put_nowait", Takes::Room, args).await.map(drop)
    }

    /// Takes the next item, waiting for one as long as it takes.
    ///
    /// # Errors
    /// [`CallError::ShutDown`](crate::CallError::ShutDown) once nothing more will come; the caller's if
    /// the item is no `T`: it is taken nevertheless.
    ///
    /// # Cancel safety
    /// A call whose future is dropped goes on, and the item that it takes is lost. Where that must not
    /// be, wait for a while again and again, and drop nothing.
    pub async fn get(&self) -> Result<T, C::Error> {
        self.get_within(FOR_EVER).await
    }

    /// Takes the next item, waiting for one no longer than that.
    ///
    /// # Errors
    /// [`CallError::Empty`](crate::CallError::Empty) when the time is up; those of [`get`](Self::get).
    pub async fn get_within(&self, wait: Duration) -> Result<T, C::Error> {
        let call = Invocation::waiting("get", wait);
        Ok(answer(&self.object.call(call).await?)?)
    }

    /// Takes the next item if there is one.
    ///
    /// # Errors
    /// As for [`get_within`](Self::get_within).
    pub async fn try_get(&self) -> Result<T, C::Error> {
        call!(self, Turn, "get_nowait")
    }

    /// Says that an item which was taken is done; [`join`](Self::join) waits for that.
    ///
    /// # Errors
    /// [`CallError::Value`](crate::CallError::Value) if more are said to be done than were taken.
    pub async fn task_done(&self) -> Result<(), C::Error> {
        call!(self, Turn, "task_done")
    }

    /// Waits until all that was put in is done: by those who took it, or by workers.
    ///
    /// # Errors
    /// The caller's.
    pub async fn join(&self) -> Result<(), C::Error> {
        while !self.join_within(FOR_EVER).await? {}
        Ok(())
    }

    /// Waits no longer than that until all is done; says whether it is.
    ///
    /// # Errors
    /// The caller's.
    pub async fn join_within(&self, wait: Duration) -> Result<bool, C::Error> {
        let call = Invocation::waiting("join", wait);
        Ok(answer(&self.object.call(call).await?)?)
    }

    /// Lets nothing more come in; what is there can still be taken.
    ///
    /// # Errors
    /// The caller's.
    pub async fn shutdown(&self) -> Result<(), C::Error> {
        call!(self, Turn, "shutdown")
    }

    /// Lets nothing more come in, and drops what nobody has taken.
    ///
    /// # Errors
    /// The caller's.
    pub async fn shutdown_now(&self) -> Result<(), C::Error> {
        call!(self, Turn, "shutdown", true)
    }

    /// Whether it was shut down.
    ///
    /// # Errors
    /// The caller's.
    pub async fn is_shut_down(&self) -> Result<bool, C::Error> {
        call!(self, Nothing, "is_shut_down")
    }

    /// How many items could be taken.
    ///
    /// # Errors
    /// The caller's.
    pub async fn len(&self) -> Result<u64, C::Error> {
        call!(self, Nothing, "len")
    }

    /// Whether there is no item to take.
    ///
    /// # Errors
    /// The caller's.
    pub async fn is_empty(&self) -> Result<bool, C::Error> {
        call!(self, Nothing, "empty")
    }

    /// Whether there is no room for an item.
    ///
    /// # Errors
    /// The caller's.
    pub async fn is_full(&self) -> Result<bool, C::Error> {
        call!(self, Nothing, "full")
    }

    /// How many items it holds at most.
    ///
    /// # Errors
    /// The caller's.
    pub async fn maxsize(&self) -> Result<u64, C::Error> {
        call!(self, Nothing, "maxsize")
    }

    /// How many items are not done, those included that were taken.
    ///
    /// # Errors
    /// The caller's.
    pub async fn unfinished(&self) -> Result<u64, C::Error> {
        call!(self, Nothing, "unfinished")
    }
}
