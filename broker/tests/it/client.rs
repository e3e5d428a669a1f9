//! A client that speaks frames and nothing else, well or badly.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use ganger_broker::Broker;
use ganger_rt::Stream;
use ganger_shared::admin::{AdminAnswer, AdminVerb, Pause, QueueSettings};
use ganger_shared::codec::{self, FrameBuffer};
use ganger_shared::handshake::{ClientHello, Handshake, HandshakeError, Verified};
use ganger_shared::key::Key;
use ganger_shared::limits::FRAME_BYTES_MAX;
use ganger_shared::request::{Notify, WhenFull};
use ganger_shared::{
    Block, JobOptions, JobRange, LeaseId, LeaseRange, Name, Outcome, Rejection, Request, RequestId,
    Response, SessionId, Settlement, SubscriptionId,
};

/// A connection before its handshake.
pub(crate) struct Raw {
    pub(crate) stream: Stream,
    pub(crate) frames: FrameBuffer,
}

/// A client with an open session.
pub(crate) struct Client {
    pub(crate) raw: Raw,
    pub(crate) session: SessionId,
    next_seq: u64,
    next_request: u64,
    /// Jobs that overtook an answer.
    early: VecDeque<Response>,
}

/// What an Assign says.
#[derive(Debug)]
pub(crate) struct Assigned {
    pub(crate) leases: LeaseRange,
    pub(crate) jobs: JobRange,
    pub(crate) attempt: u32,
    pub(crate) payloads: Vec<Bytes>,
}

pub(crate) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub(crate) fn fresh_session() -> SessionId {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    SessionId(NEXT.fetch_add(1, Ordering::Relaxed))
}

impl Raw {
    pub(crate) fn pipe(broker: &Broker) -> Self {
        Self::of(broker.connect_pipe())
    }

    pub(crate) async fn tcp(address: &str) -> Self {
        Self::of(Stream::connect(address, Duration::from_secs(10)).await.unwrap())
    }

    fn of(stream: Stream) -> Self {
        Self { stream, frames: FrameBuffer::new() }
    }

    /// Says `bytes`; a peer that has hung up is noticed by whoever listens to it.
    pub(crate) async fn write(&self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
    }

    pub(crate) async fn say(&self, message: &impl serde::Serialize) {
        let mut bytes = Vec::new();
        codec::encode(message, &mut bytes);
        self.write(&bytes).await;
    }

    /// The next message; `None` at the end of the connection.
    pub(crate) async fn hear<T: serde::de::DeserializeOwned>(&mut self) -> Option<T> {
        loop {
            if let Some(frame) = self.frames.next_frame(FRAME_BYTES_MAX).unwrap() {
                return Some(codec::decode(frame).unwrap());
            }
            match self.stream.read(self.frames.spare()).await {
                Ok(0) | Err(_) => return None,
                Ok(count) => self.frames.filled(count),
            }
        }
    }

    pub(crate) async fn handshake(&mut self, key: &Key) -> Result<Verified, HandshakeError> {
        let (hello, message) = ClientHello::start(key.clone(), [7; 32]);
        self.say(&message).await;
        let left = || HandshakeError::Refused("closed".to_owned());
        let (proof, message) = hello.handle(self.hear().await.ok_or_else(left)?)?;
        self.say(&message).await;
        proof.handle(self.hear().await.ok_or_else(left)?)
    }

    /// The reason of the refusal that must come next, and the end that must follow it.
    pub(crate) async fn refusal(&mut self) -> String {
        let Some(Handshake::Refused { reason }) = self.hear().await else {
            panic!("no refusal in words")
        };
        assert_eq!(self.hear::<Handshake>().await, None, "the connection goes on");
        reason
    }

    /// The goodbye that must come next, and the end that must follow it.
    pub(crate) async fn goodbye(&mut self) -> (String, bool) {
        let heard = self.hear().await;
        let Some(Response::Goodbye { reason, come_back }) = heard else {
            panic!("no goodbye but {heard:?}")
        };
        assert_eq!(self.hear::<Response>().await, None, "the connection goes on");
        (reason, come_back)
    }
}

impl Client {
    /// A client over a pipe, with a session of its own.
    pub(crate) async fn open(broker: &Broker) -> Self {
        Self::resume(Raw::pipe(broker), broker.key(), fresh_session(), Vec::new()).await.0
    }

    /// A client over TCP, with a session of its own.
    pub(crate) async fn tcp(address: &str, key: &Key) -> Self {
        Self::resume(Raw::tcp(address).await, key, fresh_session(), Vec::new()).await.0
    }

    /// Opens `session` on `raw`; says whether the broker knew it.
    pub(crate) async fn resume(
        mut raw: Raw,
        key: &Key,
        session: SessionId,
        held: Vec<LeaseRange>,
    ) -> (Self, bool) {
        raw.handshake(key).await.unwrap();
        raw.say(&Request::Open { session, held, name: "test".to_owned() }).await;
        let heard = raw.hear().await;
        let Some(Response::Opened { resumed, next_seq, .. }) = heard else {
            panic!("not opened but {heard:?}")
        };
        let early = VecDeque::new();
        (Self { raw, session, next_seq, next_request: 1, early }, resumed)
    }

