//! Coming, going, and coming back.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use ganger_broker::Broker;
use ganger_rt::Stream;
use ganger_shared::admin::AdminVerb;
use ganger_shared::key::Key;
use ganger_shared::{Packed, What};
use ganger_worker::Objects;
use ganger_worker::{Client, Error};

use crate::support::{at_once, connect, options, run, start, with_broker};

#[test]
fn wrong_key_is_told_at_once() {
    run(async {
        let broker = start().await;
        let stream = broker.connect_pipe();
        let error = Client::over(stream, Key::generate().unwrap()).await.unwrap_err();
        assert!(matches!(error, Error::NotAuthorised { .. }), "{error}");
        assert_eq!(error.exit_code(), 4);
    });
}

#[test]
fn broker_that_is_not_there_is_told_with_its_address() {
    run(async {
        let key = Key::generate().unwrap();
        let mut options = ganger_worker::Options::new("127.0.0.1:1", key);
        options.connect_timeout = std::time::Duration::ZERO;
        let error = Client::connect(options).await.unwrap_err();
        assert_eq!(error.exit_code(), 5);
        assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
    });
}

/// The client's way to a broker that can be cut, and led to another broker.
#[derive(Clone)]
struct Way {
    broker: Arc<Mutex<Arc<Broker>>>,
    last: Arc<Mutex<Option<Stream>>>,
}

impl Way {
    fn new(broker: Arc<Broker>) -> Self {
        Self { broker: Arc::new(Mutex::new(broker)), last: Arc::default() }
    }

    async fn client(&self) -> Client {
        let way = self.clone();
        let broker = Arc::clone(&self.broker.lock().unwrap());
        let dial = move || {
            let stream = way.broker.lock().unwrap().connect_pipe();
            *way.last.lock().unwrap() = Some(stream.clone());
            std::future::ready(Ok(stream))
        };
        Client::connect_with(options(&broker), dial).await.unwrap()
    }

    /// Breaks the connection.
    fn cut(&self) {
        if let Some(stream) = self.last.lock().unwrap().take() {
            stream.close();
        }
    }
}

#[test]
fn session_is_resumed_with_its_leases_after_a_broken_connection() {
    run(async {
        let way = Way::new(Arc::new(start().await));
        let client = way.client().await;
        let queue = client.queue("q").unwrap();
        let subscription = queue.subscribe(2);
        let first = queue.submit("1").notify().await.unwrap();
        let held = subscription.pull().await.unwrap().unwrap();
        way.cut();
        // Asked while there is no connection, or on one that is broken: repeated on the next one.
        let second = queue.submit("2").notify().await.unwrap();
        held.ack("one").await.unwrap();
        assert_eq!(first.result().await.unwrap(), "one");
        let delivery = subscription.pull().await.unwrap().unwrap();
        assert_eq!((delivery.job(), delivery.attempt()), (second.id(), 1));
        delivery.ack("two").await.unwrap();
        assert_eq!(second.result().await.unwrap(), "two");
    });
}

/// Breaks the connection again and again, but never before something was done since the last time: tests
/// share the runtime, and this task may have many turns before a connection has one.
async fn break_often(way: Way, done: Arc<AtomicU64>) {
    let mut seen = 0;
    loop {
        for _ in 0..40 {
            ganger_rt::yield_now().await;
        }
        let now = done.load(Ordering::Relaxed);
        if now > seen {
            seen = now;
            way.cut();
        }
    }
}

