//! The proxy of a queue: the same verbs, each one a call to the broker.

use bytes::Bytes;
use ganger_shared::Name;
use serde::Serialize;

use crate::client::Client;
use crate::error::Error;
use crate::list::List;
use crate::submit::{Many, One, Submit};
use crate::subscription::Subscription;

/// A queue of the broker; clones stand for the same one. It is made on first use, where the broker's
/// configuration allows it.
#[derive(Clone, Debug)]
pub struct Queue {
    client: Client,
    name: Name,
}

impl Queue {
    pub(crate) const fn new(client: Client, name: Name) -> Self {
        Self { client, name }
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &Name {
        &self.name
    }

    /// Starts the submit of one job; set its options, then await it.
    pub fn submit(&self, payload: impl Into<Bytes>) -> Submit<One> {
        self.client.submit(&self.name, payload)
    }

    /// Starts the submit of one job whose payload is `payload` as JSON, as typed handlers read it.
    ///
    /// A value that cannot be written as JSON is an [`Error::Encode`] of the submit.
    pub fn submit_json(&self, payload: &impl Serialize) -> Submit<One> {
        Submit::json(self.client.clone(), self.name.clone(), payload)
    }

    /// Starts the submit of one job per payload; set their options, then await it.
    pub fn submit_many<I>(&self, payloads: I) -> Submit<Many<I::IntoIter>>
    where
        I: IntoIterator<Item: AsRef<[u8]>>,
    {
        self.client.submit_many(&self.name, payloads)
    }

    /// Asks for its jobs, at most `credit` at once: those that were taken and not settled, and those
    /// that wait here to be taken.
    #[must_use]
    pub fn subscribe(&self, credit: u32) -> Subscription {
        Subscription::new(self.client.clone(), self.name.clone(), credit)
    }

    /// The list that its results go to unless their submitter chose another.
    ///
    /// # Errors
    /// [`Error::Name`] if the queue's name is too long to have one.
    pub fn results(&self) -> Result<List, Error> {
        self.client.list(self.name.results_list()?)
    }
}
