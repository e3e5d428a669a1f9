//! Objects of one value.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Caller, call, proxy};

proxy! {
    /// A shared value of type `T`.
    ValueProxy<T>
}

impl<C: Caller, T: Serialize + DeserializeOwned + Sync> ValueProxy<C, T> {
    /// Reads it.
    ///
    /// # Errors
    /// The caller's; also if what is there is no `T`.
    pub async fn get(&self) -> Result<T, C::Error> {
        call!(self, Nothing, "get")
    }

    /// Reads it and how often it was set.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub async fn entry(&self) -> Result<(T, u64), C::Error> {
        call!(self, Nothing, "entry")
    }

    /// Sets it; returns its revision.
    ///
    /// # Errors
    /// The caller's.
    pub async fn set(&self, value: &T) -> Result<u64, C::Error> {
        call!(self, Room, "set", value)
    }

    /// Sets it if it is at `revision`; returns its next one.
    ///
    /// # Errors
    /// [`CallError::Revision`](crate::CallError::Revision) if somebody else has set it meanwhile.
    pub async fn compare_and_set(&self, revision: u64, value: &T) -> Result<u64, C::Error> {
        call!(self, Room, "compare_and_set", revision, value)
    }
}

proxy! {
    /// A shared whole number of 64 bits.
    CounterProxy<>
}

impl<C: Caller> CounterProxy<C> {
    /// Reads it.
    ///
    /// # Errors
    /// The caller's.
    pub async fn get(&self) -> Result<i64, C::Error> {
        call!(self, Nothing, "get")
    }

    /// Adds to it; returns the sum.
    ///
    /// # Errors
    /// [`CallError::Value`](crate::CallError::Value) if the sum is beyond 64 bits.
    pub async fn add(&self, by: i64) -> Result<i64, C::Error> {
        call!(self, Turn, "add", by)
    }

    /// Sets it; returns what it was.
    ///
    /// # Errors
    /// The caller's.
    pub async fn set(&self, number: i64) -> Result<i64, C::Error> {
        call!(self, Turn, "set", number)
    }
}
