//! The brokers that can be compared.
//! Not what they must offer: that is `peer`.

mod beanstalkd;
pub(crate) mod ganger;
mod jetstream;
mod nats;
mod python_manager;
mod redis_list;
mod redis_objects;
mod redis_stream;
pub(crate) mod relay;
mod resp;

use anyhow::{Context as _, Result};

use crate::peer::Peer;

/// All peers, in the order of reports.
pub(crate) static ALL: &[&dyn Peer] = &[
    &ganger::Ganger { settings: "" },
    &redis_list::RedisList,
    &redis_stream::RedisStream,
    &redis_objects::RedisObjects,
    &beanstalkd::Beanstalkd,
    &nats::Nats,
    &python_manager::PythonManager,
    &relay::Relay,
];

/// The peer called `name`.
///
/// # Errors
///
/// There is none; the text lists the names there are.
pub(crate) fn find(name: &str) -> Result<&'static dyn Peer> {
    ALL.iter().find(|peer| peer.name() == name).copied().with_context(|| {
        let names: Vec<_> = ALL.iter().map(|peer| peer.name()).collect();
        format!("there is no peer {name:?}; there are {}", names.join(", "))
    })
}
