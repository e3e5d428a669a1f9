//! Jobs that wait for other jobs, for counters and for lists.

use ganger_shared::admin::{AdminAnswer, AdminVerb, JobState};
use ganger_shared::{Durability, JobId, Rejection, limits};
use ganger_worker::{Client, Ctx, Done, Error, JobError, JobFailed, Objects, Worker};

use crate::support::{at_once, with_broker};

async fn state(client: &Client, job: JobId) -> JobState {
    match client.admin(AdminVerb::JobShow { job }).await.unwrap() {
        AdminAnswer::Jobs(mut jobs) => jobs.remove(0).state,
        other => panic!("{other:?}"),
    }
}

async fn part(number: u64, ctx: Ctx) -> Result<Done<u64>, JobError> {
    if number == 13 {
        return Err(JobError::dead("unlucky", "it is 13"));
    }
    Ok(ctx.finish(number).append("parts", &number).incr("parts.done", 1))
}

async fn sum(_: (), ctx: Ctx) -> Result<u64, JobError> {
    let parts = ctx.typed_list::<u64>("parts")?.slice(0, None).await?;
    Ok(parts.iter().sum())
}

#[test]
fn job_after_others_finds_all_that_they_have_brought_about() {
    with_broker(|_broker, client| async move {
        let queue = client.queue("q").unwrap();
        let numbers = (1..=12_u64).map(|number| number.to_string());
        let parts = queue.submit_many(numbers).handler("part").await.unwrap();
        let after = queue.submit_json(&()).handler("sum").after(&parts).priority(9);
        let after = after.notify().await.unwrap();
        let counted = queue.submit_json(&()).handler("sum").when_counter("parts.done", 12);
        let counted = counted.priority(9).notify().await.unwrap();
        let listed = queue.submit_json(&()).handler("sum").when_list("parts", 12).priority(9);
        let listed = listed.notify().await.unwrap();
        assert!(matches!(state(&client, after.id()).await, JobState::Held { .. }));
        let worker = Worker::new(client.clone()).queue("q").concurrency(3);
        let worker = worker.handle("part", part).handle("sum", sum);
        let working = ganger_worker::spawn(worker.run());
        for job in [after, counted, listed] {
            assert_eq!(job.result_json::<u64>().await.unwrap(), 78);
        }
        working.cancel().await;
    });
}

#[test]
fn failure_of_a_job_ends_those_after_it_unless_told_otherwise() {
    with_broker(|_broker, client| async move {
        let queue = client.queue("q").unwrap();
        let bad = queue.submit_json(&13_u64).handler("part").await.unwrap();
        let good = queue.submit_json(&1_u64).handler("part").await.unwrap();
        let both = [bad.id(), good.id()];
        let sum = || queue.submit_json(&()).handler("sum").notify();
        let all = sum().after(&both[..]).await.unwrap();
        let behind = sum().after(&all).await.unwrap();
        let any = sum().after_any(&both[..]).await.unwrap();
        let anyway = sum().after(&both[..]).even_if_failed().await.unwrap();
        let worker = Worker::new(client.clone()).queue("q").concurrency(1);
        let worker = worker.handle("part", part).handle("sum", self::sum);
        let working = ganger_worker::spawn(worker.run());
        for job in [any, anyway] {
            assert_eq!(job.result_json::<u64>().await.unwrap(), 1);
        }
        for (job, cause) in [(all, both[0]), (behind, JobId { seq: both[0].seq + 2, ..both[0] })] {
            let failed = job.result().await.unwrap_err();
            let JobFailed::Dead { failure: Some(failure), .. } = &failed else {
                panic!("{failed}")
            };
            assert!(failure.message.contains(&cause.to_string()), "{failed}");
        }
        working.cancel().await;
    });
}

async fn first(_: (), ctx: Ctx) -> Result<Done<u64>, JobError> {
    let (client, _) = ctx.caller()?;
    let sum = client.queue("q")?.submit_json(&()).handler("sum").when_counter("parts.done", 2);
    Ok(ctx.finish(0).submit(sum).incr("parts.done", 1))
}

#[test]
fn follow_up_of_a_job_can_wait_too() {
    with_broker(|_broker, client| async move {
        let queue = client.queue("q").unwrap();
        let mut results = queue.results().unwrap().follow(0);
        let worker = Worker::new(client.clone()).queue("q").concurrency(1);
        let worker = worker.handle("part", part).handle("sum", sum).handle("first", first);
        let working = ganger_worker::spawn(worker.run());
        queue.submit_json(&()).handler("first").await.unwrap();
        assert_eq!(results.next().await.unwrap().unwrap().bytes, "0");
        queue.submit_json(&5_u64).handler("part").await.unwrap();
        for expected in ["5", "5"] {
            assert_eq!(results.next().await.unwrap().unwrap().bytes, expected);
        }
        working.cancel().await;
    });
}

#[test]
fn what_cannot_be_waited_for_is_refused() {
    with_broker(|_broker, client| async move {
        let queue = client.queue("q").unwrap();
        let unknown = JobId { session: ganger_shared::SessionId(7), seq: 3 };
        let refused = queue.submit("p").after(unknown).await.unwrap_err();
        assert!(matches!(refused, Error::Rejected(Rejection::NotFound { .. })), "{refused}");
        client.dict::<u8, u8>("d").unwrap().set(&1, &1).await.unwrap();
        let refused = queue.submit("p").when_counter("d", 1).await.unwrap_err();
        assert!(matches!(refused, Error::Rejected(Rejection::WrongType { .. })), "{refused}");
        let mut many = queue.submit("p");
        for number in 0..=limits::PREREQUISITES_MAX {
            many = many.when_list(format!("l{number}").as_str(), 1);
        }
        assert!(matches!(many.await.unwrap_err(), Error::Invalid(_)));
        let far = (0..2 * limits::PREREQUISITE_RANGES_MAX as u64 + 2).step_by(2);
        let far: Vec<JobId> = far.map(|seq| JobId { seq, ..unknown }).collect();
        let refused = queue.submit("p").after(&far[..]).await.unwrap_err();
        assert!(refused.to_string().contains("add to a counter"), "{refused}");
        // None of these has done harm to the connection.
        assert_eq!(queue.submit("p").await.unwrap().durability(), Durability::Memory);
    });
}

#[test]
fn job_waits_for_a_number_that_a_counter_had_only_between_calls_made_at_once() {
    with_broker(|_broker, client| async move {
        let queue = client.queue("q").unwrap();
        let job = queue.submit("p").when_counter("n", 10).await.unwrap();
        let counter = client.counter("n").unwrap();
        at_once([1, 1, 1, 1, 8, -12].map(|by| counter.add(by))).await;
        assert_eq!(counter.get().await.unwrap(), 0);
        assert!(matches!(state(&client, job.id()).await, JobState::Ready));
    });
}
