//! Shared objects: how a program comes to their proxies, and how its calls get to the broker.
//!
//! Not the methods, which are the proxies' in [`ganger_shared::object::proxy`].

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use ganger_shared::object::custom::schema;
use ganger_shared::object::proxy::{
    ArrayProxy, BarrierProxy, CallFailure, Caller, ConditionProxy, CounterProxy, DictProxy,
    EventProxy, Invocation, ListProxy, LockProxy, NamespaceProxy, ObjectProxy, QueueProxy,
    SemaphoreProxy, SetProxy, ValueProxy,
};
use ganger_shared::object::{QUEUE, Takes, types};
use ganger_shared::time::millis;
use ganger_shared::{
    Block, By, CallError, Durability, Name, ObjectId, Packed, Rejection, Request, Response, Value,
};

use crate::calls::{Answered, unexpected};
use crate::client::{Client, IntoName};
use crate::ctx::Ctx;
use crate::error::Error;
use crate::session::{JOINED_ARGS_MAX, Target};
use crate::watch::Watch;

/// A shared dict.
pub type Dict<K, V> = DictProxy<Object, K, V>;
/// A shared set.
pub type Set<T> = SetProxy<Object, T>;
/// A shared list, by position and value; [`List`](crate::List) is the same list as byte strings.
pub type TypedList<T> = ListProxy<Object, T>;
/// A shared queue of items; [`Queue`](crate::Queue) is the same queue as jobs.
pub type TypedQueue<T> = QueueProxy<Object, T>;
/// A shared value.
pub type SharedValue<T> = ValueProxy<Object, T>;
/// A shared whole number.
pub type Counter = CounterProxy<Object>;
/// Shared values by name.
pub type Namespace = NamespaceProxy<Object>;
/// A shared array of numbers.
pub type Array<T> = ArrayProxy<Object, T>;
/// A shared lock.
pub type Lock = LockProxy<Object>;
/// What a lock or a semaphore has granted.
pub type Guard = ganger_shared::object::proxy::Guard<Object>;
/// A shared semaphore.
pub type Semaphore = SemaphoreProxy<Object>;
/// A shared flag.
pub type Event = EventProxy<Object>;
/// A shared condition.
pub type Condition = ConditionProxy<Object>;
/// A shared barrier.
pub type Barrier = BarrierProxy<Object>;

/// The way to one object of the broker; clones lead to the same one.
///
/// For types that have no proxy, and for programs that learn the method when they run.
#[derive(Clone, Debug)]
pub struct Object {
    client: Client,
    name: Name,
    /// For an object that is to be made by its first call.
    typeid: Option<Name>,
    by: By,
}

/// A client that counts as a holder of its own: an `rlock` that it holds keeps the others out, and two
/// of them that wait for each other are found. For a task that locks on its own account.
#[derive(Clone, Debug)]
pub struct Holder {
    client: Client,
    number: u32,
}

/// Whoever can come to shared objects: a client, for its session; a [`Holder`]; or the [`Ctx`] of a job,
/// for as long as the job's lease lasts.
///
/// Nothing is sent by the functions that are not `async`. Objects are made by their first call, where
/// the broker's configuration allows it.
///
/// ```no_run
/// use ganger_worker::{Client, Objects};
///
/// # async fn example(client: Client) -> Result<(), ganger_worker::Error> {
/// let board = client.dict::<String, u64>("board")?;
/// board.set(&"ann".to_owned(), &7).await?;
/// let deploys = client.lock("deploy")?.acquire().await?;
/// println!("{:?} under token {}", board.get(&"ann".to_owned()).await?, deploys.token());
/// deploys.release().await?;
/// # Ok(())
/// # }
/// ```
pub trait Objects {
    /// The client, and on whose behalf it calls.
    ///
    /// # Errors
    /// [`Error::Closed`] where there is no broker, as in a handler that is tested without one.
    fn caller(&self) -> Result<(Client, By), Error>;

