//! Clients that have the key and do not keep to the protocol: they are told and lose their
//! connection; nothing else happens to anybody.

use std::time::Duration;

use ganger_broker::Broker;
use ganger_broker::config::{Config, Size, Span};
use ganger_shared::codec;
use ganger_shared::{Rejection, Request, RequestId, Response};

use crate::client::{Client, fresh_session};
use crate::run;

async fn broker() -> Broker {
    let mut config = Config::default();
    config.limits.frame_max = Size(1 << 20);
    config.limits.payload_max = Size(100_000);
    Broker::builder().config(config).pipes_only().in_memory().start().await.unwrap()
}

/// Has a client say `bytes` while another one works; the reason it is given.
async fn said(broker: &Broker, bytes: &[u8]) -> String {
    let mut other = Client::open(broker).await;
    let mut client = Client::open(broker).await;
    client.submit("kept", &[b"a job"]).await.unwrap();
    client.raw.write(bytes).await;
    let (reason, come_back) = client.raw.goodbye().await;
    assert!(!come_back, "a client that is broken should not come back");
    other.is_served().await;
    // What the guilty one did before stands.
    other.subscribe("kept", 1).await;
    let job = other.assigned().await;
    assert_eq!(job.payloads, [&b"a job"[..]]);
    other.ack(job.leases).await.unwrap();
    reason
}

#[test]
fn frame_that_claims_to_be_too_long_is_refused_before_it_comes() {
    run(async {
        let broker = broker().await;
        let told = said(&broker, &u32::MAX.to_le_bytes()).await;
        assert_eq!(told, "frame of 4294967295 bytes is over the limit of 1048576 bytes");
    });
}

#[test]
fn frame_of_no_known_message_is_refused() {
    run(async {
        let broker = broker().await;
        let told = said(&broker, &[2, 0, 0, 0, 99, 0]).await;
        assert!(told.starts_with("frame of 2 bytes is no known message"), "{told}");
    });
}

#[test]
fn frame_with_bytes_after_its_message_is_refused() {
    run(async {
        let broker = broker().await;
        let mut bytes = Vec::new();
        codec::encode(&(Request::Heartbeat, 7_u8), &mut bytes);
        let told = said(&broker, &bytes).await;
        assert_eq!(told, "frame of 2 bytes has 1 bytes after its message");
    });
}

#[test]
fn name_that_is_not_utf_8_is_refused() {
    run(async {
        let broker = broker().await;
        let mut client = Client::open(&broker).await;
        let (_, submit) = client.submission("mail", &[b"x"]);
        let mut bytes = Vec::new();
        codec::encode(&submit, &mut bytes);
        let at = bytes.windows(4).position(|four| four == b"mail").unwrap();
        bytes[at] = 0xff;
        let told = said(&broker, &bytes).await;
        assert!(told.contains("is no known message"), "{told}");
    });
}

#[test]
fn requests_before_the_one_at_fault_are_carried_out() {
    run(async {
        let broker = broker().await;
        let mut client = Client::open(&broker).await;
        let (request, submit) = client.submission("mail", &[b"x"]);
        let mut bytes = Vec::new();
        codec::encode(&submit, &mut bytes);
        bytes.extend([0; 4]);
        client.raw.write(&bytes).await;
        let Response::Accepted { request: answered, .. } = client.hear().await else {
            panic!("the submit was lost")
        };
        assert_eq!(answered, request);
        assert!(client.raw.goodbye().await.0.contains("no known message"));
    });
}

#[test]
fn session_is_opened_once() {
    run(async {
        let broker = broker().await;
        let mut client = Client::open(&broker).await;
        let open = Request::Open { session: fresh_session(), held: vec![], name: String::new() };
        client.say(&open).await;
        let told = "the session is open already; Open is the first frame and sent once";
        assert_eq!(client.raw.goodbye().await, (told.to_owned(), false));
    });
}

#[test]
fn payload_over_the_limit_is_refused_and_the_client_stays() {
    run(async {
        let broker = broker().await;
        let mut client = Client::open(&broker).await;
        let refused = client.submit("mail", &[b"small", &[0; 100_001]]).await;
        assert_eq!(refused, Err(Rejection::TooLarge { size: 100_001, limit: 100_000 }));
        client.is_served().await;
    });
}

#[test]
fn half_a_frame_and_the_end_loses_only_that_frame() {
    run(async {
        let broker = broker().await;
        let mut client = Client::open(&broker).await;
        client.submit("kept", &[b"a job"]).await.unwrap();
        let (_, submit) = client.submission("kept", &[b"another"]);
        let mut bytes = Vec::new();
        codec::encode(&submit, &mut bytes);
        client.raw.write(&bytes[..bytes.len() - 1]).await;
        client.raw.stream.close();
        let mut other = Client::open(&broker).await;
        other.subscribe("kept", 10).await;
        assert_eq!(other.assigned().await.payloads, [&b"a job"[..]]);
        other.is_served().await;
    });
}

#[test]
fn half_a_frame_and_silence_is_closed_in_time() {
    run(async {
        let mut config = Config::default();
        config.sessions.heartbeat = Span(Duration::from_millis(30));
        let broker =
            Broker::builder().config(config).pipes_only().in_memory().start().await.unwrap();
        let mut client = Client::open(&broker).await;
        client.raw.write(&[200, 0, 0, 0, 2, 7]).await;
        assert_eq!(client.raw.goodbye().await, ("nothing was heard for 90ms".to_owned(), true));
    });
}

#[test]
fn numbers_chosen_by_a_client_are_only_echoed() {
    run(async {
        let broker = broker().await;
        let mut client = Client::open(&broker).await;
        let request = RequestId(u64::MAX);
        let verb = ganger_shared::admin::AdminVerb::Status;
        client.say(&Request::Admin { request, verb }).await;
        let Response::Admin { request: answered, .. } = client.hear().await else {
            panic!("no status")
        };
        assert_eq!(answered, request);
    });
}
