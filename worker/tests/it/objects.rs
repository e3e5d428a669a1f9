//! Shared objects, through their proxies.

use std::time::Duration;

use ganger_shared::admin::{AdminAnswer, AdminVerb};
use ganger_shared::{CallError, ObjectId, Value};
use ganger_worker::{Client, Ctx, Done, Error, Guard, JobError, Objects, Worker};

use crate::support::{at_once, connect, with_broker};

/// Longer than a test that goes on, shorter than one that hangs.
const LONG: Duration = Duration::from_secs(50);

fn failed<T>(result: Result<T, Error>) -> CallError {
    match result {
        Err(Error::Call(error)) => error,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("the call succeeded"),
    }
}

#[test]
fn proxies_take_and_give_the_programs_own_types() {
    with_broker(|_broker, client| async move {
        let board = client.dict::<String, (u32, Option<f64>)>("board").unwrap();
        board.set(&"ann".to_owned(), &(7, None)).await.unwrap();
        board.set_many(&[("ben".to_owned(), (1, Some(0.5)))]).await.unwrap();
        let both = [("ann".to_owned(), (7, None)), ("ben".to_owned(), (1, Some(0.5)))];
        assert_eq!(board.items(None, 10).await.unwrap(), both);
        assert_eq!(board.get(&"eve".to_owned()).await.unwrap(), None);
        let entry = board.entry(&"ann".to_owned()).await.unwrap().unwrap();
        let other = (8, None);
        board.compare_and_set(&"ann".to_owned(), entry.revision, &other).await.unwrap();
        let late = board.compare_and_set(&"ann".to_owned(), entry.revision, &other).await;
        assert!(matches!(failed(late), CallError::Revision { .. }));

        let list = client.typed_list::<i64>("numbers").unwrap();
        assert_eq!(list.extend(&[3, 1, 2]).await.unwrap(), 3);
        list.sort().await.unwrap();
        assert_eq!(list.slice(0, None).await.unwrap(), [1, 2, 3]);
        assert_eq!(list.pop(-1).await.unwrap(), 3);
        assert!(matches!(failed(list.get(9).await), CallError::Index { index: 9, length: 2 }));

        let (seen, hits) = (client.set::<String>("seen").unwrap(), client.counter("hits").unwrap());
        assert!(seen.add(&"a".to_owned()).await.unwrap());
        assert!(!seen.add(&"a".to_owned()).await.unwrap());
        assert_eq!((hits.add(2).await.unwrap(), hits.get().await.unwrap()), (2, 2));

        let (value, space) =
            (client.value::<Vec<u8>>("v").unwrap(), client.namespace("space").unwrap());
        value.set(&vec![1, 2]).await.unwrap();
        assert_eq!(value.entry().await.unwrap(), (vec![1, 2], 1));
        space.set("rate", &0.25).await.unwrap();
        assert_eq!(space.get::<f64>("rate").await.unwrap(), 0.25);
        let array = client.array::<i16>("samples", "i16", 3).await.unwrap();
        array.set(-1, &-5).await.unwrap();
        assert_eq!(array.slice(0, None).await.unwrap(), [0, 0, -5]);
    });
}

#[test]
fn value_refers_to_an_object_without_a_name() {
    with_broker(|_broker, client| async move {
        let inner = client.make_unnamed("dict/1", &[], None).await.unwrap();
        let id = inner.id().unwrap();
        client
            .dict::<String, ObjectId>("outer")
            .unwrap()
            .set(&"inner".to_owned(), &id)
            .await
            .unwrap();
        client.dict::<String, u64>(inner.name()).unwrap().set(&"a".to_owned(), &1).await.unwrap();

        let outer = client.dict::<String, ObjectId>("outer").unwrap();
        let found = outer.get(&"inner".to_owned()).await.unwrap().unwrap();
        let inner = client.dict::<String, u64>(&found.name()).unwrap();
        assert_eq!(inner.get(&"a".to_owned()).await.unwrap(), Some(1));
        assert_eq!(client.object("outer").unwrap().id(), None);
    });
}

#[test]
fn method_that_a_program_learns_when_it_runs_is_called_by_name() {
    with_broker(|_broker, client| async move {
        let hits = client.object_of("hits", "counter/1").unwrap();
        assert!(hits.make(&[5.into()], None).await.unwrap());
        assert!(!hits.make(&[9.into()], None).await.unwrap());
        let hits = client.object("hits").unwrap();
        assert_eq!(hits.invoke("add", &[2.into()], Duration::ZERO).await.unwrap(), Value::from(7));
        assert_eq!(hits.invoke("get", &[], Duration::ZERO).await.unwrap(), Value::from(7));
        let unknown = hits.invoke("sub", &[], Duration::ZERO).await.unwrap_err();
        assert_eq!(
            unknown.to_string(),
            "counter/1 has no method \"sub\" for clients; it has get, add, set"
        );
    });
}

