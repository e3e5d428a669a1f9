//! What happens together with the end of a job.

use ganger_shared::{Effect, Rejection};
use ganger_worker::{Ctx, Done, JobError, NotFinished, Objects, Worker};

use crate::support::with_broker;

async fn count(word: String, ctx: Ctx) -> Result<Done<usize>, JobError> {
    Ok(ctx
        .finish(word.len())
        .incr("jobs", 1)
        .append("words", &word)
        .set("lengths", &word, &word.len())
        .add("initials", &word[..1]))
}

#[test]
fn effects_of_a_handler_happen_once_for_each_job() {
    with_broker(|_broker, client| async move {
        let worker = Worker::new(client.clone()).queue("q").concurrency(4);
        let working = ganger_worker::spawn(worker.handle("count", count).run());
        let queue = client.queue("q").unwrap();
        let words = ["one", "two", "three", "four"];
        for word in words {
            let job = queue.submit_json(&word).handler("count").notify().await.unwrap();
            assert_eq!(job.result_json::<usize>().await.unwrap(), word.len());
        }
        assert_eq!(client.counter("jobs").unwrap().get().await.unwrap(), 4);
        let list = client.typed_list::<String>("words").unwrap();
        assert_eq!(list.slice(0, None).await.unwrap(), words);
        let lengths = client.dict::<String, usize>("lengths").unwrap();
        assert_eq!(lengths.get(&"three".to_owned()).await.unwrap(), Some(5));
        assert_eq!(client.set::<String>("initials").unwrap().len().await.unwrap(), 3);
        working.cancel().await;
    });
}

async fn forward(left: u32, ctx: Ctx) -> Result<Done<u32>, JobError> {
    let done = ctx.finish(left).incr("steps", 1);
    let Some(next) = left.checked_sub(1) else { return Ok(done) };
    let (client, _) = ctx.caller()?;
    Ok(done.submit(client.queue("chain")?.submit_json(&next).handler("forward")))
}

#[test]
fn follow_up_jobs_make_a_chain() {
    with_broker(|_broker, client| async move {
        let worker = Worker::new(client.clone()).queue("chain").concurrency(2);
        let working = ganger_worker::spawn(worker.handle("forward", forward).run());
        let queue = client.queue("chain").unwrap();
        let mut results = queue.results().unwrap().follow(0);
        queue.submit_json(&5_u32).handler("forward").await.unwrap();
        for expected in ["5", "4", "3", "2", "1", "0"] {
            assert_eq!(results.next().await.unwrap().unwrap().bytes, expected);
        }
        assert_eq!(client.counter("steps").unwrap().get().await.unwrap(), 6);
        working.cancel().await;
    });
}

#[test]
fn effect_that_cannot_be_had_is_named_and_the_job_can_end_otherwise() {
    with_broker(|_broker, client| async move {
        let queue = client.queue("q").unwrap();
        let subscription = queue.subscribe(1);
        queue.submit("p").await.unwrap();
        let delivery = subscription.pull().await.unwrap().unwrap();
        let call = |object: &str, method: &str| Effect::Call {
            object: object.parse().unwrap(),
            typeid: Some("counter/1".parse().unwrap()),
            method: method.to_owned(),
            args: bytes::Bytes::new(),
        };
        let effects = vec![call("n", "add"), call("n", "get")];
        let refused = delivery.finish("done", effects).await.unwrap_err();
        let NotFinished::Refused { delivery, rejection } = refused else { panic!("{refused}") };
        assert!(matches!(rejection, Rejection::Effect { effect: 1, .. }), "{rejection}");
        assert_eq!(client.object("n").unwrap().name().as_str(), "n");
        let gone = client.object("n").unwrap().invoke("get", &[], std::time::Duration::ZERO).await;
        assert_eq!(gone.unwrap_err().to_string(), "there is no object n");
        delivery.finish("done", vec![call("n", "add")]).await.unwrap();
        assert_eq!(client.counter("n").unwrap().get().await.unwrap(), 1);
        assert_eq!(queue.results().unwrap().len().await.unwrap(), 1);
    });
}

async fn refused(_: (), ctx: Ctx) -> Result<Done<()>, JobError> {
    Ok(ctx.finish(()).incr("n", 1).compare_and_set("d", "k", 7, "v"))
}

#[test]
fn handler_whose_effect_is_refused_has_failed() {
    with_broker(|_broker, client| async move {
        let worker = Worker::new(client.clone()).queue("q").handle("refused", refused);
        let working = ganger_worker::spawn(worker.run());
        let queue = client.queue("q").unwrap();
        let job = queue.submit_json(&()).handler("refused").retries(0).notify().await.unwrap();
        let failed = job.result().await.unwrap_err().to_string();
        assert!(failed.contains("revision 0, not at 7"), "{failed}");
        working.cancel().await;
    });
}
