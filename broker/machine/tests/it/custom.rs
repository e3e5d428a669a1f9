//! Object types that a program brings along.

use bytes::Bytes;
use ganger_machine::config::Available;
use ganger_machine::registry::Registration;
use ganger_machine::{Command, Config, Event, Machine, Output, Replay, Seq};
use ganger_shared::key::KeyId;
use ganger_shared::object::custom::{Arguments, SharedObject, failed, returned, schema};
use ganger_shared::object::{Method, Takes};
use ganger_shared::{
    Block, By, CallError, Durability, Name, Packed, Rejection, Request, RequestId, Response,
    SessionId, Time, Value,
};
use serde::{Deserialize, Serialize};

const NOW: Time = Time::from_millis(1_000);
const SESSION: SessionId = SessionId(1);

#[derive(Debug, Default, Serialize, Deserialize)]
struct Inventory {
    left: Vec<(String, u32)>,
}

#[derive(Debug, Serialize, thiserror::Error)]
#[error("{item} is sold out")]
struct SoldOut {
    item: String,
}

const fn method(name: &'static str, args: &'static str, takes: Takes) -> Method {
    Method { name, args, returns: "u32", takes, cost: "O(n)" }
}

impl SharedObject for Inventory {
    const TYPEID: &'static str = "inventory/1";
    const METHODS: &'static [Method] = &[
        method("len", "", Takes::Nothing),
        method("put", "item: String, count: u32", Takes::Room),
        method("take", "item: String", Takes::Room),
        method("audit", "", Takes::Room),
    ];

    fn make(args: &mut Arguments) -> Result<Self, CallError> {
        let left = args.next::<Option<Vec<(String, u32)>>>("left")?.unwrap_or_default();
        args.end()?;
        Ok(Self { left })
    }

    fn call(&mut self, method: &str, args: &mut Arguments) -> Result<Value, CallError> {
        match method {
            "len" => returned(&self.left.len()),
            "put" => {
                self.left.push((args.next("item")?, args.next("count")?));
                returned(&self.left.len())
            }
            "take" => {
                let item: String = args.next("item")?;
                let found = self.left.iter_mut().find(|(known, left)| *known == item && *left > 0);
                let (_, left) = found.ok_or_else(|| failed(&SoldOut { item }))?;
                *left -= 1;
                returned(left)
            }
            other => {
                self.left.clear();
                panic!("{other} of {} items", self.left.len())
            }
        }
    }
}

