//! Brokers that do what no real one does, frame by frame.

use std::future::Future;
use std::time::Duration;

use async_channel::{Receiver, Sender, unbounded};
use futures_lite::future::{poll_once, zip};
use ganger_rt::Stream;
use ganger_shared::codec::{FrameBuffer, decode, encode};
use ganger_shared::handshake::{BrokerChallenge, Handshake};
use ganger_shared::key::Key;
use ganger_shared::limits::FRAME_BYTES_MAX;
use ganger_shared::response::{Items, Terms};
use ganger_shared::{
    Block, CallError, JobId, JobRange, LeaseId, LeaseRange, Name, Packed, Request, Response,
    SessionId, SubscriptionId, Time,
};
use ganger_worker::{Client, Error, Objects, Options};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::support::run;

/// One connection, seen from the broker's end.
struct Peer {
    stream: Stream,
    frames: FrameBuffer,
}

impl Peer {
    fn new(stream: Stream) -> Self {
        Self { stream, frames: FrameBuffer::new() }
    }

    /// The next connection, with its session open and new.
    async fn with_session(accepted: &Receiver<Stream>, key: &Key) -> Self {
        let mut peer = Self::new(accepted.recv().await.unwrap());
        peer.greet(key).await;
        peer.opened(false, 60_000).await;
        peer
    }

    /// The next message; `None` when the client has closed the connection.
    async fn hear<T: DeserializeOwned>(&mut self) -> Option<T> {
        loop {
            if let Some(frame) = self.frames.next_frame(FRAME_BYTES_MAX).unwrap() {
                return Some(decode(frame).unwrap());
            }
            match self.stream.read(self.frames.spare()).await {
                Ok(count @ 1..) => self.frames.filled(count),
                Ok(0) | Err(_) => return None,
            }
        }
    }

    async fn say(&self, message: &impl Serialize) {
        let mut frame = Vec::new();
        encode(message, &mut frame);
        // A client that has gone away is noticed when nothing more is heard of it.
        let _ = self.stream.write_all(&frame).await;
    }

    /// Handshake, and the client's Open.
    async fn greet(&mut self, key: &Key) -> Request {
        let hello = self.hear::<Handshake>().await.unwrap();
        let keys = std::slice::from_ref(key);
        let (state, challenge) = BrokerChallenge::handle(hello, keys, key, [7; 32]).unwrap();
        self.say(&challenge).await;
        state.verify(&self.hear().await.unwrap()).unwrap();
        self.say(&Handshake::Welcome).await;
        self.hear().await.unwrap()
    }

    async fn opened(&self, resumed: bool, heartbeat_ms: u64) {
        let terms = Terms {
            heartbeat_ms,
            grace_ms: 1_000,
            frame_bytes_max: 1 << 20,
            payload_bytes_max: 1 << 16,
        };
        self.say(&Response::Opened { resumed, next_seq: 0, terms }).await;
    }

    /// The next request that is no heartbeat.
    async fn request(&mut self) -> Option<Request> {
        loop {
            match self.hear().await? {
                Request::Heartbeat => self.say(&Response::Heartbeat).await,
                request => return Some(request),
            }
        }
    }
}

/// A client whose connections arrive at the other end of the channel.
fn dialing(key: &Key) -> (impl Future<Output = Result<Client, Error>> + use<>, Receiver<Stream>) {
    let (sender, accepted): (Sender<Stream>, _) = unbounded();
    let options =
        Options { connect_timeout: Duration::from_secs(60), ..Options::new("peer", key.clone()) };
    let dial = move || {
        let (here, there) = Stream::pipe(1 << 16);
        let sent = sender.try_send(there).is_ok();
        let gone = || std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        std::future::ready(sent.then_some(here).ok_or_else(gone))
    };
    (Client::connect_with(options, dial), accepted)
}

/// Runs a client against a script of the broker's end.
fn scripted<F, G>(script: impl FnOnce(Receiver<Stream>, Key) -> F, test: impl FnOnce(Client) -> G)
where
    F: Future<Output = ()> + Send + 'static,
    G: Future<Output = ()>,
{
    run(async {
        let key = Key::generate().unwrap();
        let (connecting, accepted) = dialing(&key);
        let script = ganger_rt::spawn(script(accepted, key.clone()));
        let test = async { test(connecting.await.unwrap()).await };
        // Both at once, so that what the script does not expect is told and not waited for.
        zip(script, test).await;
    });
}

