//! One message of every variant, named after it: what the golden files pin and the damage tests
//! damage.
//!
//! `variants!` lists an enum's variants in the order of their numbers. Its match has no `_`, so a
//! further variant does not compile until it is listed, and once listed it fails the golden test
//! until it has a sample.

use bytes::Bytes;
use ganger_shared::admin::{
    AdminAnswer, AdminVerb, DeadWhich, HolderInfo, JobInfo, JobState, ListInfo, ObjectDetails,
    ObjectInfo, Pause, QueueInfo, QueueSettings, SessionInfo, Status, WaiterInfo,
};
use ganger_shared::handshake::{BrokerChallenge, ClientHello, Handshake};
use ganger_shared::key::{Key, KeyId};
use ganger_shared::prerequisite::{Need, OnFailure, Pending, Prerequisite};
use ganger_shared::request::{Notify, WhenFull};
use ganger_shared::response::{Items, Terms};
use ganger_shared::*;

/// An enum of the protocol whose variants are known by name.
pub(crate) trait Variants {
    /// Every variant's name, in the order of their numbers.
    const NAMES: &[&str];

    /// The name of this one.
    fn name(&self) -> &'static str;
}

macro_rules! variants {
    ($($type:ident: $($variant:ident)*;)*) => {$(
        impl Variants for $type {
            const NAMES: &[&str] = &[$(stringify!($variant)),*];

            fn name(&self) -> &'static str {
                match self {
                    $(Self::$variant { .. } => stringify!($variant)),*
                }
            }
        }
    )*};
}

variants! {
    Handshake: Hello Challenge Proof Welcome Refused;
    Request: Open Heartbeat Submit Subscribe Credit Unsubscribe Settle Progress Wait Append Pop
        Confirm Range Follow Cancel Admin Close Use Call Finish SubmitWhen Watch;
    Response: Opened Heartbeat Accepted Rejected Assign Unsubscribed Settled CancelRun Fenced
        Finished Length Items Followed Cancelled Admin Goodbye NotSubscribed Using Returned
        Watching Changed;
    Outcome: Ack Nack Dead Release Crash;
    Ending: Acked Dead Cancelled Unknown;
    Rejection: QueueFull Paused NotFound TooLarge TooMany MemoryFull ListFull TooOld Overlap
        NotYours Durability Invalid Conflict StorageFull WrongType NoType NoMethod Schema LeaseLost
        Effect NotACaller Forgotten;
    Effect: Call Submit SubmitWhen;
    Prerequisite: Jobs Counter List;
    AdminVerb: Status QueueList QueueShow QueueSet QueuePause QueueResume QueuePurge QueuePeek
        JobShow DeadList DeadRetry DeadPurge ListList ListPurge SessionList ListSet ObjectList ObjectShow
        ObjectRemove ObjectMake QueueRemove;
    AdminAnswer: Done Status Queues Queue Jobs Lists Sessions Objects Object;
    By: Session Holder Lease;
    CallError: Index Key Absent Type Value Empty Full Revision NotHeld StaleToken Deadlock Broken
        ShutDown Removed Poisoned User;
    JobState: Ready Delayed Leased Dead Acked Cancelled Held;
    DeathReason: Handler RetriesUsedUp CrashesUsedUp Policy TimeToLive Deadline Dependency;
    Need: All Any;
    OnFailure: Fail Run;
    ResultsTo: QueueList List Nowhere;
    What: Number Value Key Cleared Anew Spliced;
    Durability: Memory Relaxed Strict;
    WhenFull: Refuse Wait;
    Notify: No Finished;
    Pause: Delivery DeliveryAndSubmits;
    DeadWhich: Jobs Queue;
}

