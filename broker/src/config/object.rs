//! Shared objects that exist from the start, as the configuration has them.

use ganger_machine::registry::Registration;
use ganger_shared::key::KeyId;
use ganger_shared::value::ValueError;
use ganger_shared::{Durability, Name, Value};
use serde::{Deserialize, Serialize};

/// One shared object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectConfig {
    /// Its type: `counter/1`.
    #[serde(rename = "type")]
    pub typeid: Name,
    /// What it is made with, one value after the other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub made_with: Vec<Value>,
    /// See [`Config::durability`](super::Config::durability).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub durability: Option<Durability>,
    /// The methods that clients may call; all of them if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expose: Option<Vec<String>>,
    /// The ids of the keys whose sessions may call it; all keys if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callers: Option<Vec<Caller>>,
}

/// The id of a key, in hex.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller(pub KeyId);

impl Serialize for Caller {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Caller {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

impl ObjectConfig {
    /// What the machine makes of it.
    pub(crate) fn registration(&self) -> Result<Registration, ValueError> {
        let made = Registration::new(self.typeid.clone()).made_with(&self.made_with)?;
        Ok(Registration {
            durability: self.durability,
            expose: self.expose.as_ref().map(|methods| methods.iter().cloned().collect()),
            callers: self.callers.as_ref().map(|keys| keys.iter().map(|key| key.0).collect()),
            ..made
        })
    }
}
