//! Numbers that name things: sessions, jobs, leases, and the ranges they travel in.

use core::fmt;
use core::str::FromStr;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::bounded;
use crate::complaint::complain;
use crate::name::Name;
use crate::value::OBJECT_ID;

/// One client's logical connection; survives a broken socket. 64 random bits chosen by the client.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
pub struct SessionId(pub u64);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A job: the session that submitted it and its number in that session.
///
/// The submitter counts, so the id is known before the broker has answered, and a submit that is
/// repeated after a broken connection names the same jobs. Shown and parsed as
/// `0123456789abcdef-42`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
pub struct JobId {
    /// The session that submitted the job.
    pub session: SessionId,
    /// Its number there, counted from 0.
    pub seq: u64,
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.session, self.seq)
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Ids are numbers on the wire and text for people: JSON readers must not round 64-bit numbers.
macro_rules! serialize_as_text_for_people {
    ($id:ident, |$this:ident| $numbers:expr) => {
        impl Serialize for $id {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    let $this = self;
                    $numbers.serialize(serializer)
                }
            }
        }
    };
}

serialize_as_text_for_people!(SessionId, |id| id.0);
serialize_as_text_for_people!(LeaseId, |id| id.0);
serialize_as_text_for_people!(JobId, |id| (id.session, id.seq));

/// The text is not a job id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a job id (16 hex digits, a dash and a number, as in 0123456789abcdef-42)")]
pub struct ParseJobIdError(String);

impl FromStr for JobId {
    type Err = ParseJobIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (session, seq) = text.split_once('-')?;
            if session.len() != 16 || !session.bytes().all(|b| b.is_ascii_hexdigit()) {
                return None;
            }
            let session = SessionId(u64::from_str_radix(session, 16).ok()?);
            Some(Self { session, seq: seq.parse().ok()? })
        };
        parse().ok_or_else(|| ParseJobIdError(text.to_owned()))
    }
}

/// Consecutive jobs of one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct JobRange {
    /// The first of them.
    pub first: JobId,
    /// How many; at least 1, which decoding checks.
    #[serde(deserialize_with = "bounded::at_least_one")]
    pub count: u32,
}

impl JobRange {
    /// The range of just `job`.
    #[must_use]
    pub const fn one(job: JobId) -> Self {
        Self { first: job, count: 1 }
    }

    /// The number after the last one; saturates at the end of the number space.
    #[must_use]
    pub const fn end_seq(&self) -> u64 {
        self.first.seq.saturating_add(self.count as u64)
    }

    /// Whether `job` is one of them.
    #[must_use]
    pub fn contains(&self, job: JobId) -> bool {
        self.first.session == job.session && (self.first.seq..self.end_seq()).contains(&job.seq)
    }

    /// The part that starts at `offset` and has `count` jobs.
    #[must_use]
    pub const fn part(&self, offset: u32, count: u32) -> Self {
        let seq = self.first.seq.saturating_add(offset as u64);
        Self { first: JobId { session: self.first.session, seq }, count }
    }

    /// Every job of the range, in order.
    pub fn iter(&self) -> impl Iterator<Item = JobId> + use<> {
        let session = self.first.session;
        (self.first.seq..self.end_seq()).map(move |seq| JobId { session, seq })
    }
}

/// The right to run one job until a deadline. Grows with every grant and is never reused, so it
/// serves as the fencing token of the attempt.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
pub struct LeaseId(pub u64);

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

impl fmt::Debug for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Consecutive leases: what one Assign grants, or any part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LeaseRange {
    /// The first of them.
    pub first: LeaseId,
    /// How many; at least 1, which decoding checks.
    #[serde(deserialize_with = "bounded::at_least_one")]
    pub count: u32,
}

impl LeaseRange {
    /// The range of just `lease`.
    #[must_use]
    pub const fn one(lease: LeaseId) -> Self {
        Self { first: lease, count: 1 }
    }

