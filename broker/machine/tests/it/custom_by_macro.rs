//! A type by `#[object]` and the same one by hand cannot be told apart.

use std::collections::BTreeMap;

use ganger_shared::object::custom::{Arguments, SharedObject, failed, returned, schema};
use ganger_shared::object::{Method, Takes};
use ganger_shared::{CallError, Rejection, Response, Value, object};
use serde::{Deserialize, Serialize};

use crate::custom::{Broker, open, replayed, serving};

#[derive(Debug, Deserialize, Serialize, thiserror::Error)]
#[error("{item} is sold out")]
struct SoldOut {
    item: String,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Inventory {
    left: BTreeMap<String, u32>,
}

#[object(typeid = "inventory/1")]
impl Inventory {
    #[cost("O(log n)")]
    pub fn put(&mut self, item: String, count: u32) -> u32 {
        let left = self.left.entry(item).or_default();
        *left += count;
        *left
    }

    #[cost("O(log n)")]
    pub fn take(&mut self, item: String) -> Result<u32, SoldOut> {
        match self.left.get_mut(&item) {
            Some(left) if *left > 0 => {
                *left -= 1;
                Ok(*left)
            }
            Some(_) | None => Err(SoldOut { item }),
        }
    }

    #[cost("O(log n)")]
    pub fn find(&self, item: Option<String>) -> Option<u32> {
        self.left.get(&item?).copied()
    }

    #[cost("O(1)")]
    pub fn audit(&mut self) {
        panic!("{} items", self.left.len())
    }
}

#[derive(Default, Serialize, Deserialize)]
#[serde(transparent)]
struct ByHand(Inventory);

impl SharedObject for ByHand {
    const TYPEID: &'static str = "inventory/1";
    const METHODS: &'static [Method] = &[
        Method {
            name: "put",
            args: "item: String, count: u32",
            returns: "u32",
            takes: Takes::Room,
            cost: "O(log n)",
        },
        Method {
            name: "take",
            args: "item: String",
            returns: "Result<u32, SoldOut>",
            takes: Takes::Room,
            cost: "O(log n)",
        },
        Method {
            name: "find",
            args: "item: Option<String>",
            returns: "Option<u32>",
            takes: Takes::Nothing,
            cost: "O(log n)",
        },
        Method { name: "audit", args: "", returns: "()", takes: Takes::Room, cost: "O(1)" },
    ];

    fn make(args: &mut Arguments) -> Result<Self, CallError> {
        args.end()?;
        Ok(Self::default())
    }

    fn call(&mut self, method: &str, args: &mut Arguments) -> Result<Value, CallError> {
        match method {
            "put" => {
                let (item, count) = (args.next("item")?, args.next("count")?);
                args.end()?;
                returned(&self.0.put(item, count))
            }
            "take" => {
                let item = args.next("item")?;
                args.end()?;
                returned(&self.0.take(item).map_err(|error| failed(&error))?)
            }
            "find" => {
                let item = args.next("item")?;
                args.end()?;
                returned(&self.0.find(item))
            }
            "audit" => {
                args.end()?;
                returned(&self.0.audit())
            }
            other => Err(CallError::Type(format!("inventory/1 has no method {other}"))),
        }
    }
}

/// Calls of every kind: that succeed, that fail, that have too few or too many arguments, that panic.
fn answers(broker: &mut Broker) -> Vec<Result<Value, CallError>> {
    broker.ask(open("shop", Some(schema("inventory/1", ByHand::METHODS))));
    broker.ask(open("depot", None));
    let calls: [(&str, &str, &[Value]); 11] = [
        ("shop", "put", &["pear".into(), 2.into()]),
        ("shop", "take", &["pear".into()]),
        ("shop", "take", &["kiwi".into()]),
        ("shop", "find", &["pear".into()]),
        ("shop", "find", &[]),
        ("shop", "put", &["pear".into()]),
        ("shop", "put", &["pear".into(), (-1).into()]),
        ("shop", "take", &["pear".into(), 1.into()]),
        ("depot", "audit", &[]),
        ("depot", "find", &["pear".into()]),
        ("shop", "take", &["pear".into()]),
    ];
    calls.iter().map(|(object, method, args)| broker.call(object, method, args)).collect()
}

#[test]
fn type_by_macro_answers_and_is_replayed_as_the_one_by_hand() {
    std::panic::set_hook(Box::new(|_| {}));
    assert_eq!(Inventory::METHODS, ByHand::METHODS);
    let (by_macro, by_hand) = (serving::<Inventory>, serving::<ByHand>);
    let (mut ours, mut theirs) = (Broker::start(by_macro), Broker::start(by_hand));
    let answered = answers(&mut ours);
    assert_eq!(answered, answers(&mut theirs));
    assert_eq!(answered.iter().filter(|answer| answer.is_ok()).count(), 5, "{answered:?}");
    assert_eq!(ours.journal, theirs.journal);

    let live = Broker::parts(&mut ours.machine);
    assert_eq!(Broker::parts(&mut theirs.machine), live);
    // Each goes on with the other's journal.
    assert_eq!(Broker::parts(&mut replayed(by_macro(), &theirs.journal)), live);
    assert_eq!(Broker::parts(&mut replayed(by_hand(), &ours.journal)), live);
}

#[test]
fn signature_that_was_changed_is_noticed_when_a_proxy_is_opened() {
    /// The same type as another program has it.
    #[derive(Default, Serialize, Deserialize)]
    struct Other;

    #[object(typeid = "inventory/1")]
    impl Other {
        pub fn put(&mut self, item: String, count: u64) -> u64 {
            item.len() as u64 + count
        }
    }

    let mut broker = Broker::start(serving::<Inventory>);
    let other = broker.ask(open("shop", Some(schema(Other::TYPEID, Other::METHODS))));
    assert!(matches!(other, Response::Rejected { rejection: Rejection::Schema { .. }, .. }));
    let same = broker.ask(open("shop", Some(schema(Inventory::TYPEID, Inventory::METHODS))));
    assert!(matches!(same, Response::Using { is_new: true, .. }), "{same:?}");
}
