//! Reading the settings: flags over environment over file over defaults.
//!
//! Not what they mean. What cannot be understood is named with its place and its value.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ganger_shared::Durability;

use super::{Config, Origin, show};

/// Settings from the command line. They win over those from the environment, and both over the
/// file's.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// The file. In the environment: `GANGER_CONFIG`.
    pub config: Option<PathBuf>,
    /// [`Config::listen`]. In the environment: `GANGER_LISTEN`.
    pub listen: Option<String>,
    /// [`Config::data`]. In the environment: `GANGER_DATA`.
    pub data: Option<PathBuf>,
    /// [`Config::key_file`]. In the environment: `GANGER_KEY_FILE`.
    pub key_file: Option<PathBuf>,
    /// [`Config::durability`]. In the environment: `GANGER_DURABILITY`.
    pub durability: Option<Durability>,
}

/// Settings, and where they come from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    /// Where each setting that is no default comes from, by its path (`limits.frame_max`).
    pub origins: BTreeMap<String, Origin>,
    /// Keys of the file that mean nothing, each a sentence.
    pub warnings: Vec<String>,
}

/// Settings that cannot be understood.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file says something that cannot be.
    #[error("{}, line {line}: {text}: {reason}", path.display())]
    Value {
        /// Which file.
        path: PathBuf,
        /// Where in it, from 1.
        line: usize,
        /// What stands there.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A variable of the environment says something that cannot be.
    #[error("the environment variable {name}={value}: {reason}")]
    Variable {
        /// Which.
        name: &'static str,
        /// What it says.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// What durabilities are called.
pub(crate) const DURABILITIES: [&str; 3] = ["memory", "relaxed", "strict"];

pub(crate) fn parse_durability(text: &str) -> Result<Durability, String> {
    match text {
        "memory" => Ok(Durability::Memory),
        "relaxed" => Ok(Durability::Relaxed),
        "strict" => Ok(Durability::Strict),
        _ => Err(format!("it must be one of {}", DURABILITIES.join(", "))),
    }
}

impl Loaded {
    /// Reads the settings: flags over environment over file over defaults. An empty variable counts
    /// as none.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the file or variable, the place and the value; the operator changes it.
    pub fn load(
        flags: &Flags,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, ConfigError> {
        let variable = |name| variable(name).filter(|value| !value.is_empty());
        let file = flags.config.clone().or_else(|| variable("GANGER_CONFIG").map(PathBuf::from));
        let mut loaded = match file {
            Some(path) => Self::from_file(&path)?,
            None => Self::from_toml(Path::new(""), "")?,
        };
        loaded.take_variables(variable)?;
        loaded.take_flags(flags);
        Ok(loaded)
    }

    fn from_file(path: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Self::from_toml(path, &text)
    }

    /// Reads the `text` of a file called `path`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Value`].
    pub fn from_toml(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let wrong = |error: toml::de::Error| {
            let start = error.span().map_or(0, |span| span.start.min(text.len()));
            let line = text[..start].matches('\n').count();
            ConfigError::Value {
                path: path.to_owned(),
                line: line + 1,
                text: text.lines().nth(line).unwrap_or_default().trim().to_owned(),
                reason: error.message().replace('\n', " "),
            }
        };
        let mut warnings = Vec::new();
        let unknown = |key: serde_ignored::Path<'_>| {
            warnings.push(format!("{}: there is no setting {key}; it is ignored", path.display()));
        };
        let parsed = toml::Deserializer::parse(text).map_err(wrong)?;
        let config = serde_ignored::deserialize(parsed, unknown).map_err(wrong)?;
        let table: toml::Table = text.parse().map_err(wrong)?;
        let mut origins = BTreeMap::new();
        show::leaves(&table, "", &mut |key, _| {
            origins.insert(key.to_owned(), Origin::File(path.to_owned()));
        });
        Ok(Self { config, origins, warnings })
    }

    fn take_variables(
        &mut self,
        variable: impl Fn(&'static str) -> Option<OsString>,
    ) -> Result<(), ConfigError> {
        let Self { config, origins, .. } = self;
        let mut take = |name, key: &str| {
            let value = variable(name)?;
            origins.insert(key.to_owned(), Origin::Variable(name));
            Some(value)
        };
        let text = |name, value: OsString| {
            value.into_string().map_err(|value| ConfigError::Variable {
                name,
                value: value.to_string_lossy().into_owned(),
                reason: "it is not UTF-8".to_owned(),
            })
        };
        if let Some(value) = take("GANGER_LISTEN", "listen") {
            config.listen = text("GANGER_LISTEN", value)?;
        }
        if let Some(value) = take("GANGER_DATA", "data") {
            config.data = Some(value.into());
        }
        if let Some(value) = take("GANGER_KEY_FILE", "key_file") {
            config.key_file = Some(value.into());
        }
        if let Some(value) = take("GANGER_DURABILITY", "durability") {
            let name = "GANGER_DURABILITY";
            let value = text(name, value)?;
            config.durability = parse_durability(&value)
                .map_err(|reason| ConfigError::Variable { name, value, reason })?;
        }
        if let Some(value) = take("GANGER_ANY_FILESYSTEM", "journal.any_filesystem") {
            let name = "GANGER_ANY_FILESYSTEM";
            let value = text(name, value)?;
            config.journal.any_filesystem = value.parse().map_err(|_| {
                let reason = "it must be true or false".to_owned();
                ConfigError::Variable { name, value, reason }
            })?;
        }
        Ok(())
    }

    fn take_flags(&mut self, flags: &Flags) {
        let Flags { config: _, listen, data, key_file, durability } = flags;
        let mut from = |key: &str, flag| self.origins.insert(key.to_owned(), Origin::Flag(flag));
        if let Some(listen) = listen {
            self.config.listen.clone_from(listen);
            from("listen", "--listen");
        }
        if let Some(data) = data {
            self.config.data = Some(data.clone());
            from("data", "--data");
        }
        if let Some(key_file) = key_file {
            self.config.key_file = Some(key_file.clone());
            from("key_file", "--key-file");
        }
        if let Some(durability) = durability {
            self.config.durability = *durability;
            from("durability", "--durability");
        }
    }
}
