//! A running broker.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ganger_pickle::Address;
use ganger_rt::{Listener, Stream, Task};
use ganger_shared::key::Key;

use crate::builder::Builder;
use crate::config::Config;
use crate::error::BrokerError;
use crate::journal::{JournalThreads, Replayed};
use crate::keepers;
use crate::key_file::{self, KeyFileError};
use crate::listener;
use crate::python::{self, AuthKey, PythonDoor, Serializer};
use crate::session::Door;

/// How long clients may take to hear that the broker stops.
const FAREWELL_MAX: Duration = Duration::from_secs(3);

/// Room of an in-memory connection, each way: what a socket has, about.
const PIPE_BYTES: usize = 256 << 10;

/// A broker that serves its clients until it is stopped or dropped.
///
/// ```
/// use ganger_broker::Broker;
///
/// ganger_rt::block_on(async {
///     let broker = Broker::builder().listen("127.0.0.1:0").in_memory().start().await?;
///     println!("{} takes clients with the key {}", broker.addr(), broker.key().id());
///     let stream = broker.connect_pipe(); // for a client in this process
///     broker.stop().await?;
///     Ok::<(), Box<dyn std::error::Error>>(())
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Broker {
    door: Arc<Door>,
    addr: Option<SocketAddr>,
    key: Key,
    config: Config,
    replayed: Option<Replayed>,
    /// Where Python programs are served.
    python: Vec<(Serializer, Address)>,
    /// Taken when the broker stops.
    ports: Vec<Task<()>>,
    threads: Option<JournalThreads>,
    keepers: Vec<Task<()>>,
}

/// A port of the Python door.
pub(crate) struct PythonPort {
    pub(crate) listener: Listener,
    pub(crate) address: Address,
    pub(crate) serializer: Serializer,
}

/// What a broker is made of.
pub(crate) struct Parts {
    pub(crate) door: Door,
    pub(crate) listener: Option<(Listener, SocketAddr)>,
    pub(crate) python: Vec<PythonPort>,
    pub(crate) authkey: Option<AuthKey>,
    pub(crate) threads: Option<JournalThreads>,
    pub(crate) replayed: Option<Replayed>,
    pub(crate) key: Key,
    pub(crate) config: Config,
    pub(crate) shortest_bound: Duration,
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker").field("addr", &self.addr).finish_non_exhaustive()
    }
}

impl Broker {
    /// Starts to put a broker together; the defaults are those of [`Config::default`].
    pub fn builder() -> Builder {
        Builder::new()
    }

    pub(crate) fn run(parts: Parts) -> Self {
        let Parts { door, listener, python, authkey, threads, replayed, key, .. } = parts;
        let Parts { config, shortest_bound, .. } = parts;
        let door = Arc::new(door);
        let engine = || Arc::clone(&door.engine);
        let mut keepers = vec![
            ganger_rt::spawn(keepers::keep_time(engine())),
            ganger_rt::spawn(keepers::follow_journal(engine())),
            ganger_rt::spawn(keepers::keep_house(engine(), shortest_bound)),
        ];
        let addr = listener.as_ref().map(|(_, addr)| *addr);
        let mut ports = Vec::new();
        if let Some((listener, _)) = listener {
            let connections = door.connections.clone();
            let door = Arc::clone(&door);
            let take_in = move |stream| listener::take_in(&door, stream);
            ports.push(ganger_rt::spawn(listener::listen(connections, listener, take_in)));
        }
        let addresses = |port: &PythonPort| (port.serializer, port.address.clone());
        let python_addresses: Vec<_> = python.iter().map(addresses).collect();
        if let Some((_, first)) = python_addresses.first() {
            let served = PythonDoor::new(Arc::clone(&door), first.clone(), authkey, &config);
            let served = Arc::new(served);
            let interval = config.objects.unnamed_idle.0 / 3;
            keepers.push(ganger_rt::spawn(python::keep_referenced(Arc::clone(&served), interval)));
            for PythonPort { listener, serializer, address } in python {
                log::info!(address:%, serializer:?; "python programs are served");
                let served = Arc::clone(&served);
                let take_in = move |stream| python::take_in(&served, stream, serializer);
                let connections = door.connections.clone();
                ports.push(ganger_rt::spawn(listener::listen(connections, listener, take_in)));
            }
        }
        Self {
            door,
            addr,
            python: python_addresses,
            key,
            config,
            replayed,
            ports,
            threads,
            keepers,
        }
    }