    /// The way to an object that exists.
    ///
    /// # Errors
    /// [`Error::Name`] if `name` is none.
    fn object(&self, name: impl IntoName) -> Result<Object, Error> {
        let (client, by) = self.caller()?;
        Ok(Object { client, name: name.into_name()?, typeid: None, by })
    }

    /// The way to an object of this type.
    ///
    /// # Errors
    /// As for [`object`](Self::object).
    fn object_of(&self, name: impl IntoName, typeid: &str) -> Result<Object, Error> {
        Ok(Object { typeid: Some(typeid.into_name()?), ..self.object(name)? })
    }

    /// A dict.
    ///
    /// # Errors
    /// As for [`object`](Self::object).
    fn dict<K, V>(&self, name: impl IntoName) -> Result<Dict<K, V>, Error> {
        self.object_of(name, "dict/1").map(DictProxy::new)
    }

    /// A set.
    ///
    /// # Errors
    /// As for [`object`](Self::object).
    fn set<T>(&self, name: impl IntoName) -> Result<Set<T>, Error> {
        self.object_of(name, "set/1").map(SetProxy::new)
    }

    /// A list, by position and value.
    ///
    /// # Errors
    /// As for [`object`](Self::object).
    fn typed_list<T>(&self, name: impl IntoName) -> Result<TypedList<T>, Error> {
        self.object_of(name, "list/1").map(ListProxy::new)
    }

    /// A queue of items, as large as the broker's default if there is none.
    ///
    /// # Errors
    /// As for [`object`](Self::object).
    fn typed_queue<T>(&self, name: impl IntoName) -> Result<TypedQueue<T>, Error> {
        self.object_of(name, QUEUE).map(QueueProxy::new)
    }

    /// A value.
    ///
    /// # Errors
    /// As for [`object`](Self::object).
    fn value<T>(&self, name: impl IntoName) -> Result<SharedValue<T>, Error> {
        self.object_of(name, "value/1").map(ValueProxy::new)
    }

    /// A counter.
    ///
    /// # Errors
    /// As for [`object`](Self::object).
    fn counter(&self, name: impl IntoName) -> Result<Counter, Error> {
        self.object_of(name, "counter/1").map(CounterProxy::new)
    }

    /// A namespace.
    ///
    /// # Errors
    /// As for [`object`](Self::object).
    fn namespace(&self, name: impl IntoName) -> Result<Namespace, Error> {
        self.object_of(name, "namespace/1").map(NamespaceProxy::new)
    }

    /// A lock.
    ///
    /// # Errors
    /// As for [`object`](Self::object).
    fn lock(&self, name: impl IntoName) -> Result<Lock, Error> {
        self.object_of(name, "lock/1").map(LockProxy::new)
    }

    /// A lock that its holder may acquire again and again.
    ///
    /// # Errors
    /// As for [`object`](Self::object).
    fn rlock(&self, name: impl IntoName) -> Result<Lock, Error> {
        self.object_of(name, "rlock/1").map(LockProxy::new)
    }

    /// An event.
    ///
    /// # Errors
    /// As for [`object`](Self::object).
    fn event(&self, name: impl IntoName) -> Result<Event, Error> {
        self.object_of(name, "event/1").map(EventProxy::new)
    }

    /// A condition.
    ///
    /// # Errors
    /// As for [`object`](Self::object).
    fn condition(&self, name: impl IntoName) -> Result<Condition, Error> {
        self.object_of(name, "condition/1").map(ConditionProxy::new)
    }

    /// An object of the program's own type, made with these arguments if there is none. Its methods are
    /// compared with those that the broker knows.
    ///
    /// # Errors
    /// As for [`semaphore`](Self::semaphore), [`Rejection::Schema`] among them.
    #[expect(async_fn_in_trait, reason = "awaited where it is called, by whoever has the client")]
    async fn open<P: ObjectProxy<Object>>(
        &self,
        name: impl IntoName,
        args: &[Value],
    ) -> Result<P, Error> {
        let object = self.object_of(name, P::TYPEID)?;
        object.make_checked(args, None, Some(schema(P::TYPEID, P::METHODS))).await?;
        Ok(P::over(object))
    }

