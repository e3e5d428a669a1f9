//! The bytes of every event of the journal, pinned: a change that breaks the data folder of a released
//! broker fails here.
//!
//! A line is `name: hex` of one event. `UPDATE_GOLDEN=1` writes the file anew; lines that are already
//! there may only ever change before a release. The matches have no `_`: a further variant does not
//! compile until it has a name, and fails until it has a sample.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::PathBuf;

use bytes::Bytes;
use ganger_machine::Event;
use ganger_machine::answers::Answer;
use ganger_machine::event::{Did, Fault, QueueCalled, StopCause, Verdict};
use ganger_machine::invoke::Called;
use ganger_machine::object::{Limits, Stage};
use ganger_machine::stated::{Jobs, Numbers, Standing, Stated, Totals};
use ganger_shared::admin::{Pause, QueueSettings};
use ganger_shared::key::KeyId;
use ganger_shared::prerequisite::{Need, OnFailure, Prerequisite};
use ganger_shared::{
    Block, By, CallError, DeathReason, Durability, Ending, Failure, JobId, JobOptions, JobRange,
    LeaseId, LeaseRange, Name, Packed, ResultsTo, SessionId, SubscriptionId, Time,
};

const AT: Time = Time::from_millis(1_700_000_000_000);
const SESSION: SessionId = SessionId(0x0123_4567_89ab_cdef);
const KEY: KeyId = KeyId([7; 8]);
const JOBS: JobRange = JobRange { first: JobId { session: SESSION, seq: 300 }, count: 2 };
const LIMITS: Limits = Limits { items_max: 1_000_000, bytes_max: 1 << 30 };
const SUBSCRIPTION: SubscriptionId = SubscriptionId(3);

fn event_name(event: &Event) -> String {
    match event {
        Event::QueueSet { .. } => "QueueSet".to_owned(),
        Event::QueuePaused { pause: None, .. } => "QueuePaused.on".to_owned(),
        Event::QueuePaused { pause: Some((pause, _)), .. } => format!("QueuePaused.{pause:?}"),
        Event::ListMade { .. } => "ListMade".to_owned(),
        Event::Submitted { .. } => "Submitted".to_owned(),
        Event::Due { .. } => "Due".to_owned(),
        Event::Granted { .. } => "Granted".to_owned(),
        Event::Stopping { cause, .. } => format!("Stopping.{cause:?}"),
        Event::Ended { verdict, .. } => format!("Ended.{}", verdict_name(verdict)),
        Event::Redriven { .. } => "Redriven".to_owned(),
        Event::Forgotten { .. } => "Forgotten".to_owned(),
        Event::Appended { .. } => "Appended".to_owned(),
        Event::Removed { .. } => "Removed".to_owned(),
        Event::ListSet { .. } => "ListSet".to_owned(),
        Event::ListWatched { .. } => "ListWatched".to_owned(),
        Event::QueueRemoved { .. } => "QueueRemoved".to_owned(),
        Event::SessionNamed { .. } => "SessionNamed".to_owned(),
        Event::Left { .. } => "Left".to_owned(),
        Event::Stated(stated) => format!("Stated.{}", stated_name(stated)),
        Event::ObjectMade { .. } => "ObjectMade".to_owned(),
        Event::Called(called) => format!("Called.{:?}.{:?}", called.stage, called.by),
        Event::Freed { .. } => "Freed".to_owned(),
        Event::Passed { .. } => "Passed".to_owned(),
        Event::ObjectRemoved { .. } => "ObjectRemoved".to_owned(),
        Event::Held { .. } => "Held".to_owned(),
        Event::Met { .. } => "Met".to_owned(),
        Event::QueueCalled(called) => match called.did {
            Did::Took { .. } => "QueueCalled.Took".to_owned(),
            Did::Done => "QueueCalled.Done".to_owned(),
            Did::ShutDown => "QueueCalled.ShutDown".to_owned(),
        },
    }
}

fn verdict_name(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Acked { .. } => "Acked".to_owned(),
        Verdict::Retried { fault, .. } => format!("Retried.{fault:?}"),
        Verdict::Released { .. } => "Released".to_owned(),
        Verdict::Dead { reason, .. } => format!("Dead.{reason:?}"),
        Verdict::Cancelled => "Cancelled".to_owned(),
        Verdict::Unmet { .. } => "Unmet".to_owned(),
    }
}

