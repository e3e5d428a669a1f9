//! The configuration file.

use std::path::Path;

use ganger_broker::config::{ConfigError, Loaded};

use crate::{Measure, Target};

/// This target.
pub const TARGET: Target = Target { name: "config", run: target, read: measure, memory_max };

/// The file is the operator's own and is read once; the parser keeps a token, an event and a value
/// for what may be a single byte. So the factor is larger than what strangers are given.
const fn memory_max(bytes: usize) -> usize {
    150 * bytes + (64 << 10)
}

fn measure(bytes: &[u8], measured: &mut Measure<'_>) -> usize {
    if let Ok(text) = std::str::from_utf8(bytes) {
        measured(&mut || drop(Loaded::from_toml(Path::new("broker.toml"), text)));
    }
    bytes.len()
}

/// Panics where a promise is broken: what was loaded can be printed, and that says the same; what
/// cannot be understood is named with its line.
///
/// # Panics
///
/// That is what it is for.
pub fn target(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match Loaded::from_toml(Path::new("broker.toml"), text) {
        Ok(loaded) => {
            let printed = loaded.to_toml();
            let again = Loaded::from_toml(Path::new("printed.toml"), &printed);
            let again = again.unwrap_or_else(|error| panic!("what it prints: {error}\n{printed}"));
            assert_eq!(again.config, loaded.config, "it prints other settings\n{printed}");
            assert_eq!(again.warnings, [""; 0], "it prints what means nothing\n{printed}");
        }
        Err(error @ ConfigError::Value { line, .. }) => {
            let lines = text.split('\n').count();
            assert!((1..=lines).contains(&line), "line {line} of {lines}: {error}");
            assert!(!error.to_string().contains('\n'), "more than a line: {error}");
        }
        Err(error) => panic!("there is no file and no variable: {error}"),
    }
}
