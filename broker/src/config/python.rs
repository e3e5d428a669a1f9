//! The door for Python programs, as the configuration has it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Size;
use crate::python::Named;

/// The door for Python's `multiprocessing.managers`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PythonConfig {
    /// Where to listen: `host:port`, where port 0 takes any free one; `None` for no such door.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<String>,
    /// Where to listen for programs that ask for `serializer='xmlrpclib'`, in the same form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen_xmlrpc: Option<String>,
    /// The file whose content is the `authkey` of the programs; `None` for the text of the broker's
    /// own keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authkey_file: Option<PathBuf>,
    /// Whether a key may be proven with MD5: Python up to 3.11 cannot do otherwise.
    pub md5: bool,
    /// One message.
    pub message_max: Size,
    /// The classes and functions that values may name, as `module.name`; all of them if there is no
    /// such list. Lists, dicts, texts and all else that has no class of its own pass in any case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classes: Option<BTreeSet<String>>,
    /// What programs get by calling `manager.NAME()`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub names: BTreeMap<String, Named>,
}

impl Default for PythonConfig {
    fn default() -> Self {
        Self {
            listen: None,
            listen_xmlrpc: None,
            authkey_file: None,
            md5: true,
            message_max: Size(64 << 20),
            classes: None,
            names: BTreeMap::new(),
        }
    }
}
