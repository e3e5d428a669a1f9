//! Submit, take by hand, settle, wait.

use std::time::Duration;

use ganger_shared::request::{Notify, WhenFull};
use ganger_shared::{
    Block, DeathReason, Ending, Failure, JobOptions, JobRange, Name, Rejection, ResultsTo,
};
use ganger_worker::{Error, JobFailed, SubmitRun};

use crate::support::{connect, run, start_with_known_queue, with_broker};

#[test]
fn submitted_job_is_delivered_and_its_output_reaches_the_submitter() {
    with_broker(|_broker, client| async move {
        let queue = client.queue("q").unwrap();
        let subscription = queue.subscribe(1);
        let job = queue.submit("question").notify().await.unwrap();
        let delivery = subscription.pull().await.unwrap().unwrap();
        assert_eq!((delivery.job(), delivery.attempt()), (job.id(), 1));
        assert_eq!(delivery.payload(), "question");
        delivery.ack("answer").await.unwrap();
        assert_eq!(job.result().await.unwrap(), "answer");
    });
}

#[test]
fn result_can_be_asked_for_after_the_job_has_ended() {
    with_broker(|_broker, client| async move {
        let queue = client.queue("q").unwrap();
        let job = queue.submit("p").await.unwrap();
        let subscription = queue.subscribe(1);
        subscription.pull().await.unwrap().unwrap().ack("r").await.unwrap();
        assert_eq!(job.result().await.unwrap(), "r");
    });
}

#[test]
fn job_that_was_given_up_fails_with_its_reason() {
    with_broker(|_broker, client| async move {
        let queue = client.queue("q").unwrap();
        let subscription = queue.subscribe(1);
        let job = queue.submit("p").notify().await.unwrap();
        let failure = Failure::new("disk", "full");
        subscription.pull().await.unwrap().unwrap().dead(failure.clone()).await.unwrap();
        match job.result().await {
            Err(JobFailed::Dead { reason: DeathReason::Handler, failure: Some(found), .. }) => {
                assert_eq!(found, failure);
            }
            other => panic!("expected a dead letter: {other:?}"),
        }
    });
}

#[test]
fn nacked_job_comes_back_with_the_next_attempt_and_released_one_with_the_same() {
    with_broker(|_broker, client| async move {
        let queue = client.queue("q").unwrap();
        let subscription = queue.subscribe(1);
        drop(queue.submit("p").await.unwrap());
        let first = subscription.pull().await.unwrap().unwrap();
        first.release().await.unwrap();
        let again = subscription.pull().await.unwrap().unwrap();
        let attempt = again.attempt();
        again.nack_after(Failure::new("k", "m"), Duration::ZERO).await.unwrap();
        let last = subscription.pull().await.unwrap().unwrap();
        assert_eq!(last.attempt(), attempt + 1);
        last.ack("").await.unwrap();
    });
}

#[test]
fn dropped_delivery_goes_back_to_its_queue() {
    with_broker(|_broker, client| async move {
        let queue = client.queue("q").unwrap();
        let subscription = queue.subscribe(1);
        let job = queue.submit("p").await.unwrap();
        drop(subscription.pull().await.unwrap().unwrap());
        let again = subscription.pull().await.unwrap().unwrap();
        assert_eq!(again.job(), job.id());
        again.ack("").await.unwrap();
    });
}

#[test]
fn many_jobs_come_in_runs_and_their_results_in_order() {
    with_broker(|_broker, client| async move {
        let queue = client.queue("q").unwrap();
        let texts: Vec<String> = (0..10_000).map(|i| format!("job {i}")).collect();
        let submitted = queue.submit_many(texts.clone()).notify().await.unwrap();
        assert_eq!(submitted.count(), 10_000);
        assert_eq!(submitted.ranges().len(), 1);
        let subscription = queue.subscribe(3_000);
        let mut done = 0;
        while done < 10_000 {
            let run = subscription.next_run().await.unwrap().unwrap();
            done += run.jobs().count;
            let outputs: Block = run.payloads().slices().map(|p| [p, b"!"].concat()).collect();
            drop(run.ack(outputs));
        }
        let results = submitted.into_endings().unwrap().results().await.unwrap();
        let expected: Vec<String> = texts.iter().map(|text| format!("{text}!")).collect();
        assert_eq!(results, expected);
    });
}

#[test]
fn run_can_be_split_and_its_parts_end_differently() {
    with_broker(|_broker, client| async move {
        let queue = client.queue("q").unwrap();
        let submitted = queue.submit_many(["a", "b", "c", "d"]).notify().await.unwrap();
        let subscription = queue.subscribe(4);
        let mut run = subscription.next_run().await.unwrap().unwrap();
        assert_eq!(run.jobs().count, 4);
        let first = run.split_off_front(1);
        first.ack(Block::one("A")).await.unwrap();
        for delivery in run.into_deliveries() {
            match &delivery.payload()[..] {
                b"c" => delivery.dead(Failure::new("k", "m")).await.unwrap(),
                other => {
                    let output = other.to_ascii_uppercase();
                    delivery.ack(output).await.unwrap();
                }
            }
        }
        let mut endings = submitted.into_endings().unwrap();
        let mut ends = Vec::new();
        while let Some(ended) = endings.next().await.unwrap() {
            ends.extend(ended.each().map(|(job, result)| (job.seq, result.ok())));
        }
        ends.sort_unstable();
        let done = |text: &'static str| Some(bytes::Bytes::from(text));
        assert_eq!(ends, [(0, done("A")), (1, done("B")), (2, None), (3, done("D"))]);
    });
}

