//! Shared lists.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use ganger_worker::Page;

use crate::support::with_broker;

fn texts(page: &Page) -> Vec<&[u8]> {
    page.items.iter().map(|item| &item.bytes[..]).collect()
}

#[test]
fn items_are_appended_read_and_popped_in_order() {
    with_broker(|_broker, client| async move {
        let list = client.list("l").unwrap();
        assert_eq!(list.append("a").await.unwrap(), 1);
        assert_eq!(list.append_many(["b", "c"]).await.unwrap(), 3);
        let page = list.range(-2, 10).await.unwrap();
        assert_eq!(texts(&page), [b"b", b"c"]);
        assert_eq!((page.items[0].index, page.items[0].job), (1, None));
        let popped = list.pop(2, Duration::ZERO).await.unwrap();
        assert_eq!((texts(&popped), popped.length), (vec![&b"a"[..], b"b"], 1));
        assert_eq!(list.len().await.unwrap(), 1);
        assert_eq!(texts(&list.pop(9, Duration::ZERO).await.unwrap()), [b"c"]);
        assert!(list.pop(9, Duration::ZERO).await.unwrap().items.is_empty());
        assert!(list.is_empty().await.unwrap());
    });
}

#[test]
fn popped_items_are_confirmed_and_do_not_come_back_with_the_session() {
    with_broker(|broker, client| async move {
        let list = client.list("l").unwrap();
        list.append_many(["a", "b"]).await.unwrap();
        list.pop(1, Duration::ZERO).await.unwrap();
        client.close().await;
        let other = crate::support::connect(&broker).await;
        let page = other.list("l").unwrap().range(0, 9).await.unwrap();
        assert_eq!(texts(&page), [b"b"]);
    });
}

#[test]
fn pop_that_is_given_up_leaves_its_items_to_the_next_one() {
    with_broker(|_broker, client| async move {
        let list = client.list("l").unwrap();
        {
            let mut given_up = pin!(list.pop(1, Duration::from_secs(600)));
            let mut cx = Context::from_waker(Waker::noop());
            assert!(given_up.as_mut().poll(&mut cx).is_pending());
        }
        list.append("a").await.unwrap();
        let popped = list.pop(1, Duration::from_secs(600)).await.unwrap();
        assert_eq!(texts(&popped), [b"a"]);
    });
}

#[test]
fn follower_sees_every_item_past_its_window() {
    with_broker(|_broker, client| async move {
        let list = client.list("l").unwrap();
        list.append("old").await.unwrap();
        let mut follow = list.follow(1);
        for chunk in 0..50 {
            list.append_many((0..100).map(|i| format!("{}", chunk * 100 + i))).await.unwrap();
        }
        for expected in 0..5_000 {
            let item = follow.next().await.unwrap().unwrap();
            assert_eq!(
                (item.index, &item.bytes[..]),
                (expected + 1, expected.to_string().as_bytes())
            );
        }
    });
}

#[test]
fn results_of_a_queue_are_a_list_that_names_the_jobs() {
    with_broker(|_broker, client| async move {
        let queue = client.queue("q").unwrap();
        let mut results = queue.results().unwrap().follow(0);
        let subscription = queue.subscribe(1);
        let job = queue.submit("p").await.unwrap();
        subscription.pull().await.unwrap().unwrap().ack("r").await.unwrap();
        let item = results.next().await.unwrap().unwrap();
        assert_eq!((item.job, &item.bytes[..]), (Some(job.id()), &b"r"[..]));
    });
}
