//! Signs of life, from a thread of their own: a handler that blocks the runtime keeps its leases.

use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use ganger_shared::Request;

use crate::session::Session;

/// The thread that sends heartbeats; dropping it stops it.
#[derive(Debug)]
pub(crate) struct Heart {
    stop: Arc<Stop>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Stop {
    stopped: Mutex<bool>,
    told: Condvar,
}

impl Heart {
    pub(crate) fn start(session: Arc<Session>) -> io::Result<Self> {
        let stop = Arc::new(Stop::default());
        let told = Arc::clone(&stop);
        let thread = ganger_rt::thread("ganger-heart", move || beat(&session, &told))?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

fn beat(session: &Session, stop: &Stop) {
    let mut stopped = stop.stopped.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        // Three in the time of one, so that two may be late.
        let pause = Duration::from_millis((session.terms().heartbeat_ms / 3).max(1));
        let waited = stop.told.wait_timeout_while(stopped, pause, |stopped| !*stopped);
        let (guard, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if *guard {
            return;
        }
        drop(guard);
        session.tell(&Request::Heartbeat);
        stopped = stop.stopped.lock().unwrap_or_else(PoisonError::into_inner);
    }
}

impl Drop for Heart {
    fn drop(&mut self) {
        *self.stop.stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.stop.told.notify_all();
        if let Some(thread) = self.thread.take() {
            // It holds no lock while it writes, and writing never waits.
            let _ = thread.join();
        }
    }
}
