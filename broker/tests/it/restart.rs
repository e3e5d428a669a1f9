//! Promises: nothing is acknowledged before it is safe, and what was acknowledged outlives the
//! broker.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use ganger_broker::config::{Config, QueueConfig, Size};
use ganger_broker::storage::{
    DiskStorage, MemoryStorage, Record, Room, Seq, Storage, StorageError, Until,
};
use ganger_broker::{Broker, BrokerError, StartError};
use ganger_shared::admin::{AdminAnswer, AdminVerb};
use ganger_shared::request::WhenFull;
use ganger_shared::{Block, Durability, Outcome, Request, Response, Settlement};

use crate::client::{Client, Raw, name};
use crate::run;
use crate::storages::{Hooked, asking, slow, telling};

fn strict() -> Config {
    Config { durability: Durability::Strict, ..Config::default() }
}

async fn start(storage: impl Storage) -> Broker {
    let builder = Broker::builder().config(strict()).pipes_only().storage(storage);
    builder.start().await.unwrap()
}

#[test]
fn acknowledged_jobs_are_there_after_a_restart() {
    run(async {
        let storage = MemoryStorage::default();
        let broker = start(storage.clone()).await;
        let mut client = Client::open(&broker).await;
        client.submit("mail", &[b"1", b"2", b"3"]).await.unwrap();
        client.subscribe("mail", 1).await;
        let first = client.assigned().await;
        assert_eq!(client.ack(first.leases).await, Ok(vec![]));
        broker.stop().await.unwrap();

        let broker = start(storage).await;
        let mut worker = Client::open(&broker).await;
        worker.subscribe("mail", 10).await;
        // The second one was leased to the first client, which does not come back in its grace.
        let mut payloads = worker.assigned().await.payloads;
        payloads.extend(worker.assigned().await.payloads);
        payloads.sort();
        assert_eq!(payloads, [&b"2"[..], &b"3"[..]]);
    });
}

#[test]
fn jobs_of_a_queue_in_memory_are_gone_after_a_restart() {
    run(async {
        let storage = MemoryStorage::default();
        for _ in 0..2 {
            let broker = Broker::builder().pipes_only().storage(storage.clone());
            let broker = broker.in_memory().start().await.unwrap();
            let mut client = Client::open(&broker).await;
            client.subscribe("mail", 10).await;
            client.say(&Request::Heartbeat).await;
            assert_eq!(client.hear().await, Response::Heartbeat);
            let mut other = Client::open(&broker).await;
            other.submit("mail", &[b"1"]).await.unwrap();
            broker.stop().await.unwrap();
        }
    });
}

#[test]
fn journal_forgets_what_is_over_and_a_restart_finds_the_rest() {
    run(async {
        let storage = MemoryStorage::default();
        let mut config = strict();
        config.journal.compact_after = Size(32 << 10);
        let builder = Broker::builder().config(config).pipes_only().storage(storage.clone());
        let broker = builder.start().await.unwrap();
        let mut client = Client::open(&broker).await;
        client.submit("kept", &[b"1", b"2", b"3"]).await.unwrap();
        let mut worker = Client::open(&broker).await;
        worker.subscribe("mail", 1).await;
        let payload = [b'x'; 1_000];
        for _ in 0..500 {
            client.submit("mail", &[&payload]).await.unwrap();
            let assigned = worker.assigned().await;
            assert_eq!(worker.ack(assigned.leases).await, Ok(vec![]));
        }
        broker.stop().await.unwrap();

        let mut bytes = 0;
        let mut count = |record: Record<'_>| {
            bytes += record.body.len();
            Ok(())
        };
        storage.clone().replay(&mut count).unwrap();
        assert!(bytes < 200 << 10, "{bytes} bytes are left of more than 500,000");

        let broker = start(storage).await;
        let mut worker = Client::open(&broker).await;
        worker.subscribe("kept", 10).await;
        assert_eq!(worker.assigned().await.payloads, ["1", "2", "3"]);
    });
}

/// Jobs by their number, until all were handed out.
async fn drain(broker: &Broker, jobs: usize) -> Vec<Vec<u8>> {
    let mut worker = Client::open(broker).await;
    worker.subscribe("mail", u32::MAX).await;
    let mut payloads = Vec::new();
    while payloads.len() < jobs {
        payloads.extend(worker.assigned().await.payloads.iter().map(|payload| payload.to_vec()));
    }
    payloads
}

