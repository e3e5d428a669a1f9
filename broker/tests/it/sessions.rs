//! A session outlives its connection, has one at a time, and belongs to one key.

use std::time::Duration;

use ganger_broker::Broker;
use ganger_broker::config::{Config, Span};
use ganger_shared::key::Key;
use ganger_shared::{Request, Response};

use crate::client::{Client, Raw, fresh_session};
use crate::run;

const MOMENT: Span = Span(Duration::from_millis(30));

async fn broker() -> Broker {
    Broker::builder().pipes_only().in_memory().start().await.unwrap()
}

#[test]
fn session_is_resumed_after_a_broken_connection_with_its_leases() {
    run(async {
        let broker = broker().await;
        let mut client = Client::open(&broker).await;
        client.submit("mail", &[b"1"]).await.unwrap();
        client.subscribe("mail", 1).await;
        let job = client.assigned().await;
        let session = client.session;
        client.raw.stream.close();

        let held = vec![job.leases];
        let (mut client, resumed) =
            Client::resume(Raw::pipe(&broker), broker.key(), session, held).await;
        assert!(resumed);
        assert_eq!(client.ack(job.leases).await, Ok(vec![]));
    });
}

#[test]
fn job_goes_to_another_worker_when_the_grace_is_over() {
    run(async {
        let mut config = Config::default();
        config.sessions.grace = MOMENT;
        let broker =
            Broker::builder().config(config).pipes_only().in_memory().start().await.unwrap();
        let mut worker = Client::open(&broker).await;
        worker.submit("mail", &[b"1"]).await.unwrap();
        worker.subscribe("mail", 1).await;
        let job = worker.assigned().await;
        assert_eq!(job.attempt, 1);
        worker.raw.stream.close();

        let mut other = Client::open(&broker).await;
        other.subscribe("mail", 1).await;
        let again = other.assigned().await;
        assert_eq!((again.jobs, again.attempt), (job.jobs, 2));
        assert!(again.leases.first > job.leases.first, "a lease was used again");
    });
}

#[test]
fn second_connection_takes_the_session_and_the_first_is_told() {
    run(async {
        let broker = broker().await;
        let mut first = Client::open(&broker).await;
        let (mut second, resumed) =
            Client::resume(Raw::pipe(&broker), broker.key(), first.session, vec![]).await;
        assert!(resumed);
        let told = "the session was opened on another connection";
        assert_eq!(first.raw.goodbye().await, (told.to_owned(), false));
        // The end of the first connection is not the end of the session's.
        second.is_served().await;
        assert_eq!(broker.sessions(), 1);
    });
}

#[test]
fn session_of_another_key_cannot_be_taken() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let (mine, theirs) = (Key::generate().unwrap(), Key::generate().unwrap());
        std::fs::write(&path, format!("{}\n{}\n", mine.to_text(), theirs.to_text())).unwrap();
        let broker =
            Broker::builder().pipes_only().key_file(&path).in_memory().start().await.unwrap();
        assert_eq!(broker.key(), &mine);
        let session = fresh_session();
        let (mut owner, _) = Client::resume(Raw::pipe(&broker), &mine, session, vec![]).await;

        let mut thief = Raw::pipe(&broker);
        thief.handshake(&theirs).await.unwrap();
        thief.say(&Request::Open { session, held: vec![], name: "thief".to_owned() }).await;
        let told = "the session is not yours: it belongs to another key";
        assert_eq!(thief.goodbye().await, (told.to_owned(), false));
        owner.is_served().await;
    });
}

#[test]
fn keys_are_read_again_without_a_stop() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let broker =
            Broker::builder().pipes_only().key_file(&path).in_memory().start().await.unwrap();
        let mut early = Client::open(&broker).await;
        let later = Key::generate().unwrap();
        std::fs::write(&path, later.to_text()).unwrap();
        broker.reload_keys().unwrap();
        Raw::pipe(&broker).handshake(&later).await.unwrap();
        assert!(Raw::pipe(&broker).handshake(broker.key()).await.is_err());
        early.is_served().await;
        std::fs::write(&path, "no key").unwrap();
        assert!(broker.reload_keys().is_err());
        Raw::pipe(&broker).handshake(&later).await.unwrap();
    });
}

#[test]
fn silent_client_is_given_up_and_its_session_can_be_resumed() {
    run(async {
        let mut config = Config::default();
        config.sessions.heartbeat = MOMENT;
        let broker =
            Broker::builder().config(config).pipes_only().in_memory().start().await.unwrap();
        let mut client = Client::open(&broker).await;
        let (reason, come_back) = client.raw.goodbye().await;
        assert_eq!(reason, "nothing was heard for 90ms");
        assert!(come_back);
        let (mut client, resumed) =
            Client::resume(Raw::pipe(&broker), broker.key(), client.session, vec![]).await;
        assert!(resumed);
        client.say(&Request::Heartbeat).await;
        assert_eq!(client.hear().await, Response::Heartbeat);
    });
}

#[test]
fn closed_session_gives_its_jobs_back_at_no_cost() {
    run(async {
        let broker = broker().await;
        let mut client = Client::open(&broker).await;
        client.submit("mail", &[b"1"]).await.unwrap();
        client.subscribe("mail", 1).await;
        let job = client.assigned().await;
        client.say(&Request::Close).await;
        assert_eq!(client.raw.hear::<Response>().await, None);

        let mut other = Client::open(&broker).await;
        other.subscribe("mail", 1).await;
        let again = other.assigned().await;
        assert_eq!((again.jobs, again.attempt), (job.jobs, 1));
    });
}

#[test]
fn stop_says_goodbye_and_asks_to_come_back() {
    run(async {
        let broker = broker().await;
        let mut clients = [Client::open(&broker).await, Client::open(&broker).await];
        let mut stranger = Raw::pipe(&broker);
        broker.stop().await.unwrap();
        for client in &mut clients {
            let told = ("the broker is stopping".to_owned(), true);
            assert_eq!(client.raw.goodbye().await, told);
        }
        assert_eq!(stranger.refusal().await, "the broker is stopping");
    });
}

#[test]
fn dropped_broker_leaves_no_connection_open() {
    run(async {
        let broker = Broker::builder().listen("127.0.0.1:0").in_memory().start().await.unwrap();
        let address = broker.addr().to_string();
        let mut client = Client::tcp(&address, broker.key()).await;
        drop(broker);
        assert_eq!(client.raw.hear::<Response>().await, None);
    });
}
