//! Objects of the program's own types, through the proxies that `#[object]` makes.

use std::collections::BTreeMap;
use std::time::Duration;

use ganger_broker::{Broker, Builder, Config};
use ganger_shared::object::{SharedObject, custom};
use ganger_shared::{CallError, Rejection, object};
use ganger_worker::{Client, Ctx, Error, JobError, Objects, Worker};
use serde::{Deserialize, Serialize};

use crate::support::{connect, run};

#[derive(Debug, Default, Serialize, Deserialize)]
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
    #[make]
    fn with(left: Option<BTreeMap<String, u32>>) -> Result<Self, String> {
        let left = left.unwrap_or_default();
        match left.values().find(|count| **count == 0) {
            Some(_) => Err("there is nothing of an item".to_owned()),
            None => Ok(Self { left }),
        }
    }

    pub fn put(&mut self, item: String, count: u32) -> u32 {
        let left = self.left.entry(item).or_default();
        *left += count;
        *left
    }

    pub fn take(&mut self, item: String) -> Result<u32, SoldOut> {
        match self.left.get_mut(&item) {
            Some(left) if *left > 0 => {
                *left -= 1;
                Ok(*left)
            }
            Some(_) | None => Err(SoldOut { item }),
        }
    }

    /// Called like what only reads in other types.
    pub fn get(&mut self, item: String) -> Option<u32> {
        self.left.remove(&item)
    }

    pub fn find(&self, item: String) -> Option<u32> {
        self.left.get(&item).copied()
    }
}

type Shop = InventoryProxy<ganger_worker::Object>;

fn serving() -> Builder {
    Broker::builder().object::<Inventory>().pipes_only()
}

fn pears() -> String {
    "pear".to_owned()
}

#[test]
fn proxy_calls_the_methods_of_a_type_that_the_broker_was_told_of() {
    run(async {
        let broker = serving().in_memory().start().await.unwrap();
        let client = connect(&broker).await;
        let shop: Shop = client.open("shop", &[]).await.unwrap();
        assert_eq!(shop.put(pears(), 2).await.unwrap(), 2);
        assert_eq!(shop.take(pears()).await.unwrap(), Ok(1));
        let item = "kiwi".to_owned();
        assert_eq!(shop.find(item.clone()).await.unwrap(), None);
        assert_eq!(shop.take(item.clone()).await.unwrap(), Err(SoldOut { item }));

        // Whoever has no such type calls by name, and reads the error's text.
        let object = connect(&broker).await.object("shop").unwrap();
        let refused = object.invoke("take", &["kiwi".into()], Duration::ZERO).await.unwrap_err();
        assert!(object.invoke("get", &["kiwi".into()], Duration::ZERO).await.unwrap().is_none());
        assert_eq!(refused.to_string(), "kiwi is sold out");
        let again: Shop = connect(&broker).await.open("shop", &[]).await.unwrap();
        assert_eq!(again.find(pears()).await.unwrap(), Some(1));
    });
}

#[test]
fn object_is_made_with_what_the_first_one_brings_or_not_at_all() {
    run(async {
        let broker = serving().in_memory().start().await.unwrap();
        let client = connect(&broker).await;
        let pears = |count: u32| custom::returned(&BTreeMap::from([("pear", count)])).unwrap();
        let refused = client.open::<Shop>("shop", &[pears(0)]).await.unwrap_err();
        assert!(refused.to_string().contains("there is nothing of an item"), "{refused}");
        client.open::<Shop>("shop", &[pears(3)]).await.unwrap();
        let shop = client.open::<Shop>("shop", &[pears(9)]).await.unwrap();
        assert_eq!(shop.find("pear".to_owned()).await.unwrap(), Some(3));
    });
}

mod of_another_program {
    //! The same type with another idea of what it counts.

    use super::*;

    #[derive(Default, Serialize, Deserialize)]
    pub(super) struct Inventory;

    #[object(typeid = "inventory/1")]
    impl Inventory {
        pub fn put(&mut self, item: String, count: u64) -> u64 {
            drop(item);
            count
        }
    }
}