    /// A semaphore, made with so many units if there is none.
    ///
    /// # Errors
    /// As for [`object`](Self::object); [`Error::Rejected`], [`Error::Closed`].
    #[expect(async_fn_in_trait, reason = "awaited where it is called, by whoever has the client")]
    async fn semaphore(&self, name: impl IntoName, units: u64) -> Result<Semaphore, Error> {
        let object = self.object_of(name, "semaphore/1")?;
        object.make(&[units.into()], None).await?;
        Ok(SemaphoreProxy::new(object))
    }

    /// A semaphore that never has more units than these, with which it is made if there is none.
    ///
    /// # Errors
    /// As for [`semaphore`](Self::semaphore).
    #[expect(async_fn_in_trait, reason = "awaited where it is called, by whoever has the client")]
    async fn bounded_semaphore(&self, name: impl IntoName, units: u64) -> Result<Semaphore, Error> {
        let object = self.object_of(name, "bounded_semaphore/1")?;
        object.make(&[units.into()], None).await?;
        Ok(SemaphoreProxy::new(object))
    }

    /// A queue of at most so many items, with which it is made if there is none.
    ///
    /// # Errors
    /// As for [`semaphore`](Self::semaphore).
    #[expect(async_fn_in_trait, reason = "awaited where it is called, by whoever has the client")]
    async fn bounded_queue<T>(
        &self,
        name: impl IntoName,
        maxsize: u64,
    ) -> Result<TypedQueue<T>, Error> {
        let object = self.object_of(name, QUEUE)?;
        object.make(&[maxsize.into()], None).await?;
        Ok(QueueProxy::new(object))
    }

    /// A barrier, made for so many parties if there is none.
    ///
    /// # Errors
    /// As for [`semaphore`](Self::semaphore).
    #[expect(async_fn_in_trait, reason = "awaited where it is called, by whoever has the client")]
    async fn barrier(&self, name: impl IntoName, parties: u64) -> Result<Barrier, Error> {
        let object = self.object_of(name, "barrier/1")?;
        object.make(&[parties.into()], None).await?;
        Ok(BarrierProxy::new(object))
    }

    /// An array of numbers of a kind (`i64`, `f64`, …), made with so many zeros if there is none.
    ///
    /// # Errors
    /// As for [`semaphore`](Self::semaphore).
    #[expect(async_fn_in_trait, reason = "awaited where it is called, by whoever has the client")]
    async fn array<T>(
        &self,
        name: impl IntoName,
        kind: &str,
        length: u64,
    ) -> Result<Array<T>, Error> {
        let object = self.object_of(name, "array/1")?;
        object.make(&[kind.into(), length.into()], None).await?;
        Ok(ArrayProxy::new(object))
    }
}

impl Objects for Client {
    fn caller(&self) -> Result<(Client, By), Error> {
        Ok((self.clone(), By::Session))
    }
}

impl Objects for Holder {
    fn caller(&self) -> Result<(Client, By), Error> {
        Ok((self.client.clone(), By::Holder(self.number)))
    }
}

impl Objects for Ctx {
    fn caller(&self) -> Result<(Client, By), Error> {
        let client = self.client().cloned();
        let client = client.ok_or_else(|| Error::closed("the handler runs without a broker"))?;
        Ok((client, By::Lease(self.lease())))
    }
}

impl Client {
    /// A holder of its own in this session.
    #[must_use]
    pub fn holder(&self) -> Holder {
        /// Numbers of holders; each session has them to itself, and sharing the count does no harm.
        static NEXT: AtomicU32 = AtomicU32::new(1);
        Holder { client: self.clone(), number: NEXT.fetch_add(1, Ordering::Relaxed) }
    }
}