/// Opens an object, which is made if there is none.
pub(crate) fn open(object: &str, schema: Option<[u8; 32]>) -> Request {
    Request::Use {
        request: RequestId(1),
        object: Some(name(object)),
        typeid: name("inventory/1"),
        schema,
        args: Bytes::new(),
        durability: None,
    }
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn encoded(values: &[Value]) -> Bytes {
    let mut bytes = Vec::new();
    values.iter().for_each(|value| value.encode_to(&mut bytes).unwrap());
    bytes.into()
}

/// A broker, and all that its journal has of it.
pub(crate) struct Broker {
    pub(crate) machine: Machine,
    pub(crate) journal: Vec<Event>,
    next: u64,
}

/// What comes of these events.
pub(crate) fn replayed(config: Config, events: &[Event]) -> Machine {
    let mut replay = Replay::new(config, NOW);
    events.iter().cloned().for_each(|event| replay.take(Seq::FIRST, event));
    replay.finish()
}

/// A configuration that serves a type.
pub(crate) fn serving<T: SharedObject>() -> Config {
    let mut config = Config { available: Available::All, ..Config::default() };
    config.queue_defaults.durability = Durability::Strict;
    config.registry.add::<T>();
    config
}

fn config() -> Config {
    let mut config = serving::<Inventory>();
    let left = Value::List(vec![Value::Tuple(vec!["pear".into(), 2.into()])]);
    let registration = Registration::new(name("inventory/1")).expose(&["put", "take"]);
    let registration = registration.made_with(&[left]).unwrap();
    config.registry.name(name("shop"), registration);
    config
}

impl Broker {
    pub(crate) fn start(config: fn() -> Config) -> Self {
        let mut broker =
            Self { machine: Machine::new(config(), NOW), journal: Vec::new(), next: 0 };
        let mut out = Output::default();
        for (name, registration) in config().registry.named() {
            broker.machine.register(name, registration, &mut out).unwrap();
        }
        let (session, key) = (SESSION, KeyId([1; 8]));
        let open = Command::Open { session, key, held: Vec::new(), name: String::new() };
        broker.machine.step(NOW, open, &mut out);
        broker.journal.append(&mut out.journal);
        broker
    }

    pub(crate) fn ask(&mut self, request: Request) -> Response {
        let mut out = Output::default();
        let command = Command::Request { session: SESSION, request };
        self.machine.step(NOW, command, &mut out);
        self.machine.check();
        self.journal.append(&mut out.journal);
        out.sends.pop().unwrap().response
    }

    pub(crate) fn call(
        &mut self,
        object: &str,
        method: &str,
        args: &[Value],
    ) -> Result<Value, CallError> {
        self.next += 1;
        let response = self.ask(Request::Call {
            request: RequestId(1),
            object: name(object),
            typeid: None,
            method: method.to_owned(),
            seq: Some(self.next),
            answered: 0,
            by: By::Session,
            wait_ms: 0,
            args: Block::one(encoded(args)),
        });
        let Response::Returned { results, errors, .. } = response else { panic!("{response:?}") };
        match errors.into_iter().next() {
            Some((_, error)) => Err(error),
            None if results.size_bytes() == 0 => Ok(Value::None),
            None => Ok(Packed::new(results.get(0)).unwrap().unpack()),
        }
    }

    pub(crate) fn parts(machine: &mut Machine) -> Vec<Event> {
        let mut events = Vec::new();
        machine.restate(Seq::FIRST, |part| events.extend(part.events));
        events
    }
}

#[test]
fn methods_are_called_and_their_own_errors_arrive() {
    let mut broker = Broker::start(config);
    assert_eq!(broker.call("shop", "take", &["pear".into()]), Ok(1.into()));
    assert_eq!(broker.call("shop", "put", &["fig".into(), 1.into()]), Ok(2.into()));
    let Err(CallError::User { message, value }) = broker.call("shop", "take", &["kiwi".into()])
    else {
        panic!("kiwi was never there")
    };
    assert_eq!(message, "kiwi is sold out");
    assert_eq!(value.unpack().to_json(), r#"{"item":"kiwi"}"#);
    let wrong = broker.call("shop", "put", &["fig".into(), "many".into()]);
    assert!(matches!(&wrong, Err(CallError::Type(why)) if why.starts_with("argument count")));
}

#[test]
fn method_that_is_not_exposed_is_refused_and_the_others_are_named() {
    let mut broker = Broker::start(config);
    let call = Request::Call {
        request: RequestId(1),
        object: name("shop"),
        typeid: None,
        method: "len".to_owned(),
        seq: None,
        answered: 0,
        by: By::Session,
        wait_ms: 0,
        args: Block::empties(1),
    };
    let Response::Rejected { rejection, .. } = broker.ask(call) else { panic!("it is exposed") };
    assert_eq!(
        rejection.to_string(),
        "inventory/1 has no method \"len\" for clients; it has put, take"
    );
}

#[test]
fn schema_that_differs_is_refused_when_the_object_is_opened() {
    let mut broker = Broker::start(config);
    let mut open = |schema| broker.ask(open("depot", Some(schema)));
    let other = open(schema("inventory/1", &Inventory::METHODS[..2]));
    assert!(matches!(other, Response::Rejected { rejection: Rejection::Schema { .. }, .. }));
    let same = open(schema("inventory/1", Inventory::METHODS));
    assert!(matches!(same, Response::Using { is_new: true, .. }), "{same:?}");
}

#[test]
fn panic_poisons_its_object_only_and_a_replay_comes_to_the_same() {
    std::panic::set_hook(Box::new(|_| {}));
    let mut broker = Broker::start(config);
    broker.ask(open("depot", None));
    let poisoned = CallError::Poisoned("audit of 0 items".to_owned());
    assert_eq!(broker.call("depot", "audit", &[]), Err(poisoned.clone()));
    assert_eq!(broker.call("depot", "len", &[]), Err(poisoned));
    assert_eq!(broker.call("shop", "take", &["pear".into()]), Ok(1.into()));

    let live = Broker::parts(&mut broker.machine);
    assert_eq!(Broker::parts(&mut replayed(config(), &broker.journal)), live);
    assert_eq!(Broker::parts(&mut replayed(config(), &live)), live);
}

/// Changes something and then fails, which it should not.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Careless {
    tries: u32,
}

impl SharedObject for Careless {
    const TYPEID: &'static str = "careless/1";
    const METHODS: &'static [Method] =
        &[method("tries", "", Takes::Nothing), method("fail", "", Takes::Room)];

    fn make(_: &mut Arguments) -> Result<Self, CallError> {
        Ok(Self::default())
    }

    fn call(&mut self, method: &str, _: &mut Arguments) -> Result<Value, CallError> {
        if method == "fail" {
            self.tries += 1;
            return Err(failed(&SoldOut { item: format!("try {}", self.tries) }));
        }
        returned(&self.tries)
    }
}

fn with_careless() -> Config {
    let mut config = config();
    config.registry.add::<Careless>();
    config.registry.name(name("c"), Registration::new(name("careless/1")));
    config
}

#[test]
fn what_a_failing_method_has_changed_is_replayed_and_no_effect_leaves_it_behind() {
    let mut broker = Broker::start(with_careless);
    let Err(CallError::User { message, .. }) = broker.call("c", "fail", &[]) else {
        panic!("it always fails")
    };
    assert_eq!(message, "try 1 is sold out");
    let live = Broker::parts(&mut broker.machine);
    assert_eq!(Broker::parts(&mut replayed(with_careless(), &broker.journal)), live);

    // The same as an effect of a job's end.
    let queue = name("q");
    broker.ask(Request::Submit {
        request: RequestId(1),
        queue: queue.clone(),
        first_seq: 500,
        options: ganger_shared::JobOptions::new(name("h")),
        payloads: Block::one("p"),
        when_full: ganger_shared::request::WhenFull::Refuse,
        notify: ganger_shared::request::Notify::No,
    });
    let subscription = ganger_shared::SubscriptionId(1);
    let assigned = broker.ask(Request::Subscribe { subscription, queue, credit: 1 });
    let Response::Assign { first_lease: lease, .. } = assigned else { panic!("{assigned:?}") };
    let effect = ganger_shared::Effect::Call {
        object: name("c"),
        typeid: None,
        method: "fail".to_owned(),
        args: Bytes::new(),
    };
    let (request, output) = (RequestId(1), Bytes::new());
    let effects = vec![effect];
    let refused = broker.ask(Request::Finish { request, lease, output, effects });
    let Response::Rejected { rejection, .. } = refused else { panic!("{refused:?}") };
    assert!(matches!(rejection, Rejection::Effect { .. }), "{rejection}");
    assert_eq!(broker.call("c", "tries", &[]), Ok(1.into()));
}
