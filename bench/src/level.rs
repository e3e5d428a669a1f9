//! What an acknowledged job survives, and how slow the disk is that it must survive on.
//! Not how the disk is made slow: `slow_disk` does that.

use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;

use crate::peer::Durability;

/// What an acknowledged job survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
pub(crate) enum Level {
    /// Nothing: jobs are in memory only
    #[serde(rename = "none")]
    None,
    /// A crash of the server; a power failure costs the last moments
    #[serde(rename = "relaxed")]
    Relaxed,
    /// A power failure: flushed before it is acknowledged
    #[serde(rename = "strict")]
    Strict,
    /// The same, and every flush takes 1 ms longer than this disk needs
    #[serde(rename = "strict-1ms")]
    #[value(name = "strict-1ms")]
    StrictSlow,
}

impl Level {
    /// What the server is told.
    pub(crate) fn durability(self) -> Durability {
        match self {
            Self::None => Durability::None,
            Self::Relaxed => Durability::Relaxed,
            Self::Strict | Self::StrictSlow => Durability::Strict,
        }
    }

    /// How much longer a flush takes than the disk needs, if it does.
    pub(crate) fn flush_delay(self) -> Option<Duration> {
        (self == Self::StrictSlow).then_some(Duration::from_millis(1))
    }

    /// The name on the command line and in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Relaxed => "relaxed",
            Self::Strict => "strict",
            Self::StrictSlow => "strict-1ms",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_is_the_one_of_the_command_line_and_of_the_report() {
        for &level in Level::value_variants() {
            let on_command_line = level.to_possible_value().unwrap();
            assert_eq!(on_command_line.get_name(), level.name());
            assert_eq!(serde_json::to_value(level).unwrap(), level.name());
        }
    }
}
