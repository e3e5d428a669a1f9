//! Leader election: of three candidates one leads, and one that was cut off cannot do harm.
//!
//! Who holds the lock leads. When a leader's session ends, for whatever reason, the lock goes to the next in
//! line with a larger fencing token. The former leader may not know it yet: a process can be stopped for an
//! hour and go on as if nothing had happened. What it leads therefore asks for the token with every order and refuses
//! one that is smaller than any it has seen.
//!
//! ```text
//! $ cargo run -p ganger-examples --example leader_election
//! ann leads under token 1863936589824, and the crane takes her order
//! ann is cut off and has not noticed
//! ben leads under token 1863936589826, and the crane takes his order
//! ann gives another order: token 1863936589824 is out of date, 1863936589826 was seen
//! cid leads when ben steps down
//! each order came from who led at the time
//! ```

#![expect(clippy::print_stdout, reason = "an example talks to the person who runs it")]

use anyhow::{bail, ensure};
use ganger_broker::Broker;
use ganger_worker::{Client, Objects};

/// What is led: something outside of the broker that must obey one leader only.
#[derive(Default)]
struct Crane {
    highest_token: u64,
    orders: Vec<&'static str>,
}

impl Crane {
    fn order(&mut self, token: u64, order: &'static str) -> anyhow::Result<()> {
        if token < self.highest_token {
            bail!("token {token} is out of date, {} was seen", self.highest_token);
        }
        self.highest_token = token;
        self.orders.push(order);
        Ok(())
    }
}

fn main() -> anyhow::Result<()> {
    ganger_worker::block_on(async {
        let broker = Broker::builder().pipes_only().in_memory().start().await?;
        let connect = || Client::over(broker.connect_pipe(), broker.key().clone());
        let (ann, ben, cid) = (connect().await?, connect().await?, connect().await?);
        let mut crane = Crane::default();

        let of_ann = ann.lock("leader")?.acquire().await?;
        crane.order(of_ann.token(), "lift")?;
        println!("ann leads under token {}, and the crane takes her order", of_ann.token());

        // The others stand in line: this is the whole election.
        let (lock_of_ben, lock_of_cid) = (ben.lock("leader")?, cid.lock("leader")?);
        let ben_in_line = ganger_worker::spawn(async move { lock_of_ben.acquire().await });
        let cid_in_line = ganger_worker::spawn(async move { lock_of_cid.acquire().await });

        println!("ann is cut off and has not noticed");
        ann.close().await;
        let of_ben = ben_in_line.await?;
        crane.order(of_ben.token(), "turn")?;
        println!("ben leads under token {}, and the crane takes his order", of_ben.token());

        let Err(refused) = crane.order(of_ann.token(), "drop") else { bail!("ann dropped it") };
        println!("ann gives another order: {refused}");

        of_ben.release().await?;
        let of_cid = cid_in_line.await?;
        crane.order(of_cid.token(), "lower")?;
        println!("cid leads when ben steps down");

        ensure!(crane.orders == ["lift", "turn", "lower"], "orders: {:?}", crane.orders);
        println!("each order came from who led at the time");
        of_cid.release().await?;
        broker.stop().await?;
        Ok(())
    })
}