#[test]
fn backlog_beyond_the_cache_comes_back_from_the_journal_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = strict();
    config.limits.payload_cache = Size(10_000);
    // It is stated anew again and again, with payloads that only the journal has.
    config.journal.compact_after = Size(64 << 10);
    let expected: Vec<Vec<u8>> = (0..3_000).map(|n| format!("job {n:>196}").into_bytes()).collect();
    let start = || {
        let builder = Broker::builder().config(config.clone()).pipes_only();
        builder.storage(DiskStorage::new(folder.path())).start()
    };
    run(async {
        let broker = start().await.unwrap();
        let mut client = Client::open(&broker).await;
        let (single, batched) = expected.split_at(1_000);
        for payload in single {
            client.submit("mail", &[payload]).await.unwrap();
        }
        for payloads in batched.chunks(500) {
            let payloads: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
            client.submit("mail", &payloads).await.unwrap();
        }
        assert!(drain(&broker, 3_000).await == expected, "other payloads, or in another order");
        broker.stop().await.unwrap();
        let broker = start().await.unwrap();
        let mut again = drain(&broker, 3_000).await;
        again.sort();
        assert!(again == expected, "other payloads after a restart");
        broker.stop().await.unwrap();
    });
}

#[test]
fn submit_is_acknowledged_only_when_it_is_safe_and_is_assigned_before() {
    run(async {
        let (storage, permit) = asking();
        let broker = start(storage).await;
        let mut submitter = Client::open(&broker).await;
        let mut worker = Client::open(&broker).await;
        worker.subscribe("mail", 1).await;
        let (request, submit) = submitter.submission("mail", &[b"1"]);
        submitter.say(&submit).await;

        // The job is handed out although nothing is on the disk.
        assert_eq!(worker.assigned().await.payloads, [&b"1"[..]]);
        // What promises nothing is answered too, and overtakes the answer that must wait.
        submitter.say(&Request::Heartbeat).await;
        assert_eq!(submitter.hear().await, Response::Heartbeat);
        drop(permit);
        assert!(matches!(
            submitter.hear().await,
            Response::Accepted { request: answered, durability: Durability::Strict, .. }
                if answered == request
        ));
    });
}

#[test]
fn flush_that_takes_long_does_not_hold_up_the_next_one_which_counts_after_it() {
    run(async {
        let (begun, has_begun) = async_channel::unbounded();
        let (permit, permitted) = mpsc::channel::<()>();
        let permitted = Mutex::new(Some(permitted));
        // The first one has to be permitted. Whoever permits it hangs up.
        let storage = Hooked::new(MemoryStorage::default()).flushes(move |_| {
            let first = permitted.lock().unwrap().take();
            begun.send_blocking(()).unwrap();
            if let Some(permitted) = first {
                let _ = permitted.recv();
            }
        });
        let broker = start(storage).await;
        let mut client = Client::open(&broker).await;
        let (first, submit) = client.submission("mail", &[b"1"]);
        client.say(&submit).await;
        has_begun.recv().await.unwrap();
        let (second, submit) = client.submission("mail", &[b"2"]);
        client.say(&submit).await;
        has_begun.recv().await.unwrap();
        client.say(&Request::Heartbeat).await;
        assert_eq!(client.hear().await, Response::Heartbeat, "an answer came before the disk's");
        drop(permit);
        for request in [first, second] {
            let answer = client.hear().await;
            assert!(matches!(answer, Response::Accepted { request: of, .. } if of == request));
        }
        broker.stop().await.unwrap();
    });
}

#[test]
fn strict_answer_that_rests_on_what_is_only_written_waits_until_that_is_durable() {
    run(async {
        let (permit, permitted) = mpsc::channel::<()>();
        // Each sync has to be permitted. Whoever permits it hangs up.
        let storage = Hooked::new(MemoryStorage::default()).appends(move |(_, until)| {
            if until == Until::Durable {
                let _ = permitted.recv();
            }
            Ok(())
        });
        let config = Config { durability: Durability::Relaxed, ..Config::default() };
        let broker = Broker::builder().config(config).pipes_only().storage(storage);
        let broker = broker.start().await.unwrap();
        let mut client = Client::open(&broker).await;
        client.submit("mail", &[b"1"]).await.unwrap();
        client.subscribe("mail", 1).await;
        let leases = client.assigned().await.leases;
        assert_eq!(client.ack(leases).await, Ok(vec![]), "a relaxed answer needs no sync");

        // Of a lease that was settled before it is not known how safe that must be.
        let request = client.request();
        let outcome = Outcome::Ack { outputs: Block::empties(1) };
        let settlements = vec![Settlement { leases, outcome }];
        client.say(&Request::Settle { request, settlements }).await;
        client.say(&Request::Heartbeat).await;
        assert_eq!(client.hear().await, Response::Heartbeat, "an answer came before the disk's");
        drop(permit);
        assert_eq!(client.hear().await, Response::Settled { request, lost: vec![] });
        broker.stop().await.unwrap();
    });
}

