//! `ganger object watch`: the changes of an object, line by line as they happen.

use futures_lite::future::poll_once;
use ganger_shared::{Change, Name, Packed, What};
use ganger_worker::{Client, Objects, Watch};
use serde_json::{Value as Json, json};

use crate::args::{Format, Show};
use crate::exit::{Failure, Result};
use crate::link::explained;
use crate::output::{Output, VERSION};
use crate::sink::Sink;

/// Writes changes until the object is removed.
pub(super) async fn watch(client: &Client, show: &Show, name: &Name, from: Option<u64>) -> Result {
    let format = Output::new(show).format;
    if format == Format::Json {
        return Err(Failure::usage("changes have no end, so they are no one document")
            .with_advice(format!("ganger object watch {name} -o ndjson")));
    }
    let mut changes = match client.object(name)?.watch(from).await {
        Ok(changes) => changes,
        Err(error) => return Err(explained(client, error).await),
    };
    let mut sink = Sink::new(None);
    while let Some(change) = next(client, &mut changes, &mut sink).await? {
        let line = match format {
            Format::Ndjson | Format::Json => line_of(&change).to_string(),
            Format::Table | Format::Plain => text_of(&change),
        };
        sink.line(line.as_bytes());
        if sink.is_full() {
            sink.flush().await?;
        }
    }
    sink.flush().await
}

/// The next change; what is there is written before it is waited for.
async fn next(client: &Client, changes: &mut Watch, sink: &mut Sink) -> Result<Option<Change>> {
    let next = match poll_once(changes.next()).await {
        Some(next) => next,
        None => {
            sink.flush().await?;
            changes.next().await
        }
    };
    match next {
        Ok(change) => Ok(change),
        Err(error) => {
            sink.flush().await?;
            Err(explained(client, error).await)
        }
    }
}

fn shown(value: &Packed) -> String {
    value.unpack().to_json()
}

/// A change for programs.
fn line_of(change: &Change) -> Json {
    let value = |value: &Packed| serde_json::from_str(&shown(value)).unwrap_or(Json::Null);
    let mut line = json!({ "v": VERSION, "revision": change.revision });
    match &change.what {
        What::Number(number) => line["value"] = json!(number),
        What::Value(set) => line["value"] = value(set),
        What::Key { key, value: Some(set) } => {
            line["key"] = value(key);
            line["value"] = value(set);
        }
        What::Key { key, value: None } => {
            line["key"] = value(key);
            line["gone"] = json!(true);
        }
        What::Cleared => line["cleared"] = json!(true),
        What::Anew => line["anew"] = json!(true),
        What::Spliced { at, removed, items } => {
            line["at"] = json!(at);
            line["removed"] = json!(removed);
            line["items"] = items.iter().map(value).collect();
        }
    }
    line
}

/// A change for people.
fn text_of(change: &Change) -> String {
    let what = match &change.what {
        What::Number(number) => number.to_string(),
        What::Value(value) => shown(value),
        What::Key { key, value: Some(value) } => format!("{} = {}", shown(key), shown(value)),
        What::Key { key, value: None } => format!("{} is gone", shown(key)),
        What::Cleared => "cleared".to_owned(),
        What::Anew => "changed too much to say; read it anew".to_owned(),
        What::Spliced { at, removed, items } => {
            let items: Vec<String> = items.iter().map(shown).collect();
            let items = items.join(", ");
            match (removed, items.is_empty()) {
                (0, _) => format!("{at}: {items} came"),
                (_, true) => format!("{at}: {removed} went"),
                (_, false) => format!("{at}: {removed} went, {items} came"),
            }
        }
    };
    format!("{} {what}", change.revision)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_is_a_line() {
        let key = Packed::from("k");
        for (what, text, line) in [
            (What::Number(-3), "7 -3", r#"{"revision":7,"v":1,"value":-3}"#),
            (What::Value(Packed::from("x")), "7 \"x\"", r#"{"revision":7,"v":1,"value":"x"}"#),
            (
                What::Key { key: key.clone(), value: Some(Packed::from(1_i64)) },
                "7 \"k\" = 1",
                r#"{"key":"k","revision":7,"v":1,"value":1}"#,
            ),
            (
                What::Key { key, value: None },
                "7 \"k\" is gone",
                r#"{"gone":true,"key":"k","revision":7,"v":1}"#,
            ),
            (
                What::Spliced {
                    at: 3,
                    removed: 0,
                    items: vec![Packed::from("x"), Packed::from(1_i64)],
                },
                "7 3: \"x\", 1 came",
                r#"{"at":3,"items":["x",1],"removed":0,"revision":7,"v":1}"#,
            ),
            (
                What::Spliced { at: 0, removed: 2, items: vec![] },
                "7 0: 2 went",
                r#"{"at":0,"items":[],"removed":2,"revision":7,"v":1}"#,
            ),
            (
                What::Spliced { at: 1, removed: 1, items: vec![Packed::from("y")] },
                "7 1: 1 went, \"y\" came",
                r#"{"at":1,"items":["y"],"removed":1,"revision":7,"v":1}"#,
            ),
            (What::Cleared, "7 cleared", r#"{"cleared":true,"revision":7,"v":1}"#),
        ] {
            let change = Change { revision: 7, what };
            assert_eq!(text_of(&change), text);
            let expected: Json = serde_json::from_str(line).unwrap();
            assert_eq!(line_of(&change), expected);
        }
    }
}
