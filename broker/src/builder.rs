//! Putting a broker together from its settings, its key and its storage.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ganger_machine::Replay;
use ganger_machine::config::Available;
use ganger_machine::registry::{Registration, Registry};
use ganger_pickle::Address;
use ganger_rt::{Listener, Reserved};
use ganger_shared::key::Key;
use ganger_shared::object::{SharedObject, types};
use ganger_shared::{Durability, Name};

use crate::broker::{Broker, Parts, PythonPort};
use crate::clock::Clock;
use crate::config::{Config, PythonConfig};
use crate::connections::Connections;
use crate::engine::Engine;
use crate::error::StartError;
use crate::handshake::Keys;
use crate::journal::{self, Journal, Replayed};
use crate::key_file::{self, KeyFileError};
use crate::log_quota::LogQuota;
use crate::outbox::{Bounds, Outbox};
use crate::python::{AuthKey, Serializer};
use crate::session::Door;
use crate::storage::disk::files::Directory;
use crate::storage::disk::{Accept, Options};
use crate::storage::{DiskStorage, Storage};

/// Told to whoever asks a broker without storage to keep something.
const NO_JOURNAL: &str = "this broker has no journal";

/// Descriptors that are not for connections: the port, the journal, the log, the reactor.
const FILES_RESERVED: u64 = 64;

/// A connection is closed after so many heartbeats in a row were not heard.
const HEARTBEATS_MISSED: u32 = 3;

/// A broker that has yet to be started: [`Broker::builder`].
#[must_use = "a builder does nothing before start"]
pub struct Builder {
    config: Config,
    key: Option<Key>,
    storage: Option<Box<dyn Storage>>,
    registry: Registry,
    door: DoorKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DoorKind {
    Port,
    PipesOnly,
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("config", &self.config)
            .field("storage", &self.storage.is_some())
            .field("registry", &self.registry)
            .field("door", &self.door)
            .finish_non_exhaustive()
    }
}

impl Builder {
    pub(crate) fn new() -> Self {
        Self {
            config: Config::default(),
            key: None,
            storage: None,
            registry: Registry::default(),
            door: DoorKind::Port,
        }
    }

    /// Takes all settings from `config`; what was set before is forgotten.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Listens on `address`: `host:port`, where port 0 takes any free one. See [`Broker::addr`].
    pub fn listen(mut self, address: impl Into<String>) -> Self {
        self.config.listen = address.into();
        self
    }

    /// Opens no port: clients come through [`Broker::connect_pipe`] only.
    pub fn pipes_only(mut self) -> Self {
        self.door = DoorKind::PipesOnly;
        self
    }

    /// Takes clients that have `key`, whatever the key file says.
    ///
    /// With neither a key nor a key file the broker makes a key of its own, for as long as it
    /// lives. See [`Broker::key`].
    pub fn key(mut self, key: Key) -> Self {
        self.key = Some(key);
        self
    }

