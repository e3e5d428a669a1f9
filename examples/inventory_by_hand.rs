//! An object type without `#[object]`: what the attribute writes for `inventory`, on a page.
//!
//! The broker's side is a table of methods and a function that calls them by name; the client's side is a proxy,
//! each of whose methods puts its arguments together, calls, and reads the answer. The words of the
//! table are what both sides compare: they are those that the attribute would have made, so the programs of both
//! examples could share one shop.
//!
//! ```text
//! $ cargo run -p ganger-examples --example inventory_by_hand
//! shop: there are 12 pears
//! ...
//! 12 of 12 pears are sold, each of them once
//! ```

#![expect(clippy::print_stdout, reason = "an example talks to the person who runs it")]

use std::collections::BTreeMap;

use anyhow::ensure;
use ganger_broker::Broker;
use ganger_shared::object::custom::{Arguments, SharedObject, failed, returned};
use ganger_shared::object::proxy::{self, Caller, Invocation, ObjectProxy};
use ganger_shared::object::{Method, Takes};
use ganger_shared::{CallError, Value};
use ganger_worker::{Client, Objects};
use serde::{Deserialize, Serialize};

const BUYERS: usize = 4;
const PEARS: u32 = 12;

/// How many of each item are left.
#[derive(Default, Serialize, Deserialize)]
struct Inventory {
    left: BTreeMap<String, u32>,
}

/// Somebody else was quicker.
#[derive(Debug, Serialize, Deserialize, thiserror::Error)]
#[error("{item} is sold out")]
struct SoldOut {
    item: String,
}

const fn method(
    name: &'static str,
    args: &'static str,
    returns: &'static str,
    takes: Takes,
) -> Method {
    Method { name, args, returns, takes, cost: "O(log n)" }
}

impl SharedObject for Inventory {
    const TYPEID: &'static str = "inventory/1";
    const METHODS: &'static [Method] = &[
        method("put", "item: String, count: u32", "u32", Takes::Room),
        method("take", "item: String", "Result<u32, SoldOut>", Takes::Room),
        method("find", "item: String", "Option<u32>", Takes::Nothing),
    ];

    fn make(args: &mut Arguments) -> Result<Self, CallError> {
        args.end()?;
        Ok(Self::default())
    }

    fn call(&mut self, method: &str, args: &mut Arguments) -> Result<Value, CallError> {
        let item: String = args.next("item")?;
        match method {
            "put" => {
                let count: u32 = args.next("count")?;
                args.end()?;
                let left = self.left.entry(item).or_default();
                *left = left.saturating_add(count);
                returned(left)
            }
            "take" => {
                args.end()?;
                match self.left.get_mut(&item) {
                    Some(left) if *left > 0 => {
                        *left -= 1;
                        returned(left)
                    }
                    Some(_) | None => Err(failed(&SoldOut { item })),
                }
            }
            "find" => {
                args.end()?;
                returned(&self.left.get(&item))
            }
            other => Err(CallError::Type(format!("inventory/1 has no method {other}"))),
        }
    }
}

struct InventoryProxy<C> {
    object: C,
}

impl<C: Caller> ObjectProxy<C> for InventoryProxy<C> {
    const TYPEID: &'static str = Inventory::TYPEID;
    const METHODS: &'static [Method] = Inventory::METHODS;

    fn over(object: C) -> Self {
        Self { object }
    }
}

impl<C: Caller> InventoryProxy<C> {
    /// Adds items; returns how many of them there are then.
    async fn put(&self, item: String, count: u32) -> Result<u32, C::Error> {
        let mut args = proxy::Arguments::default();
        args.push(&item)?;
        args.push(&count)?;
        let call = Invocation::new("put", Takes::Room, args.finish());
        Ok(proxy::answer(&self.object.call(call).await?)?)
    }

    /// Takes one item; returns how many are left.
    async fn take(&self, item: String) -> Result<Result<u32, SoldOut>, C::Error> {
        let mut args = proxy::Arguments::default();
        args.push(&item)?;
        let call = Invocation::new("take", Takes::Room, args.finish());
        proxy::outcome(self.object.call(call).await)
    }

    /// How many items of this name there are, if it was ever put.
    async fn find(&self, item: String) -> Result<Option<u32>, C::Error> {
        let mut args = proxy::Arguments::default();
        args.push(&item)?;
        let call = Invocation::new("find", Takes::Nothing, args.finish());
        Ok(proxy::answer(&self.object.call(call).await?)?)
    }
}

/// Buys pears until there are none, and says how many that were.
async fn buy(buyer: usize, client: Client) -> anyhow::Result<u32> {
    let shop: InventoryProxy<_> = client.open("shop", &[]).await?;
    let mut bought = 0;
    loop {
        match shop.take("pear".to_owned()).await? {
            Ok(_left) => bought += 1,
            Err(sold_out) => {
                println!("buyer {buyer}: {sold_out}");
                return Ok(bought);
            }
        }
    }
}

fn main() -> anyhow::Result<()> {
    ganger_worker::block_on(async {
        let builder = Broker::builder().object::<Inventory>();
        let broker = builder.pipes_only().in_memory().start().await?;
        let connect = || Client::over(broker.connect_pipe(), broker.key().clone());

        let shop: InventoryProxy<_> = connect().await?.open("shop", &[]).await?;
        let there = shop.put("pear".to_owned(), PEARS).await?;
        println!("shop: there are {there} pears");

        let mut clients = Vec::new();
        for _ in 0..BUYERS {
            clients.push(connect().await?);
        }
        let start = |(buyer, client)| ganger_worker::spawn(buy(buyer, client));
        let buyers: Vec<_> = clients.into_iter().enumerate().map(start).collect();
        let mut sold = 0;
        for (buyer, buying) in buyers.into_iter().enumerate() {
            let bought = buying.await?;
            println!("shop: buyer {buyer} has {bought} pears");
            sold += bought;
        }
        ensure!(sold == PEARS, "{sold} pears were sold");
        ensure!(shop.find("pear".to_owned()).await? == Some(0), "some are left");
        println!("{sold} of {PEARS} pears are sold, each of them once");

        broker.stop().await?;
        Ok(())
    })
}
