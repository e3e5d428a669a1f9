//! A line of JSON as a job: `{"payload": "…", "priority": 9, "delay": "10s"}`.

use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ganger_shared::time::millis;
use ganger_shared::{JobOptions, Name, Priority};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::values;

/// A job as its line says.
pub(crate) struct Job<'a> {
    pub(crate) options: Arc<JobOptions>,
    pub(crate) payload: Cow<'a, [u8]>,
}

/// What a line may say. Whatever is absent is as on the command line.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    /// Text stands for itself; any other JSON value for its JSON.
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
    payload_base64: Option<Cow<'a, str>>,
    handler: Option<Name>,
    priority: Option<Priority>,
    delay: Option<Cow<'a, str>>,
    retries: Option<u32>,
    crash_retries: Option<u32>,
    ttl: Option<Cow<'a, str>>,
    deadline: Option<Cow<'a, str>>,
    time_limit: Option<Cow<'a, str>>,
}

/// Reads a line.
pub(crate) fn parse<'a>(line: &'a [u8], defaults: &Arc<JobOptions>) -> Result<Job<'a>, String> {
    let said: Line<'a> =
        serde_json::from_slice(line).map_err(|error| format!("is no job: {error}"))?;
    let payload = match (said.payload, &said.payload_base64) {
        (Some(_), Some(_)) => return Err("has both payload and payload_base64".to_owned()),
        (Some(raw), None) => json_payload(raw)?,
        (None, Some(text)) => {
            let bytes = BASE64_STANDARD.decode(text.as_bytes());
            Cow::Owned(bytes.map_err(|error| format!("has no base64 in payload_base64: {error}"))?)
        }
        (None, None) => Cow::Borrowed(&[][..]),
    };
    Ok(Job { options: options(&said, defaults)?, payload })
}

fn json_payload(raw: &RawValue) -> Result<Cow<'_, [u8]>, String> {
    let json = raw.get();
    if !json.starts_with('"') {
        return Ok(Cow::Borrowed(json.as_bytes()));
    }
    let inner = &json[1..json.len() - 1];
    if !inner.contains('\\') {
        return Ok(Cow::Borrowed(inner.as_bytes()));
    }
    let text: String = serde_json::from_str(json).map_err(|error| format!("is no job: {error}"))?;
    Ok(Cow::Owned(text.into_bytes()))
}

fn options(said: &Line<'_>, defaults: &Arc<JobOptions>) -> Result<Arc<JobOptions>, String> {
    let Line { payload: _, payload_base64: _, handler, priority, .. } = said;
    let Line { delay, retries, crash_retries, ttl, deadline, time_limit, .. } = said;
    let times = [delay, ttl, deadline, time_limit];
    let numbers = [retries, crash_retries];
    if handler.is_none()
        && priority.is_none()
        && times.iter().all(|time| time.is_none())
        && numbers.iter().all(|number| number.is_none())
    {
        return Ok(Arc::clone(defaults));
    }
    let mut options = (**defaults).clone();
    if let Some(handler) = handler {
        options.handler = handler.clone();
    }
    options.priority = priority.unwrap_or(options.priority);
    options.retries = retries.unwrap_or(options.retries);
    options.crash_retries = crash_retries.unwrap_or(options.crash_retries);
    let millis = |name: &str, text: &str| match values::duration(text) {
        Ok(duration) => Ok(millis(duration)),
        Err(error) => Err(format!("has a wrong {name}: {error}")),
    };
    if let Some(text) = delay {
        options.delay_ms = millis("delay", text)?;
    }
    if let Some(text) = ttl {
        options.ttl_ms = Some(millis("ttl", text)?);
    }
    if let Some(text) = time_limit {
        options.time_limit_ms = Some(millis("time_limit", text)?);
    }
    if let Some(text) = deadline {
        let moment = values::moment(text);
        options.deadline = Some(moment.map_err(|error| format!("has a wrong deadline: {error}"))?);
    }
    Ok(Arc::new(options))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn defaults() -> Arc<JobOptions> {
        Arc::new(JobOptions::new(Name::new("h").unwrap()))
    }

    fn payload(line: &str) -> Vec<u8> {
        parse(line.as_bytes(), &defaults()).unwrap().payload.into_owned()
    }

    #[test]
    fn payload_is_text_json_or_base64() {
        assert_eq!(payload(r#"{"payload":"a\nb"}"#), b"a\nb");
        assert_eq!(payload(r#"{"payload":"grün"}"#), "grün".as_bytes());
        assert_eq!(payload(r#"{"payload":{"to": "ann"}}"#), br#"{"to": "ann"}"#);
        assert_eq!(payload(r#"{"payload_base64":"/wA="}"#), [0xff, 0]);
        assert_eq!(payload("{}"), b"");
    }

    #[test]
    fn line_changes_only_what_it_names() {
        let defaults = defaults();
        let job = parse(br#"{"delay":"10s","priority":9}"#, &defaults).unwrap();
        assert_eq!((job.options.delay_ms, job.options.priority.level()), (10_000, 9));
        assert_eq!(job.options.retries, defaults.retries);
        let plain = parse(br#"{"payload":1}"#, &defaults).unwrap();
        assert!(Arc::ptr_eq(&plain.options, &defaults));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let error = |line: &str| parse(line.as_bytes(), &defaults()).err().unwrap();
        assert!(error(r#"{"delay":"soon"}"#).contains("delay: \"soon\""));
        assert!(error(r#"{"priority":10}"#).contains("priority 10"));
        assert!(error(r#"{"payload":1,"payload_base64":""}"#).contains("both"));
        assert!(error("hello").contains("no job"));
    }
}