#[test]
fn lock_is_handed_on_with_a_larger_token_when_its_guard_is_dropped() {
    with_broker(|broker, client| async move {
        let other = connect(&broker).await;
        let first = client.lock("l").unwrap().acquire().await.unwrap();
        assert!(other.lock("l").unwrap().try_acquire().await.unwrap().is_none());
        let token = first.token();
        let waits = ganger_worker::spawn(async move {
            let guard: Guard = other.lock("l").unwrap().acquire().await.unwrap();
            let token = guard.token();
            guard.release().await.unwrap();
            token
        });
        drop(first);
        assert!(waits.await > token);
    });
}

#[test]
fn lock_of_a_client_that_ends_is_free() {
    with_broker(|broker, client| async move {
        let guard = client.lock("l").unwrap().acquire().await.unwrap();
        let other = connect(&broker).await;
        let waiting = other.lock("l").unwrap();
        client.clone().close().await;
        assert!(waiting.acquire_within(LONG).await.unwrap().is_some());
        drop(guard);
    });
}

async fn is_waited_for(client: &Client, object: &str) -> bool {
    let object = object.parse().unwrap();
    match client.admin(AdminVerb::ObjectShow { object }).await.unwrap() {
        AdminAnswer::Object(details) => details.info.waiting > 0,
        other => panic!("{other:?}"),
    }
}

#[test]
fn holders_that_wait_for_each_other_are_found() {
    with_broker(|_broker, client| async move {
        let (one, two) = (client.holder(), client.holder());
        let a = one.lock("a").unwrap().acquire().await.unwrap();
        let b = two.lock("b").unwrap().acquire().await.unwrap();
        let waits = {
            let one = one.clone();
            ganger_worker::spawn(async move { one.lock("b").unwrap().acquire_within(LONG).await })
        };
        while !is_waited_for(&client, "b").await {}
        let error = failed(two.lock("a").unwrap().acquire_within(LONG).await);
        assert!(matches!(error, CallError::Deadlock(_)), "{error}");
        b.release().await.unwrap();
        assert!(waits.await.unwrap().is_some());
        a.release().await.unwrap();
    });
}

#[test]
fn barrier_event_and_condition_bring_callers_together() {
    with_broker(|broker, client| async move {
        let other = connect(&broker).await;
        let there = ganger_worker::spawn(async move {
            let barrier = other.barrier("start", 2).await.unwrap();
            let place = barrier.wait(LONG).await.unwrap();
            other.event("done").unwrap().set().await.unwrap();
            let condition = other.condition("turn").unwrap();
            loop {
                let guard = condition.acquire().await.unwrap();
                let told = guard.notify(1).await.unwrap();
                guard.release().await.unwrap();
                if told == 1 {
                    return place;
                }
            }
        });
        let barrier = client.barrier("start", 2).await.unwrap();
        let place = barrier.wait(LONG).await.unwrap();
        assert!(client.event("done").unwrap().wait(LONG).await.unwrap());
        let guard = client.condition("turn").unwrap().acquire().await.unwrap();
        assert!(guard.wait(LONG).await.unwrap());
        guard.release().await.unwrap();
        assert_eq!(place + there.await, 1);
    });
}

async fn slow(_: (), ctx: Ctx) -> Result<u64, JobError> {
    let slots = ctx.semaphore("slots", 1).await;
    let slots = slots.map_err(|error| JobError::retry("slots", &error.to_string()))?;
    let guard = slots.acquire().await;
    let guard = guard.map_err(|error| JobError::retry("slots", &error.to_string()))?;
    let token = guard.token();
    // What is not released is released with the lease.
    std::mem::forget(guard);
    Ok(token)
}

#[test]
fn what_a_job_acquires_is_free_when_its_lease_ends() {
    with_broker(|broker, client| async move {
        let other = connect(&broker).await;
        let worker = Worker::new(other).queue("q").concurrency(3).handle("slow", slow);
        let working = ganger_worker::spawn(worker.run());
        let queue = client.queue("q").unwrap();
        let mut tokens = Vec::new();
        for _ in 0..3 {
            let job = queue.submit_json(&()).handler("slow").notify().await.unwrap();
            tokens.push(job.result_json::<u64>().await.unwrap());
        }
        assert!(tokens.is_sorted() && tokens[0] < tokens[2], "{tokens:?}");
        working.cancel().await;
    });
}

