//! Jobs through the broker's door: the machine's rules as a client sees them.

use ganger_broker::Broker;
use ganger_broker::config::{Config, Create};
use ganger_shared::admin::{AdminVerb, Pause, QueueSettings};
use ganger_shared::request::WhenFull;
use ganger_shared::{
    Block, Durability, LeaseId, LeaseRange, Outcome, Rejection, Request, Response, Settlement,
    SubscriptionId,
};

use crate::client::{Client, name};
use crate::run;

async fn broker() -> Broker {
    Broker::builder().pipes_only().in_memory().start().await.unwrap()
}

fn small_queue(jobs_max: u64) -> QueueSettings {
    QueueSettings {
        jobs_max,
        bytes_max: 1 << 20,
        lease_ms: 30_000,
        dead_on: Vec::new(),
        durability: Durability::Memory,
    }
}

#[test]
fn full_queue_refuses_and_says_how_full() {
    run(async {
        let broker = broker().await;
        let mut client = Client::open(&broker).await;
        client.set_queue("mail", small_queue(2)).await;
        client.submit("mail", &[b"1", b"2"]).await.unwrap();
        let refused = client.submit("mail", &[b"3"]).await;
        let full = Rejection::QueueFull {
            queue: name("mail"),
            used: 2,
            limit: 2,
            unit: "jobs".to_owned(),
        };
        assert_eq!(refused, Err(full));
    });
}

#[test]
fn submit_that_waits_is_accepted_when_there_is_room() {
    run(async {
        let broker = broker().await;
        let mut client = Client::open(&broker).await;
        client.set_queue("mail", small_queue(1)).await;
        client.submit("mail", &[b"1"]).await.unwrap();
        let (request, mut waiting) = client.submission("mail", &[b"2"]);
        if let Request::Submit { when_full, .. } = &mut waiting {
            *when_full = WhenFull::Wait;
        }
        client.say(&waiting).await;

        let mut worker = Client::open(&broker).await;
        worker.subscribe("mail", 1).await;
        let job = worker.assigned().await;
        assert_eq!(worker.ack(job.leases).await, Ok(vec![]));
        assert!(matches!(
            client.hear().await,
            Response::Accepted { request: answered, .. } if answered == request
        ));
        assert_eq!(worker.assigned().await.payloads, [&b"2"[..]]);
    });
}

#[test]
fn queue_paused_for_delivery_accepts_and_says_so() {
    run(async {
        let broker = broker().await;
        let mut client = Client::open(&broker).await;
        client.set_queue("mail", small_queue(10)).await;
        client.pause("mail", Pause::Delivery, "provider down").await;
        assert_eq!(client.submit("mail", &[b"1"]).await, Ok(true));

        let mut worker = Client::open(&broker).await;
        worker.subscribe("mail", 1).await;
        worker.say(&Request::Heartbeat).await;
        assert_eq!(worker.hear().await, Response::Heartbeat, "a paused queue handed out a job");
        client.admin(AdminVerb::QueueResume { queue: name("mail") }).await.unwrap();
        assert_eq!(worker.assigned().await.payloads, [&b"1"[..]]);
    });
}

#[test]
fn queue_paused_for_submits_refuses_with_the_reason() {
    run(async {
        let broker = broker().await;
        let mut client = Client::open(&broker).await;
        client.set_queue("mail", small_queue(10)).await;
        client.pause("mail", Pause::DeliveryAndSubmits, "provider down").await;
        let refused = client.submit("mail", &[b"1"]).await;
        let paused = Rejection::Paused { queue: name("mail"), reason: "provider down".to_owned() };
        assert_eq!(refused, Err(paused));
    });
}

#[test]
fn settling_twice_takes_effect_once() {
    run(async {
        let broker = broker().await;
        let mut client = Client::open(&broker).await;
        client.submit("mail", &[b"1"]).await.unwrap();
        client.subscribe("mail", 1).await;
        let job = client.assigned().await;
        let request = client.request();
        let outcome = Outcome::Ack { outputs: Block::one(&b"result"[..]) };
        let settlements = vec![Settlement { leases: job.leases, outcome }];
        for _ in 0..2 {
            client.say(&Request::Settle { request, settlements: settlements.clone() }).await;
            assert_eq!(client.hear().await, Response::Settled { request, lost: vec![] });
        }
        let request = client.request();
        let list = name("mail.results");
        client.say(&Request::Range { request, list, start: 0, count: 10 }).await;
        let Response::Items { length, .. } = client.hear().await else { panic!("no items") };
        assert_eq!(length, 1, "a settlement took effect twice");
    });
}

#[test]
fn lease_of_somebody_else_cannot_be_settled() {
    run(async {
        let broker = broker().await;
        let mut client = Client::open(&broker).await;
        client.submit("mail", &[b"1"]).await.unwrap();
        client.subscribe("mail", 1).await;
        let job = client.assigned().await;

        let mut thief = Client::open(&broker).await;
        assert_eq!(thief.ack(job.leases).await, Ok(vec![job.leases]));
        let never = LeaseRange::one(LeaseId(u64::MAX - 5));
        assert_eq!(thief.ack(never).await, Ok(vec![never]));
        assert_eq!(client.ack(job.leases).await, Ok(vec![]), "the lease was lost by it");
    });
}

#[test]
fn promise_that_cannot_be_kept_is_refused() {
    run(async {
        let broker = broker().await;
        let mut client = Client::open(&broker).await;
        let settings = QueueSettings { durability: Durability::Strict, ..small_queue(10) };
        let verb = AdminVerb::QueueSet { queue: name("mail"), settings };
        let refused = client.admin(verb).await.unwrap_err();
        let told = "durability strict is not available: this broker has no journal";
        assert_eq!(refused.to_string(), told);
    });
}

#[test]
fn refused_subscription_leaves_the_others_of_its_connection_alone() {
    run(async {
        let config = Config { create: Create::OperatorOnly, ..Config::default() };
        let broker =
            Broker::builder().pipes_only().config(config).in_memory().start().await.unwrap();
        let mut client = Client::open(&broker).await;
        client.set_queue("known", small_queue(10)).await;
        client.subscribe("known", 1).await;
        client.subscribe("unknown", 1).await;
        let heard = client.hear().await;
        let Response::NotSubscribed { subscription, rejection } = heard else {
            panic!("subscribed to what does not exist: {heard:?}")
        };
        assert_eq!(subscription, SubscriptionId(4));
        assert_eq!(rejection.to_string(), "there is no queue unknown");
        client.submit("known", &[b"one"]).await.unwrap();
        assert_eq!(client.assigned().await.payloads, [&b"one"[..]]);
    });
}
