//! Values as people type them: durations, moments, sizes.

use std::time::{Duration, SystemTime};

use bytesize::ByteSize;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use ganger_shared::object::types;
use ganger_shared::prerequisite::Prerequisite;
use ganger_shared::time::millis;
use ganger_shared::{Backoff, Durability, JobId, JobRange, Name, ObjectId, ResultsTo, Time};
use jiff::{SpanRelativeTo, Timestamp};

/// `10s`, `5m`, `1h30m`, `2d` (of 24 hours).
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no duration; write it like 500ms, 10s, 5m or 1h30m");
    let span: jiff::Span = text.parse().map_err(|_| wrong())?;
    let signed = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| wrong())?;
    Duration::try_from(signed).map_err(|_| format!("{text:?} is negative"))
}

/// A duration from now, or a moment in RFC 3339.
pub(crate) fn moment(text: &str) -> Result<Time, String> {
    if let Ok(moment) = text.parse::<Timestamp>() {
        let millis = u64::try_from(moment.as_millisecond());
        return millis.map(Time::from_millis).map_err(|_| format!("{text:?} is before 1970"));
    }
    duration(text).map(|from_now| now() + from_now).map_err(|_| {
        format!("{text:?} is no moment; write it like 30m (from now) or 2030-01-31T12:00:00Z")
    })
}

/// The time of this machine.
pub(crate) fn now() -> Time {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Time::from_millis(millis(since))
}

/// `BASE..CAP`, or one duration for both.
pub(crate) fn backoff(text: &str) -> Result<Backoff, String> {
    let (base, cap) = text.split_once("..").unwrap_or((text, text));
    let (base_ms, cap_ms) = (millis(duration(base)?), millis(duration(cap)?));
    if base_ms > cap_ms {
        return Err(format!("{text:?} starts above its end; write the shorter wait first"));
    }
    Ok(Backoff { base_ms, cap_ms })
}

/// A list, or `none`.
pub(crate) fn results(text: &str) -> Result<ResultsTo, String> {
    match text {
        "none" => Ok(ResultsTo::Nowhere),
        list => Name::new(list).map(ResultsTo::List).map_err(|error| error.to_string()),
    }
}

/// `dict/1`, or `dict` for the first version of a type that every broker serves.
pub(crate) fn typeid(text: &str) -> Result<Name, String> {
    let first = types::builtin(&format!("{text}/1"));
    Name::new(first.map_or(text, |found| found.typeid)).map_err(|error| error.to_string())
}

/// What something that is made is to be called.
#[derive(Clone, Debug)]
pub(crate) enum NewName {
    Chosen(Name),
    /// The broker gives it one.
    Given,
}

/// A name, or `-` for the one that the broker gives.
pub(crate) fn new_name(text: &str) -> Result<NewName, String> {
    if text == "-" {
        return Ok(NewName::Given);
    }
    let name = Name::new(text).map_err(|error| error.to_string())?;
    if ObjectId::of(&name).is_some() {
        return Err(format!("only the broker gives names like {name}; `-` has it give one"));
    }
    Ok(NewName::Chosen(name))
}

/// A job's id, or `ID..NUMBER` for all from that one on to before that number of its session.
pub(crate) fn jobs(text: &str) -> Result<JobRange, String> {
    let (first, end) = match text.split_once("..") {
        Some((first, end)) => (first, Some(end)),
        None => (text, None),
    };
    let first: JobId = first.parse().map_err(|error| format!("{text:?}: {error}"))?;
    let Some(end) = end else { return Ok(JobRange::one(first)) };
    let count = end.parse::<u64>().ok().and_then(|end| end.checked_sub(first.seq));
    let count = count.and_then(|count| u32::try_from(count).ok()).filter(|&count| count > 0);
    let count = count.ok_or_else(|| {
        format!(
            "{text:?} is no range of jobs; write it like {first}..{}",
            first.seq.saturating_add(10)
        )
    })?;
    Ok(JobRange { first, count })
}

/// `counter NAME >= N` or `list NAME >= N`.
pub(crate) fn reaches(text: &str) -> Result<Prerequisite, String> {
    let wrong = || format!("{text:?} is not like 'counter NAME >= N' or 'list NAME >= N'");
    let (what, number) = text.split_once(">=").ok_or_else(wrong)?;
    let (kind, name) = what.trim().split_once(' ').ok_or_else(wrong)?;
    let name: Name = name.trim().parse().map_err(|error| format!("{text:?}: {error}"))?;
    let number = number.trim();
    match kind {
        "counter" => {
            let at_least = number.parse().map_err(|_| wrong())?;
            Ok(Prerequisite::Counter { object: name, at_least })
        }
        "list" => {
            let at_least = number.parse().map_err(|_| wrong())?;
            Ok(Prerequisite::List { list: name, at_least })
        }
        _ => Err(wrong()),
    }
}

/// `512MiB`, `2GB`, or bytes.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let size = text.parse::<ByteSize>();
    size.map(|size| size.as_u64())
        .map_err(|_| format!("{text:?} is no size; write it like 65536, 512KiB or 2GiB"))
}

/// `memory`, `relaxed` or `strict`.
pub(crate) fn durability() -> impl TypedValueParser<Value = Durability> {
    const LEVELS: [Durability; 3] = [Durability::Memory, Durability::Relaxed, Durability::Strict];
    PossibleValuesParser::new(["memory", "relaxed", "strict"]).try_map(|text| {
        let found = LEVELS.into_iter().find(|level| level.to_string() == text);
        found.ok_or("not a durability")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_jobs_wait_for_is_read_as_people_write_it() {
        let first = "00000000000000ab-5";
        let range = jobs(first).unwrap();
        assert_eq!((range.first.seq, range.count), (5, 1));
        assert_eq!(jobs(&format!("{first}..9")).unwrap().count, 4);
        for text in ["5", "00000000000000ab-5..5", "00000000000000ab-5..x"] {
            assert!(jobs(text).unwrap_err().contains(text), "{text}");
        }
        let list = Prerequisite::List { list: Name::new("a.b").unwrap(), at_least: 3 };
        assert_eq!(reaches("list a.b>=3"), Ok(list));
        let counter = Prerequisite::Counter { object: Name::new("c").unwrap(), at_least: -1 };
        assert_eq!(reaches(" counter c >= -1"), Ok(counter));
        for text in ["counter c", "counter c > 1", "dict c >= 1", "list l >= -1", "counter >= 1"] {
            assert!(reaches(text).unwrap_err().contains(text), "{text}");
        }
    }

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, seconds) in [("10s", 10), ("5m", 300), ("1h30m", 5400), ("2d", 172_800)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        for text in ["", "10", "tomorrow", "-5s", "1mo"] {
            assert!(duration(text).unwrap_err().contains(&format!("{text:?}")), "{text}");
        }
    }

    #[test]
    fn moment_is_absolute_or_from_now() {
        assert_eq!(moment("1970-01-01T00:00:01Z"), Ok(Time::from_millis(1_000)));
        let soon = moment("1h").unwrap();
        assert!(soon.since(now()) > Duration::from_secs(3_590));
        assert!(moment("later").unwrap_err().contains("\"later\""));
    }

    #[test]
    fn backoff_takes_one_duration_or_two_in_order() {
        assert_eq!(backoff("1s..5m"), Ok(Backoff { base_ms: 1_000, cap_ms: 300_000 }));
        assert_eq!(backoff("2s"), Ok(Backoff { base_ms: 2_000, cap_ms: 2_000 }));
        assert!(backoff("5m..1s").is_err());
    }
}
