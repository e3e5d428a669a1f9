//! Objects by `#[object]`, called through their proxies.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures_lite::future::block_on;
use ganger_shared::object::custom::{Arguments, SharedObject, schema};
use ganger_shared::object::proxy::{self, ObjectProxy};
use ganger_shared::object::{Method, Takes};
use ganger_shared::{CallError, object};
use serde::{Deserialize, Serialize};

use crate::local::{Failure, Local};

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Inventory {
    left: BTreeMap<String, u32>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("{item} is sold out")]
struct SoldOut {
    item: String,
}

#[object(typeid = "inventory/1")]
impl Inventory {
    /// Adds items; returns how many of them there are then.
    #[cost("O(log n)")]
    pub fn put(&mut self, item: String, count: u32) -> u32 {
        let left = self.left.entry(item).or_default();
        *left += count;
        *left
    }

    /// Takes one item; returns how many are left.
    pub fn take(&mut self, item: String) -> Result<u32, SoldOut> {
        match self.left.get_mut(&item) {
            Some(left) if *left > 0 => {
                *left -= 1;
                Ok(*left)
            }
            Some(_) | None => Err(SoldOut { item }),
        }
    }

    /// How many items of this name there are, if it was ever put.
    pub fn find(&self, item: String) -> Option<u32> {
        self.left.get(&item).copied()
    }

    pub fn len(&self) -> usize {
        Self::counted(&self.left)
    }

    /// Puts what another one has, and forgets it there.
    pub fn merge(&mut self, mut other: Self, only: Option<Vec<String>>) {
        other.left.retain(|item, _| only.as_ref().is_none_or(|only| only.contains(item)));
        self.left.append(&mut other.left);
    }

    pub fn counted(left: &BTreeMap<String, u32>) -> usize {
        left.len()
    }

    fn clear(&mut self) {
        self.left.clear();
    }
}

/// An inventory with two pears.
fn shop() -> InventoryProxy<Local<Inventory>> {
    let shop = InventoryProxy::over(Local::made(Bytes::new()).unwrap());
    block_on(shop.put("pear".to_owned(), 2)).unwrap();
    shop
}

fn is_send<T: Send>(value: T) -> T {
    value
}

const fn row(
    name: &'static str,
    args: &'static str,
    returns: &'static str,
    takes: Takes,
    cost: &'static str,
) -> Method {
    Method { name, args, returns, takes, cost }
}

#[test]
fn table_has_the_public_methods_with_their_signatures() {
    let expected = [
        row("put", "item: String, count: u32", "u32", Takes::Room, "O(log n)"),
        row("take", "item: String", "Result<u32, SoldOut>", Takes::Room, "not stated"),
        row("find", "item: String", "Option<u32>", Takes::Nothing, "not stated"),
        row("len", "", "usize", Takes::Nothing, "not stated"),
        row(
            "merge",
            "other: Inventory, only: Option<Vec<String>>",
            "()",
            Takes::Room,
            "not stated",
        ),
    ];
    assert_eq!(Inventory::METHODS, expected);
    assert_eq!(Inventory::TYPEID, "inventory/1");
    type Proxy = InventoryProxy<Local<Inventory>>;
    assert_eq!((Proxy::TYPEID, Proxy::METHODS), (Inventory::TYPEID, Inventory::METHODS));
}

#[test]
fn proxy_has_the_same_methods_with_the_same_types() {
    let shop = shop();
    block_on(is_send(async {
        assert_eq!(shop.put("fig".to_owned(), 1).await, Ok(1));
        assert_eq!(shop.find("fig".to_owned()).await, Ok(Some(1)));
        assert_eq!(shop.find("kiwi".to_owned()).await, Ok(None));
        let other = Inventory { left: [("kiwi".to_owned(), 3), ("nut".to_owned(), 4)].into() };
        assert_eq!(shop.merge(other, Some(vec!["kiwi".to_owned()])).await, Ok(()));
        assert_eq!(shop.len().await, Ok(3));
    }));
}

