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

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn encoded(values: &[Value]) -> Bytes {
    let mut bytes = Vec::new();
    values.iter().for_each(|value| value.encode_to(&mut bytes).unwrap());
    bytes.into()
}

struct Broker {
    machine: Machine,
    journal: Vec<Event>,
    next: u64,
}

fn config() -> Config {
    let mut config = Config { available: Available::All, ..Config::default() };
    config.queue_defaults.durability = Durability::Strict;
    config.registry.add::<Inventory>();
    let expose = Some(["put", "take"].map(str::to_owned).into());
    let registration = Registration {
        typeid: name("inventory/1"),
        args: encoded(&[Value::List(vec![Value::Tuple(vec!["pear".into(), 2.into()])])]),
        durability: None,
        expose,
    };
    config.registry.name(name("shop"), registration);
    config
}

impl Broker {
    fn start() -> Self {
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

    fn ask(&mut self, request: Request) -> Response {
        let mut out = Output::default();
        let command = Command::Request { session: SESSION, request };
        self.machine.step(NOW, command, &mut out);
        self.machine.check();
        self.journal.append(&mut out.journal);
        out.sends.pop().unwrap().response
    }

    fn call(&mut self, object: &str, method: &str, args: &[Value]) -> Result<Value, CallError> {
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

    fn parts(machine: &mut Machine) -> Vec<Event> {
        let mut events = Vec::new();
        machine.restate(Seq::FIRST, |part| events.extend(part.events));
        events
    }
}

#[test]
fn methods_are_called_and_their_own_errors_arrive() {
    let mut broker = Broker::start();
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
    let mut broker = Broker::start();
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
    let mut broker = Broker::start();
    let mut open = |schema| {
        broker.ask(Request::Use {
            request: RequestId(1),
            object: Some(name("depot")),
            typeid: name("inventory/1"),
            schema: Some(schema),
            args: Bytes::new(),
            durability: None,
        })
    };
    let other = open(schema("inventory/1", &Inventory::METHODS[..2]));
    assert!(matches!(other, Response::Rejected { rejection: Rejection::Schema { .. }, .. }));
    let same = open(schema("inventory/1", Inventory::METHODS));
    assert!(matches!(same, Response::Using { is_new: true, .. }), "{same:?}");
}

#[test]
fn panic_poisons_its_object_only_and_a_replay_comes_to_the_same() {
    std::panic::set_hook(Box::new(|_| {}));
    let mut broker = Broker::start();
    broker.ask(Request::Use {
        request: RequestId(1),
        object: Some(name("depot")),
        typeid: name("inventory/1"),
        schema: None,
        args: Bytes::new(),
        durability: None,
    });
    let poisoned = CallError::Poisoned("audit of 0 items".to_owned());
    assert_eq!(broker.call("depot", "audit", &[]), Err(poisoned.clone()));
    assert_eq!(broker.call("depot", "len", &[]), Err(poisoned));
    assert_eq!(broker.call("shop", "take", &["pear".into()]), Ok(1.into()));

    let live = Broker::parts(&mut broker.machine);
    let mut replay = Replay::new(config(), NOW);
    for event in broker.journal.clone() {
        replay.take(Seq::FIRST, event);
    }
    let mut replayed = replay.finish();
    assert_eq!(Broker::parts(&mut replayed), live);
    let mut again = Replay::new(config(), NOW);
    live.iter().cloned().for_each(|event| again.take(Seq::FIRST, event));
    assert_eq!(Broker::parts(&mut again.finish()), live);
}
