//! An object of one's own type: an inventory from which many buy at once, and nothing is sold twice.
//!
//! [`Inventory`] is an ordinary type with an ordinary `impl` block. `#[object]` has its methods called at the
//! broker, one after the other, and makes `InventoryProxy` with the same methods for those who
//! call them from anywhere. That somebody was too late is no failure of a call but the method's own error, and
//! comes back as the type that it is.
//!
//! `inventory_by_hand` is the same without the attribute.
//!
//! ```text
//! $ cargo run -p ganger-examples --example inventory
//! shop: there are 12 pears
//! buyer 2: pear is sold out
//! ...
//! shop: buyer 0 has 3 pears
//! ...
//! 12 of 12 pears are sold, each of them once
//! ```

#![expect(clippy::print_stdout, reason = "an example talks to the person who runs it")]

use std::collections::BTreeMap;

use anyhow::ensure;
use ganger_broker::Broker;
use ganger_shared::object;
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

#[object(typeid = "inventory/1")]
impl Inventory {
    /// Adds items; returns how many of them there are then.
    #[cost("O(log n)")]
    pub fn put(&mut self, item: String, count: u32) -> u32 {
        let left = self.left.entry(item).or_default();
        *left = left.saturating_add(count);
        *left
    }

    /// Takes one item; returns how many are left.
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

    /// How many items of this name there are, if it was ever put.
    #[cost("O(log n)")]
    pub fn find(&self, item: String) -> Option<u32> {
        self.left.get(&item).copied()
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
