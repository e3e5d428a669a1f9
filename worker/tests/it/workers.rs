//! Handlers at work.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_channel::{Receiver, Sender, bounded};
use bytes::Bytes;
use ganger_shared::{DeathReason, Ending, Rejection};
use ganger_worker::{Ctx, Error, JobError, JobFailed, StopReason, UnknownHandler, Worker};

use crate::support::{connect, run, start_with_known_queue, with_broker};

#[test]
fn typed_handler_answers_typed_submits() {
    async fn square(number: u64, _: Ctx) -> Result<u64, JobError> {
        Ok(number * number)
    }
    with_broker(|broker, client| async move {
        let worker = Worker::new(connect(&broker).await).queue("q").concurrency(4);
        let drainer = worker.drainer();
        let working = ganger_rt::spawn(worker.handle("square", square).run());
        let queue = client.queue("q").unwrap();
        for number in 0..20_u64 {
            let job = queue.submit_json(&number).handler("square").notify().await.unwrap();
            assert_eq!(job.result_json::<u64>().await.unwrap(), number * number);
        }
        drainer.drain();
        working.await.unwrap();
    });
}

#[test]
fn handlers_share_state_by_type() {
    async fn count(_: (), ctx: Ctx) -> Result<u32, JobError> {
        Ok(ctx.state::<AtomicU32>().fetch_add(1, Ordering::Relaxed))
    }
    with_broker(|broker, client| async move {
        let worker = Worker::new(connect(&broker).await).queue("q").state(AtomicU32::new(7));
        let _working = ganger_rt::spawn(worker.handle("q", count).run());
        let queue = client.queue("q").unwrap();
        for expected in ["7", "8"] {
            assert_eq!(queue.submit("null").result().await.unwrap(), expected);
        }
    });
}

#[test]
fn panic_counts_as_a_crash_and_not_as_a_failure() {
    async fn fall(_: (), _: Ctx) -> Result<(), JobError> {
        panic!("over the edge")
    }
    with_broker(|broker, client| async move {
        let worker = Worker::new(connect(&broker).await).queue("q").handle("q", fall);
        let _working = ganger_rt::spawn(worker.run());
        let job = client.submit("q", "null").retries(9).crash_retries(1).notify().await.unwrap();
        match job.result().await {
            Err(JobFailed::Dead { reason, failure: Some(failure), .. }) => {
                assert_eq!(reason, DeathReason::CrashesUsedUp);
                assert_eq!((&failure.kind[..], &failure.message[..]), ("panic", "over the edge"));
            }
            other => panic!("expected a dead letter: {other:?}"),
        }
    });
}

#[test]
fn failing_handler_is_tried_again_until_its_retries_are_used_up() {
    async fn fail(_: Bytes, ctx: Ctx) -> Result<Bytes, JobError> {
        let message = format!("attempt {}", ctx.attempt());
        Err(JobError::retry_after("flaky", &message, Duration::ZERO))
    }
    with_broker(|broker, client| async move {
        let worker = Worker::new(connect(&broker).await).queue("q").handle_bytes("q", fail);
        let _working = ganger_rt::spawn(worker.run());
        let job = client.submit("q", "").retries(2).notify().await.unwrap();
        match job.result().await {
            Err(JobFailed::Dead { reason, failure: Some(failure), .. }) => {
                assert_eq!(reason, DeathReason::RetriesUsedUp);
                assert_eq!(failure.message, "attempt 3");
            }
            other => panic!("expected a dead letter: {other:?}"),
        }
    });
}

#[test]
fn unknown_handler_makes_a_dead_letter_where_the_policy_says_so() {
    with_broker(|broker, client| async move {
        let worker = Worker::new(connect(&broker).await).queue("q");
        let _working = ganger_rt::spawn(worker.unknown_handler(UnknownHandler::Dead).run());
        match client.submit("q", "").handler("nobody").result().await {
            Err(JobFailed::Dead { failure: Some(failure), .. }) => {
                assert_eq!(failure.kind, "unknown-handler");
            }
            other => panic!("expected a dead letter: {other:?}"),
        }
    });
}

#[test]
fn blocking_handlers_run_side_by_side_and_not_on_the_runtime() {
    with_broker(|broker, client| async move {
        // Each of two jobs waits for the other one: one thread could not do it.
        let meet = Arc::new(std::sync::Barrier::new(2));
        let worker = Worker::new(connect(&broker).await).queue("q").concurrency(2);
        let worker = worker.blocking("q", move |_: (), _| {
            meet.wait();
            Ok::<_, JobError>(())
        });
        let _working = ganger_rt::spawn(worker.run());
        let jobs = client.submit_many("q", ["null", "null"]).notify().await.unwrap();
        jobs.into_endings().unwrap().results().await.unwrap();
    });
}

/// A handler that says when it starts and then waits until it is told to stop, and why.
fn waiting(
    started: Sender<()>,
    stopped: Sender<StopReason>,
) -> impl Fn(Bytes, Ctx) -> std::pin::Pin<Box<dyn Future<Output = Result<Bytes, JobError>> + Send>>
+ Send
+ Sync
+ 'static {
    move |_, ctx| {
        let (started, stopped) = (started.clone(), stopped.clone());
        Box::pin(async move {
            started.send(()).await.unwrap();
            let reason = ctx.cancelled().await;
            stopped.send(reason).await.unwrap();
            Err(JobError::release(Duration::ZERO))
        })
    }
}

fn waiting_worker(client: ganger_worker::Client) -> (Worker, Receiver<()>, Receiver<StopReason>) {
    let ((started, starts), (stopped, stops)) = (bounded(8), bounded(8));
    let worker = Worker::new(client).queue("q").handle_bytes("q", waiting(started, stopped));
    (worker, starts, stops)
}

