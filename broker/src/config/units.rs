//! Numbers with units, as people write them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;
use jiff::SignedDuration;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A number of bytes, written as in `16MiB`, `1 GB` or `512`.
///
/// ```
/// use ganger_broker::config::Size;
///
/// assert_eq!("1.5 MiB".parse(), Ok(Size(1_572_864)));
/// assert_eq!(Size(64 << 20).to_string(), "64MiB");
/// assert_eq!(Size(1_500_000).to_string(), "1500000");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

/// A length of time, written as in `30s`, `1m 30s` or `250ms`.
///
/// ```
/// use std::time::Duration;
///
/// use ganger_broker::config::Span;
///
/// assert_eq!("1 min 30 s".parse(), Ok(Span(Duration::from_secs(90))));
/// assert_eq!(Span(Duration::from_secs(600)).to_string(), "10m");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

/// The text is no number of the unit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no {what}; write it as in {example}")]
pub struct UnitError {
    text: String,
    what: &'static str,
    example: &'static str,
}

impl Size {
    /// As a length in memory.
    #[must_use]
    pub fn bytes(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl FromStr for Size {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        text.parse::<ByteSize>().map(|size| Self(size.as_u64())).map_err(|_| UnitError {
            text: text.to_owned(),
            what: "number of bytes",
            example: "16MiB",
        })
    }
}

impl fmt::Display for Size {
    /// In the largest unit that leaves nothing over.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, shift) in [("GiB", 30), ("MiB", 20), ("KiB", 10)] {
            if self.0 > 0 && self.0.trailing_zeros() >= shift {
                return write!(f, "{}{unit}", self.0 >> shift);
            }
        }
        write!(f, "{}", self.0)
    }
}

impl FromStr for Span {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let duration: Option<Duration> =
            text.parse::<SignedDuration>().ok().and_then(|span| span.try_into().ok());
        duration.map(Self).ok_or_else(|| UnitError {
            text: text.to_owned(),
            what: "length of time",
            example: "30s",
        })
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let span = SignedDuration::try_from(self.0).unwrap_or(SignedDuration::MAX);
        write!(f, "{span:#}")
    }
}

/// Text for people; a bare number of bytes is taken as one, too.
impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected a number of bytes, as in \"16MiB\"")]
        enum Written {
            Number(u64),
            Text(String),
        }
        match Written::deserialize(deserializer)? {
            Written::Number(bytes) => Ok(Self(bytes)),
            Written::Text(text) => text.parse().map_err(serde::de::Error::custom),
        }
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_spans_survive_their_text() {
        for bytes in [0, 1, 1023, 1024, 1536, 1 << 20, 3 << 30, 4_000_000_001, u64::MAX >> 1] {
            let size = Size(bytes);
            assert_eq!(size.to_string().parse(), Ok(size), "{size}");
        }
        for millis in [0, 1, 250, 999, 1_000, 90_000, 600_000, 86_400_000, 3_600_001] {
            let span = Span(Duration::from_millis(millis));
            assert_eq!(span.to_string().parse(), Ok(span), "{span}");
        }
    }

    #[test]
    fn text_that_is_no_number_of_its_unit_is_refused_with_an_example() {
        let error = "64 apples".parse::<Size>().unwrap_err();
        let text = "\"64 apples\" is no number of bytes; write it as in 16MiB";
        assert_eq!(error.to_string(), text);
        let error = "-5s".parse::<Span>().unwrap_err();
        assert_eq!(error.to_string(), "\"-5s\" is no length of time; write it as in 30s");
    }
}