fn assign(subscription: SubscriptionId, first_lease: u64, count: u32) -> Response {
    Response::Assign {
        subscription,
        first_lease: LeaseId(first_lease),
        attempt: 1,
        jobs: JobRange { first: JobId { session: SessionId(1), seq: 0 }, count },
        handler: Name::new("h").unwrap(),
        deadline: None,
        time_limit_ms: None,
        payloads: Block::empties(count),
    }
}

#[test]
fn resumed_session_names_what_it_holds_and_says_again_what_was_not_answered() {
    scripted(
        |accepted, key| async move {
            let mut peer = Peer::new(accepted.recv().await.unwrap());
            let Request::Open { held, session, .. } = peer.greet(&key).await else { panic!() };
            assert_eq!(held, []);
            peer.opened(false, 60_000).await;
            let Some(Request::Subscribe { subscription, credit: 9, .. }) = peer.request().await
            else {
                panic!()
            };
            peer.say(&assign(subscription, 100, 3)).await;
            let Some(Request::Settle { request, settlements }) = peer.request().await else {
                panic!()
            };
            assert_eq!(settlements[0].leases, LeaseRange { first: LeaseId(101), count: 1 });
            peer.stream.close();

            let mut peer = Peer::new(accepted.recv().await.unwrap());
            let open = peer.greet(&key).await;
            let Request::Open { held, session: again, .. } = open else { panic!("{open:?}") };
            assert_eq!(again, session);
            // The settled one too: the broker has not said that it heard of it.
            assert_eq!(held, [LeaseRange { first: LeaseId(100), count: 3 }]);
            peer.opened(true, 60_000).await;
            let repeated = peer.request().await;
            assert_eq!(repeated, Some(Request::Settle { request, settlements }));
            let subscribe = peer.request().await;
            assert!(
                matches!(subscribe, Some(Request::Subscribe { credit: 9, .. })),
                "{subscribe:?}"
            );
            peer.say(&Response::Settled { request, lost: Vec::new() }).await;
            while peer.request().await.is_some() {}
        },
        |client| async move {
            let subscription = client.queue("q").unwrap().subscribe(9);
            let run = subscription.next_run().await.unwrap().unwrap();
            let mut deliveries = run.into_deliveries();
            let (_first, second) = (deliveries.next().unwrap(), deliveries.next().unwrap());
            second.ack("").await.unwrap();
        },
    );
}

#[test]
fn calls_that_shared_a_frame_share_it_again_after_a_broken_connection() {
    let (down, is_down) = unbounded();
    let (called, are_called) = unbounded();
    let numbers = |request: &Request| match request {
        Request::Call { seq: Some(seq), args, .. } => (*seq, args.count()),
        other => panic!("{other:?}"),
    };
    scripted(
        move |accepted, key| async move {
            let mut peer = Peer::with_session(&accepted, &key).await;
            let first = peer.request().await.unwrap();
            assert_eq!(numbers(&first), (0, 1));
            peer.stream.close();

            let mut peer = Peer::new(accepted.recv().await.unwrap());
            down.send(()).await.unwrap();
            are_called.recv().await.unwrap();
            peer.greet(&key).await;
            peer.opened(true, 60_000).await;
            assert_eq!(peer.request().await.unwrap(), first);
            let second = peer.request().await.unwrap();
            assert_eq!(numbers(&second), (1, 9));
            peer.stream.close();

            let mut peer = Peer::new(accepted.recv().await.unwrap());
            peer.greet(&key).await;
            peer.opened(true, 60_000).await;
            for expected in [first, second] {
                let request = peer.request().await.unwrap();
                assert_eq!(request, expected);
                let Request::Call { request, seq: Some(seq), args, .. } = request else { panic!() };
                let result = |place| Packed::from(seq + u64::from(place)).as_bytes().clone();
                let results = (0..args.count()).map(result).collect();
                // The last of the ten calls fails.
                let errors = if seq == 1 { vec![(8, CallError::Empty)] } else { Vec::new() };
                peer.say(&Response::Returned { request, results, errors }).await;
            }
            while peer.request().await.is_some() {}
        },
        |client| async move {
            let counter = client.counter("n").unwrap();
            let mut calls: Vec<_> = (0..10).map(|_| Box::pin(counter.add(1))).collect();
            assert!(poll_once(&mut calls[0]).await.is_none());
            is_down.recv().await.unwrap();
            for call in &mut calls[1..] {
                assert!(poll_once(call).await.is_none());
            }
            called.send(()).await.unwrap();
            let failed = calls.pop().unwrap();
            for (seq, call) in (0..).zip(calls) {
                assert_eq!(call.await.unwrap(), seq);
            }
            assert_eq!(failed.await.unwrap_err().to_string(), "it is empty");
        },
    );
}