#[test]
fn cancelled_job_never_runs_and_says_so() {
    with_broker(|_broker, client| async move {
        let job = client.submit("q", "p").notify().await.unwrap();
        assert_eq!(job.cancel().await.unwrap().ended, 1);
        assert!(matches!(job.result().await, Err(JobFailed::Cancelled { .. })));
    });
}

#[test]
fn unknown_job_is_answered_as_unknown() {
    with_broker(|broker, client| async move {
        let other = connect(&broker).await;
        let first = ganger_shared::JobId { session: other.id(), seq: 7 };
        let mut endings = client.wait(JobRange { first, count: 2 });
        let ended = endings.next().await.unwrap().unwrap();
        assert_eq!((ended.jobs.count, ended.ending), (2, Ending::Unknown));
        assert!(endings.next().await.unwrap().is_none());
    });
}

#[test]
fn wrong_arguments_are_refused_before_anything_is_sent() {
    with_broker(|_broker, client| async move {
        let name = client.submit("no name", "p").await.unwrap_err();
        assert!(matches!(name, Error::Name(_)), "{name}");
        let priority = client.submit("q", "p").priority(10).await.unwrap_err();
        assert!(matches!(priority, Error::Invalid(_)), "{priority}");
        let queue = Name::new("q").unwrap();
        let empty = SubmitRun {
            options: JobOptions::new(queue.clone()),
            queue,
            payloads: Block::empties(0),
            when_full: WhenFull::Refuse,
            notify: Notify::No,
            prerequisites: Vec::new(),
        };
        let empty = client.submit_run(empty).await.unwrap_err();
        assert!(matches!(empty, Error::Invalid(_)), "{empty}");
    });
}

#[test]
fn options_reach_the_worker() {
    with_broker(|_broker, client| async move {
        let queue = client.queue("q").unwrap();
        let limit = Duration::from_secs(9);
        let low = queue.submit("low").priority(1).await.unwrap();
        let submit = queue.submit("high").priority(9).handler("h").time_limit(limit);
        let high = submit.results(ResultsTo::Nowhere).await.unwrap();
        let subscription = queue.subscribe(2);
        let first = subscription.pull().await.unwrap().unwrap();
        assert_eq!(first.job(), high.id());
        assert_eq!((first.handler().as_str(), first.time_limit()), ("h", Some(limit)));
        let second = subscription.pull().await.unwrap().unwrap();
        assert_eq!(second.job(), low.id());
        assert_eq!((second.handler().as_str(), second.time_limit()), ("q", None));
        first.ack("").await.unwrap();
        second.ack("").await.unwrap();
    });
}

#[test]
fn output_over_the_limit_makes_a_dead_letter() {
    with_broker(|_broker, client| async move {
        let queue = client.queue("q").unwrap();
        let subscription = queue.subscribe(1);
        let job = queue.submit("p").notify().await.unwrap();
        let large = vec![0; client.terms().payload_bytes_max as usize + 1];
        subscription.pull().await.unwrap().unwrap().ack(large).await.unwrap();
        match job.result().await {
            Err(JobFailed::Dead { failure: Some(failure), .. }) => {
                assert_eq!(failure.kind, "output-too-large");
            }
            other => panic!("expected a dead letter: {other:?}"),
        }
    });
}

#[test]
fn refused_submit_names_the_queue_and_later_ones_go_on() {
    with_broker(|_broker, client| async move {
        let large = vec![0; client.terms().payload_bytes_max as usize + 1];
        let refused = client.submit("q", large).await.unwrap_err();
        assert!(matches!(refused, Error::Rejected(_)), "{refused}");
        let mixed = vec![vec![0; 100], vec![0; client.terms().payload_bytes_max as usize + 1]];
        let partial = client.submit_many("q", mixed).notify().await.unwrap_err();
        let Error::Partial { accepted, .. } = partial else { panic!("{partial}") };
        assert_eq!(accepted.len(), 1);
        client.submit("q", "fits").await.unwrap();
    });
}

#[test]
fn refused_subscription_says_why_and_the_connection_goes_on() {
    run(async {
        let broker = start_with_known_queue().await;
        let client = connect(&broker).await;
        let known = client.queue("known").unwrap();
        let (good, refused) = (known.subscribe(1), client.queue("unknown").unwrap().subscribe(1));
        for _ in 0..2 {
            let error = refused.pull().await.unwrap_err();
            assert!(matches!(error, Error::Rejected(Rejection::NotFound { .. })), "{error}");
        }
        let job = known.submit("1").await.unwrap();
        let delivery = good.pull().await.unwrap().unwrap();
        assert_eq!(delivery.job(), job.id());
        delivery.ack("done").await.unwrap();
    });
}