#[test]
fn own_error_of_a_method_arrives_as_it_was() {
    let shop = shop();
    assert_eq!(block_on(shop.take("pear".to_owned())), Ok(Ok(1)));
    let item = "kiwi".to_owned();
    assert_eq!(block_on(shop.take(item.clone())), Ok(Err(SoldOut { item })));
}

#[test]
fn call_that_does_not_fit_the_signature_is_refused_and_the_argument_named() {
    let call = |method: &str, args: &[i64]| {
        let mut encoded = proxy::Arguments::default();
        args.iter().for_each(|arg| encoded.push(arg).unwrap());
        let mut args = Arguments::new(encoded.finish()).unwrap();
        let mut shop = Inventory::default();
        let answer = shop.call(method, &mut args);
        assert_eq!(shop, Inventory::default());
        answer.unwrap_err().to_string()
    };
    assert!(call("find", &[7]).starts_with("argument item: "));
    assert!(call("put", &[]).starts_with("argument item: "));
    assert_eq!(call("len", &[7]), "1 arguments too many");
    assert_eq!(call("clear", &[]), "inventory/1 has no method clear");
    assert_eq!(call("counted", &[]), "inventory/1 has no method counted");
    Inventory::default().clear();
}

/// One that is made with arguments, some of which are refused.
#[derive(Debug, Serialize, Deserialize)]
struct Ring {
    slots: Vec<i64>,
    at: usize,
}

#[object(typeid = "tests/ring/3")]
impl Ring {
    pub fn new() -> Self {
        Self { slots: vec![0], at: 0 }
    }

    #[make]
    fn of_size(size: u8, first: Option<i64>) -> Result<Self, String> {
        if size == 0 {
            return Err("a ring has at least one slot".to_owned());
        }
        Ok(Self { slots: vec![first.unwrap_or(0); size.into()], at: 0 })
    }

    /// Called as whatever the expansion names its own.
    pub fn r#move(&mut self, method: usize, arguments: usize, other: usize, call: usize) -> i64 {
        self.at = (self.at + method + arguments + other + call) % self.slots.len();
        self.slots[self.at]
    }

    pub fn set(
        &mut self,
        answered: i64,
        result: i64,
        error: i64,
        object: i64,
    ) -> Result<(), String> {
        self.slots[self.at] = answered + result + error + object;
        Ok(())
    }
}

fn ring(size: u8, first: Option<i64>) -> Result<RingProxy<Local<Ring>>, CallError> {
    let mut args = proxy::Arguments::default();
    args.push(&size).unwrap();
    args.push(&first).unwrap();
    Local::made(args.finish()).map(RingProxy::new)
}