impl Client {
    /// Makes an object without a name of its own: the broker gives it one, under which it can be called.
    /// It stays while something refers to it ([`Object::id`] in a value of a list, a dict, another
    /// object that stays, or an item of a queue), and otherwise until nobody has used it for a while.
    ///
    /// # Errors
    /// [`Error::Rejected`] if the arguments make none.
    pub async fn make_unnamed(
        &self,
        typeid: &str,
        args: &[Value],
        durability: Option<Durability>,
    ) -> Result<Object, Error> {
        let typeid = typeid.into_name()?;
        let (name, _) = used(self, None, typeid.clone(), encoded(args)?, durability, None).await?;
        Ok(Object { client: self.clone(), name, typeid: Some(typeid), by: By::Session })
    }
}

/// Has an object made, unless there is one; its name, and whether it was made.
async fn used(
    client: &Client,
    object: Option<Name>,
    typeid: Name,
    args: Bytes,
    durability: Option<Durability>,
    schema: Option<[u8; 32]>,
) -> Result<(Name, bool), Error> {
    let session = client.session();
    session.room().await;
    let make = |request| Request::Use { request, object, typeid, schema, args, durability };
    match session.call(make).await? {
        Response::Using { object, is_new, .. } => Ok((object, is_new)),
        _ => Err(unexpected()),
    }
}

impl Object {
    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &Name {
        &self.name
    }

    /// What a value says to refer to it, if it has no name of its own.
    #[must_use]
    pub fn id(&self) -> Option<ObjectId> {
        ObjectId::of(&self.name)
    }

    /// Makes it with these arguments, if there is none of its name; says whether it was made.
    ///
    /// # Errors
    /// [`Error::Rejected`] if its name is another type's, or the arguments make none.
    pub async fn make(
        &self,
        args: &[Value],
        durability: Option<Durability>,
    ) -> Result<bool, Error> {
        self.make_checked(args, durability, None).await
    }

    async fn make_checked(
        &self,
        args: &[Value],
        durability: Option<Durability>,
        schema: Option<[u8; 32]>,
    ) -> Result<bool, Error> {
        let Some(typeid) = self.typeid.clone() else {
            let name = &self.name;
            return Err(Error::Invalid(format!("to make {name} it must be said of which type")));
        };
        let (args, object) = (encoded(args)?, Some(self.name.clone()));
        let (_, is_new) = used(&self.client, object, typeid, args, durability, schema).await?;
        Ok(is_new)
    }

    /// Calls a method by its name and returns the answer. Where it has to wait, it does so for at most
    /// `wait`.
    ///
    /// # Errors
    /// [`Error::Call`] if the call failed and changed nothing, [`Error::Rejected`], [`Error::Closed`].
    pub async fn invoke(
        &self,
        method: &str,
        args: &[Value],
        wait: Duration,
    ) -> Result<Value, Error> {
        let args = encoded(args)?;
        let takes = self.takes(method);
        let answers = self.begin(method.to_owned(), takes, Block::one(args), wait).await;
        let mut answers = returned(answers.await?)?;
        Ok(answers.pop().unwrap_or_default().unpack())
    }

    /// Watches its changes: those after revision `from`, or those from now on. For counters, values, dicts and
    /// lists.
    ///
    /// For a copy of it, begin to watch, then read it, then apply the changes as they come: each says what is
    /// so after it, so those that were read already do no harm. Of a list, read a
    /// [`snapshot`](ganger_shared::object::proxy::ListProxy::snapshot) and apply what is later than that.
    ///
    /// ```no_run
    /// use ganger_worker::{Client, Objects};
    ///
    /// # async fn example(client: Client) -> Result<(), ganger_worker::Error> {
    /// let mut changes = client.object("board")?.watch(None).await?;
    /// while let Some(change) = changes.next().await? {
    ///     println!("revision {}: {:?}", change.revision, change.what);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Rejected`] if there is no such object, it cannot be watched, or not all changes after `from`
    /// are remembered ([`Rejection::Forgotten`]); [`Error::Closed`].
    pub async fn watch(&self, from: Option<u64>) -> Result<Watch, Error> {
        Watch::begin(self.client.clone(), self.name.clone(), from).await
    }