#[test]
fn items_come_out_in_their_order_and_an_empty_or_full_queue_says_so() {
    with_broker(|_broker, client| async move {
        let queue = client.bounded_queue::<(u32, String)>("q", 2).await.unwrap();
        let item = |number: u32| (number, "item".to_owned());
        queue.put(&item(1)).await.unwrap();
        queue.try_put(&item(2)).await.unwrap();
        let full = CallError::Full { used: 2, limit: 2, unit: "items".to_owned() };
        assert_eq!(failed(queue.try_put(&item(3)).await), full);
        assert_eq!(failed(queue.put_within(&item(3), Duration::from_millis(5)).await), full);
        assert_eq!((queue.len().await.unwrap(), queue.maxsize().await.unwrap()), (2, 2));
        assert!(queue.is_full().await.unwrap() && !queue.is_empty().await.unwrap());
        assert_eq!(queue.get().await.unwrap(), item(1));
        assert_eq!(queue.try_get().await.unwrap(), item(2));
        assert_eq!(failed(queue.try_get().await), CallError::Empty);
        assert_eq!(failed(queue.get_within(Duration::from_millis(5)).await), CallError::Empty);
        queue.try_put_all(&[item(4), item(5)]).await.unwrap();
        assert_eq!(queue.get().await.unwrap(), item(4));
        queue.shutdown().await.unwrap();
        assert_eq!(failed(queue.put(&item(6)).await), CallError::ShutDown);
        assert_eq!(queue.get().await.unwrap(), item(5));
        assert_eq!(failed(queue.get().await), CallError::ShutDown);
        assert!(queue.is_shut_down().await.unwrap());
    });
}

#[test]
fn getter_that_waits_has_the_item_that_is_put_and_join_waits_until_it_is_done() {
    with_broker(|broker, client| async move {
        let other = connect(&broker).await;
        let gets = ganger_worker::spawn(async move {
            let queue = other.typed_queue::<String>("q").unwrap();
            let item = queue.get().await.unwrap();
            queue.task_done().await.unwrap();
            item
        });
        let queue = client.typed_queue::<String>("q").unwrap();
        queue.put(&"hello".to_owned()).await.unwrap();
        assert!(queue.join_within(LONG).await.unwrap());
        assert_eq!(gets.await, "hello");
        let why = failed(queue.task_done().await).to_string();
        assert_eq!(why, "task_done was called more often than items were taken");
    });
}

async fn square(number: u64, ctx: Ctx) -> Result<Done<()>, JobError> {
    let done = ctx.finish(()).append("squares", &(number * number));
    Ok(if number == 2 { done.put("numbers", &7_u64) } else { done })
}

#[test]
fn workers_take_what_is_put_and_getters_what_is_submitted() {
    with_broker(|_broker, client| async move {
        let numbers = client.typed_queue::<u64>("numbers").unwrap();
        let worker = Worker::new(client.clone()).queue("numbers").handle_items(square);
        let working = ganger_worker::spawn(worker.run());
        numbers.try_put_all(&[2, 3]).await.unwrap();
        numbers.join().await.unwrap();
        let mut squares =
            client.typed_list::<u64>("squares").unwrap().slice(0, None).await.unwrap();
        squares.sort_unstable();
        assert_eq!(squares, [4, 9, 49]);
        working.cancel().await;

        let jobs = client.queue("jobs").unwrap();
        let job = jobs.submit_json(&("mail", 5)).notify().await.unwrap();
        let items = client.typed_queue::<(String, u32)>("jobs").unwrap();
        assert_eq!(items.get().await.unwrap(), ("mail".to_owned(), 5));
        assert_eq!(job.result().await.unwrap(), "");
    });
}

#[test]
fn each_of_many_calls_made_at_once_has_its_own_answer() {
    with_broker(|_broker, client| async move {
        let dict = client.dict::<u64, u64>("d").unwrap();
        // Of two that want the key to be absent the second fails.
        let calls = (0..400).map(|n| {
            let dict = &dict;
            async move { dict.compare_and_set(&(n / 2), 0, &n).await }
        });
        for (n, answer) in (0..).zip(at_once(calls).await) {
            match answer {
                Ok(_) => assert_eq!(n % 2, 0, "{n}"),
                Err(error) => assert!(n % 2 == 1 && error.to_string().contains("not at 0"), "{n}"),
            }
        }
        assert_eq!(dict.len().await.unwrap(), 200);
        assert_eq!(dict.get(&77).await.unwrap(), Some(154));
    });
}
