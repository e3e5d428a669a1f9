//! A TCP proxy that does to connections what networks do, and measures who notices.
//!
//! Two threads for each connection, one for each way: what a network does is easiest to do in
//! order. A seed repeats which faults connections meet, not when their bytes arrive.

mod link;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result};
use ganger_history::What;
use serde::Serialize;

use super::scenarios::Scenario;
use super::stage::{NOTICED_WITHIN, Stage};
use link::Link;

/// The longest that anybody kept a connection on which nothing came any more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Silence {
    /// Clients whose session was open. They hear an answer to every heartbeat.
    pub(crate) clients: Duration,
    /// Clients whose session was being opened.
    pub(crate) opening: Duration,
    /// Brokers. They hear three heartbeats in the time of one.
    pub(crate) brokers: Duration,
    /// How many connections met a fault.
    pub(crate) faults: u64,
}

/// What all its threads share.
#[derive(Debug)]
struct Shared {
    broker: SocketAddr,
    scenario: Scenario,
    seed: u64,
    healed: AtomicBool,
    stopped: AtomicBool,
    /// Connections that carry nothing and that nobody has given up.
    silenced: AtomicU64,
    stage: OnceLock<Arc<Stage>>,
    silence: Mutex<Silence>,
}

impl Shared {
    /// Leases may be lost that nobody has seen.
    fn disturbed(&self, since_ns: u64) {
        if let Some(stage) = self.stage.get() {
            stage.note("proxy", What::Disturbed { since_ns });
        }
    }

    fn measure(&self, note: impl FnOnce(&mut Silence)) {
        note(&mut self.silence.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn is_healed(&self) -> bool {
        self.healed.load(Ordering::Relaxed)
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: JoinHandle<()>,
}

impl Proxy {
    /// Starts one before `broker`, on a port of its own.
    pub(crate) fn start(broker: SocketAddr, scenario: &Scenario, seed: u64) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            broker,
            scenario: scenario.clone(),
            seed,
            healed: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            silenced: AtomicU64::new(0),
            stage: OnceLock::new(),
            silence: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        let acceptor = thread::Builder::new()
            .name("proxy".to_owned())
            .spawn(move || accept(&listener, &accepting))
            .context("the proxy cannot be started")?;
        Ok(Self { address, shared, acceptor })
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it says what it does.
    pub(crate) fn write_to(&self, stage: &Arc<Stage>) {
        let _ = self.shared.stage.set(Arc::clone(stage));
    }

    /// No more faults begin; connections that are silent stay so until somebody notices.
    pub(crate) fn heal(&self) {
        self.shared.healed.store(true, Ordering::Relaxed);
    }

    /// How many connections are silent and not given up.
    pub(crate) fn silenced(&self) -> u64 {
        self.shared.silenced.load(Ordering::Relaxed)
    }

    /// Ends it and all its connections.
    pub(crate) fn finish(self) -> Silence {
        self.shared.stopped.store(true, Ordering::Relaxed);
        // Wakes the acceptor, which waits for nothing else.
        let _ = TcpStream::connect(self.address);
        let _ = self.acceptor.join();
        *self.shared.silence.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    let mut threads: Vec<JoinHandle<()>> = Vec::new();
    for number in 0_u64.. {
        let accepted = listener.accept();
        if shared.is_stopped() {
            break;
        }
        threads.retain(|thread| !thread.is_finished());
        match accepted.and_then(|(client, _)| open(client, number, shared)) {
            Ok(opened) => threads.extend(opened),
            // The client finds its connection closed. If all of them are, the run says so.
            Err(_) => thread::sleep(Duration::from_millis(1)),
        }
    }
    for thread in threads {
        let _ = thread.join();
    }
}

/// Opens the other half of a connection and starts its threads.
fn open(client: TcpStream, number: u64, shared: &Arc<Shared>) -> io::Result<Vec<JoinHandle<()>>> {
    let link = Arc::new(Link::open(client, number, shared)?);
    let spawn = |carry: fn(&Link, &Shared) -> Option<u64>| {
        let (link, shared) = (Arc::clone(&link), Arc::clone(shared));
        thread::Builder::new().name(format!("link-{number}")).spawn(move || {
            let lost_since = carry(&link, &shared);
            // The last to drop it closes its sockets.
            drop(link);
            if let Some(since_ns) = lost_since {
                thread::sleep(NOTICED_WITHIN);
                shared.disturbed(since_ns);
            }
        })
    };
    Ok(vec![spawn(Link::carry_requests)?, spawn(Link::carry_answers)?])
}
