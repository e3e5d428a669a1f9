//! Who gets in and who does not, and what strangers cost.

use std::time::Duration;

use ganger_broker::Broker;
use ganger_broker::config::{Config, Span};
use ganger_shared::codec;
use ganger_shared::handshake::{ClientHello, Handshake, HandshakeError, MAGIC};
use ganger_shared::key::Key;
use ganger_shared::{Request, Response};

use crate::client::{Client, Raw, fresh_session};
use crate::run;

async fn broker() -> Broker {
    Broker::builder().pipes_only().in_memory().start().await.unwrap()
}

/// A broker that is patient for no time at all to speak of.
async fn impatient() -> Broker {
    let mut config = Config::default();
    config.limits.handshake_timeout = Span(Duration::from_millis(50));
    Broker::builder().config(config).pipes_only().in_memory().start().await.unwrap()
}

#[test]
fn client_with_the_key_is_served_over_tcp() {
    run(async {
        let broker = Broker::builder().listen("127.0.0.1:0").in_memory().start().await.unwrap();
        let mut client = Client::tcp(&broker.addr().to_string(), broker.key()).await;
        client.is_served().await;
        broker.stop().await.unwrap();
    });
}

#[test]
fn client_without_the_key_sees_that_before_it_sends_anything_with_it() {
    run(async {
        let broker = broker().await;
        let mut raw = Raw::pipe(&broker);
        let error = raw.handshake(&Key::generate().unwrap()).await.unwrap_err();
        assert_eq!(error, HandshakeError::WrongKey);
        Client::open(&broker).await.is_served().await;
    });
}

#[test]
fn wrong_proof_is_refused_in_words() {
    run(async {
        let broker = broker().await;
        let mut raw = Raw::pipe(&broker);
        let (_, hello) = ClientHello::start(broker.key().clone(), [7; 32]);
        raw.say(&hello).await;
        assert!(matches!(raw.hear().await, Some(Handshake::Challenge { .. })));
        raw.say(&Handshake::Proof { proof: [0; 32] }).await;
        assert_eq!(raw.refusal().await, "the key was not accepted");
    });
}

#[test]
fn browser_is_told_that_this_is_no_web_server() {
    run(async {
        let broker = broker().await;
        let mut raw = Raw::pipe(&broker);
        raw.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        assert_eq!(raw.refusal().await, "the peer does not speak the ganger protocol");
        Client::open(&broker).await.is_served().await;
    });
}

#[test]
fn client_of_another_version_learns_both_versions() {
    run(async {
        let broker = broker().await;
        let mut raw = Raw::pipe(&broker);
        // A Hello of a version that has a field more.
        raw.say(&(0_u8, MAGIC, 9_u16, [1_u8; 32], [2_u8; 32], "and more")).await;
        let told = "the peer speaks version 9 of the protocol, this is version 1";
        assert_eq!(raw.refusal().await, told);
    });
}

#[test]
fn stranger_cannot_send_more_than_a_handshake_needs() {
    run(async {
        let broker = broker().await;
        let mut raw = Raw::pipe(&broker);
        raw.write(&513_u32.to_le_bytes()).await;
        assert_eq!(raw.refusal().await, "the peer does not speak the ganger protocol");
    });
}

#[test]
fn handshake_that_stops_halfway_is_closed_in_time() {
    run(async {
        let broker = impatient().await;
        let mut hello = Vec::new();
        let (_, message) = ClientHello::start(broker.key().clone(), [7; 32]);
        codec::encode(&message, &mut hello);
        for said in [&[][..], &hello[..2], &hello[..20], &hello] {
            let mut raw = Raw::pipe(&broker);
            raw.write(said).await;
            if said.len() == hello.len() {
                assert!(matches!(raw.hear().await, Some(Handshake::Challenge { .. })));
            }
            assert_eq!(raw.refusal().await, "no session was opened within 50ms");
        }
    });
}

#[test]
fn handshake_without_open_is_closed_in_time() {
    run(async {
        let broker = impatient().await;
        let mut raw = Raw::pipe(&broker);
        raw.handshake(broker.key()).await.unwrap();
        let (reason, come_back) = raw.goodbye().await;
        assert_eq!(reason, "no session was opened within 50ms");
        assert!(!come_back);
    });
}

#[test]
fn first_frame_must_be_open() {
    run(async {
        let broker = broker().await;
        let mut raw = Raw::pipe(&broker);
        raw.handshake(broker.key()).await.unwrap();
        raw.say(&Request::Heartbeat).await;
        assert_eq!(raw.goodbye().await, ("the first frame must be Open".to_owned(), false));
    });
}

#[test]
fn frames_may_follow_the_proof_without_waiting() {
    run(async {
        let broker = broker().await;
        let mut raw = Raw::pipe(&broker);
        let (hello, message) = ClientHello::start(broker.key().clone(), [7; 32]);
        raw.say(&message).await;
        let (_, proof) = hello.handle(raw.hear().await.unwrap()).unwrap();
        let mut together = Vec::new();
        codec::encode(&proof, &mut together);
        let open =
            Request::Open { session: fresh_session(), held: vec![], name: "hasty".to_owned() };
        codec::encode(&open, &mut together);
        codec::encode(&Request::Heartbeat, &mut together);
        raw.write(&together).await;
        assert_eq!(raw.hear().await, Some(Handshake::Welcome));
        assert!(matches!(raw.hear().await, Some(Response::Opened { resumed: false, .. })));
        assert_eq!(raw.hear().await, Some(Response::Heartbeat));
    });
}