    /// Takes clients that have a key of this file, which is made if there is none.
    pub fn key_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.config.key_file = Some(path.into());
        self
    }

    /// Keeps the journal in `storage`, and starts with what is in there, whatever folder the
    /// configuration names.
    ///
    /// With neither a storage nor a folder, queues can only be of durability `memory`; see
    /// [`in_memory`](Self::in_memory).
    pub fn storage(mut self, storage: impl Storage) -> Self {
        self.storage = Some(Box::new(storage));
        self
    }

    /// Keeps nothing: what new queues and lists promise is `memory`, and the end of the broker is
    /// the end of all jobs. For tests, and for work that can be done again.
    pub fn in_memory(mut self) -> Self {
        self.config.durability = Durability::Memory;
        self
    }

    /// Serves objects of a type that this program brings along, beside those of every broker.
    ///
    /// Clients make them as they make others: by using a name with the type, or with no name.
    pub fn object<T: SharedObject>(mut self) -> Self {
        self.registry.add::<T>();
        self
    }

    /// Has an object of this name exist from the start: of which type, made with what, what it promises,
    /// which of its methods clients may call, and who may call them. It wins over what the configuration
    /// says of the name.
    ///
    /// One that the journal has is left as it is.
    ///
    /// ```
    /// use ganger_broker::{Broker, Registration};
    /// use ganger_shared::Name;
    ///
    /// let [jobs, list] = ["jobs.done", "list/1"].map(|name| Name::new(name).unwrap());
    /// let only = Registration::new(list).expose(&["append", "pop", "len"]);
    /// let broker = Broker::builder().register(jobs, only);
    /// ```
    pub fn register(mut self, name: Name, registration: Registration) -> Self {
        self.registry.name(name, registration);
        self
    }

    /// Starts the broker. It serves while some thread is inside [`ganger_rt::block_on`].
    ///
    /// # Errors
    ///
    /// [`StartError`] says what the operator has to change.
    ///
    /// # Cancel safety
    ///
    /// A start that is given up leaves nothing running.
    pub async fn start(self) -> Result<Broker, StartError> {
        let Self { mut config, key, storage, registry, door } = self;
        config.check().map_err(StartError::Settings)?;
        let storage = storage.or_else(|| {
            let data = config.data.as_ref()?;
            let options =
                Options { min_free_bytes: config.journal.free_min.0, ..Options::default() };
            let directory = Arc::new(Directory::new(data));
            let accept = if config.journal.any_filesystem { Accept::Any } else { Accept::Trusted };
            let storage = DiskStorage::on(directory, options).looking_first(accept);
            Some(Box::new(storage) as Box<dyn Storage>)
        });
        let available = match &storage {
            Some(_) => Available::All,
            None => Available::MemoryOnly { reason: NO_JOURNAL.to_owned() },
        };
        check_durability(config.durability, &available)?;
        let keys = match (key, &config.key_file) {
            (Some(key), _) => vec![key],
            (None, Some(path)) => file_keys(path, &config.listen, door)?,
            (None, None) => vec![Key::generate()?],
        };
        config.limits.connections_max = connections_max(config.limits.connections_max);
        // Whose port it is shows at once; who connects before all is read back is refused.
        let reserved = match door {
            DoorKind::PipesOnly => None,
            DoorKind::Port => Some(reserve(&config.listen).await?),
        };
        let python = reserve_python(&config.python).await?;
        let authkey = match &config.python.authkey_file {
            None => None,
            Some(path) => Some(authkey(path, &config.python)?),
        };
        let clock = Clock::start();
        check_types(&registry)?;
        let registry = with_configured(registry, &config)?;
        let machine = ganger_machine::Config { registry, ..config.machine(available) };
        let registry = machine.registry.clone();
        let mut replay = Replay::new(machine, clock.started());
        let (journal, threads, replayed) = match storage {
            None => (None, None, None),
            Some(storage) => {
                let limits = journal::Limits { compact_after: config.journal.compact_after.0 };
                let (journal, threads, replayed) =
                    Journal::start(storage, limits, |seq, event| replay.take(seq, event)).await?;
                (Some(journal), Some(threads), Some(replayed))
            }
        };
        let bounds = bounds(&config);
        let machine = replay.finish();
        let replayed = replayed.map(|read| Replayed { jobs: machine.kept_jobs(), ..read });
        let engine = Engine::new(machine, journal, Outbox::new(bounds), clock);
        configure_queues(&engine, &config)?;
        for (name, registration) in registry.named() {
            let refused = |rejection| StartError::Object { object: name.clone(), rejection };
            engine.register(name, registration).map_err(refused)?;
        }
        let key = keys[0].clone();
        let door = Door {
            engine: Arc::new(engine),
            connections: Connections::new(
                config.limits.connections_max,
                config.limits.handshakes_max,
            ),
            keys: Keys::new(keys)?,
            handshake_timeout: config.limits.handshake_timeout.0,
            frame_bytes_max: config.limits.frame_max.bytes(),
            unsent_pause: bounds.unsent_pause,
            refusals: LogQuota::new(),
        };
        let shortest_bound = bounds.write_stall.min(bounds.silence);
        let listener = match reserved {
            None => None,
            Some(reserved) => Some(listen(reserved, &config.listen)?),
        };
        let listening = |(serializer, address, reserved)| {
            let (listener, address) = listen_python(reserved, address)?;
            Ok(PythonPort { listener, address, serializer })
        };
        let python = python.into_iter().map(listening).collect::<Result<_, StartError>>()?;
        let parts = Parts {
            door,
            listener,
            python,
            authkey,
            threads,
            replayed,
            key,
            config,
            shortest_bound,
        };
        Ok(Broker::run(parts))
    }
}

fn check_durability(durability: Durability, available: &Available) -> Result<(), StartError> {
    match (durability, available) {
        (Durability::Memory, _) | (_, Available::All) => Ok(()),
        (Durability::Relaxed | Durability::Strict, Available::MemoryOnly { reason }) => {
            Err(StartError::Durability { durability, reason: reason.clone() })
        }
    }
}

fn bounds(config: &Config) -> Bounds {
    Bounds {
        unsent_pause: config.limits.unsent_pause.bytes(),
        unsent_max: config.limits.unsent_max.bytes(),
        write_stall: config.limits.write_stall.0,
        silence: config.sessions.heartbeat.0.saturating_mul(HEARTBEATS_MISSED),
    }
}

/// As many as wished, or as the system has descriptors for.
fn connections_max(wished: usize) -> usize {
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let possible = files.map_or(usize::MAX, |files| {
        usize::try_from(files.saturating_sub(FILES_RESERVED)).unwrap_or(usize::MAX).max(1)
    });
    if possible < wished {
        log::warn!(wished, possible; "fewer connections than configured: limit of open files");
    }
    wished.min(possible)
}

fn cannot_listen(address: &str) -> impl Fn(io::Error) -> StartError {
    move |source| StartError::Listen { address: address.to_owned(), source }
}

async fn reserve(address: &str) -> Result<Reserved, StartError> {
    Listener::reserve(address).await.map_err(cannot_listen(address))
}