#[test]
fn idle_journal_is_put_in_order_once() {
    run(async {
        let (storage, tells) = telling();
        let broker = start(storage).await;
        let mut client = Client::open(&broker).await;
        client.submit("mail", &[b"1"]).await.unwrap();
        assert_eq!(tells.recv().unwrap(), (1, Until::Durable));
        assert_eq!(tells.recv().unwrap(), (0, Until::Durable));
        let again = tells.recv_timeout(Duration::from_millis(200));
        assert_eq!(again, Err(mpsc::RecvTimeoutError::Timeout), "an idle journal was written");
        broker.stop().await.unwrap();
    });
}

#[test]
fn strict_is_made_durable_at_once() {
    run(async {
        let (storage, tells) = telling();
        let broker = start(storage).await;
        let mut client = Client::open(&broker).await;
        client.submit("mail", &[b"1"]).await.unwrap();
        assert_eq!(tells.recv().unwrap(), (1, Until::Durable));
        broker.stop().await.unwrap();
    });
}

#[test]
fn repeated_submit_waits_for_the_disk_like_the_first() {
    run(async {
        let (storage, permit) = asking();
        let broker = start(storage).await;
        let mut client = Client::open(&broker).await;
        let (request, submit) = client.submission("mail", &[b"1"]);
        client.say(&submit).await;
        client.say(&submit).await;
        client.say(&Request::Heartbeat).await;
        assert_eq!(client.hear().await, Response::Heartbeat, "an answer came before the disk's");
        drop(permit);
        for _ in 0..2 {
            let answer = client.hear().await;
            let Response::Accepted { request: answered, .. } = answer else { panic!("{answer:?}") };
            assert_eq!(answered, request);
        }
    });
}

#[test]
fn many_submits_share_few_appends_and_are_all_answered() {
    run(async {
        let broker = start(MemoryStorage::default()).await;
        let mut client = Client::open(&broker).await;
        let mut all = Vec::new();
        for _ in 0..5_000 {
            ganger_shared::codec::encode(&client.submission("mail", &[b"x"]).1, &mut all);
        }
        let stream = client.raw.stream.clone();
        let said = ganger_rt::spawn(async move { stream.write_all(&all).await });
        for _ in 0..5_000 {
            assert!(matches!(client.hear().await, Response::Accepted { .. }));
        }
        said.await.unwrap();
    });
}

#[test]
fn broker_that_cannot_write_its_journal_answers_nothing_more_and_ends() {
    run(async {
        let (storage, permit) = asking();
        let broker = start(storage).await;
        let mut client = Client::open(&broker).await;
        let mut other = Client::open(&broker).await;
        permit.send(Err(io::Error::from(io::ErrorKind::StorageFull))).unwrap();
        let (_, submit) = client.submission("mail", &[b"1"]);
        client.say(&submit).await;
        let error = broker.failed().await;
        let BrokerError::Storage(StorageError::Io { doing, .. }) = &error else {
            panic!("{error:?}")
        };
        assert_eq!(doing, "write the journal");
        assert_eq!(client.raw.hear::<Response>().await, None);
        assert_eq!(other.raw.hear::<Response>().await, None);
        // Nobody else gets in.
        let mut late = Raw::pipe(&broker);
        assert!(late.handshake(broker.key()).await.is_err());
        broker.stop().await.unwrap();
    });
}

#[test]
fn storage_that_fails_when_it_is_asked_for_room_ends_the_broker_although_nothing_is_appended() {
    run(async {
        let failed = Arc::new(Mutex::new(false));
        let fails = Arc::clone(&failed);
        let storage = Hooked::new(MemoryStorage::default())
            .with_room(move || {
                *fails.lock().unwrap() = true;
                Room::NONE
            })
            .appends(move |_| match *failed.lock().unwrap() {
                false => Ok(()),
                true => Err(io::Error::from(io::ErrorKind::NotFound)),
            });
        let broker = start(storage).await;
        assert!(matches!(broker.failed().await, BrokerError::Storage(_)));
        broker.stop().await.unwrap();
    });
}

#[test]
fn broker_whose_storage_was_taken_over_ends() {
    run(async {
        let storage = MemoryStorage::default();
        let old = start(storage.clone()).await;
        let mut client = Client::open(&old).await;
        client.submit("mail", &[b"1"]).await.unwrap();
        let new = start(storage).await;
        let (_, submit) = client.submission("mail", &[b"2"]);
        client.say(&submit).await;
        let failed = old.failed().await;
        assert!(matches!(failed, BrokerError::Storage(StorageError::Fenced)), "{failed:?}");
        assert_eq!(client.raw.hear::<Response>().await, None);
        Client::open(&new).await.is_served().await;
    });
}

#[test]
fn damaged_record_stops_the_start_and_is_named() {
    run(async {
        let mut storage = MemoryStorage::default();
        storage.replay(&mut |_| Ok(())).unwrap();
        let record = Record { seq: Seq(1), body: &[200, 1, 2, 3] };
        storage.append(&[record], Until::Durable).unwrap();
        let started = Broker::builder().pipes_only().storage(storage).start().await;
        let Err(StartError::Storage(StorageError::Damaged { place, .. })) = started else {
            panic!("{started:?}")
        };
        assert_eq!(place, "record 1");
    });
}