    /// The address it listens on, with the port that was chosen.
    ///
    /// # Panics
    ///
    /// If it was built with [`Builder::pipes_only`].
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr.expect("a broker built with pipes_only listens nowhere")
    }

    /// The address at which it serves Python programs that ask for this serializer, if it does.
    #[must_use]
    pub fn python_addr(&self, serializer: Serializer) -> Option<&Address> {
        let found = self.python.iter().find(|(served, _)| *served == serializer);
        found.map(|(_, address)| address)
    }

    /// The key that clients should use.
    #[must_use]
    pub const fn key(&self) -> &Key {
        &self.key
    }

    /// The file that the keys are from, if they are from one.
    #[must_use]
    pub fn key_file(&self) -> Option<&Path> {
        self.config.key_file.as_deref()
    }

    /// What it has read back from its storage, if it has one.
    #[must_use]
    pub const fn replayed(&self) -> Option<Replayed> {
        self.replayed
    }

    /// Reads the key file again. Clients whose session is open stay, whatever their key.
    ///
    /// # Errors
    ///
    /// What is wrong with the file; the keys stay as they were.
    pub fn reload_keys(&self) -> Result<(), KeyFileError> {
        let Some(path) = &self.config.key_file else { return Ok(()) };
        let missing = || KeyFileError::Empty { path: PathBuf::from(path) };
        let found = key_file::read(path)?.ok_or_else(missing)?;
        self.door.keys.replace(found.keys);
        Ok(())
    }

    /// A connection inside the process. It does the handshake like any other, and counts as one.
    #[must_use]
    pub fn connect_pipe(&self) -> Stream {
        let (ours, theirs) = Stream::pipe(PIPE_BYTES);
        listener::take_in(&self.door, ours);
        theirs
    }

    /// How many sessions are connected.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.door.engine.sessions()
    }

    /// Waits until the broker ends by itself, and says why: once.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost.
    pub async fn failed(&self) -> BrokerError {
        self.door.engine.failed().await
    }

    /// Stops: takes nothing more, finishes its journal, says goodbye to every client and asks it to
    /// come back, and ends within a few seconds.
    ///
    /// # Errors
    ///
    /// Why the broker had ended by itself before, unless [`failed`](Self::failed) has said so, or
    /// could not finish its journal.
    ///
    /// # Cancel safety
    ///
    /// Dropping this stops the broker at once, as dropping it does.
    pub async fn stop(mut self) -> Result<(), BrokerError> {
        for port in self.ports.drain(..) {
            port.cancel().await;
        }
        let engine = Arc::clone(&self.door.engine);
        engine.stop();
        if let Some(threads) = self.threads.take() {
            threads.join().await;
        }
        let failed = engine.journal_failure();
        match &failed {
            None => engine.say_goodbye("the broker is stopping"),
            Some(_) => engine.close_all(),
        }
        let connections = &self.door.connections;
        if ganger_rt::timeout(FAREWELL_MAX, connections.none()).await.is_err() {
            log::warn!("some clients did not hear that the broker stops");
        }
        connections.end().await;
        for keeper in self.keepers.drain(..) {
            keeper.cancel().await;
        }
        failed.map_or(Ok(()), Err)
    }
}

impl Drop for Broker {
    /// Ends every connection without a word; sessions in their handshake end by their time.
    fn drop(&mut self) {
        self.door.engine.stop();
        self.door.engine.close_all();
    }
}
