//! Objects as lines of JSON, and objects made of such lines.
//!
//! ```text
//! {"v":1,"name":"board","typeid":"dict/1","durability":"strict","content":{"ann":7}}
//! {"v":1,"name":"lamps","typeid":"array/1","durability":"memory","made_with":["i8",2],"content":[0,1]}
//! {"v":1,"name":"hosts","typeid":"list/1","content":["alpha"]}
//! ```

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::time::Duration;

use ganger_rt::unblock;
use ganger_shared::admin::AdminVerb;
use ganger_shared::object::{QUEUE, types};
use ganger_shared::value::Integer;
use ganger_shared::{Durability, Name, Value};
use ganger_worker::error::exit;
use ganger_worker::{Client, Objects};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::content::{self, Content};
use super::{Found, LIST, find, make, rows};
use crate::exit::{Failure, Result};
use crate::link::explained;
use crate::output::{self, VERSION};
use crate::queue;

/// One object. What it has nothing of is absent.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    v: u32,
    name: Name,
    typeid: Name,
    /// Unknown of lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    durability: Option<Durability>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    made_with: Option<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    content: Option<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ttl_ms: Option<Box<RawValue>>,
}

/// Writes these objects, or all that have a name.
pub(super) async fn export(client: &Client, names: Vec<Name>) -> Result {
    if !names.is_empty() {
        for name in names {
            let found = find(client, &name).await?;
            judge(&name, &found.typeid)?;
            write(client, name, found).await?;
        }
        return Ok(());
    }
    let mut left_out = 0;
    for name in rows(client).await?.into_iter().map(|row| row.name) {
        let found = match find(client, &name).await {
            Ok(found) => found,
            // It was removed since they were listed.
            Err(failure) if failure.code() == exit::NOT_FOUND => continue,
            Err(failure) => return Err(failure),
        };
        if let Err(failure) = judge(&name, &found.typeid) {
            output::warn(failure.sentence());
            left_out += 1;
            continue;
        }
        write(client, name, found).await?;
    }
    if left_out > 0 { Err(Failure::silent(exit::PARTIAL)) } else { Ok(()) }
}

/// Whether an object can be made again of what can be read of it.
fn judge(name: &Name, typeid: &Name) -> Result {
    let why = if name.starts_with("_/") {
        "the name was given by this broker"
    } else if typeid.as_str() == QUEUE {
        "to read a queue's items is to take them"
    } else if types::builtin(typeid).is_none() {
        "only its own program can read it"
    } else {
        return Ok(());
    };
    Err(Failure::usage(format!("object {name} of type {typeid} cannot be exported: {why}")))
}

async fn write(client: &Client, name: Name, found: Found) -> Result {
    let Found { typeid, durability, held, .. } = found;
    let content = content::read(&client.object(&name)?, &typeid, held).await?;
    let line = line(name, typeid, durability, &content);
    let line = serde_json::to_string(&line).expect("texts, numbers and JSON are JSON");
    output::print(&format!("{line}\n"))
}

fn line(name: Name, typeid: Name, durability: Option<Durability>, content: &Content) -> Line {
    let raw = |value: &Value| RawValue::from_string(value.to_json()).expect("it is JSON");
    let Content { made_with, content, ttl_ms } = content;
    let made_with = (!made_with.is_empty()).then(|| raw(&Value::List(made_with.clone())));
    let ttl_ms = ttl_ms.iter().map(|(key, ms)| (key.clone(), (*ms).into()));
    let ttl_ms = Value::Map(ttl_ms.collect());
    let ttl_ms = ttl_ms.as_map().filter(|keys| !keys.is_empty()).map(|_| raw(&ttl_ms));
    let content = content.as_ref().map(raw);
    Line { v: VERSION, name, typeid, durability, made_with, content, ttl_ms }
}

fn parse(text: &str) -> Result<(Line, Content), String> {
    let line: Line =
        serde_json::from_str(text).map_err(|error| format!("is no object: {error}"))?;
    if line.v != VERSION {
        return Err(format!("is of version {}; this command reads version {VERSION}", line.v));
    }
    let value = |raw: &Option<Box<RawValue>>| match raw {
        Some(raw) => Value::from_json(raw.get()).map(Some).map_err(|error| error.to_string()),
        None => Ok(None),
    };
    let made_with = match value(&line.made_with)? {
        Some(Value::List(args)) => args,
        None => Vec::new(),
        Some(other) => return Err(format!("is made with {}, not a list", other.kind())),
    };
    let ttl_ms = match value(&line.ttl_ms)? {
        Some(Value::Map(keys)) => {
            let left = |(key, ms): (Value, Value)| {
                let ms = ms.as_int().and_then(Integer::as_u64);
                ms.map(|ms| (key, ms)).ok_or("has a ttl_ms that is no time")
            };
            keys.into_iter().map(left).collect::<Result<_, _>>()?
        }
        None => Vec::new(),
        Some(other) => return Err(format!("has a ttl_ms of {}, not a map", other.kind())),
    };
    let content = Content { made_with, content: value(&line.content)?, ttl_ms };
    Ok((line, content))
}

