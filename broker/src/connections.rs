//! How many connections there are, and the tasks that serve them.
//!
//! Not what they say.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use event_listener::{Event, listener};
use ganger_rt::Task;
use slab::Slab;

/// The owner of every connection's task; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Connections {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    limit: usize,
    handshakes_max: usize,
    /// Connections whose peer has proven nothing yet.
    strangers: AtomicUsize,
    /// Something has ended.
    less: Event,
    /// One per connection; `None` until its task has been put in its place.
    tasks: Mutex<Slab<Option<Task<()>>>>,
}

impl Connections {
    pub(crate) fn new(limit: usize, handshakes_max: usize) -> Self {
        let shared = Shared {
            limit,
            handshakes_max,
            strangers: AtomicUsize::new(0),
            less: Event::new(),
            tasks: Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// The most connections there may be.
    pub(crate) fn limit(&self) -> usize {
        self.shared.limit
    }

    /// A place for one more connection, if there is one.
    pub(crate) fn admit(&self) -> Option<Place> {
        let mut tasks = self.shared.tasks();
        let is_free = tasks.len() < self.shared.limit;
        is_free.then(|| Place { shared: Arc::clone(&self.shared), key: tasks.insert(None) })
    }

    /// Waits until fewer than the most strangers are at the door.
    pub(crate) async fn stranger_welcome(&self) {
        let shared = &self.shared;
        let full = || shared.strangers.load(Ordering::Relaxed) >= shared.handshakes_max;
        while full() {
            listener!(shared.less => less);
            if full() {
                less.await;
            }
        }
    }

    /// Counts a peer that has proven nothing yet, until the mark is dropped.
    pub(crate) fn stranger(&self) -> Stranger {
        self.shared.strangers.fetch_add(1, Ordering::Relaxed);
        Stranger { shared: Arc::clone(&self.shared) }
    }

    /// Runs what `serve` makes in a task of its own, until it ends or [`end`](Self::end) stops it.
    /// It keeps the place until its own end.
    pub(crate) fn spawn<F>(&self, place: Place, serve: impl FnOnce(Place) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let key = place.key;
        let task = ganger_rt::spawn(serve(place));
        match self.shared.tasks().get_mut(key) {
            Some(own) => *own = Some(task),
            // On another thread it has run to its end already.
            None => task.detach(),
        }
    }

    /// Waits until no task is left.
    pub(crate) async fn none(&self) {
        while !self.shared.tasks().is_empty() {
            listener!(self.shared.less => less);
            if !self.shared.tasks().is_empty() {
                less.await;
            }
        }
    }

    /// Stops every task that is left.
    pub(crate) async fn end(&self) {
        let tasks: Vec<_> = self.shared.tasks().drain().flatten().collect();
        for task in tasks {
            task.cancel().await;
        }
    }
}

impl Shared {
    fn tasks(&self) -> MutexGuard<'_, Slab<Option<Task<()>>>> {
        self.tasks.lock().expect("nothing panics while it holds the tasks")
    }
}

/// One of the connections that there may be, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    shared: Arc<Shared>,
    key: usize,
}

impl Drop for Place {
    fn drop(&mut self) {
        let own = self.shared.tasks().try_remove(self.key);
        // The handle of the task that drops this: dropping it, too, would stop what is about to end.
        if let Some(Some(task)) = own {
            task.detach();
        }
        self.shared.less.notify(usize::MAX);
    }
}

/// One of the strangers that there may be.
#[derive(Debug)]
pub(crate) struct Stranger {
    shared: Arc<Shared>,
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.shared.strangers.fetch_sub(1, Ordering::Relaxed);
        self.shared.less.notify(usize::MAX);
    }
}