#[test]
fn whoever_connects_before_all_is_read_back_is_refused() {
    run(async {
        let (storage, has_begun, permit) = slow();
        // A port that was free a moment ago.
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let builder = Broker::builder().config(strict()).listen(free.to_string());
        let starting = ganger_rt::spawn(builder.storage(storage).start());
        has_begun.recv().await.unwrap();
        let refused = TcpStream::connect(free).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        permit.send(()).unwrap();
        let broker = starting.await.unwrap();
        Client::tcp(&broker.addr().to_string(), broker.key()).await.is_served().await;
    });
}

#[test]
fn port_that_is_taken_is_found_before_the_storage_is_touched() {
    run(async {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let (storage, has_begun, _permit) = slow();
        let builder = Broker::builder().listen(taken.local_addr().unwrap().to_string());
        let started = builder.storage(storage).start().await;
        assert!(matches!(started, Err(StartError::Listen { .. })), "{started:?}");
        assert!(has_begun.try_recv().is_err());
    });
}

#[test]
fn start_says_what_it_has_read_back() {
    run(async {
        let storage = MemoryStorage::default();
        let broker = start(storage.clone()).await;
        assert_eq!(broker.replayed().unwrap().records, 0);
        Client::open(&broker).await.submit("mail", &[b"1"]).await.unwrap();
        broker.stop().await.unwrap();
        let replayed = start(storage).await.replayed().unwrap();
        assert!(replayed.records > 0 && replayed.bytes > replayed.records);
    });
}

/// Takes one job and acks it.
async fn work(worker: &mut Client) {
    let leases = worker.assigned().await.leases;
    worker.ack(leases).await.unwrap();
}

#[test]
fn submit_that_room_lets_in_is_not_stated_anew_and_journaled_as_well() {
    run(async {
        let storage = MemoryStorage::default();
        let some = Room { bytes: 1 << 20, restatement: u64::MAX };
        let room = Arc::new(Mutex::new(some));
        let mut config = strict();
        // With much room this log is stated anew at once; with little, only when it is far longer.
        config.journal.compact_after = Size(32 << 10);
        let later = QueueConfig { jobs_max: Some(1), ..QueueConfig::default() };
        config.queue = [(name("later"), later)].into();
        let told = Arc::clone(&room);
        let roomy = Hooked::new(storage.clone()).with_room(move || *told.lock().unwrap());
        let builder = Broker::builder().config(config).pipes_only().storage(roomy);
        let broker = builder.start().await.unwrap();
        let mut client = Client::open(&broker).await;
        let mut worker = Client::open(&broker).await;
        worker.subscribe("mail", 1).await;
        for _ in 0..60 {
            client.submit("mail", &[&[b'x'; 1_000]]).await.unwrap();
            work(&mut worker).await;
        }
        // One more fits into the queue, and the one after it waits.
        client.submit("later", &[b"1"]).await.unwrap();
        client.submit("mail", &[b"last"]).await.unwrap();
        let (_, mut submit) = client.submission("later", &[b"2"]);
        if let Request::Submit { when_full, .. } = &mut submit {
            *when_full = WhenFull::Wait;
        }
        client.say(&submit).await;
        client.say(&Request::Heartbeat).await;
        assert_eq!(client.hear().await, Response::Heartbeat);
        // Now the queue has room and the storage has none.
        *room.lock().unwrap() = Room { bytes: 0, ..some };
        work(&mut worker).await;
        worker.subscribe("later", 1).await;
        work(&mut worker).await;
        client.say(&Request::Heartbeat).await;
        assert_eq!(client.hear().await, Response::Heartbeat);
        *room.lock().unwrap() = Room::UNLIMITED;
        assert!(matches!(client.hear().await, Response::Accepted { .. }));
        broker.stop().await.unwrap();

        let broker = start(storage).await;
        let show = AdminVerb::QueueShow { queue: name("later") };
        let answer = Client::open(&broker).await.admin(show).await;
        let Ok(AdminAnswer::Queue(info)) = answer else { panic!("{answer:?}") };
        assert_eq!((info.ready + info.leased, info.submitted), (1, 2));
    });
}

#[test]
fn promise_without_a_storage_is_refused_at_the_start() {
    run(async {
        for durability in [Durability::Relaxed, Durability::Strict] {
            let config = Config { durability, ..Config::default() };
            let started = Broker::builder().config(config).pipes_only().start().await;
            let error = started.unwrap_err().to_string();
            let told =
                format!("durability {durability} is not available: this broker has no journal");
            assert_eq!(error, told);
        }
    });
}
