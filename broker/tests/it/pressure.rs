//! Clients that take too much or give too little, and the others, who do not notice.

use std::time::Duration;

use ganger_broker::Broker;
use ganger_broker::config::{Config, Size, Span};
use ganger_shared::admin::AdminVerb;
use ganger_shared::handshake::Handshake;
use ganger_shared::{Request, RequestId, Response};

use crate::client::{Client, Raw, name};
use crate::run;

/// Appends 1 MiB to a list and asks to read it again and again.
async fn ask_for_much(client: &mut Client, times: u64) {
    for _ in 0..times {
        let request = client.request();
        let range = Request::Range { request, list: name("big"), start: 0, count: 100 };
        client.say(&range).await;
    }
}

async fn fill_list(client: &mut Client) {
    let request = client.request();
    let items = ganger_shared::Block::one(vec![7; 512 << 10]);
    let seq = 1_000_000;
    client.say(&Request::Append { request, list: name("big"), seq, items }).await;
    assert!(matches!(client.hear().await, Response::Length { length: 1, .. }));
}

#[test]
fn client_that_never_reads_is_closed_and_others_are_served() {
    run(async {
        let mut config = Config::default();
        config.limits.write_stall = Span(Duration::from_millis(100));
        let broker =
            Broker::builder().config(config).pipes_only().in_memory().start().await.unwrap();
        let mut deaf = Client::open(&broker).await;
        fill_list(&mut deaf).await;
        ask_for_much(&mut deaf, 4).await;
        let mut other = Client::open(&broker).await;
        while broker.sessions() > 1 {
            other.is_served().await;
        }
        other.is_served().await;
    });
}

#[test]
fn client_that_reads_too_slowly_is_not_read_until_it_has_caught_up() {
    run(async {
        let mut config = Config::default();
        config.limits.unsent_pause = Size(1 << 20);
        config.limits.unsent_max = Size(64 << 20);
        let broker =
            Broker::builder().config(config).pipes_only().in_memory().start().await.unwrap();
        let mut client = Client::open(&broker).await;
        fill_list(&mut client).await;
        // 256 MiB of answers, four times what may be unsent, asked for from another task.
        let times = 512;
        let mut asking = Vec::new();
        for _ in 0..times {
            let request = client.request();
            let range = Request::Range { request, list: name("big"), start: 0, count: 100 };
            ganger_shared::codec::encode(&range, &mut asking);
        }
        let stream = client.raw.stream.clone();
        let asked = ganger_rt::spawn(async move { stream.write_all(&asking).await });
        let mut answers = 0;
        while answers < times {
            match client.hear().await {
                Response::Items { items, .. } => {
                    assert_eq!(items[0].block.size_bytes(), 512 << 10);
                    answers += 1;
                }
                other => panic!("not items but {other:?}"),
            }
        }
        asked.await.unwrap();
    });
}

#[test]
fn client_with_far_too_much_unsent_is_closed() {
    run(async {
        let mut config = Config::default();
        config.limits.unsent_pause = Size(1 << 20);
        config.limits.unsent_max = Size(2 << 20);
        let broker =
            Broker::builder().config(config).pipes_only().in_memory().start().await.unwrap();
        let mut greedy = Client::open(&broker).await;
        // The jobs are assigned at once, whether the worker reads or not.
        let payload = vec![1; 512 << 10];
        for _ in 0..8 {
            greedy.submit("big", &[&payload]).await.unwrap();
        }
        greedy.subscribe("big", 100).await;
        let mut other = Client::open(&broker).await;
        while broker.sessions() > 1 {
            other.is_served().await;
        }
        other.is_served().await;
    });
}

