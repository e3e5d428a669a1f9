//! What is configured is what happens.

use std::path::Path;

use ganger_broker::Broker;
use ganger_broker::config::{Config, Create, Loaded, QueueConfig};
use ganger_shared::admin::{AdminAnswer, AdminVerb};
use ganger_shared::object::custom::Arguments;
use ganger_shared::{CallError, Durability, Rejection, Value};

use crate::client::{Client, name};
use crate::run;

#[test]
fn documented_example_is_understood_and_says_the_defaults() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/broker.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let Loaded { mut config, warnings, origins } = Loaded::from_toml(&path, &text).unwrap();
    assert_eq!(warnings, [""; 0]);
    assert!(!config.queue.is_empty(), "the example shows no queue");
    config.queue.clear();
    assert!(!config.object.is_empty(), "the example shows no object");
    config.object.clear();
    assert!(!config.python.names.is_empty(), "the example shows no name for Python programs");
    config.python.names.clear();
    // Whoever copies the example changes nothing, until they change something.
    assert_eq!(config, Config::default());
    let defaults = toml::Table::try_from(Config::default()).unwrap();
    for (section, value) in &defaults {
        match value {
            toml::Value::Table(settings) => {
                for setting in settings.keys() {
                    let path = format!("{section}.{setting}");
                    assert!(origins.contains_key(&path), "the example does not show {path}");
                }
            }
            _ => assert!(origins.contains_key(section), "the example does not show {section}"),
        }
    }
}

#[test]
fn configured_queue_exists_from_the_start_and_others_are_not_made_by_use() {
    run(async {
        let queue = QueueConfig { jobs_max: Some(7), ..QueueConfig::default() };
        let config = Config {
            create: Create::OperatorOnly,
            queue: [(name("mail"), queue)].into(),
            ..Config::default()
        };
        let broker =
            Broker::builder().config(config).pipes_only().in_memory().start().await.unwrap();
        let mut client = Client::open(&broker).await;
        let verb = AdminVerb::QueueShow { queue: name("mail") };
        let Ok(AdminAnswer::Queue(info)) = client.admin(verb).await else { panic!("no queue") };
        assert_eq!(info.settings.jobs_max, 7);
        assert_eq!(info.settings.lease_ms, 30_000);
        let refused = client.submit("other", &[b"1"]).await;
        assert!(matches!(refused, Err(Rejection::NotFound { .. })), "{refused:?}");
        let Ok(AdminAnswer::Sessions(sessions)) = client.admin(AdminVerb::SessionList).await else {
            panic!("no sessions")
        };
        assert_eq!(sessions.iter().filter(|session| session.connected).count(), 1);
    });
}

#[test]
fn queue_that_cannot_be_kept_stops_the_start() {
    run(async {
        let queue = QueueConfig { durability: Some(Durability::Strict), ..QueueConfig::default() };
        let config = Config { queue: [(name("mail"), queue)].into(), ..Config::default() };
        let started = Broker::builder().config(config).pipes_only().in_memory().start().await;
        let error = started.unwrap_err();
        assert_eq!(error.to_string(), "the configuration of queue mail is refused");
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert_eq!(cause, "durability strict is not available: this broker has no journal");
    });
}

#[test]
fn objects_that_cannot_be_stop_the_start() {
    run(async {
        let started = async |text: &str| {
            let loaded = Loaded::from_toml(Path::new("broker.toml"), text).unwrap();
            let builder = Broker::builder().config(loaded.config).pipes_only().in_memory();
            let error = builder.start().await.unwrap_err();
            format!("{error}: {}", std::error::Error::source(&error).unwrap())
        };
        let told = started("[object.hits]\ntype = \"count/1\"").await;
        assert!(
            told.starts_with(
                "object hits cannot be registered: this broker serves no type count/1"
            )
        );
        let told = started("[object.hits]\ntype = \"counter/1\"\nmade_with = [\"x\"]").await;
        assert!(
            told.starts_with("object hits cannot be registered: no counter/1 can be made"),
            "{told}"
        );
        let told = started("[object.hits]\ntype = \"counter/1\"\nexpose = [\"sub\"]").await;
        let expected = "object hits cannot be registered: counter/1 has no method \"sub\" for clients; \
                        it has get, add, set";
        assert_eq!(told, expected);
        let text = "[object.hits]\ntype = \"counter/1\"\ncallers = [\"gk1_77\"]";
        let error = Loaded::from_toml(Path::new("broker.toml"), text).unwrap_err().to_string();
        assert!(error.contains("line 3") && error.contains("expected 16 hex digits"), "{error}");
    });
}

#[derive(Default, serde::Serialize, serde::Deserialize)]
struct Impostor;

impl ganger_shared::object::SharedObject for Impostor {
    const TYPEID: &'static str = "dict/1";
    const METHODS: &'static [ganger_shared::object::Method] = &[];

    fn make(_: &mut Arguments) -> Result<Self, CallError> {
        Ok(Self)
    }

    fn call(&mut self, _: &str, _: &mut Arguments) -> Result<Value, CallError> {
        Ok(Value::None)
    }
}

#[test]
fn type_of_the_program_does_not_take_the_place_of_one_that_every_broker_serves() {
    run(async {
        let builder = Broker::builder().object::<Impostor>().pipes_only().in_memory();
        let told = builder.start().await.unwrap_err().to_string();
        let expected =
            "every broker serves a type dict/1 of its own; give the program's another name";
        assert_eq!(told, expected);
    });
}

#[test]
fn settings_that_do_not_go_together_are_refused() {
    run(async {
        let refused = |change: fn(&mut Config)| async move {
            let mut config = Config::default();
            change(&mut config);
            let started = Broker::builder().config(config).pipes_only().in_memory().start().await;
            started.unwrap_err().to_string()
        };
        use ganger_broker::config::{Size, Span};
        let told = refused(|config| config.limits.frame_max = Size(1 << 30)).await;
        assert_eq!(told, "limits.frame_max is 1GiB; the protocol allows 64MiB");
        let told = refused(|config| config.limits.frame_max = Size(1 << 20)).await;
        let expected = "limits.frame_max is 1MiB and must be at least 64KiB above \
                        limits.payload_max, 16MiB";
        assert_eq!(told, expected);
        let told = refused(|config| config.limits.unsent_max = Size(5)).await;
        assert_eq!(told, "limits.unsent_max is 5, below limits.unsent_pause, 1MiB");
        let zero = Span(std::time::Duration::ZERO);
        assert_eq!(zero.to_string(), "0s");
        let told = refused(|config| {
            config.sessions.heartbeat = Span(std::time::Duration::ZERO);
        });
        assert_eq!(told.await, "sessions.heartbeat is 0s; it must be at least 1ms");
        let told = refused(|config| config.limits.connections_max = 0).await;
        assert_eq!(told, "limits.connections_max is 0; nobody could connect");
    });
}
