//! Values as they are typed, and answers as they are shown.

use std::io::{self, Read};

use bytes::Bytes;
use ganger_shared::Value;
use serde::de::IgnoredAny;

use crate::args::Format;
use crate::exit::{Failure, Result};
use crate::output::{self, Output, VERSION};

/// A value of the command line: JSON, or else text; `@file` and `-` say where it is read from.
pub(super) fn value(typed: &str) -> Result<Value> {
    if typed == "-" {
        let mut bytes = Vec::new();
        let read = io::stdin().lock().read_to_end(&mut bytes);
        read.map_err(|error| Failure::io("cannot read standard input", &error))?;
        return content(bytes);
    }
    match typed.strip_prefix('@') {
        Some(file) => content(std::fs::read(file).map_err(|error| {
            Failure::usage(format!("cannot read a value from {file}: {error}"))
                .with_advice("write a text that begins with @ as JSON: '\"@text\"'")
        })?),
        None => text(typed),
    }
}

pub(super) fn values(typed: &[String]) -> Result<Vec<Value>> {
    typed.iter().map(|typed| value(typed)).collect()
}

/// Values as a request has them, one after the other.
pub(super) fn encoded(values: &[Value]) -> Result<Bytes> {
    let mut encoded = Vec::new();
    let each = values.iter().try_for_each(|value| value.encode_to(&mut encoded));
    each.map_err(|error| Failure::usage(error.to_string()))?;
    Ok(encoded.into())
}

/// What is no JSON is text, and what is JSON but no value is a mistake.
pub(super) fn text(typed: &str) -> Result<Value> {
    match Value::from_json(typed) {
        Ok(value) => Ok(value),
        Err(_) if serde_json::from_str::<IgnoredAny>(typed).is_err() => Ok(typed.into()),
        Err(error) => Err(Failure::usage(format!("{typed} is no value: {error}"))),
    }
}

/// What is no text is bytes.
fn content(bytes: Vec<u8>) -> Result<Value> {
    match String::from_utf8(bytes) {
        Ok(typed) => text(&typed),
        Err(error) => Ok(Value::Bytes(error.into_bytes().into())),
    }
}

/// Shows an answer on one line: as JSON, or a text as it is where people read it.
pub(super) fn show(out: &Output, value: &Value) -> Result {
    let line = match (out.format, value) {
        (Format::Json | Format::Ndjson, value) => {
            format!("{{\"v\":{VERSION},\"value\":{}}}", value.to_json())
        }
        (Format::Table, Value::Text(text)) => output::printable(text),
        (Format::Table, value) => output::printable(&value.to_json()),
        (Format::Plain, Value::Text(text)) => text.clone(),
        (Format::Plain, value) => value.to_json(),
    };
    output::print(&format!("{line}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_json_is_text_and_json_that_is_no_value_is_refused() {
        for (typed, value) in [
            ("7", Value::from(7)),
            ("\"7\"", "7".into()),
            ("hello", "hello".into()),
            ("{a}", "{a}".into()),
            ("", "".into()),
            ("{\"$tuple\": [1]}", Value::Tuple(vec![1.into()])),
        ] {
            let found = text(typed).unwrap();
            assert_eq!((found.kind(), &found), (value.kind(), &value), "{typed}");
        }
        let error = text("{\"$set\": [1, 1]}").unwrap_err();
        assert!(error.sentence().contains("set has 1 more than once"), "{}", error.sentence());
    }

    #[test]
    fn what_is_no_text_is_bytes() {
        assert_eq!(content(vec![0xff]).unwrap().kind(), "bytes");
        assert_eq!(content(b"[1]\n".to_vec()).unwrap(), Value::List(vec![1.into()]));
    }
}