#[test]
fn proxy_of_other_signatures_is_refused_when_it_is_opened() {
    run(async {
        let broker = serving().in_memory().start().await.unwrap();
        let client = connect(&broker).await;
        let opened = client.open::<of_another_program::InventoryProxy<_>>("shop", &[]).await;
        let Err(Error::Rejected(rejection)) = opened else { panic!("{opened:?}") };
        let Rejection::Schema { typeid, .. } = &rejection else { panic!("{rejection}") };
        assert_eq!(typeid.as_str(), Inventory::TYPEID);
        client.open::<Shop>("shop", &[]).await.unwrap();
    });
}

#[test]
fn broker_that_was_not_told_of_the_type_says_which_it_has() {
    run(async {
        let broker = Broker::builder().pipes_only().in_memory().start().await.unwrap();
        let refused = connect(&broker).await.open::<Shop>("shop", &[]).await.unwrap_err();
        assert!(refused.to_string().contains("inventory/1"), "{refused}");
    });
}

#[test]
fn nothing_is_sold_twice_by_handlers_of_jobs() {
    const PEARS: u32 = 20;
    async fn buy(_: (), ctx: Ctx) -> Result<Option<u32>, JobError> {
        let failed = |error: Error| JobError::dead("shop", &error.to_string());
        let shop: Shop = ctx.open("shop", &[]).await.map_err(failed)?;
        Ok(shop.take(pears()).await.map_err(failed)?.ok())
    }
    run(async {
        let broker = serving().in_memory().start().await.unwrap();
        let client = connect(&broker).await;
        let shop: Shop = client.open("shop", &[]).await.unwrap();
        shop.put(pears(), PEARS).await.unwrap();
        let mut workers = Vec::new();
        for _ in 0..2 {
            let worker = Worker::new(connect(&broker).await).queue("buyers").concurrency(4);
            workers.push(ganger_worker::spawn(worker.handle("buy", buy).run()));
        }
        let queue = client.queue("buyers").unwrap();
        let mut jobs = Vec::new();
        for _ in 0..PEARS + 5 {
            jobs.push(queue.submit_json(&()).handler("buy").notify().await.unwrap());
        }
        let mut left = Vec::new();
        for job in jobs {
            left.extend(job.result_json::<Option<u32>>().await.unwrap());
        }
        left.sort_unstable();
        assert_eq!(left, (0..PEARS).collect::<Vec<_>>());
        for worker in workers {
            worker.cancel().await;
        }
    });
}

#[test]
fn object_is_as_it_was_after_its_broker_was_started_anew() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let start = || async {
            let data = Some(folder.path().join("data"));
            let mut config = Config { data, ..Config::default() };
            config.journal.any_filesystem = true;
            let builder = Broker::builder().config(config).object::<Inventory>();
            builder.pipes_only().start().await.unwrap()
        };
        let broker = start().await;
        let client: Client = connect(&broker).await;
        let shop: Shop = client.open("shop", &[]).await.unwrap();
        shop.put(pears(), 2).await.unwrap();
        assert!(shop.take("kiwi".to_owned()).await.unwrap().is_err());
        assert_eq!(shop.take(pears()).await.unwrap(), Ok(1));
        client.close().await;
        broker.stop().await.unwrap();

        let broker = start().await;
        let shop: Shop = connect(&broker).await.open("shop", &[]).await.unwrap();
        assert_eq!(shop.find(pears()).await.unwrap(), Some(1));
        assert_eq!(shop.find("kiwi".to_owned()).await.unwrap(), None);
        broker.stop().await.unwrap();
    });
}

#[test]
fn method_that_panics_poisons_its_object_and_no_other() {
    #[derive(Default, Serialize, Deserialize)]
    struct Fuse;

    #[object(typeid = "fuse/1")]
    impl Fuse {
        pub fn blow(&mut self, why: String) {
            panic!("{why}")
        }

        pub fn is_whole(&self) -> bool {
            true
        }
    }

    run(async {
        let builder = Broker::builder().object::<Fuse>();
        let broker = builder.pipes_only().in_memory().start().await.unwrap();
        let client = connect(&broker).await;
        let one: FuseProxy<_> = client.open("one", &[]).await.unwrap();
        let two: FuseProxy<_> = client.open("two", &[]).await.unwrap();
        let poisoned = CallError::Poisoned("too much".to_owned());
        for blown in [one.blow("too much".to_owned()).await, one.is_whole().await.map(drop)] {
            let Err(Error::Call(error)) = blown else { panic!("{blown:?}") };
            assert_eq!(error, poisoned);
        }
        assert!(two.is_whole().await.unwrap());
    });
}
