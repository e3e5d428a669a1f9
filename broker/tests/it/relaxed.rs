//! What is relaxed: answered once it is written, by whoever is quickest at it, and durable soon after.

use std::io;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use ganger_broker::config::Config;
use ganger_broker::storage::{MemoryStorage, Storage, Until};
use ganger_broker::{Broker, BrokerError};
use ganger_shared::{Durability, Request, Response};

use crate::client::Client;
use crate::run;
use crate::storages::{Hooked, telling};

async fn start(storage: impl Storage) -> Broker {
    let config = Config { durability: Durability::Relaxed, ..Config::default() };
    Broker::builder().config(config).pipes_only().storage(storage).start().await.unwrap()
}

/// One that is quick, and asks before it appends.
fn quick(appends: impl FnMut((usize, Until)) -> io::Result<()> + Send + 'static) -> Hooked {
    Hooked::new(MemoryStorage::default()).appends(appends).at_once()
}

#[test]
fn relaxed_is_answered_when_written_and_made_durable_soon_after() {
    run(async {
        let (storage, tells) = telling();
        let broker = start(storage).await;
        let mut client = Client::open(&broker).await;
        client.submit("mail", &[b"1"]).await.unwrap();
        assert_eq!(tells.recv().unwrap(), (1, Until::Written));
        let written = Instant::now();
        assert_eq!(tells.recv().unwrap(), (0, Until::Durable));
        assert!(written.elapsed() < Duration::from_secs(5), "it was volatile for long");
        broker.stop().await.unwrap();
    });
}

#[test]
fn small_record_is_written_by_the_thread_that_made_it_and_synced_by_the_journals() {
    run(async {
        let (told, tells) = mpsc::channel();
        let storage = quick(move |(_, until)| {
            let _ = told.send((until, thread::current().name() == Some("journal")));
            Ok(())
        });
        let broker = start(storage).await;
        let mut client = Client::open(&broker).await;
        for job in [b"1", b"2"] {
            client.submit("mail", &[job]).await.unwrap();
            assert_eq!(tells.recv().unwrap(), (Until::Written, false));
        }
        assert_eq!(tells.recv().unwrap(), (Until::Durable, true));
        client.submit("mail", &[&[7; 20_000]]).await.unwrap();
        assert_eq!(tells.recv().unwrap(), (Until::Written, true), "a large one is for the thread");
        broker.stop().await.unwrap();
    });
}

#[test]
fn busy_disk_makes_nobody_wait_who_needs_no_disk() {
    run(async {
        let (syncs, syncing) = async_channel::bounded(1);
        let (permit, permitted) = mpsc::channel::<()>();
        let storage = quick(move |(_, until)| {
            if until == Until::Durable {
                let _ = syncs.try_send(());
                // Whoever waits for this, and should not, is let go in the end.
                let _ = permitted.recv_timeout(Duration::from_secs(10));
            }
            Ok(())
        });
        let broker = start(storage).await;
        let mut client = Client::open(&broker).await;
        client.submit("mail", &[b"1"]).await.unwrap();
        syncing.recv().await.unwrap();

        let (request, submit) = client.submission("mail", &[b"2"]);
        client.say(&submit).await;
        client.say(&Request::Heartbeat).await;
        assert_eq!(client.hear().await, Response::Heartbeat, "written before what came first");
        drop(permit);
        let answer = client.hear().await;
        assert!(matches!(answer, Response::Accepted { request: of, .. } if of == request));
        broker.stop().await.unwrap();
    });
}

#[test]
fn write_that_fails_answers_nobody_and_ends_the_broker() {
    run(async {
        let storage = quick(|(records, _)| match records {
            0 => Ok(()),
            _ => Err(io::Error::from(io::ErrorKind::StorageFull)),
        });
        let broker = start(storage).await;
        let mut client = Client::open(&broker).await;
        let (_, submit) = client.submission("mail", &[b"1"]);
        client.say(&submit).await;
        assert!(matches!(broker.failed().await, BrokerError::Storage(_)));
        assert_eq!(client.raw.hear::<Response>().await, None);
        broker.stop().await.unwrap();
    });
}
