//! The inputs of the handshake at the door of a real broker.

use std::time::Duration;

use ganger_broker::Broker;
use ganger_broker::config::{Config, Span};
use ganger_shared::codec::{self, FrameBuffer};
use ganger_shared::handshake::{ClientHello, Handshake};

use crate::corpus::inputs;

fn framed(message: &Handshake) -> Vec<u8> {
    let mut bytes = Vec::new();
    codec::encode(message, &mut bytes);
    bytes
}

/// Says `bytes` to the broker. What it answers until it hangs up, which it has to.
async fn answers(broker: &Broker, bytes: &[u8]) -> Vec<Handshake> {
    let stream = broker.connect_pipe();
    let _ = stream.write_all(bytes).await;
    let (mut frames, mut heard) = (FrameBuffer::new(), Vec::new());
    loop {
        while let Some(frame) = frames.next_frame(1 << 10).unwrap() {
            heard.push(codec::decode(frame).unwrap());
        }
        match stream.read(frames.spare()).await {
            Ok(0) | Err(_) => return heard,
            Ok(count) => frames.filled(count),
        }
    }
}

#[test]
fn stranger_that_says_anything_is_told_and_hung_up_on() {
    let mut config = Config::default();
    config.limits.handshake_timeout = Span(Duration::from_millis(20));
    ganger_rt::block_on(async {
        let broker =
            Broker::builder().config(config).in_memory().pipes_only().start().await.unwrap();
        let (_, hello) = ClientHello::start(broker.key().clone(), [7; 32]);
        let hello = framed(&hello);
        for (path, bytes) in inputs("handshake") {
            // As it is, and after a Hello that is right.
            for said in [&bytes[..], &[&hello, &bytes[..]].concat()] {
                let heard = answers(&broker, said).await;
                let last = heard.last();
                assert!(matches!(last, Some(Handshake::Refused { .. })), "{path:?}: {heard:?}");
                assert!(!heard.contains(&Handshake::Welcome), "{path:?}: a stranger is welcome");
            }
        }
    });
}
