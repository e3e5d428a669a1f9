//! Settings as text, with where each comes from.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::path::PathBuf;

use toml::{Table, Value};

use super::Loaded;

/// Where a setting comes from, if it is no default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// This file.
    File(PathBuf),
    /// This variable of the environment.
    Variable(&'static str),
    /// This flag of the command line.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Variable(name) => write!(f, "${name}"),
            Self::Flag(flag) => f.write_str(flag),
        }
    }
}

impl Loaded {
    /// Every setting as a configuration file that would set it so, each with a comment that says
    /// where it comes from.
    ///
    /// # Panics
    ///
    /// Never for settings that were loaded; for a path that is not UTF-8, which TOML cannot say.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let table = Table::try_from(&self.config).expect("every setting can be written as TOML");
        let mut text = String::new();
        section(&table, "", &self.origins, &mut text);
        text
    }
}

fn section(table: &Table, prefix: &str, origins: &BTreeMap<String, Origin>, text: &mut String) {
    let (sections, values): (Vec<_>, Vec<_>) =
        table.iter().partition(|(_, value)| matches!(value, Value::Table(_)));
    if !prefix.is_empty() && (!values.is_empty() || sections.is_empty()) {
        let _ = write!(text, "\n[{prefix}]\n");
    }
    for (key, value) in values {
        let origin = origins
            .get(&path(prefix, key))
            .map_or_else(|| "default".to_owned(), ToString::to_string);
        let line = format!("{} = {value}", quoted(key));
        let _ = writeln!(text, "{line:<40} # {origin}");
    }
    for (key, value) in sections {
        if let Value::Table(inner) = value {
            section(inner, &path(prefix, key), origins, text);
        }
    }
}

/// Shows every value that is no table to `visit`, with its path.
pub(super) fn leaves(table: &Table, prefix: &str, visit: &mut impl FnMut(&str, &Value)) {
    for (key, value) in table {
        let path = path(prefix, key);
        match value {
            Value::Table(inner) => leaves(inner, &path, visit),
            other => visit(&path, other),
        }
    }
}

fn path(prefix: &str, key: &str) -> String {
    let key = quoted(key);
    if prefix.is_empty() { key } else { format!("{prefix}.{key}") }
}

/// A key as TOML wants it: names with a dot or a slash need quotes.
fn quoted(key: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !key.is_empty() && key.chars().all(bare) {
        key.to_owned()
    } else {
        Value::String(key.to_owned()).to_string()
    }
}