#[test]
fn fenced_lease_stops_its_handler_and_is_not_settled() {
    let (stopped, reasons) = unbounded();
    scripted(
        |accepted, key| async move {
            let mut peer = Peer::with_session(&accepted, &key).await;
            let Some(Request::Subscribe { subscription, .. }) = peer.request().await else {
                panic!()
            };
            peer.say(&assign(subscription, 5, 1)).await;
            peer.say(&Response::CancelRun { lease: LeaseId(5), until: Time::ZERO }).await;
            let Some(Request::Progress { lease: LeaseId(5), .. }) = peer.request().await else {
                panic!()
            };
            peer.say(&Response::Fenced { leases: LeaseRange::one(LeaseId(5)) }).await;
            // The next thing that is heard is the end of the subscription, not a settlement.
            let next = peer.request().await;
            assert!(matches!(next, Some(Request::Unsubscribe { .. })), "{next:?}");
            peer.say(&Response::Unsubscribed { subscription }).await;
            while peer.request().await.is_some() {}
        },
        |client| async move {
            let handler = move |_, ctx: ganger_worker::Ctx| {
                let stopped = stopped.clone();
                async move {
                    stopped.send(ctx.cancelled().await).await.unwrap();
                    ctx.progress(1, 1, "told");
                    std::future::pending::<Result<&str, ganger_worker::JobError>>().await
                }
            };
            let worker = ganger_worker::Worker::new(client).queue("q").handle_bytes("h", handler);
            let drainer = worker.drainer();
            let working = ganger_rt::spawn(worker.run());
            assert_eq!(reasons.recv().await.unwrap(), ganger_worker::StopReason::Cancelled);
            drainer.drain();
            working.await.unwrap();
        },
    );
}

#[test]
fn silent_broker_is_left_and_called_again() {
    scripted(
        |accepted, key| async move {
            let mut silent = Peer::new(accepted.recv().await.unwrap());
            silent.greet(&key).await;
            silent.opened(false, 30).await;
            while silent.hear::<Request>().await.is_some() {}
            let mut peer = Peer::new(accepted.recv().await.unwrap());
            peer.greet(&key).await;
            peer.opened(true, 60_000).await;
            while peer.request().await.is_some() {}
        },
        |client| async move {
            while client.terms().heartbeat_ms == 30 {
                ganger_rt::yield_now().await;
            }
        },
    );
}

#[test]
fn heartbeats_go_on_while_the_runtime_is_blocked() {
    let key = Key::generate().unwrap();
    let (connecting, accepted) = dialing(&key);
    let (beats, counted) = std::sync::mpsc::channel();
    // On a thread and an executor of its own, so that it does not run the client's tasks.
    let peer = std::thread::spawn(move || {
        futures_lite::future::block_on(async {
            let mut peer = Peer::new(accepted.recv().await.unwrap());
            peer.greet(&key).await;
            peer.opened(false, 30).await;
            while let Some(request) = peer.hear::<Request>().await {
                peer.say(&Response::Heartbeat).await;
                if request == Request::Heartbeat && beats.send(()).is_err() {
                    break;
                }
            }
        });
    });
    run(async {
        let client = connecting.await.unwrap();
        for _ in 0..5 {
            // Blocks the thread that runs all tasks.
            counted.recv().unwrap();
        }
        drop(client);
    });
    drop(counted);
    peer.join().unwrap();
}

#[test]
fn goodbye_for_good_ends_the_client_with_its_reason() {
    scripted(
        |accepted, key| async move {
            let mut peer = Peer::with_session(&accepted, &key).await;
            peer.request().await;
            let reason = "you talk too much".to_owned();
            peer.say(&Response::Goodbye { reason, come_back: false }).await;
            while peer.request().await.is_some() {}
        },
        |client| async move {
            let error = client.submit("q", "p").await.unwrap_err();
            assert!(matches!(&error, Error::Closed { reason } if reason == "you talk too much"));
            assert!(client.submit("q", "p").await.is_err());
        },
    );
}