fn stated_name(stated: &Stated) -> String {
    match stated {
        Stated::Begins { .. } => "Begins".to_owned(),
        Stated::Queue { .. } => "Queue".to_owned(),
        Stated::List { .. } => "List".to_owned(),
        Stated::Session { .. } => "Session".to_owned(),
        Stated::Jobs(jobs) => format!(
            "Jobs.{}",
            match jobs.standing {
                Standing::Ready => "Ready",
                Standing::Delayed { .. } => "Delayed",
                Standing::Held { .. } => "Held",
                Standing::Leased { .. } => "Leased",
                Standing::Dead { .. } => "Dead",
            }
        ),
        Stated::Items { .. } => "Items".to_owned(),
        Stated::Ended { .. } => "Ended".to_owned(),
        Stated::Complete => "Complete".to_owned(),
        Stated::Values { .. } => "Values".to_owned(),
        Stated::Object { .. } => "Object".to_owned(),
        Stated::Part { .. } => "Part".to_owned(),
        Stated::Answered { .. } => "Answered".to_owned(),
        Stated::Fifo { .. } => "Fifo".to_owned(),
        Stated::Made { .. } => "Made".to_owned(),
        Stated::Watched { .. } => "Watched".to_owned(),
    }
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn payloads() -> Block {
    ["one", "three"].iter().collect()
}

fn failure() -> Failure {
    Failure::new("exit-1", "no such file")
}

fn settings() -> QueueSettings {
    QueueSettings {
        jobs_max: 10,
        bytes_max: 1 << 20,
        lease_ms: 30_000,
        dead_on: vec!["exit-2".to_owned()],
        durability: Durability::Strict,
    }
}

fn options() -> JobOptions {
    JobOptions {
        delay_ms: 5,
        ttl_ms: Some(60_000),
        deadline: Some(AT.plus_millis(1)),
        time_limit_ms: Some(700),
        results: ResultsTo::List(name("all")),
        ..JobOptions::new(name("resize"))
    }
}

fn endings() -> Vec<Event> {
    let until = AT.plus_millis(9);
    let dead = |reason| Verdict::Dead { reason, failure: Some((failure(), Fault::Handler)) };
    let verdicts = vec![
        Verdict::Acked { outputs: payloads() },
        Verdict::Retried { until, failure: failure(), fault: Fault::Handler },
        Verdict::Retried { until, failure: failure(), fault: Fault::Worker },
        Verdict::Released { until },
        dead(DeathReason::Handler),
        dead(DeathReason::RetriesUsedUp),
        dead(DeathReason::CrashesUsedUp),
        dead(DeathReason::Policy),
        Verdict::Dead { reason: DeathReason::TimeToLive, failure: None },
        Verdict::Dead { reason: DeathReason::Deadline, failure: None },
        Verdict::Cancelled,
        Verdict::Unmet { failure: failure() },
    ];
    verdicts.into_iter().map(|verdict| Event::Ended { at: AT, jobs: JOBS, verdict }).collect()
}

fn stated() -> Vec<Stated> {
    let jobs = |standing| {
        Stated::Jobs(Box::new(Jobs {
            jobs: JOBS,
            queue: name("thumbs"),
            options: options(),
            results: Some(name("all")),
            payloads: payloads(),
            submitted: AT,
            orders: (4, 5),
            counts: (3, 2, 1),
            failure: Some(failure()),
            standing,
        }))
    };
    // The next number is 9, and 4 to 6 were not used.
    let numbers: Numbers = postcard::from_bytes(&[9, 1, 4, 6, 2]).unwrap();
    vec![
        Stated::Begins { at: AT, next_lease: 1 << 60 },
        Stated::Queue {
            queue: name("thumbs"),
            settings: settings(),
            pause: Some((Pause::Delivery, "moving".to_owned())),
            next_order: 77,
            totals: Totals { submitted: 4, acked: 3, nacked: 2, crashed: 1 },
        },
        Stated::List {
            list: name("all"),
            durability: Durability::Relaxed,
            is_decided: true,
            end: 12,
            feeders: vec![(name("thumbs"), true)],
        },
        Stated::Session {
            session: SESSION,
            key: KEY,
            name: "ann@host".to_owned(),
            numbers,
            settled: vec![(1, 5), (9, 10)],
        },
        jobs(Standing::Ready),
        jobs(Standing::Delayed { until: AT }),
        jobs(Standing::Held { until: AT, prerequisites: prerequisites() }),
        jobs(Standing::Leased {
            first: LeaseId(500),
            session: SESSION,
            subscription: SUBSCRIPTION,
            since: AT,
            length_ms: 30_000,
            stopping: Some((StopCause::Request, AT)),
        }),
        jobs(Standing::Dead { reason: DeathReason::Policy, at: AT }),
        Stated::Items { list: name("all"), start: 10, jobs: Some(JOBS), items: payloads() },
        Stated::Ended {
            jobs: JOBS,
            queue: name("thumbs"),
            ending: Ending::Acked { outputs: payloads() },
            submitted: AT,
            counts: (1, 0, 0),
        },
        Stated::Complete,
        Stated::Values { list: name("all"), start: 10, values: arguments() },
        Stated::Object {
            object: name("seen"),
            typeid: name("set/1"),
            durability: Durability::Strict,
            revision: 3,
        },
        Stated::Part { object: name("seen"), part: Bytes::from_static(&[1, 0]) },
        Stated::Answered {
            session: SESSION,
            seq: 9,
            answer: Answer {
                results: Block::empties(2),
                errors: vec![(1, CallError::Index { index: -7, length: 3 })],
            },
        },
        Stated::Fifo { queue: name("thumbs"), taken: 300, is_shut_down: true },
        Stated::Made { object: name("seen"), made: AT },
        Stated::Watched { list: name("all"), made: AT, revision: 300 },
    ]
}

fn samples() -> Vec<Event> {
    let (queue, list) = (name("thumbs"), name("all"));
    let paused = |pause| Event::QueuePaused { queue: queue.clone(), pause };
    let stopping = |cause| Event::Stopping { jobs: JOBS, until: AT, cause };
    let mut samples = vec![
        Event::QueueSet { queue: queue.clone(), settings: settings() },
        paused(None),
        paused(Some((Pause::Delivery, "moving".to_owned()))),
        paused(Some((Pause::DeliveryAndSubmits, "moved".to_owned()))),
        Event::ListMade { list: list.clone(), durability: Durability::Strict },
        Event::Submitted {
            at: AT,
            key: KEY,
            queue: queue.clone(),
            jobs: JOBS,
            options: options(),
            payloads: payloads(),
        },
        Event::Due { jobs: JOBS },
        Event::Granted {
            at: AT,
            key: KEY,
            jobs: JOBS,
            leases: LeaseRange { first: LeaseId(500), count: 2 },
            session: SESSION,
            subscription: SUBSCRIPTION,
        },
        stopping(StopCause::Request),
        stopping(StopCause::Deadline),
    ];
    samples.extend(endings());
    samples.extend([
        Event::Redriven { at: AT, jobs: JOBS },
        Event::Forgotten { jobs: JOBS },
        Event::Appended {
            key: KEY,
            session: SESSION,
            seq: 8,
            list: list.clone(),
            items: payloads(),
        },
        Event::Removed { list: list.clone(), start: 10, count: 2 },
        Event::ListSet { list: list.clone(), durability: Durability::Relaxed, end: 12 },
        Event::ListWatched { at: AT, list },
        Event::SessionNamed { key: KEY, session: SESSION, name: "ann@host".to_owned() },
        Event::Left { session: SESSION },
    ]);
    samples.extend(stated().into_iter().map(Event::Stated));
    samples.extend(objects());
    samples
}

/// Encoded values: 7 and `hi`.
fn arguments() -> Block {
    [&[3, 14][..], &[6, 2, b'h', b'i']].iter().collect()
}

fn objects() -> Vec<Event> {
    let called = |stage, by| {
        Event::Called(Box::new(Called {
            at: AT,
            key: KEY,
            session: SESSION,
            by,
            object: name("seen"),
            method: "add".to_owned(),
            seq: Some(9),
            answered: 8,
            stage,
            first_token: 1 << 60,
            limits: LIMITS,
            args: arguments(),
        }))
    };
    let queue_called = |did| {
        Event::QueueCalled(Box::new(QueueCalled {
            at: AT,
            key: KEY,
            session: SESSION,
            queue: name("thumbs"),
            seq: 9,
            answered: 8,
            did,
        }))
    };
    let object = || name("seen");
    vec![
        Event::ObjectMade {
            at: AT,
            object: object(),
            typeid: name("set/1"),
            durability: Durability::Strict,
            limits: LIMITS,
            args: Bytes::from_static(&[8, 0]),
        },
        called(Stage::Made, By::Session),
        called(Stage::Told, By::Holder(3)),
        called(Stage::TimedOut, By::Lease(LeaseId(500))),
        Event::Freed { object: object(), session: SESSION, by: By::Lease(LeaseId(500)) },
        Event::Passed { at: AT, object: object() },
        Event::ObjectRemoved { object: object() },
        Event::QueueRemoved { queue: name("mail") },
        Event::Held { jobs: JOBS, prerequisites: prerequisites() },
        Event::Met { at: AT, jobs: JOBS, prerequisite: 1 },
        queue_called(Did::Took { job: JOBS.first, item: Packed::from(true) }),
        queue_called(Did::Done),
        queue_called(Did::ShutDown),
    ]
}

fn prerequisites() -> Vec<Prerequisite> {
    let (need, on_failure) = (Need::Any, OnFailure::Run);
    vec![
        Prerequisite::Jobs { jobs: vec![JOBS], need, on_failure },
        Prerequisite::Counter { object: name("done"), at_least: -3 },
        Prerequisite::List { list: name("all"), at_least: 300 },
    ]
}

fn hex(event: &Event) -> String {
    let bytes = postcard::to_stdvec(event).unwrap();
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn unhex(text: &str) -> Vec<u8> {
    let byte = |i| u8::from_str_radix(&text[i..i + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(byte).collect()
}

#[test]
fn bytes_of_events_are_as_released() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/events.hex");
    let samples = samples();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let lines = samples.iter().map(|event| format!("{}: {}\n", event_name(event), hex(event)));
        std::fs::write(&path, lines.collect::<String>()).unwrap();
    }
    let text = std::fs::read_to_string(&path).unwrap();
    let pinned: Vec<(&str, &str)> = text.lines().filter_map(|line| line.split_once(": ")).collect();
    let names: Vec<String> = samples.iter().map(event_name).collect();
    assert_eq!(pinned.iter().map(|(name, _)| *name).collect::<Vec<_>>(), names);
    for ((name, line), event) in pinned.into_iter().zip(&samples) {
        assert_eq!(hex(event), line, "{name} is encoded differently");
        let decoded: Event = postcard::from_bytes(&unhex(line)).unwrap();
        assert_eq!(&decoded, event, "{name} decodes differently");
    }
}

#[test]
fn every_variant_of_an_event_is_pinned() {
    // Postcard numbers variants by their place, from 0.
    let numbers = |bytes: &dyn Fn(&Event) -> Option<u8>| -> BTreeSet<u8> {
        samples().iter().filter_map(bytes).collect()
    };
    let events = numbers(&|event| Some(postcard::to_stdvec(event).unwrap()[0]));
    assert_eq!(events, (0..=25).collect(), "events");
    let stated = numbers(&|event| match event {
        Event::Stated(stated) => Some(postcard::to_stdvec(stated).unwrap()[0]),
        _ => None,
    });
    assert_eq!(stated, (0..=14).collect(), "parts of a restatement");
    let done = numbers(&|event| match event {
        Event::QueueCalled(called) => Some(postcard::to_stdvec(&called.did).unwrap()[0]),
        _ => None,
    });
    assert_eq!(done, (0..=2).collect(), "what calls do with queues");
    let verdicts = numbers(&|event| match event {
        Event::Ended { verdict, .. } => Some(postcard::to_stdvec(verdict).unwrap()[0]),
        _ => None,
    });
    assert_eq!(verdicts, (0..=5).collect(), "verdicts");
}
