//! A broker in memory, and clients of it.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_lite::future::poll_once;
use ganger_broker::Broker;
use ganger_broker::config::{Config, Create, QueueConfig};
use ganger_worker::{Client, Options};

/// Longer than any test takes; a test that hangs fails.
const LIMIT: Duration = Duration::from_secs(60);

/// Runs a test with a broker that has no port, and a client of it.
pub(crate) fn with_broker<F: Future<Output = ()>>(test: impl FnOnce(Arc<Broker>, Client) -> F) {
    run(async {
        let broker = Arc::new(start().await);
        let client = connect(&broker).await;
        // The test's closure drops what it does not use, and the broker must outlive it.
        test(Arc::clone(&broker), client).await;
    });
}

pub(crate) fn run(test: impl Future<Output = ()>) {
    let done = ganger_worker::block_on(ganger_rt::timeout(LIMIT, test));
    done.expect("the test ends in time");
}

pub(crate) async fn start() -> Broker {
    Broker::builder().pipes_only().in_memory().start().await.expect("a broker in memory starts")
}

/// A broker on which only operators make queues and lists, and the queue `known`.
pub(crate) async fn start_with_known_queue() -> Broker {
    let mut config = Config { create: Create::OperatorOnly, ..Config::default() };
    config.queue.insert("known".parse().unwrap(), QueueConfig::default());
    Broker::builder().pipes_only().config(config).in_memory().start().await.unwrap()
}

pub(crate) async fn connect(broker: &Broker) -> Client {
    let stream = broker.connect_pipe();
    Client::over(stream, broker.key().clone()).await.expect("the broker has this key")
}

/// Begins all calls, in order, and then waits for their answers.
pub(crate) async fn at_once<F: Future>(calls: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut begun = Vec::new();
    for call in calls {
        let mut call = Box::pin(call);
        begun.push((poll_once(&mut call).await, call));
    }
    let mut answers = Vec::new();
    for (answer, call) in begun {
        answers.push(match answer {
            Some(answer) => answer,
            None => call.await,
        });
    }
    answers
}

/// Options that do not matter to a test.
pub(crate) fn options(broker: &Broker) -> Options {
    Options::new("pipe", broker.key().clone())
}