#[test]
fn goodbye_until_later_is_followed_by_another_connection() {
    scripted(
        |accepted, key| async move {
            let mut peer = Peer::with_session(&accepted, &key).await;
            peer.request().await;
            peer.say(&Response::Goodbye { reason: "restart".to_owned(), come_back: true }).await;
            let mut peer = Peer::new(accepted.recv().await.unwrap());
            peer.greet(&key).await;
            peer.opened(true, 60_000).await;
            let Some(Request::Submit { request, first_seq: 0, .. }) = peer.request().await else {
                panic!()
            };
            let durability = ganger_shared::Durability::Strict;
            peer.say(&Response::Accepted { request, durability, paused: true }).await;
            while peer.request().await.is_some() {}
        },
        |client| async move {
            let job = client.submit("q", "p").await.unwrap();
            assert!(job.is_paused());
        },
    );
}

#[test]
fn what_is_no_frame_ends_the_client() {
    scripted(
        |accepted, key| async move {
            let mut peer = Peer::with_session(&accepted, &key).await;
            peer.request().await;
            peer.stream.write_all(b"\x02\x00\x00\x00\xff\xff").await.unwrap();
            while peer.request().await.is_some() {}
        },
        |client| async move {
            let error = client.submit("q", "p").await.unwrap_err();
            assert!(matches!(error, Error::Protocol { .. }), "{error}");
        },
    );
}

#[test]
fn run_for_a_subscription_that_has_ended_is_given_back() {
    scripted(
        |accepted, key| async move {
            let mut peer = Peer::with_session(&accepted, &key).await;
            let Some(Request::Subscribe { subscription, .. }) = peer.request().await else {
                panic!()
            };
            let Some(Request::Unsubscribe { .. }) = peer.request().await else { panic!() };
            let Some(Request::Range { .. }) = peer.request().await else { panic!() };
            // It crossed the Unsubscribe on the way.
            peer.say(&assign(subscription, 7, 2)).await;
            let Some(Request::Settle { request, settlements }) = peer.request().await else {
                panic!()
            };
            assert_eq!(settlements[0].leases, LeaseRange { first: LeaseId(7), count: 2 });
            let released = &settlements[0].outcome;
            assert!(matches!(released, ganger_shared::Outcome::Release { delay_ms: 0 }));
            peer.say(&Response::Settled { request, lost: Vec::new() }).await;
            peer.say(&Response::Unsubscribed { subscription }).await;
            let reason = "that was all".to_owned();
            peer.say(&Response::Goodbye { reason, come_back: false }).await;
            while peer.request().await.is_some() {}
        },
        |client| async move {
            let subscription = client.queue("q").unwrap().subscribe(9);
            subscription.unsubscribe();
            assert!(subscription.pull().await.unwrap().is_none());
            // Stays until the script is through and its end of the connection is gone.
            assert!(client.list("l").unwrap().len().await.is_err());
        },
    );
}

#[test]
fn pop_confirms_the_one_before_and_the_last_is_confirmed_by_itself() {
    scripted(
        |accepted, key| async move {
            let mut peer = Peer::with_session(&accepted, &key).await;
            let items = |request, start| Response::Items {
                request,
                start,
                length: 0,
                items: vec![Items { jobs: None, block: Block::one("x") }],
            };
            for already in [0, 1] {
                let mut pop = peer.request().await;
                // Another thread may have been quicker to say it than the next Pop.
                if let Some(Request::Confirm { receipt: 1, .. }) = pop {
                    pop = peer.request().await;
                }
                let Some(Request::Pop { request, receipt, confirmed, .. }) = pop else {
                    panic!("{pop:?}")
                };
                assert_eq!((receipt, confirmed), (already + 1, already));
                peer.say(&items(request, already)).await;
            }
            // The session's own task says it, at its next turn on any thread.
            let mut last = [peer.request().await, peer.request().await];
            last.sort_by_key(|request| matches!(request, Some(Request::Range { .. })));
            assert!(matches!(last[0], Some(Request::Confirm { receipt: 2, .. })), "{last:?}");
            assert!(matches!(last[1], Some(Request::Range { .. })), "{last:?}");
            let reason = "that was all".to_owned();
            peer.say(&Response::Goodbye { reason, come_back: false }).await;
            while peer.request().await.is_some() {}
        },
        |client| async move {
            let list = client.list("l").unwrap();
            for index in 0..2 {
                assert_eq!(list.pop(1, Duration::ZERO).await.unwrap().items[0].index, index);
            }
            assert!(list.len().await.is_err());
        },
    );
}