    /// What a method takes. Without a type of the table it may change the object, whatever it is called:
    /// what changes something must have a number, and a number too many does no harm.
    fn takes(&self, method: &str) -> Takes {
        let typeid = self.typeid.as_ref().and_then(|typeid| types::builtin(typeid));
        typeid.and_then(|typeid| typeid.method(method)).map_or(Takes::Turn, |found| found.takes)
    }

    async fn begin(&self, method: String, takes: Takes, args: Block, wait: Duration) -> Answered {
        self.client.session().room().await;
        self.begin_now(method, takes, args, wait)
    }

    /// Makes a call that has one answer, in a frame that it may share.
    async fn call_one(&self, call: Invocation) -> Answered {
        self.client.session().room().await;
        self.call_now(call)
    }

    fn call_now(&self, call: Invocation) -> Answered {
        let Invocation { method, takes, args, wait } = call;
        let session = self.client.session();
        match &self.typeid {
            Some(typeid)
                if wait.is_zero()
                    && types::may_join(typeid, method, &args)
                    && args.len() <= JOINED_ARGS_MAX =>
            {
                let (object, by) = (&self.name, self.by);
                let is_numbered = takes != Takes::Nothing;
                session.join(Target { object, typeid, method, by, is_numbered }, &args)
            }
            Some(_) | None => self.begin_now(method.to_owned(), takes, Block::one(args), wait),
        }
    }

    fn begin_now(&self, method: String, takes: Takes, args: Block, wait: Duration) -> Answered {
        let (object, typeid, by) = (self.name.clone(), self.typeid.clone(), self.by);
        let numbers = if takes == Takes::Nothing { 0 } else { args.count() };
        let wait_ms = millis(wait);
        self.client.session().call_object(numbers, |request, seq, answered| Request::Call {
            request,
            object,
            typeid,
            method,
            seq,
            answered,
            by,
            wait_ms,
            args,
        })
    }
}

impl CallFailure for Error {
    fn into_user(self) -> Result<Packed, Self> {
        match self {
            Self::Call(CallError::User { value, .. }) => Ok(value),
            other => Err(other),
        }
    }
}

impl Caller for Object {
    type Error = Error;

    async fn call(&self, call: Invocation) -> Result<Packed, Error> {
        let answer = self.call_one(call).await;
        Ok(returned(answer.await?)?.pop().unwrap_or_default())
    }

    async fn call_many(
        &self,
        method: &'static str,
        takes: Takes,
        args: Vec<Bytes>,
    ) -> Result<Vec<Packed>, Error> {
        let session = self.client.session();
        let args: Block = args.iter().collect();
        let (size, most) = (args.size_bytes(), session.block_bytes_max());
        if size > most || args.count() > ganger_shared::limits::RUN_COUNT_MAX {
            let count = args.count();
            return Err(Error::Invalid(format!(
                "{count} calls of {size} bytes do not fit a frame; make them in parts"
            )));
        }
        if args.count() == 0 {
            return Ok(Vec::new());
        }
        returned(self.begin(method.to_owned(), takes, args, Duration::ZERO).await.await?)
    }

    fn send(&self, call: Invocation) {
        drop(self.call_now(call));
    }
}

pub(crate) fn encoded(args: &[Value]) -> Result<Bytes, Error> {
    let mut bytes = Vec::new();
    for arg in args {
        arg.encode_to(&mut bytes).map_err(|error| Error::Invalid(error.to_string()))?;
    }
    Ok(bytes.into())
}

/// The results of calls, or the first error among them.
fn returned(response: Response) -> Result<Vec<Packed>, Error> {
    let Response::Returned { results, errors, .. } = response else { return Err(unexpected()) };
    if let Some((_, error)) = errors.into_iter().next() {
        return Err(Error::Call(error));
    }
    let result = |bytes: Bytes| {
        if bytes.is_empty() { Ok(Packed::none()) } else { Packed::new(bytes) }
    };
    let results: Result<Vec<Packed>, _> = results.iter().map(result).collect();
    results.map_err(|error| Rejection::Invalid(error.to_string()).into())
}
