//! Objects that exist from the start: what clients may do with them, and which clients.

use std::path::Path;
use std::time::Duration;

use ganger_broker::config::Loaded;
use ganger_broker::{Broker, Registration};
use ganger_shared::key::Key;
use ganger_shared::{Rejection, Value};
use ganger_worker::{Client, Error, Objects};

use crate::support::run;

fn rejected<T>(result: Result<T, Error>) -> Rejection {
    match result {
        Err(Error::Rejected(rejection)) => rejection,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was not rejected"),
    }
}

#[test]
fn clients_call_what_is_exposed_and_are_told_what_that_is() {
    run(async {
        let text = r#"
            [object.hits]
            type = "counter/1"
            made_with = [7]
            expose = ["get", "add"]

            [object.board]
            type = "dict/1"

            [object.log]
            type = "list/1"
            expose = ["append", "len"]
        "#;
        let config = Loaded::from_toml(Path::new("broker.toml"), text).unwrap().config;
        // What the program says of a name goes before what the file says.
        let board = Registration::new("array/1".parse().unwrap());
        let board = board.made_with(&["u8".into(), 3.into()]).unwrap().expose(&["get"]);
        let builder = Broker::builder().config(config).register("board".parse().unwrap(), board);
        let broker = builder.pipes_only().in_memory().start().await.unwrap();
        let client = crate::support::connect(&broker).await;

        let hits = client.counter("hits").unwrap();
        assert_eq!(hits.add(1).await.unwrap(), 8);
        let refused = rejected(hits.set(0).await).to_string();
        assert_eq!(refused, "counter/1 has no method \"set\" for clients; it has get, add");
        assert_eq!(hits.get().await.unwrap(), 8);
        let board = client.object("board").unwrap();
        let third = board.invoke("get", &[2.into()], Duration::ZERO).await.unwrap();
        assert_eq!(third, Value::from(0));

        // A list is also reached by requests of its own.
        let log = client.list("log").unwrap();
        log.append(b"x".as_slice()).await.unwrap();
        for refused in [rejected(log.pop(1, Duration::ZERO).await), rejected(log.range(0, 1).await)]
        {
            assert!(matches!(refused, Rejection::NoMethod { .. }), "{refused}");
        }
    });
}

#[test]
fn callers_are_the_keys_that_the_registration_names() {
    run(async {
        let keys = [(); 2].map(|()| Key::generate().unwrap());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let lines = keys.each_ref().map(Key::to_text).join("\n");
        std::fs::write(&path, lines).unwrap();
        let only = Registration::new("counter/1".parse().unwrap()).callers(&[keys[1].id()]);
        let builder = Broker::builder().key_file(&path).register("hits".parse().unwrap(), only);
        let broker = builder.pipes_only().in_memory().start().await.unwrap();
        let connect =
            async |key: &Key| Client::over(broker.connect_pipe(), key.clone()).await.unwrap();
        let (stranger, caller) = (connect(&keys[0]).await, connect(&keys[1]).await);

        assert_eq!(caller.counter("hits").unwrap().add(3).await.unwrap(), 3);
        let expected = format!("the configuration does not let key {} call hits", keys[0].id());
        let hits = stranger.counter("hits").unwrap();
        for refused in [rejected(hits.add(1).await), rejected(hits.get().await)] {
            assert_eq!(refused.to_string(), expected);
        }
        let made = stranger.object_of("hits", "counter/1").unwrap().make(&[], None).await;
        assert_eq!(rejected(made).to_string(), expected);
        assert_eq!(caller.counter("hits").unwrap().get().await.unwrap(), 3);
        // What it has not been told about, everybody may have.
        assert_eq!(stranger.counter("others").unwrap().add(1).await.unwrap(), 1);
    });
}