#[test]
fn marked_function_makes_one_rather_than_new() {
    assert_eq!(Ring::new().slots, [0]);
    let Err(CallError::User { message, .. }) = ring(0, None) else { panic!("it was made") };
    assert_eq!(message, "a ring has at least one slot");
    let ring = ring(3, Some(7)).unwrap();
    assert_eq!(block_on(ring.r#move(1, 0, 0, 0)), Ok(7));
    assert_eq!(
        Local::<Ring>::made(Bytes::new()).err().map(|e| matches!(e, CallError::Type(_))),
        Some(true)
    );
}

#[test]
fn argument_may_be_called_as_anything() {
    let ring = ring(4, None).unwrap();
    assert_eq!(block_on(ring.r#move(1, 2, 3, 1)), Ok(0));
    assert_eq!(block_on(ring.set(1, 2, 3, 4)), Ok(Ok(())));
    assert_eq!(block_on(ring.r#move(0, 0, 0, 0)), Ok(10));
    assert_eq!(Ring::METHODS[0].name, "move");
}

mod spread {
    //! The methods of an inventory, as nobody would format them, and with other bodies.
    #![expect(clippy::unused_unit, clippy::use_self, reason = "that is the other way to write it")]

    use super::*;

    #[derive(Debug, Default, Serialize, Deserialize)]
    pub(super) struct Inventory;

    #[rustfmt::skip]
    #[object(typeid="inventory/1",)]
    impl Inventory {
        pub fn put(& mut self,item :String , count:u32,)->u32 { drop(item); count }
        pub fn take(
            &mut self,
            mut item: String,
        ) -> Result <
            u32,
            SoldOut,
        > { item.push('s'); Err(SoldOut { item }) }
        pub fn find(&'_ self, item: String) -> Option< u32 > { item.parse().ok() }
        /// Documented.
        pub fn len(&self) -> usize { 0 }
        pub fn merge(&mut self, other: Inventory, only: Option<Vec<String,>>) -> () {
            drop((other, only));
        }
    }
}

#[test]
fn formatting_and_documentation_are_no_part_of_the_schema() {
    let of = |methods| schema("inventory/1", methods);
    assert_eq!(of(spread::Inventory::METHODS), of(Inventory::METHODS));
}

macro_rules! cell {
    ($name:ident, $kind:ty, $typeid:literal) => {
        #[derive(Default, Serialize, Deserialize)]
        struct $name {
            value: Option<$kind>,
        }

        #[object(typeid = $typeid)]
        impl $name {
            pub fn swap(&mut self, value: $kind) -> Option<$kind> {
                self.value.replace(value)
            }
        }
    };
}

cell!(Shelf, Vec<(String, u32)>, "shelf/1");

#[test]
fn block_may_come_from_another_macro() {
    let method = Shelf::METHODS[0];
    assert_eq!(
        (method.args, method.returns),
        ("value: Vec<(String, u32)>", "Option<Vec<(String, u32)>>")
    );
    let shelf = ShelfProxy::new(Local::<Shelf>::made(Bytes::new()).unwrap());
    let some = vec![("fig".to_owned(), 1)];
    assert_eq!(block_on(shelf.swap(some.clone())), Ok(None));
    assert_eq!(block_on(shelf.swap(Vec::new())), Ok(Some(some)));
}

#[derive(Default, Serialize, Deserialize)]
struct Sieve;

#[object(typeid = "sieve/1")]
impl Sieve {
    #[cfg(test)]
    pub fn kept(&self) -> u8 {
        1
    }

    #[cfg(not(test))]
    pub fn left_out(&self) -> Unknown {
        nothing()
    }

    /// Its answer is an error that no one can read.
    pub fn misread(&self) -> Result<u8, std::borrow::Cow<'static, str>> {
        Err("as text".into())
    }
}

#[test]
fn method_that_is_left_out_is_nowhere() {
    let names: Vec<_> = Sieve::METHODS.iter().map(|method| method.name).collect();
    assert_eq!(names, ["kept", "misread"]);
    let sieve = SieveProxy::new(Local::<Sieve>::made(Bytes::new()).unwrap());
    assert_eq!(block_on(sieve.kept()), Ok(1));
    assert_eq!(block_on(sieve.misread()), Ok(Err("as text".into())));
}

#[test]
fn failure_of_the_call_is_told_from_the_methods_own() {
    /// Calls what the broker's side does not have.
    #[derive(Default, Serialize, Deserialize)]
    struct Other;

    #[object(typeid = "sieve/1")]
    impl Other {
        pub fn kept(&self) -> String {
            "not a number".to_owned()
        }

        pub fn misread(&self) -> Result<u8, SoldOut> {
            Ok(0)
        }
    }

    let other = OtherProxy::new(Local::<Sieve>::made(Bytes::new()).unwrap());
    assert!(matches!(block_on(other.kept()), Err(Failure::Convert(_))));
    assert!(matches!(block_on(other.misread()), Err(Failure::Convert(_))));
    assert_eq!(
        block_on(OtherProxy::new(Local::<Other>::made(Bytes::new()).unwrap()).misread()),
        Ok(Ok(0))
    );
}