#[test]
fn one_connection_too_many_is_refused_in_words() {
    run(async {
        let mut config = Config::default();
        config.limits.connections_max = 2;
        let broker =
            Broker::builder().config(config).pipes_only().in_memory().start().await.unwrap();
        let first = Client::open(&broker).await;
        let mut second = Client::open(&broker).await;
        let mut third = Raw::pipe(&broker);
        assert_eq!(third.refusal().await, "the broker has its most of 2 connections");
        second.is_served().await;
        first.say(&Request::Close).await;
        loop {
            let mut again = Raw::pipe(&broker);
            if again.handshake(broker.key()).await.is_ok() {
                break;
            }
            // A refusal is there at once: without this, no task would ever have its turn here.
            ganger_rt::sleep(Duration::from_millis(1)).await;
        }
    });
}

#[test]
fn strangers_wait_their_turn_and_clients_get_in() {
    run(async {
        let mut config = Config::default();
        config.limits.handshakes_max = 4;
        config.listen = "127.0.0.1:0".to_owned();
        let broker = Broker::builder().config(config).in_memory().start().await.unwrap();
        let address = broker.addr().to_string();
        let mut early = Client::tcp(&address, broker.key()).await;
        let mut strangers = Vec::new();
        for _ in 0..4 {
            strangers.push(Raw::tcp(&address).await);
        }
        let key = broker.key().clone();
        let waiting = ganger_rt::spawn(async move { Client::tcp(&address, &key).await });
        // Whoever was there before does not wait.
        for _ in 0..10 {
            early.is_served().await;
        }
        assert!(!waiting.is_finished(), "a fifth stranger was let in");
        strangers.pop();
        waiting.await.is_served().await;
    });
}

#[test]
fn slow_client_in_a_large_frame_is_not_silent() {
    run(async {
        let silence = Duration::from_millis(1_500);
        let mut config = Config::default();
        config.sessions.heartbeat = Span(silence / 3);
        let broker =
            Broker::builder().config(config).pipes_only().in_memory().start().await.unwrap();
        let mut client = Client::open(&broker).await;
        let (request, submit) = client.submission("mail", &[&[7; 100]]);
        let mut bytes = Vec::new();
        ganger_shared::codec::encode(&submit, &mut bytes);
        for part in bytes.chunks(bytes.len() / 8) {
            client.raw.write(part).await;
            let heard = ganger_rt::timeout(silence / 6, client.hear()).await;
            if let Ok(answer) = heard {
                let Response::Accepted { request: answered, .. } = answer else {
                    panic!("{answer:?}")
                };
                assert_eq!(answered, request);
                return;
            }
        }
        panic!("no answer");
    });
}

#[test]
fn flood_of_small_frames_does_not_hold_up_another_client() {
    run(async {
        let broker = Broker::builder().pipes_only().in_memory().start().await.unwrap();
        let flood = Client::open(&broker).await;
        let mut frames = Vec::new();
        for number in 0..20_000 {
            let request = RequestId(number);
            ganger_shared::codec::encode(
                &Request::Admin { request, verb: AdminVerb::Status },
                &mut frames,
            );
        }
        let mut other = Client::open(&broker).await;
        let mut flooding = flood.raw;
        let stream = flooding.stream.clone();
        let asked = ganger_rt::spawn(async move { stream.write_all(&frames).await });
        other.is_served().await;
        for number in 0..20_000 {
            let answer = flooding.hear::<Response>().await;
            let Some(Response::Admin { request, .. }) = answer else { panic!("{answer:?}") };
            assert_eq!(request, RequestId(number));
        }
        asked.await.unwrap();
    });
}

#[test]
fn refusal_reaches_a_peer_that_keeps_talking() {
    run(async {
        let broker = Broker::builder().listen("127.0.0.1:0").in_memory().start().await.unwrap();
        let mut raw = Raw::tcp(&broker.addr().to_string()).await;
        raw.write(&vec![b'x'; 100_000]).await;
        let Some(Handshake::Refused { reason }) = raw.hear().await else { panic!("no reason") };
        assert_eq!(reason, "the peer does not speak the ganger protocol");
    });
}
