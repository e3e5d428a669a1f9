//! A program's connection to a broker, and the calls that need no proxy.

use std::fmt;
use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use ganger_rt::{Stream, Task};
use ganger_shared::admin::{AdminAnswer, AdminVerb};
use ganger_shared::key::Key;
use ganger_shared::name::NameError;
use ganger_shared::response::Terms;
use ganger_shared::{JobRange, Name, Request, Response, SessionId};

use crate::calls::unexpected;
use crate::connection::{Dialer, keep_open};
use crate::endings::{Collector, Endings};
use crate::error::Error;
use crate::heartbeat::Heart;
use crate::list::List;
use crate::queue::Queue;
use crate::session::Session;
use crate::submit::{Many, One, Submit};

/// Where the broker is looked for unless told otherwise.
pub const DEFAULT_BROKER: &str = "127.0.0.1:7117";

/// How long [`Client::close`] waits for the broker's last answers: 5 s.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

/// How to connect.
#[derive(Clone, Debug)]
pub struct Options {
    /// `host:port`.
    pub broker: String,
    /// The shared secret; see [`key_file`](crate::key_file).
    pub key: Key,
    /// What people see in lists of sessions; the program's name, its host and process unless set.
    pub name: String,
    /// How long the first connection is tried: 2 s, so that a broker that is being started is found.
    pub connect_timeout: Duration,
    /// How long a broken connection is tried again, `None` for ever. What was asked and not answered
    /// is asked again on the next connection.
    pub reconnect_timeout: Option<Duration>,
}

impl Options {
    /// The defaults, for a broker at `broker` that knows `key`.
    ///
    /// ```
    /// use ganger_worker::{DEFAULT_BROKER, Options, key_file};
    ///
    /// let options = |key| Options::new(DEFAULT_BROKER, key);
    /// let options = key_file::read(&key_file::default_path()).map(options);
    /// ```
    #[must_use]
    pub fn new(broker: impl Into<String>, key: Key) -> Self {
        Self {
            broker: broker.into(),
            key,
            name: own_name(),
            connect_timeout: Duration::from_secs(2),
            reconnect_timeout: None,
        }
    }
}

/// `program@host:pid`.
fn own_name() -> String {
    let program = std::env::current_exe().ok();
    let program = program.as_deref().and_then(|path| path.file_stem()?.to_str());
    let host = rustix::system::uname();
    let host = host.nodename().to_string_lossy();
    format!("{}@{host}:{}", program.unwrap_or("ganger"), std::process::id())
}

/// A text that is to be a name: given as one, or checked when it is used.
pub trait IntoName {
    /// The name.
    ///
    /// # Errors
    /// Which rule of names the text breaks.
    fn into_name(self) -> Result<Name, NameError>;
}

impl IntoName for Name {
    fn into_name(self) -> Result<Name, NameError> {
        Ok(self)
    }
}

impl IntoName for &Name {
    fn into_name(self) -> Result<Name, NameError> {
        Ok(self.clone())
    }
}

impl IntoName for &str {
    fn into_name(self) -> Result<Name, NameError> {
        Name::new(self)
    }
}

impl IntoName for &String {
    fn into_name(self) -> Result<Name, NameError> {
        Name::new(self)
    }
}

/// What a request to cancel did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cancelled {
    /// Jobs that have ended by it.
    pub ended: u32,
    /// Running jobs whose worker was told to stop.
    pub told: u32,
    /// Jobs that the broker does not know or that had ended before.
    pub unknown: u32,
}