/// The key of the samples; a text that any client can be tested with.
pub(crate) fn key() -> Key {
    format!("gk1_{}", "07".repeat(32)).parse().unwrap()
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

const SESSION: SessionId = SessionId(0x0123_4567_89ab_cdef);
const QUEUE: &str = "thumbs";
const AT: Time = Time::from_millis(1_700_000_000_000);

fn job(seq: u64) -> JobId {
    JobId { session: SESSION, seq }
}

fn jobs(seq: u64, count: u32) -> JobRange {
    JobRange { first: job(seq), count }
}

fn leases(first: u64, count: u32) -> LeaseRange {
    LeaseRange { first: LeaseId(first), count }
}

fn failure() -> Failure {
    Failure::new("exit-1", "convert: no such file `å.png`")
}

fn alike() -> Block {
    ["a.png", "b.png"].iter().collect()
}

fn unlike() -> Block {
    ["", "ok", "a longer one"].iter().collect()
}

fn all_options() -> JobOptions {
    JobOptions {
        handler: name("resize"),
        priority: Priority::new(9).unwrap(),
        delay_ms: 1_000,
        ttl_ms: Some(60_000),
        deadline: Some(AT),
        time_limit_ms: Some(5_000),
        retries: 5,
        crash_retries: 1,
        backoff: Backoff { base_ms: 250, cap_ms: 10_000 },
        results: ResultsTo::List(name("thumbs/done")),
    }
}

fn settings() -> QueueSettings {
    QueueSettings {
        jobs_max: 1_000_000,
        bytes_max: 1 << 30,
        lease_ms: 30_000,
        dead_on: vec!["exit-2".to_owned()],
        durability: Durability::Strict,
    }
}

/// A name and a message, as a line of a golden file has them.
pub(crate) type Sample<T> = (String, T);

/// The handshake with [`key`], the client's nonce all 01 and the broker's all 02.
pub(crate) fn handshakes() -> Vec<Sample<Handshake>> {
    let (client, hello) = ClientHello::start(key(), [1; 32]);
    let (_, challenge) = BrokerChallenge::handle(hello.clone(), &[key()], &key(), [2; 32]).unwrap();
    let (_, proof) = client.handle(challenge.clone()).unwrap();
    let refused = Handshake::refused("the key was not accepted");
    [hello, challenge, proof, Handshake::Welcome, refused]
        .map(|message| (message.name().to_owned(), message))
        .into()
}

pub(crate) fn requests() -> Vec<Sample<Request>> {
    let request = RequestId(300);
    let subscription = SubscriptionId(1);
    let mut samples = Vec::new();
    let mut add = |detail: &str, message: Request| {
        let dot = if detail.is_empty() { "" } else { "." };
        samples.push((format!("{}{dot}{detail}", message.name()), message));
    };

    let open = |held| Request::Open { session: SESSION, held, name: "worker host-1 4711".into() };
    add("", open(vec![]));
    add("resume", open(vec![leases(7, 1), leases(40, 3)]));
    add("", Request::Heartbeat);
    for (when_full, notify, options, payloads) in [
        (WhenFull::Refuse, Notify::No, JobOptions::new(name("resize")), alike()),
        (WhenFull::Wait, Notify::Finished, all_options(), unlike()),
        (
            WhenFull::Refuse,
            Notify::Finished,
            JobOptions { results: ResultsTo::Nowhere, ..JobOptions::new(name("ping")) },
            Block::one("x"),
        ),
    ] {
        let detail = [when_full.name(), notify.name(), options.results.name()].join(".");
        let queue = name(QUEUE);
        add(
            &detail,
            Request::Submit { request, queue, first_seq: 42, options, payloads, when_full, notify },
        );
    }
    add("", Request::Subscribe { subscription, queue: name(QUEUE), credit: 64 });
    add("", Request::Credit { subscription, add: 128 });
    add("", Request::Unsubscribe { subscription });

    let outcomes = [
        Outcome::Ack { outputs: alike() },
        Outcome::Nack { failure: failure(), retry_after_ms: None },
        Outcome::Dead { failure: failure() },
        Outcome::Release { delay_ms: 500 },
        Outcome::Crash { failure: Failure::new("panic", "index out of bounds") },
    ];
    let mut settlements = Vec::new();
    for (first, outcome) in (10..).step_by(10).zip(outcomes) {
        let detail = outcome.name();
        let settlement = Settlement { leases: leases(first, 2), outcome };
        settlements.push(settlement.clone());
        add(detail, Request::Settle { request, settlements: vec![settlement] });
    }
    add("many", Request::Settle { request, settlements });

    add("", Request::Progress { lease: LeaseId(7), done: 3, total: 10, note: "third page".into() });
    add("", Request::Wait { request, jobs: jobs(42, 2) });
    add("", Request::Append { request, list: name("log"), seq: 44, items: unlike() });
    add(
        "",
        Request::Pop {
            request,
            list: name("thumbs.results"),
            receipt: 2,
            confirmed: 1,
            max: 100,
            wait_ms: 30_000,
        },
    );
    add("", Request::Confirm { list: name("thumbs.results"), receipt: 2 });
    add("", Request::Range { request, list: name("log"), start: -10, count: 10 });
    add("", Request::Follow { request, subscription, list: name("log"), start: 0, window: 256 });
    add("", Request::Cancel { request, jobs: jobs(42, 1) });
    for (detail, verb) in verbs() {
        add(&detail, Request::Admin { request, verb });
    }
    add("", Request::Close);
    let finish = |effects| Request::Finish {
        request,
        lease: LeaseId(7),
        output: Bytes::from_static(b"done"),
        effects,
    };
    add("", finish(vec![]));
    let call = Effect::Call {
        object: name("seen"),
        typeid: Some(name("set/1")),
        method: "add".into(),
        args: Bytes::from_static(&[3, 14]),
    };
    let submit = Effect::Submit {
        queue: name(QUEUE),
        first_seq: 300,
        options: all_options(),
        payloads: alike(),
    };
    let submit_when = Effect::SubmitWhen {
        queue: name(QUEUE),
        first_seq: 300,
        options: all_options(),
        payloads: alike(),
        prerequisites: prerequisites(),
    };
    add(
        "",
        Request::SubmitWhen {
            request,
            queue: name(QUEUE),
            first_seq: 300,
            options: all_options(),
            payloads: alike(),
            when_full: WhenFull::Wait,
            notify: Notify::Finished,
            prerequisites: prerequisites(),
        },
    );
    for effect in [call, submit, submit_when] {
        add(effect.name(), finish(vec![effect.clone()]));
    }
    let used = |object, durability, args| Request::Use {
        request,
        object,
        typeid: name("semaphore/1"),
        schema: None,
        args,
        durability,
    };
    add("", used(Some(name("slots")), None, Bytes::from_static(&[3, 4])));
    add("unnamed", used(None, Some(Durability::Memory), Bytes::new()));
    for by in [By::Session, By::Holder(3), By::Lease(LeaseId(7))] {
        let (read, detail) = (by == By::Session, by.name());
        let call = Request::Call {
            request,
            object: name("seen"),
            typeid: (!read).then(|| name("set/1")),
            method: if read { "contains" } else { "add" }.into(),
            seq: (!read).then_some(300),
            answered: 298,
            by,
            wait_ms: 0,
            args: values(),
        };
        add(detail, call);
    }
    let watch = |made, from| Request::Watch {
        request,
        subscription,
        object: name("seen"),
        made,
        from,
        window: 256,
    };
    add("", watch(None, None));
    add("from", watch(Some(AT), Some(300)));
    samples
}

fn verbs() -> Vec<Sample<AdminVerb>> {
    let queue = name(QUEUE);
    let mut samples = Vec::new();
    let mut add = |verb: AdminVerb| samples.push((verb.name().to_owned(), verb));
    add(AdminVerb::Status);
    add(AdminVerb::QueueList);
    add(AdminVerb::QueueShow { queue: queue.clone() });
    add(AdminVerb::QueueSet { queue: queue.clone(), settings: settings() });
    add(AdminVerb::QueueResume { queue: queue.clone() });
    add(AdminVerb::QueuePurge { queue: queue.clone() });
    add(AdminVerb::QueuePeek { queue: queue.clone(), count: 5 });
    add(AdminVerb::JobShow { job: job(42) });
    add(AdminVerb::DeadList { queue: queue.clone(), skip: 100, count: 50 });
    add(AdminVerb::DeadPurge { which: DeadWhich::Queue(queue.clone()) });
    add(AdminVerb::ListList);
    add(AdminVerb::ListPurge { list: name("log") });
    add(AdminVerb::SessionList);
    add(AdminVerb::ObjectList);
    add(AdminVerb::ObjectShow { object: name("seen") });
    add(AdminVerb::ObjectRemove { object: name("seen") });
    add(AdminVerb::QueueRemove { queue: queue.clone() });
    for pause in [Pause::Delivery, Pause::DeliveryAndSubmits] {
        let reason = "provider down".to_owned();
        let detail = format!("QueuePause.{}", pause.name());
        samples.push((detail, AdminVerb::QueuePause { queue: queue.clone(), pause, reason }));
    }
    for which in [DeadWhich::Jobs(jobs(42, 2)), DeadWhich::Queue(queue)] {
        samples.push((format!("DeadRetry.{}", which.name()), AdminVerb::DeadRetry { which }));
    }
    for (detail, durability) in [("ListSet", None), ("ListSet.Strict", Some(Durability::Strict))] {
        samples.push((detail.to_owned(), AdminVerb::ListSet { list: name("log"), durability }));
    }
    let (object, typeid, durability) = (name("visits"), name("counter/1"), None);
    let args = Value::from(5).pack().unwrap().into_bytes();
    let make = AdminVerb::ObjectMake { object, typeid, args, durability };
    samples.push(("ObjectMake".to_owned(), make));
    samples
}

pub(crate) fn responses() -> Vec<Sample<Response>> {
    let request = RequestId(300);
    let subscription = SubscriptionId(1);
    let mut samples = Vec::new();
    let mut add = |detail: &str, message: Response| {
        let dot = if detail.is_empty() { "" } else { "." };
        samples.push((format!("{}{dot}{detail}", message.name()), message));
    };

    let terms = Terms {
        heartbeat_ms: 10_000,
        grace_ms: 1_000,
        frame_bytes_max: 64 << 20,
        payload_bytes_max: 16 << 20,
    };
    add("", Response::Opened { resumed: false, next_seq: 0, terms });
    add("resumed", Response::Opened { resumed: true, next_seq: 44, terms });
    add("", Response::Heartbeat);
    for durability in [Durability::Memory, Durability::Relaxed, Durability::Strict] {
        let paused = durability == Durability::Relaxed;
        add(durability.name(), Response::Accepted { request, durability, paused });
    }
    for rejection in rejections() {
        add(rejection.name(), Response::Rejected { request, rejection });
    }
    for (detail, handler, deadline, time_limit_ms, payloads) in
        [("", "resize", None, None, alike()), ("limits", "resize", Some(AT), Some(5_000), unlike())]
    {
        let jobs = jobs(42, payloads.count());
        add(
            detail,
            Response::Assign {
                subscription,
                first_lease: LeaseId(7),
                attempt: 1,
                jobs,
                handler: name(handler),
                deadline,
                time_limit_ms,
                payloads,
            },
        );
    }
    add("", Response::Unsubscribed { subscription });
    add("", Response::Settled { request, lost: vec![] });
    add("lost", Response::Settled { request, lost: vec![leases(7, 1), leases(9, 2)] });
    add("", Response::CancelRun { lease: LeaseId(7), until: AT });
    add("", Response::Fenced { leases: leases(7, 2) });
    for (detail, ending) in endings() {
        add(&detail, Response::Finished { request, jobs: jobs(42, 2), ending });
    }
    add("", Response::Length { request, length: 12 });
    let items = vec![
        Items { jobs: Some(jobs(42, 2)), block: alike() },
        Items { jobs: None, block: Block::one("by hand") },
    ];
    add("", Response::Items { request, start: 9, length: 0, items: items.clone() });
    add("none", Response::Items { request, start: 9, length: 0, items: vec![] });
    add("", Response::Followed { subscription, start: 9, items });
    add("", Response::Cancelled { request, ended: 1, told: 2, unknown: 3 });
    for (detail, answer) in answers() {
        add(&detail, Response::Admin { request, answer });
    }
    let refused = Rejection::NotFound { what: "queue".into(), name: QUEUE.into() };
    add("", Response::NotSubscribed { subscription, rejection: refused });
    for is_new in [true, false] {
        let (object, durability) = (name("seen"), Durability::Strict);
        let detail = if is_new { "new" } else { "" };
        add(detail, Response::Using { request, object, durability, is_new });
    }
    add("", Response::Returned { request, results: values(), errors: vec![] });
    for error in call_errors() {
        let detail = error.name();
        let errors = vec![(1, error)];
        add(detail, Response::Returned { request, results: Block::empties(2), errors });
    }
    add("", Response::Watching { request, made: AT, revision: 300 });
    for what in whats() {
        let gone = matches!(what, What::Key { value: None, .. });
        let detail = if gone { "Key.gone" } else { what.name() };
        let changes = vec![Change { revision: 300, what }];
        add(detail, Response::Changed { subscription, changes });
    }
    add("", Response::Goodbye { reason: "stopping".into(), come_back: true });
    samples
}

fn prerequisites() -> Vec<Prerequisite> {
    let jobs = vec![JobRange { first: job(300), count: 2 }];
    let jobs = Prerequisite::Jobs { jobs, need: Need::Any, on_failure: OnFailure::Run };
    let counter = Prerequisite::Counter { object: name("done"), at_least: -3 };
    vec![jobs, counter, Prerequisite::List { list: name("log"), at_least: 300 }]
}

fn whats() -> Vec<What> {
    let key = Packed::from("k");
    vec![
        What::Number(-3),
        What::Value(Packed::from(7_i64)),
        What::Key { key: key.clone(), value: Some(Packed::from("hi")) },
        What::Key { key, value: None },
        What::Cleared,
        What::Anew,
        What::Spliced { at: 300, removed: 2, items: vec![Packed::from("hi")] },
    ]
}

fn endings() -> Vec<Sample<Ending>> {
    let mut samples = Vec::new();
    for ending in [Ending::Acked { outputs: alike() }, Ending::Cancelled, Ending::Unknown] {
        samples.push((ending.name().to_owned(), ending));
    }
    for (reason, failure) in [
        (DeathReason::Handler, Some(failure())),
        (DeathReason::RetriesUsedUp, Some(failure())),
        (DeathReason::CrashesUsedUp, None),
        (DeathReason::Policy, Some(failure())),
        (DeathReason::TimeToLive, None),
        (DeathReason::Deadline, None),
        (DeathReason::Dependency, Some(failure())),
    ] {
        samples.push((format!("Dead.{}", reason.name()), Ending::Dead { reason, failure }));
    }
    samples
}

/// Encoded values: 7 and `hi`.
fn values() -> Block {
    [&[3, 14][..], &[6, 2, b'h', b'i']].iter().collect()
}

fn call_errors() -> Vec<CallError> {
    vec![
        CallError::Index { index: -7, length: 3 },
        CallError::Key { key: "\"k\"".into() },
        CallError::Absent { value: "[1]".into() },
        CallError::Type("a list is wanted".into()),
        CallError::Value("a slice with step 0".into()),
        CallError::Empty,
        CallError::Full { used: 10, limit: 10, unit: "items".into() },
        CallError::Revision { wanted: 3, revision: 4 },
        CallError::NotHeld("nobody holds it".into()),
        CallError::StaleToken { token: 8, latest: 9 },
        CallError::Deadlock("a is held by session 1".into()),
        CallError::Broken,
        CallError::ShutDown,
        CallError::Removed,
        CallError::Poisoned("index out of bounds".into()),
        CallError::User { message: "sold out".into(), value: Packed::from("SoldOut") },
    ]
}

fn rejections() -> [Rejection; 22] {
    let queue = name(QUEUE);
    [
        Rejection::QueueFull { queue: queue.clone(), used: 99, limit: 100, unit: "jobs".into() },
        Rejection::Paused { queue, reason: "provider down".into() },
        Rejection::NotFound { what: "queue".into(), name: "thumb".into() },
        Rejection::TooLarge { size: 20 << 20, limit: 16 << 20 },
        Rejection::TooMany { what: "subscriptions of a session".into(), limit: 65_536 },
        Rejection::MemoryFull { used: 5 << 30, limit: 4 << 30 },
        Rejection::StorageFull { needed: 8_192, left: 0 },
        Rejection::ListFull { list: name("log"), used: 100, limit: 100, unit: "items".into() },
        Rejection::TooOld { seq: 3, floor: 1_000 },
        Rejection::Overlap { first: 3, last: 8 },
        Rejection::NotYours,
        Rejection::Durability { durability: Durability::Strict, reason: "no journal".into() },
        Rejection::Invalid("a submit without jobs".into()),
        Rejection::Conflict("subscription 1 is in use".into()),
        Rejection::WrongType { name: name("seen"), is: name("set/1"), wanted: name("dict/1") },
        Rejection::NoType { typeid: name("map/1"), types: vec!["dict/1".into()] },
        Rejection::NoMethod {
            typeid: name("set/1"),
            method: "append".into(),
            methods: vec!["add".into(), "pop".into()],
        },
        Rejection::Schema {
            typeid: name("inventory/1"),
            client: "0011aabb".into(),
            broker: "ccdd2233".into(),
        },
        Rejection::LeaseLost { lease: LeaseId(7) },
        Rejection::Effect {
            effect: 1,
            about: "seen.add".into(),
            reason: "it is empty".into(),
            error: Some(Box::new(CallError::Empty)),
        },
        Rejection::NotACaller { name: name("seen"), key: KeyId([7; 8]) },
        Rejection::Forgotten { object: name("seen"), from: 3, since: 300 },
    ]
}

fn answers() -> Vec<Sample<AdminAnswer>> {
    let mut samples: Vec<_> = [
        AdminAnswer::Done { count: 3 },
        AdminAnswer::Status(Status {
            version: "0.1.0".into(),
            started: AT,
            now: AT.plus_millis(60_000),
            durability: Durability::Strict,
            sessions: 1,
            queues: 2,
            waiting: 3,
            leased: 4,
            dead: 5,
            payload_bytes: 600,
            payload_bytes_max: 4 << 30,
            submitted: 7,
            acked: 8,
            nacked: 9,
            crashed: 10,
        }),
        AdminAnswer::Queues(vec![queue_info(None), queue_info(Some(Pause::Delivery))]),
        AdminAnswer::Queue(Box::new(queue_info(Some(Pause::DeliveryAndSubmits)))),
        AdminAnswer::Lists(vec![ListInfo {
            name: name("log"),
            length: 1,
            start: 2,
            bytes: 300,
            unconfirmed: 4,
            followers: 5,
            items_max: 1_000_000,
            bytes_max: 1 << 30,
            durability: Durability::Relaxed,
        }]),
        AdminAnswer::Sessions(vec![SessionInfo {
            session: SESSION,
            name: "worker host-1 4711".into(),
            connected: true,
            seen: AT,
            leases: 2,
            subscriptions: 1,
        }]),
        AdminAnswer::Objects(vec![object_info()]),
        AdminAnswer::Object(Box::new(ObjectDetails {
            info: object_info(),
            holders: vec![HolderInfo {
                token: 9,
                count: 1,
                session: SESSION,
                name: "worker host-1 4711".into(),
                by: By::Lease(LeaseId(7)),
                job: Some(job(42)),
                since: AT,
            }],
            waiters: vec![WaiterInfo {
                method: "acquire".into(),
                session: SESSION,
                name: "ganger host-2 12".into(),
                by: By::Session,
                since: AT,
                until: AT.plus_millis(5_000),
            }],
        })),
    ]
    .map(|answer| (answer.name().to_owned(), answer))
    .into();
    let since = AT;
    for state in [
        JobState::Ready,
        JobState::Delayed { until: AT },
        JobState::Leased {
            lease: LeaseId(7),
            session: SESSION,
            worker: "worker host-1 4711".into(),
            since,
            expires: since.plus_millis(30_000),
            cancelling: false,
            progress: Some((3, 10, "third page".into())),
        },
        JobState::Dead { reason: DeathReason::RetriesUsedUp, at: AT },
        JobState::Acked { output_bytes: 10 },
        JobState::Cancelled,
        JobState::Held {
            waits_for: vec![Pending { prerequisite: prerequisites().remove(1), have: 2 }],
        },
    ] {
        let detail = format!("Jobs.{}", state.name());
        let ended = matches!(state, JobState::Acked { .. } | JobState::Cancelled);
        let info = JobInfo {
            job: job(42),
            queue: name(QUEUE),
            state,
            options: (!ended).then(all_options),
            submitted: AT,
            attempts: 3,
            failures: 2,
            crashes: 1,
            failure: Some(failure()),
            payload: b"a.png".to_vec(),
            payload_bytes: 5,
        };
        samples.push((detail, AdminAnswer::Jobs(vec![info])));
    }
    samples
}

fn object_info() -> ObjectInfo {
    ObjectInfo {
        name: name("slot"),
        typeid: name("lock/1"),
        durability: Durability::Strict,
        revision: 5,
        items: 1,
        bytes: 48,
        holders: 1,
        waiting: 1,
    }
}

fn queue_info(paused: Option<Pause>) -> QueueInfo {
    QueueInfo {
        name: name(QUEUE),
        settings: settings(),
        pause_reason: paused.map_or("", |_| "provider down").to_owned(),
        oldest_ready: paused.map(|_| AT),
        held_by_list: paused.map(|_| name("thumbs.results")),
        paused,
        ready: 1,
        delayed: 2,
        leased: 3,
        dead: 4,
        bytes: 500,
        submits_waiting: 6,
        subscribers: 7,
        credit: 8,
        submitted: 9,
        acked: 10,
        nacked: 11,
        crashed: 12,
        held: 13,
    }
}