fn listen(reserved: Reserved, address: &str) -> Result<(Listener, SocketAddr), StartError> {
    let listener = reserved.listen().map_err(cannot_listen(address))?;
    let bound = listener.local_addr().map_err(cannot_listen(address))?;
    Ok((listener, bound))
}

/// Whether an address of the Python door is the path of a unix socket.
fn is_path(address: &str) -> bool {
    address.contains('/')
}

/// The addresses of the Python door, each with what is spoken there.
async fn reserve_python(
    python: &PythonConfig,
) -> Result<Vec<(Serializer, String, Reserved)>, StartError> {
    let mut reserved = Vec::new();
    let wanted =
        [(Serializer::Pickle, &python.listen), (Serializer::XmlRpc, &python.listen_xmlrpc)];
    for (serializer, address) in wanted {
        let Some(address) = address else { continue };
        let taken = if is_path(address) {
            Listener::reserve_unix(address).map_err(cannot_listen(address))?
        } else {
            reserve(address).await?
        };
        reserved.push((serializer, address.clone(), taken));
    }
    Ok(reserved)
}

/// The listener, and where clients find it.
fn listen_python(reserved: Reserved, address: String) -> Result<(Listener, Address), StartError> {
    if is_path(&address) {
        let listener = reserved.listen().map_err(cannot_listen(&address))?;
        return Ok((listener, Address::Path(address)));
    }
    let (listener, bound) = listen(reserved, &address)?;
    Ok((listener, Address::Tcp { host: bound.ip().to_string(), port: bound.port() }))
}

/// Whether other machines can reach what listens on `address`. A name may lead anywhere.
fn is_exposed(address: &str) -> bool {
    match address.parse::<SocketAddr>() {
        Ok(address) => !address.ip().is_loopback(),
        Err(_) => !address.starts_with("localhost:"),
    }
}

fn file_keys(path: &Path, listen: &str, door: DoorKind) -> Result<Vec<Key>, StartError> {
    let is_exposed = door == DoorKind::Port && is_exposed(listen);
    match key_file::read(path)? {
        Some(found) => {
            match found.exposed {
                Some(mode) if is_exposed => {
                    return Err(KeyFileError::Exposed { path: path.to_owned(), mode }.into());
                }
                Some(mode) => log::warn!(
                    path:% = path.display(), mode:% = format_args!("{mode:03o}");
                    "others can read the key file; try chmod 600"
                ),
                None => {}
            }
            Ok(found.keys)
        }
        None if is_exposed => {
            Err(StartError::NoKey { address: listen.to_owned(), path: path.to_owned() })
        }
        None => {
            let key = key_file::make(path)?;
            log::info!(path:% = path.display(); "key file made");
            Ok(vec![key])
        }
    }
}

/// The key of Python programs.
fn authkey(path: &Path, python: &PythonConfig) -> Result<AuthKey, StartError> {
    let mut addresses = python.listen.iter().chain(&python.listen_xmlrpc);
    let is_exposed = addresses.any(|address| !is_path(address) && is_exposed(address));
    let found = key_file::read_authkey(path)?;
    match found.exposed {
        Some(mode) if is_exposed => {
            return Err(KeyFileError::Exposed { path: path.to_owned(), mode }.into());
        }
        Some(mode) => log::warn!(
            path:% = path.display(), mode:% = format_args!("{mode:03o}");
            "others can read the python authkey; try chmod 600"
        ),
        None => {}
    }
    Ok(AuthKey::new(found.secret))
}

/// Whether no type of the program has the name of one that every broker serves: what the journal and other
/// clients mean by it would be something else.
fn check_types(program: &Registry) -> Result<(), StartError> {
    match program.added().find(|typeid| types::builtin(typeid).is_some()) {
        Some(typeid) => Err(StartError::Settings(format!(
            "every broker serves a type {typeid} of its own; give the program's another name"
        ))),
        None => Ok(()),
    }
}

/// What the program has registered, and what the configuration has beside that.
fn with_configured(program: Registry, config: &Config) -> Result<Registry, StartError> {
    let mut registry = program.clone();
    for (name, object) in &config.object {
        let registration = object.registration().map_err(|error| {
            StartError::Settings(format!("object.{name}.made_with cannot be read: {error}"))
        })?;
        registry.name(name.clone(), registration);
    }
    for (name, registration) in program.named() {
        registry.name(name.clone(), registration.clone());
    }
    Ok(registry)
}

fn configure_queues(engine: &Engine, config: &Config) -> Result<(), StartError> {
    for (name, queue) in &config.queue {
        let settings = config.queue_settings(queue);
        engine
            .configure(name.clone(), settings)
            .map_err(|rejection| StartError::Queue { queue: name.clone(), rejection })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_reaches_loopback() {
        for address in ["127.0.0.1:7117", "127.9.9.9:0", "[::1]:7117", "localhost:7117"] {
            assert!(!is_exposed(address), "{address}");
        }
        for address in ["0.0.0.0:7117", "[::]:7117", "192.168.1.1:1", "example.org:7117", "x"] {
            assert!(is_exposed(address), "{address}");
        }
    }
}