/// A connection to a broker; clones share it.
///
/// It comes back by itself after a broken connection, resumes its session and repeats what was not
/// answered; the broker takes each call into effect once. Futures of its calls may be dropped: the
/// call was made nevertheless, when its future was first polled.
///
/// Needs a thread inside [`block_on`](crate::block_on), as every task does. When the last clone
/// and the last proxy are gone, the session ends and its leases go back to their queues; use
/// [`close`](Self::close) to wait for what is under way.
///
/// ```no_run
/// use ganger_worker::{Client, Options, key_file};
///
/// ganger_worker::block_on(async {
///     let key = key_file::read(&key_file::default_path())?;
///     let client = Client::connect(Options::new("127.0.0.1:7117", key)).await?;
///     let job = client.submit("greetings", "hello").await?;
///     println!("job {} says {:?}", job.id(), job.result().await?);
///     client.close().await;
///     Ok::<(), Box<dyn std::error::Error>>(())
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Client {
    core: Arc<Core>,
}

struct Core {
    session: Arc<Session>,
    broker: String,
    /// Keeps the session connected.
    keeper: Mutex<Option<Task<()>>>,
    /// Taken at the end.
    heart: Mutex<Option<Heart>>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("broker", &self.core.broker)
            .field("session", &self.core.session.id)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Connects over TCP.
    ///
    /// # Errors
    /// [`Error::Unreachable`] if no broker was found within [`Options::connect_timeout`],
    /// [`Error::NotAuthorised`] if it does not accept the key, [`Error::Protocol`] if it is none.
    pub async fn connect(options: Options) -> Result<Self, Error> {
        let Options { broker, key, name, connect_timeout, reconnect_timeout } = options;
        let dialer = Dialer::tcp(broker, key, name, reconnect_timeout);
        Self::start(dialer, connect_timeout).await
    }

    /// Connects over streams that `dial` makes, such as tunnels or pipes; it is called again after
    /// a broken connection. [`Options::broker`] serves in messages only.
    ///
    /// # Errors
    /// As for [`connect`](Self::connect).
    pub async fn connect_with<F, D>(options: Options, dial: D) -> Result<Self, Error>
    where
        D: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = io::Result<Stream>> + Send + 'static,
    {
        let Options { broker, key, name, connect_timeout, reconnect_timeout } = options;
        let dial = Box::new(move || -> std::pin::Pin<Box<_>> { Box::pin(dial()) });
        let dial: Box<dyn Fn() -> _ + Send + Sync> = Box::new(move || dial() as _);
        let dialer = Dialer { broker, key, name, dial, patience: reconnect_timeout };
        Self::start(dialer, connect_timeout).await
    }

    /// Opens a session on a stream that exists, such as one end of [`Stream::pipe`]. It ends with the
    /// stream.
    ///
    /// # Errors
    /// As for [`connect`](Self::connect).
    pub async fn over(stream: Stream, key: Key) -> Result<Self, Error> {
        let broker = stream.peer().to_string();
        let stream = Mutex::new(Some(stream));
        let gone = || io::Error::new(io::ErrorKind::NotConnected, "its only stream has ended");
        let dial = move || {
            let stream = stream.lock().unwrap_or_else(PoisonError::into_inner).take();
            std::future::ready(stream.ok_or_else(gone))
        };
        let options = Options {
            connect_timeout: Duration::ZERO,
            reconnect_timeout: Some(Duration::ZERO),
            ..Options::new(broker, key)
        };
        Self::connect_with(options, dial).await
    }

    async fn start(dialer: Dialer, within: Duration) -> Result<Self, Error> {
        let broker = dialer.broker.clone();
        let system = |error: io::Error| Error::Unreachable {
            broker: dialer.broker.clone(),
            source: Arc::new(error),
        };
        let id = getrandom::u64().map_err(|error| system(io::Error::other(error)))?;
        let session = Arc::new(Session::new(SessionId(id)));
        let connection = dialer.open(&session, Some(within)).await?;
        log::info!(broker = broker.as_str(), session:% = session.id; "connected");
        let heart = Heart::start(Arc::clone(&session)).map_err(system)?;
        let keeper = ganger_rt::spawn(keep_open(Arc::clone(&session), dialer, connection));
        let (keeper, heart) = (Mutex::new(Some(keeper)), Mutex::new(Some(heart)));
        Ok(Self { core: Arc::new(Core { session, broker, keeper, heart }) })
    }

    pub(crate) fn session(&self) -> &Arc<Session> {
        &self.core.session
    }