/// Makes an object of each line; returns how many.
pub(super) async fn import(client: &Client, file: &Path, replace: bool) -> Result<u64> {
    let source: Box<dyn Read + Send> = if file == Path::new("-") {
        Box::new(io::stdin())
    } else {
        let doing = format!("cannot read {}", file.display());
        Box::new(File::open(file).map_err(|error| Failure::usage(format!("{doing}: {error}")))?)
    };
    let mut source = BufReader::new(source);
    let mut count: u64 = 0;
    for number in 1_u64.. {
        // Whoever writes the lines may be slow, and the connection is to be looked after meanwhile.
        let (read, text, rest) = unblock(move || {
            let mut text = String::new();
            (source.read_line(&mut text), text, source)
        })
        .await;
        source = rest;
        let before = |failure: Failure| match count {
            0 => failure,
            count => failure.after(&format!("{count} objects were imported, then")),
        };
        match read {
            Ok(0) => break,
            Ok(_) if text.trim().is_empty() => continue,
            Ok(_) => {}
            Err(error) => return Err(before(Failure::io("cannot read the objects", &error))),
        }
        let wrong = |text| before(Failure::usage(format!("line {number} {text}")));
        let (line, content) = parse(&text).map_err(wrong)?;
        import_one(client, line, content, replace).await.map_err(before)?;
        count += 1;
    }
    Ok(count)
}

async fn import_one(client: &Client, line: Line, content: Content, replace: bool) -> Result {
    let Line { name, typeid, durability, .. } = line;
    if replace {
        clear(client, &name, &typeid).await?;
    }
    let is_new = make(client, &name, &typeid, &content.made_with, durability).await?;
    let may_exist = replace && typeid.as_str() == LIST;
    if !is_new && !may_exist {
        return Err(Failure::new(exit::CONFLICT, format!("object {name} exists already"))
            .with_advice("--replace puts what is read in its place"));
    }
    let object = client.object_of(&name, &typeid)?;
    let partly = |failure: Failure| failure.after(&format!("object {name} is filled only in part"));
    content::fill(&object, &typeid, content).await.map_err(partly)
}

/// Makes room for another object of this name. Lists stay, and are emptied.
async fn clear(client: &Client, name: &Name, typeid: &Name) -> Result {
    let found = match find(client, name).await {
        Ok(found) => found,
        Err(failure) if failure.code() == exit::NOT_FOUND => return Ok(()),
        Err(failure) => return Err(failure),
    };
    if found.typeid.as_str() != LIST {
        let verb = AdminVerb::ObjectRemove { object: name.clone() };
        return queue::count(client, verb).await.map(drop);
    }
    let list = client.object_of(name, typeid)?;
    match list.invoke("clear", &[], Duration::ZERO).await {
        Ok(_) => Ok(()),
        Err(error) => Err(explained(client, error).await),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_says_all_that_the_content_is() {
        let content = Content {
            made_with: vec!["f64".into(), 1.into()],
            content: Some(Value::Map(vec![(1.into(), f64::NAN.into())])),
            ttl_ms: vec![(1.into(), 500)],
        };
        let name = |text| Name::new(text).unwrap();
        let line = line(name("x"), name("dict/1"), Some(Durability::Memory), &content);
        let text = serde_json::to_string(&line).unwrap();
        assert_eq!(
            text,
            "{\"v\":1,\"name\":\"x\",\"typeid\":\"dict/1\",\"durability\":\"memory\",\
             \"made_with\":[\"f64\",1],\"content\":{\"$map\":[[1,{\"$float\":\"nan\"}]]},\
             \"ttl_ms\":{\"$map\":[[1,500]]}}"
        );
        assert_eq!(parse(&text).unwrap().1, content);
    }

    #[test]
    fn line_that_is_no_object_says_why() {
        let error = |text: &str| parse(text).unwrap_err();
        assert!(error("{}").starts_with("is no object: "));
        let line = |v: u32, rest: &str| {
            format!("{{\"v\":{v},\"name\":\"x\",\"typeid\":\"dict/1\"{rest}}}")
        };
        assert!(error(&line(2, "")).contains("version 2"));
        assert!(error(&line(1, ",\"content\":{\"$set\":[1,1]}")).contains("more than once"));
        assert!(error(&line(1, ",\"made_with\":7")).contains("not a list"));
    }
}
