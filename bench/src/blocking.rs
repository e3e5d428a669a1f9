//! Roles that block their thread, as those of peers with a socket and nothing else do.
//! Not another way to run them: a blocking role is one whose futures are ready at their first poll.

use std::future::ready;
use std::ops::Range;
use std::time::Duration;

use anyhow::Result;

use crate::calls::{Answer, Audit};
use crate::check::Ledger;
use crate::payload::RESULT_LEN;
use crate::peer::{self, Step};

/// See [`peer::Client`].
pub(crate) trait Client {
    /// See [`peer::Client::round_trip`].
    fn round_trip(&mut self, job: &[u8]) -> Result<[u8; RESULT_LEN]>;
}

/// See [`peer::Producer`].
pub(crate) trait Producer {
    /// See [`peer::Producer::submit`].
    fn submit(&mut self, ids: Range<u64>) -> Result<()>;

    /// See [`peer::Producer::send`].
    fn send(&mut self) -> Result<()>;

    /// See [`peer::Producer::confirm`].
    fn confirm(&mut self, jobs: u64) -> Result<()>;
}

/// See [`peer::Worker`].
pub(crate) trait Worker {
    /// See [`peer::Worker::work`].
    fn work(&mut self) -> Result<()>;
}

/// See [`peer::Collector`].
pub(crate) trait Collector {
    /// See [`peer::Collector::collect`].
    fn collect(&mut self, ledger: &mut Ledger, patience: Duration) -> Result<u64>;
}

/// See [`peer::Caller`].
pub(crate) trait Caller {
    /// See [`peer::Caller::call`].
    fn call(&mut self, id: u64) -> Result<()>;

    /// See [`peer::Caller::send`].
    fn send(&mut self) -> Result<()>;

    /// See [`peer::Caller::answer`].
    fn answer(&mut self) -> Result<Answer>;

    /// See [`peer::Caller::read`].
    fn read(&mut self, audit: &mut Audit) -> Result<()>;
}

/// A role whose steps block.
#[derive(Debug)]
pub(crate) struct Blocking<T>(T);

/// Makes a role of one whose steps block.
pub(crate) fn role<T>(role: T) -> Box<Blocking<T>> {
    Box::new(Blocking(role))
}

impl<T: Client> peer::Client for Blocking<T> {
    fn round_trip<'a>(&'a mut self, job: &'a [u8]) -> Step<'a, [u8; RESULT_LEN]> {
        Box::pin(ready(self.0.round_trip(job)))
    }
}

impl<T: Producer> peer::Producer for Blocking<T> {
    fn submit(&mut self, ids: Range<u64>) -> Result<()> {
        self.0.submit(ids)
    }

    fn send(&mut self) -> Result<()> {
        self.0.send()
    }

    fn confirm(&mut self, jobs: u64) -> Step<'_, ()> {
        Box::pin(ready(self.0.confirm(jobs)))
    }
}

impl<T: Worker> peer::Worker for Blocking<T> {
    fn work(&mut self) -> Step<'_, ()> {
        Box::pin(ready(self.0.work()))
    }
}

impl<T: Collector> peer::Collector for Blocking<T> {
    fn collect<'a>(&'a mut self, ledger: &'a mut Ledger, patience: Duration) -> Step<'a, u64> {
        Box::pin(ready(self.0.collect(ledger, patience)))
    }
}

impl<T: Caller> peer::Caller for Blocking<T> {
    fn call(&mut self, id: u64) -> Result<()> {
        self.0.call(id)
    }

    fn send(&mut self) -> Result<()> {
        self.0.send()
    }

    fn answer(&mut self) -> Step<'_, Answer> {
        Box::pin(ready(self.0.answer()))
    }

    fn read<'a>(&'a mut self, audit: &'a mut Audit) -> Step<'a, ()> {
        Box::pin(ready(self.0.read(audit)))
    }
}