#[test]
fn cancelled_job_tells_its_handler_and_ends_as_cancelled() {
    with_broker(|broker, client| async move {
        let (worker, starts, stops) = waiting_worker(connect(&broker).await);
        let _working = ganger_rt::spawn(worker.run());
        let job = client.submit("q", "").notify().await.unwrap();
        starts.recv().await.unwrap();
        assert_eq!(job.cancel().await.unwrap().told, 1);
        assert_eq!(stops.recv().await.unwrap(), StopReason::Cancelled);
        assert!(matches!(job.result().await, Err(JobFailed::Cancelled { .. })));
    });
}

#[test]
fn draining_worker_finishes_what_it_has_begun_and_takes_nothing_more() {
    with_broker(|broker, client| async move {
        let (go, gate) = bounded::<()>(1);
        let (started, starts) = bounded(1);
        let worker =
            Worker::new(connect(&broker).await).queue("q").handle_bytes("q", move |_, _| {
                let (started, gate) = (started.clone(), gate.clone());
                async move {
                    started.send(()).await.unwrap();
                    gate.recv().await.unwrap();
                    Ok::<_, JobError>("done")
                }
            });
        let drainer = worker.drainer();
        let working = ganger_rt::spawn(worker.run());
        let queue = client.queue("q").unwrap();
        let first = queue.submit("").notify().await.unwrap();
        starts.recv().await.unwrap();
        drainer.drain();
        // Accepted after the worker was told, so it must be left for others.
        ganger_rt::yield_now().await;
        let second = queue.submit("").notify().await.unwrap();
        go.send(()).await.unwrap();
        working.await.unwrap();
        assert_eq!(first.result().await.unwrap(), "done");
        let subscription = queue.subscribe(1);
        let delivery = subscription.pull().await.unwrap().unwrap();
        assert_eq!((delivery.job(), delivery.attempt()), (second.id(), 1));
        delivery.ack("").await.unwrap();
    });
}

#[test]
fn handler_that_outlasts_the_drain_gives_its_job_back_at_no_cost() {
    with_broker(|broker, client| async move {
        let (worker, starts, _stops) = waiting_worker(connect(&broker).await);
        let worker = worker.drain_timeout(Duration::ZERO);
        let drainer = worker.drainer();
        let working = ganger_rt::spawn(worker.run());
        let queue = client.queue("q").unwrap();
        let job = queue.submit("").retries(0).crash_retries(0).await.unwrap();
        starts.recv().await.unwrap();
        drainer.drain();
        working.await.unwrap();
        let delivery = queue.subscribe(1).pull().await.unwrap().unwrap();
        assert_eq!(delivery.job(), job.id());
        delivery.ack("").await.unwrap();
        assert_eq!(job.result().await.unwrap(), "");
    });
}

#[test]
fn time_limit_ends_an_attempt_as_a_failure() {
    with_broker(|broker, client| async move {
        let (worker, _starts, _stops) = waiting_worker(connect(&broker).await);
        let _working = ganger_rt::spawn(worker.run());
        let submit = client.submit("q", "").time_limit(Duration::from_millis(1)).retries(0);
        match submit.result().await {
            Err(JobFailed::Dead { failure: Some(failure), .. }) => {
                assert_eq!(failure.kind, "timeout");
            }
            other => panic!("expected a dead letter: {other:?}"),
        }
    });
}

#[test]
fn endings_tell_acks_and_deaths_apart() {
    async fn pick(n: u32, _: Ctx) -> Result<u32, JobError> {
        if n.is_multiple_of(2) { Ok(n) } else { Err(JobError::dead("odd", "odd number")) }
    }
    with_broker(|broker, client| async move {
        let worker = Worker::new(connect(&broker).await).queue("q").concurrency(8);
        let _working = ganger_rt::spawn(worker.handle("q", pick).run());
        let payloads = (0..100).map(|n| n.to_string());
        let jobs = client.submit_many("q", payloads).notify().await.unwrap();
        let mut endings = jobs.into_endings().unwrap();
        let (mut acked, mut dead) = (0, 0);
        while let Some(ended) = endings.next().await.unwrap() {
            match ended.ending {
                Ending::Acked { .. } => acked += ended.jobs.count,
                Ending::Dead { .. } => dead += ended.jobs.count,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((acked, dead), (50, 50));
    });
}

#[test]
fn worker_that_gives_up_does_not_wait_for_its_handlers() {
    with_broker(|broker, client| async move {
        let (worker, starts, _stops) = waiting_worker(connect(&broker).await);
        let drainer = worker.drainer();
        let working = ganger_rt::spawn(worker.run());
        let queue = client.queue("q").unwrap();
        let job = queue.submit("").retries(0).crash_retries(0).await.unwrap();
        starts.recv().await.unwrap();
        drainer.give_up();
        working.await.unwrap();
        assert_eq!(queue.subscribe(1).pull().await.unwrap().unwrap().job(), job.id());
    });
}

#[test]
fn worker_with_a_refused_queue_ends_and_says_so() {
    async fn idle(_: (), _: Ctx) -> Result<(), JobError> {
        Ok(())
    }
    run(async {
        let broker = start_with_known_queue().await;
        let client = connect(&broker).await;
        for queues in [["known", "unknown"], ["unknown", "known"]] {
            let worker = Worker::new(connect(&broker).await);
            let worker = queues.into_iter().fold(worker, |worker, queue| worker.queue(queue));
            let error = worker.handle("idle", idle).run().await.unwrap_err();
            assert!(matches!(error, Error::Rejected(Rejection::NotFound { .. })), "{error}");
        }
        assert!(client.submit("known", "p").await.is_ok());
    });
}