    /// The session's id: the first half of the ids of its jobs.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.core.session.id
    }

    /// Where the broker is.
    #[must_use]
    pub fn broker(&self) -> &str {
        &self.core.broker
    }

    /// What the broker said it expects, when the session was last opened.
    #[must_use]
    pub fn terms(&self) -> Terms {
        self.core.session.terms()
    }

    /// The proxy of a queue; nothing is sent.
    ///
    /// # Errors
    /// [`Error::Name`] if `name` is none.
    pub fn queue(&self, name: impl IntoName) -> Result<Queue, Error> {
        Ok(Queue::new(self.clone(), name.into_name()?))
    }

    /// The proxy of a list; nothing is sent.
    ///
    /// # Errors
    /// [`Error::Name`] if `name` is none.
    pub fn list(&self, name: impl IntoName) -> Result<List, Error> {
        Ok(List::new(self.clone(), name.into_name()?))
    }

    /// Starts the submit of one job; set its options, then await it.
    pub fn submit(&self, queue: impl IntoName, payload: impl Into<Bytes>) -> Submit<One> {
        Submit::one(self.clone(), queue.into_name().map_err(Error::from), Ok(payload.into()))
    }

    /// Starts the submit of one job per payload; set their options, then await it.
    pub fn submit_many<I>(&self, queue: impl IntoName, payloads: I) -> Submit<Many<I::IntoIter>>
    where
        I: IntoIterator<Item: AsRef<[u8]>>,
    {
        let queue = queue.into_name().map_err(Error::from);
        Submit::many(self.clone(), queue, payloads.into_iter())
    }

    /// How jobs of any session end. Jobs that have ended long ago are `Unknown`.
    #[must_use]
    pub fn wait(&self, jobs: JobRange) -> Endings {
        let collector = Arc::new(Collector::new(jobs.first.session));
        self.core.session.wait(jobs, Arc::clone(&collector));
        Endings::new(collector, self.clone())
    }

    /// Cancels jobs of any session: waiting ones end at once, the workers of running ones are told.
    ///
    /// # Errors
    /// [`Error::Rejected`], [`Error::Closed`].
    pub async fn cancel(&self, jobs: JobRange) -> Result<Cancelled, Error> {
        let session = &self.core.session;
        session.room().await;
        match session.call(|request| Request::Cancel { request, jobs }).await? {
            Response::Cancelled { ended, told, unknown, .. } => {
                Ok(Cancelled { ended, told, unknown })
            }
            _ => Err(unexpected()),
        }
    }

    /// Looks at the broker or changes it.
    ///
    /// # Errors
    /// [`Error::Rejected`], [`Error::Closed`].
    pub async fn admin(&self, verb: AdminVerb) -> Result<AdminAnswer, Error> {
        let session = &self.core.session;
        session.room().await;
        match session.call(|request| Request::Admin { request, verb }).await? {
            Response::Admin { answer, .. } => Ok(answer),
            _ => Err(unexpected()),
        }
    }

    /// Waits until the broker has answered every settlement that was sent, so that what was acked is
    /// acked.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn settled(&self) {
        self.core.session.settled().await;
    }

    /// Ends the session in good order: waits for the answers to settlements, gives leases that are
    /// still held back at no cost to their jobs, and disconnects. Other clones end with it.
    pub async fn close(self) {
        let polite = async {
            self.core.session.settled().await;
            if let Some(out) = self.core.session.outgoing() {
                self.core.session.tell(&Request::Close);
                out.below(1).await;
            }
        };
        let _ = ganger_rt::timeout(CLOSE_WITHIN, polite).await;
        self.core.end();
    }
}

impl Core {
    fn end(&self) {
        self.session.end(Error::closed("the client was closed"));
        drop(self.heart.lock().unwrap_or_else(PoisonError::into_inner).take());
        drop(self.keeper.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        if self.session.ended().is_none() {
            self.session.tell(&Request::Close);
        }
        self.end();
    }
}