#[test]
fn every_job_is_done_once_however_often_the_connection_breaks() {
    run(async {
        let way = Way::new(Arc::new(start().await));
        let client = way.client().await;
        let queue = client.queue("q").unwrap();
        let subscription = queue.subscribe(16);
        let jobs = 300;
        let done = Arc::new(AtomicU64::new(0));
        let submitting = {
            let (queue, done) = (queue.clone(), Arc::clone(&done));
            ganger_rt::spawn(async move {
                let mut handles = Vec::new();
                for n in 0..jobs {
                    handles.push(queue.submit(n.to_string()).notify().await.unwrap());
                    done.fetch_add(1, Ordering::Relaxed);
                }
                handles
            })
        };
        let breaking = ganger_rt::spawn(break_often(way.clone(), Arc::clone(&done)));
        let working = ganger_rt::spawn(async move {
            while let Some(delivery) = subscription.pull().await.unwrap() {
                done.fetch_add(1, Ordering::Relaxed);
                let output = delivery.payload().clone();
                drop(delivery.ack(output));
            }
        });
        let handles = submitting.await;
        for (n, handle) in handles.into_iter().enumerate() {
            assert_eq!(handle.result().await.unwrap(), n.to_string());
        }
        drop((breaking, working));
        let results = queue.results().unwrap();
        assert_eq!(results.len().await.unwrap(), jobs);
    });
}

#[test]
fn every_call_takes_effect_once_and_in_order_however_often_the_connection_breaks() {
    run(async {
        let way = Way::new(Arc::new(start().await));
        let client = way.client().await;
        let (list, sum) = (client.typed_list::<u64>("l").unwrap(), client.counter("n").unwrap());
        let done = Arc::new(AtomicU64::new(0));
        let breaking = ganger_rt::spawn(break_often(way.clone(), Arc::clone(&done)));
        let (rounds, together) = (60, 30_u64);
        let mut sums = Vec::new();
        for round in 0..rounds {
            let calls = (round * together..(round + 1) * together).map(|n| {
                let (list, sum, done) = (&list, &sum, &done);
                async move {
                    assert_eq!(list.append(&n).await.unwrap(), n + 1);
                    done.fetch_add(1, Ordering::Relaxed);
                    // Of another object, begun whenever that has been answered.
                    if n % 7 == 0 { Some(sum.add(1).await.unwrap()) } else { None }
                }
            });
            sums.extend(at_once(calls).await.into_iter().flatten());
        }
        sums.sort_unstable();
        assert_eq!(sums, (1..=sums.len() as i64).collect::<Vec<_>>());
        drop(breaking);
        let items = list.slice(0, None).await.unwrap();
        assert_eq!(items, (0..rounds * together).collect::<Vec<_>>());
    });
}

#[test]
fn broker_that_forgot_the_session_makes_its_leases_lost() {
    run(async {
        let old = Arc::new(start().await);
        let way = Way::new(Arc::clone(&old));
        let client = way.client().await;
        let queue = client.queue("q").unwrap();
        let subscription = queue.subscribe(1);
        let job = queue.submit("1").await.unwrap();
        let delivery = subscription.pull().await.unwrap().unwrap();
        let key = old.key().clone();
        let new = Broker::builder().pipes_only().key(key).in_memory().start().await.unwrap();
        *way.broker.lock().unwrap() = Arc::new(new);
        way.cut();
        // Any answer shows that the new broker has taken over.
        client.list("l").unwrap().append("x").await.unwrap();
        let lost = delivery.ack("late").await.unwrap_err();
        assert!(matches!(lost, Error::LeaseLost { .. }), "{lost}");
        assert!(matches!(job.result().await, Err(ganger_worker::JobFailed::Unknown { .. })));
        // The subscription goes on at the new broker.
        let again = queue.submit("2").await.unwrap();
        assert_eq!(subscription.pull().await.unwrap().unwrap().job(), again.id());
    });
}

#[test]
fn calls_end_with_a_session_that_cannot_come_back() {
    run(async {
        let broker = start().await;
        let client = connect(&broker).await;
        let subscription = client.queue("q").unwrap().subscribe(1);
        let waiting = ganger_rt::spawn(async move { subscription.pull().await.map(|_| ()) });
        ganger_rt::yield_now().await;
        broker.stop().await.unwrap();
        let error = waiting.await.unwrap_err();
        assert!(matches!(error, Error::Unreachable { .. } | Error::Closed { .. }), "{error}");
        assert!(client.submit("q", "p").await.is_err());
    });
}