    pub(crate) fn request(&mut self) -> RequestId {
        self.next_request += 1;
        RequestId(self.next_request)
    }

    pub(crate) async fn say(&self, request: &Request) {
        self.raw.say(request).await;
    }

    pub(crate) async fn hear(&mut self) -> Response {
        match self.early.pop_front() {
            Some(early) => early,
            None => self.next().await,
        }
    }

    async fn next(&mut self) -> Response {
        self.raw.hear().await.expect("the connection goes on")
    }

    /// A submit of these payloads, to be said.
    pub(crate) fn submission(&mut self, queue: &str, payloads: &[&[u8]]) -> (RequestId, Request) {
        let mut block = Block::builder();
        payloads.iter().for_each(|payload| block.push(payload));
        let (request, first_seq) = (self.request(), self.next_seq);
        self.next_seq += payloads.len() as u64;
        let submit = Request::Submit {
            request,
            queue: name(queue),
            first_seq,
            options: JobOptions::new(name("test")),
            payloads: block.finish(),
            when_full: WhenFull::Refuse,
            notify: Notify::No,
        };
        (request, submit)
    }

    /// Submits jobs and waits for the answer: whether their queue is paused.
    pub(crate) async fn submit(
        &mut self,
        queue: &str,
        payloads: &[&[u8]],
    ) -> Result<bool, Rejection> {
        let (request, submit) = self.submission(queue, payloads);
        self.say(&submit).await;
        match self.hear().await {
            Response::Accepted { request: answered, paused, .. } if answered == request => {
                Ok(paused)
            }
            Response::Rejected { request: answered, rejection } if answered == request => {
                Err(rejection)
            }
            other => panic!("no answer to a submit: {other:?}"),
        }
    }

    pub(crate) async fn subscribe(&mut self, queue: &str, credit: u32) {
        let subscription = SubscriptionId(u32::try_from(self.request().0).unwrap());
        self.say(&Request::Subscribe { subscription, queue: name(queue), credit }).await;
    }

    pub(crate) async fn assigned(&mut self) -> Assigned {
        match self.hear().await {
            Response::Assign { first_lease, attempt, jobs, payloads, .. } => Assigned {
                leases: LeaseRange { first: first_lease, count: jobs.count },
                jobs,
                attempt,
                payloads: payloads.iter().collect(),
            },
            other => panic!("no job but {other:?}"),
        }
    }

    /// Acks leases with empty results: those of them that were lost before.
    pub(crate) async fn ack(&mut self, leases: LeaseRange) -> Result<Vec<LeaseRange>, Rejection> {
        let request = self.request();
        let outcome = Outcome::Ack { outputs: Block::empties(leases.count) };
        let settlements = vec![Settlement { leases, outcome }];
        self.say(&Request::Settle { request, settlements }).await;
        loop {
            match self.next().await {
                Response::Settled { request: answered, lost } if answered == request => {
                    return Ok(lost);
                }
                early @ Response::Assign { .. } => self.early.push_back(early),
                Response::Rejected { request: answered, rejection } if answered == request => {
                    return Err(rejection);
                }
                other => panic!("no answer to a settle: {other:?}"),
            }
        }
    }

    pub(crate) async fn admin(&mut self, verb: AdminVerb) -> Result<AdminAnswer, Rejection> {
        let request = self.request();
        self.say(&Request::Admin { request, verb }).await;
        match self.hear().await {
            Response::Admin { answer, .. } => Ok(answer),
            Response::Rejected { rejection, .. } => Err(rejection),
            other => panic!("no answer to an admin verb: {other:?}"),
        }
    }

    pub(crate) async fn set_queue(&mut self, queue: &str, settings: QueueSettings) {
        self.admin(AdminVerb::QueueSet { queue: name(queue), settings }).await.unwrap();
    }

    pub(crate) async fn pause(&mut self, queue: &str, pause: Pause, reason: &str) {
        let reason = reason.to_owned();
        self.admin(AdminVerb::QueuePause { queue: name(queue), pause, reason }).await.unwrap();
    }

    /// Shows that the broker serves this client: a job goes all the way round.
    pub(crate) async fn is_served(&mut self) {
        let queue = format!("served-{}-{}", self.session, self.next_seq);
        self.submit(&queue, &[b"hello"]).await.unwrap();
        self.subscribe(&queue, 1).await;
        let assigned = self.assigned().await;
        assert_eq!(assigned.payloads, [&b"hello"[..]]);
        assert_eq!(self.ack(assigned.leases).await.unwrap(), []);
        assert!(assigned.leases.first > LeaseId(0));
    }
}