    /// The number after the last one; saturates at the end of the number space.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.first.0.saturating_add(self.count as u64)
    }

    /// The part that starts at `offset` and has `count` leases.
    #[must_use]
    pub const fn part(&self, offset: u32, count: u32) -> Self {
        Self { first: LeaseId(self.first.0.saturating_add(offset as u64)), count }
    }
}

/// A shared object that has no name, which values refer to. Shown and parsed in hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId(pub u64);

impl ObjectId {
    /// Begins the names that the broker gives to objects without one of their own.
    pub const NAMES: &str = "_/";

    /// The name that the broker gave to it.
    ///
    /// # Panics
    /// Never: such names keep the rules.
    #[must_use]
    pub fn name(self) -> Name {
        Name::new(&format!("{}{self}", Self::NAMES)).expect("a prefix and hex digits are a name")
    }

    /// The object that has this name from the broker; none if the name was chosen.
    #[must_use]
    pub fn of(name: &Name) -> Option<Self> {
        name.strip_prefix(Self::NAMES)?.parse().ok()
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not an object's id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the id of an object (1 to 16 hex digits, as in 7f3a)")]
pub struct ParseObjectIdError(String);

impl FromStr for ObjectId {
    type Err = ParseObjectIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let id = is_hex.then(|| u64::from_str_radix(text, 16).ok()).flatten();
        id.map(Self).ok_or_else(|| ParseObjectIdError(text.to_owned()))
    }
}

impl Serialize for ObjectId {
    /// Text for people, a number for others, a ref in a value.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Inner(ObjectId);

        impl Serialize for Inner {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(&self.0)
                } else {
                    serializer.serialize_u64(self.0.0)
                }
            }
        }

        serializer.serialize_newtype_struct(OBJECT_ID, &Inner(*self))
    }
}

impl<'de> Deserialize<'de> for ObjectId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Inner;

        impl<'de> Visitor<'de> for Inner {
            type Value = ObjectId;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the id of an object")
            }

            fn visit_newtype_struct<D: Deserializer<'de>>(
                self,
                inner: D,
            ) -> Result<ObjectId, D::Error> {
                if inner.is_human_readable() {
                    String::deserialize(inner)?.parse().map_err(complain)
                } else {
                    u64::deserialize(inner).map(ObjectId)
                }
            }
        }

        deserializer.deserialize_newtype_struct(OBJECT_ID, Inner)
    }
}

/// A call's number within its session, chosen by the client; the answer carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestId(pub u64);

/// A stream of Assigns or of followed items within one session, chosen by the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SubscriptionId(pub u32);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn job_id_survives_its_text() {
        let id = JobId { session: SessionId(0x0123_4567_89ab_cdef), seq: 42 };
        assert_eq!(id.to_string(), "0123456789abcdef-42");
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn text_that_is_no_job_id_is_refused_with_the_text() {
        for text in [
            "",
            "-",
            "0123456789abcdef",
            "123-4",
            "0123456789abcdeg-4",
            "+123456789abcdef-4",
            "0123456789abcdef-x",
        ] {
            let error = text.parse::<JobId>().unwrap_err();
            assert!(error.to_string().contains(&format!("{text:?}")), "{error}");
        }
    }

    #[test]
    fn object_id_survives_its_text() {
        for (id, text) in [(0, "0"), (0x7f3a, "7f3a"), (u64::MAX, "ffffffffffffffff")] {
            assert_eq!(
                (ObjectId(id).to_string(), text.parse()),
                (text.to_owned(), Ok(ObjectId(id)))
            );
        }
        for text in ["", "+1", "0x1", "g", "10000000000000000"] {
            let error = text.parse::<ObjectId>().unwrap_err();
            assert!(error.to_string().contains(&format!("{text:?}")), "{error}");
        }
    }

    #[test]
    fn range_ends_do_not_overflow() {
        let last = JobId { session: SessionId(1), seq: u64::MAX - 1 };
        let range = JobRange { first: last, count: 5 };
        assert_eq!(range.end_seq(), u64::MAX);
        assert!(range.contains(last));
    }
}