#[test]
fn closed_client_gives_its_leases_back() {
    with_broker(|broker, client| async move {
        let other = connect(&broker).await;
        let queue = client.queue("q").unwrap();
        let job = queue.submit("p").await.unwrap().id();
        let subscription = queue.subscribe(1);
        let delivery = subscription.pull().await.unwrap().unwrap();
        client.close().await;
        let again = other.queue("q").unwrap().subscribe(1).pull().await.unwrap().unwrap();
        assert_eq!(again.job(), job);
        let lost = delivery.ack("").await.unwrap_err();
        // The broker ends the connection too, and the client may see that before its own end.
        assert!(matches!(lost, Error::Closed { .. } | Error::LeaseLost { .. }), "{lost}");
    });
}

#[test]
fn watch_goes_on_where_it_was_however_often_the_connection_breaks() {
    run(async {
        let broker = Arc::new(start().await);
        let way = Way::new(Arc::clone(&broker));
        let (client, other) = (way.client().await, connect(&broker).await);
        let counter = other.counter("n").unwrap();
        counter.add(1).await.unwrap();
        let mut watch = client.object("n").unwrap().watch(Some(0)).await.unwrap();
        for expected in 1..=1_000 {
            if expected % 100 == 0 {
                way.cut();
            }
            let change = watch.next().await.unwrap().unwrap();
            assert_eq!((change.revision, change.what), (expected, What::Number(expected as i64)));
            // Several at once, so that some wait here when the connection breaks.
            if expected % 10 == 1 {
                for _ in 0..10 {
                    counter.add(1).await.unwrap();
                }
            }
        }
        assert_eq!(watch.revision(), 1_000);
        other.admin(AdminVerb::ObjectRemove { object: "n".parse().unwrap() }).await.unwrap();
        way.cut();
        let error = loop {
            match watch.next().await {
                Ok(change) => assert!(change.unwrap().revision <= 1_011),
                Err(error) => break error,
            }
        };
        assert_eq!(error.to_string(), "there is no object n");
        let error = client.object("n").unwrap().watch(None).await.unwrap_err();
        assert_eq!(error.to_string(), "there is no object n");
    });
}

#[test]
fn copy_of_a_list_is_the_list_however_often_the_connection_breaks() {
    run(async {
        let broker = Arc::new(start().await);
        let way = Way::new(Arc::clone(&broker));
        let (client, other) = (way.client().await, connect(&broker).await);
        let (list, strings) = (other.typed_list::<i64>("l").unwrap(), other.list("l").unwrap());
        list.extend(&[3, 1, 2]).await.unwrap();
        let mut watch = client.object("l").unwrap().watch(None).await.unwrap();
        let (read, mut copy) =
            client.typed_list::<i64>("l").unwrap().snapshot(0, None).await.unwrap();
        assert_eq!((read, &copy[..]), (watch.revision(), &[3, 1, 2][..]));
        for round in 0..100 {
            if round % 10 == 0 {
                way.cut();
            }
            list.append(&round).await.unwrap();
            strings.append("7").await.unwrap();
            match round % 5 {
                // What is popped and may not be confirmed yet stands in the way of calls by position.
                _ if round >= 50 => drop(strings.pop(3, std::time::Duration::ZERO).await.unwrap()),
                0 => list.sort().await.unwrap(),
                1 => drop(list.pop(-2).await.unwrap()),
                2 => drop(list.trim(10).await.unwrap()),
                3 => list.insert(1, &round).await.unwrap(),
                _ => list.reverse().await.unwrap(),
            }
            let (revision, expected) = list.snapshot(0, None).await.unwrap();
            while watch.revision() < revision {
                let change = watch.next().await.unwrap().unwrap();
                let What::Spliced { at, removed, items } = change.what else {
                    panic!("{:?}", change.what)
                };
                let [at, removed] = [at, removed].map(|n| usize::try_from(n).unwrap());
                copy.splice(at..at + removed, items.iter().map(number));
            }
            assert_eq!(copy, expected, "round {round}");
        }
    });
}

fn number(item: &Packed) -> i64 {
    item.unpack().as_int().and_then(ganger_shared::value::Integer::as_i64).unwrap()
}
