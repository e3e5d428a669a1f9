//! `ganger object`: look at shared objects, call them, and carry them from one broker to another.
//!
//! What a verb calls is in [`access`], what is read and put in as a whole in [`content`].

use std::time::Duration;

use ganger_shared::admin::{AdminAnswer, AdminVerb, ObjectDetails};
use ganger_shared::object::QUEUE;
use ganger_shared::object::types::{self, TYPES};
use ganger_shared::value::Integer;
use ganger_shared::{Durability, Name, Value};
use ganger_worker::error::exit;
use ganger_worker::{Client, Object, Objects};
use serde_json::Value as Json;

use crate::args::{Common, Consent, Format, Show};
use crate::exit::{Failure, Result};
use crate::link::{self, admin, explained, strange};
use crate::list;
use crate::output::{self, Output, Tone, grouped};
use crate::queue;
use crate::values::NewName;

mod access;
pub(crate) mod args;
mod content;
mod export;
mod input;
mod shown;
mod watch;

use access::{Access, Kind, Put};
use args::{CreateArgs, ObjectVerb, SetArgs};
use shown::{Party, Row};

/// The type of lists, which brokers count apart from the other objects, as they do queues.
const LIST: &str = "list/1";

/// Runs the command.
pub(crate) async fn run(common: &Common, verb: ObjectVerb) -> Result {
    if let ObjectVerb::Types { typeid } = verb {
        return show_types(&common.show, typeid);
    }
    let client = link::connect(common).await?;
    let ended = act(&client, &common.show, verb).await;
    client.close().await;
    ended
}

async fn act(client: &Client, show: &Show, verb: ObjectVerb) -> Result {
    let out = Output::new(show);
    match verb {
        // Shown above, without a client.
        ObjectVerb::Types { .. } => Ok(()),
        ObjectVerb::Ls { typeid } => {
            let mut rows = rows(client).await?;
            rows.retain(|row| typeid.as_ref().is_none_or(|typeid| row.typeid == *typeid));
            out.list("objects", &rows, shown::COLUMNS, output::json, |_| Tone::Plain)
        }
        ObjectVerb::Create(args) => create(client, &out, show.quiet, args).await,
        ObjectVerb::Get { name, key } => get(client, &out, &name, key.as_deref()).await,
        ObjectVerb::Set(args) => set(client, &out, args).await,
        ObjectVerb::Push { name, values, first } => {
            let values = input::values(&values)?;
            let way = Way::to(client, name, first.typeid).await?;
            let access = way.kind().push(values)?;
            way.changed(&out, access).await
        }
        ObjectVerb::Pop { name, key } => {
            let way = Way::to(client, name, None).await?;
            let access = way.kind().pop(key.as_deref())?;
            input::show(&out, &way.called(access).await?)
        }
        ObjectVerb::Incr { name, key, by, first } => {
            let way = Way::to(client, name, first.typeid).await?;
            let access = way.kind().incr(key.as_deref(), by)?;
            way.changed(&out, access).await
        }
        ObjectVerb::Call { name, method, args, first, wait } => {
            let args = input::values(&args)?;
            let object = object(client, &name, first.typeid.as_ref())?;
            call(client, &out, &object, Method { name: &method, wait }, &args).await
        }
        ObjectVerb::Watch { name, from } => watch::watch(client, show, &name, from).await,
        ObjectVerb::Holders { name } => holders(client, &out, show.quiet, &name).await,
        ObjectVerb::Export { names } => export::export(client, names).await,
        ObjectVerb::Import { file, replace } => {
            let count = export::import(client, &file, replace).await?;
            out.done(show.quiet, &format!("{} objects were imported", grouped(count)), count)
        }
        ObjectVerb::Rm { names, consent } => {
            let count = remove(client, &names, &consent).await?;
            out.done(show.quiet, &format!("{} objects were removed", grouped(count)), count)
        }
    }
}

/// An object of which the type is known, be it that it will be made of it.
struct Way<'a> {
    client: &'a Client,
    object: Object,
    typeid: Name,
}

impl<'a> Way<'a> {
    async fn to(client: &'a Client, name: Name, first: Option<Name>) -> Result<Self> {
        let object = object(client, &name, first.as_ref())?;
        let typeid = match first {
            Some(typeid) => typeid,
            None => find(client, &name).await?.typeid,
        };
        Ok(Self { client, object, typeid })
    }

    fn kind(&self) -> Kind<'_> {
        Kind { name: self.object.name(), typeid: &self.typeid }
    }

    async fn called(&self, access: Access) -> Result<Value> {
        let Access { method, args } = access;
        match self.object.invoke(method, &args, Duration::ZERO).await {
            Ok(answer) => Ok(answer),
            Err(error) => Err(explained(self.client, error).await),
        }
    }

    /// Calls and shows the answer; of a call that says nothing, nothing but to programs.
    async fn changed(&self, out: &Output, access: Access) -> Result {
        let answer = self.called(access).await?;
        if answer.is_none() && !out.is_json() {
            return Ok(());
        }
        input::show(out, &answer)
    }
}

fn object(client: &Client, name: &Name, typeid: Option<&Name>) -> Result<Object> {
    Ok(match typeid {
        Some(typeid) => client.object_of(name, typeid)?,
        None => client.object(name)?,
    })
}

/// What is known of an object that exists.
struct Found {
    typeid: Name,
    /// Unknown of a list and a queue.
    durability: Option<Durability>,
    items: u64,
    /// How many units of it are held.
    held: u64,
}

/// Finds an object of any type.
async fn find(client: &Client, name: &Name) -> Result<Found> {
    let missing = match client.admin(AdminVerb::ObjectShow { object: name.clone() }).await {
        Ok(AdminAnswer::Object(details)) => {
            let ObjectDetails { info, holders, .. } = *details;
            let held = holders.len() as u64;
            let (typeid, durability, items) = (info.typeid, Some(info.durability), info.items);
            return Ok(Found { typeid, durability, items, held });
        }
        Ok(_) => return Err(strange()),
        Err(error) => error,
    };
    if missing.exit_code() != exit::NOT_FOUND {
        return Err(missing.into());
    }
    // Operators' verbs for objects leave lists and queues out.
    let object = client.object(name)?;
    match object.invoke("len", &[], Duration::ZERO).await {
        Ok(length) => {
            // Only one of the two has this method.
            let is_queue = object.invoke("maxsize", &[], Duration::ZERO).await.is_ok();
            let typeid = if is_queue { QUEUE } else { LIST };
            let typeid = Name::new(typeid).expect("a type of the table has a name");
            let length = length.as_int().and_then(Integer::as_u64);
            Ok(Found { typeid, durability: None, items: length.unwrap_or(0), held: 0 })
        }
        Err(error) => Err(explained(client, error).await),
    }
}

/// Every object, by name.
async fn rows(client: &Client) -> Result<Vec<Row>> {
    let AdminAnswer::Objects(objects) = admin(client, AdminVerb::ObjectList).await? else {
        return Err(strange());
    };
    let lists = list::all(client).await?.into_iter().map(Row::from);
    let mut rows: Vec<Row> = objects.into_iter().map(Row::from).chain(lists).collect();
    rows.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(rows)
}

/// Makes an object; says whether it was not there.
async fn make(
    client: &Client,
    name: &Name,
    typeid: &Name,
    args: &[Value],
    durability: Option<Durability>,
) -> Result<bool> {
    let args = input::encoded(args)?;
    let (object, typeid) = (name.clone(), typeid.clone());
    let verb = AdminVerb::ObjectMake { object, typeid, args, durability };
    Ok(queue::count(client, verb).await? > 0)
}

async fn create(client: &Client, out: &Output, quiet: bool, args: CreateArgs) -> Result {
    let CreateArgs { name, typeid, args, durability } = args;
    let args = input::values(&args)?;
    let name = match name {
        NewName::Chosen(name) => name,
        NewName::Given => {
            let made = client.make_unnamed(&typeid, &args, durability).await;
            return match made {
                Ok(made) => input::show(out, &Value::from(made.name().as_str())),
                Err(error) => Err(explained(client, error).await),
            };
        }
    };
    let is_new = make(client, &name, &typeid, &args, durability).await?;
    let how = if is_new { "is made" } else { "exists already" };
    out.done(quiet, &format!("object {name} of type {typeid} {how}"), u64::from(is_new))
}

async fn get(client: &Client, out: &Output, name: &Name, key: Option<&str>) -> Result {
    let way = Way::to(client, name.clone(), None).await?;
    let value = match way.kind().get(key)? {
        Some(access) => way.called(access).await?,
        None => content::whole(&way.object, &way.typeid).await?,
    };
    input::show(out, &value)
}

async fn set(client: &Client, out: &Output, args: SetArgs) -> Result {
    let SetArgs { name, words, if_revision, ttl, first } = args;
    let (key, value) = match &words[..] {
        [value] => (None, value),
        [key, value] => (Some(key.as_str()), value),
        // With options between them clap takes more.
        _ => return Err(Failure::usage("more than a key and a value were given")),
    };
    let value = input::value(value)?;
    let way = Way::to(client, name, first.typeid).await?;
    let put = Put { key, value, if_revision, ttl };
    let access = way.kind().set(put)?;
    way.changed(out, access).await
}

/// A method that was typed.
struct Method<'a> {
    name: &'a str,
    wait: Option<Duration>,
}

async fn call(
    client: &Client,
    out: &Output,
    object: &Object,
    method: Method<'_>,
    args: &[Value],
) -> Result {
    let Method { name, wait } = method;
    let answer = match object.invoke(name, args, wait.unwrap_or_default()).await {
        Ok(answer) => answer,
        Err(error) => return Err(explained(client, error).await),
    };
    input::show(out, &answer)?;
    // What waits for others says so; what waits for an item or for room has an error to tell.
    let waits = matches!(name, "acquire" | "wait" | "join");
    match answer {
        Value::None | Value::Bool(false) if waits => Err(Failure::silent(exit::TIMED_OUT)),
        Value::Int(_) if name == "acquire" => {
            let name = object.name();
            output::warn(&format!(
                "{name} is released as this command ends; `ganger lock {name} -- CMD` keeps it"
            ));
            Ok(())
        }
        _ => Ok(()),
    }
}

async fn holders(client: &Client, out: &Output, quiet: bool, name: &Name) -> Result {
    let details = match client.admin(AdminVerb::ObjectShow { object: name.clone() }).await {
        Ok(AdminAnswer::Object(details)) => *details,
        Ok(_) => return Err(strange()),
        // A list is never held, but it is there.
        Err(_) => {
            let typeid = find(client, name).await?.typeid;
            return Err(Failure::new(
                exit::CONFLICT,
                format!("object {name} is of type {typeid}, which nobody can hold"),
            ));
        }
    };
    let typeid = details.info.typeid.clone();
    let parties = shown::parties(details);
    match out.format {
        Format::Json => {
            let (holders, waiters) = parties.split_at(parties.partition_point(Party::holds));
            let json = |parties: &[Party]| parties.iter().map(shown::party).collect();
            out.document(&[
                ("name", output::json(name)),
                ("typeid", output::json(&typeid)),
                ("holders", json(holders)),
                ("waiters", json(waiters)),
            ])
        }
        Format::Table | Format::Plain if parties.is_empty() => {
            if !quiet {
                output::note(&format!("nobody holds {name}, and nobody waits for it"));
            }
            Ok(())
        }
        Format::Table | Format::Plain | Format::Ndjson => {
            out.list("parties", &parties, shown::PARTIES, shown::party, shown::tone)
        }
    }
}

async fn remove(client: &Client, names: &[Name], consent: &Consent) -> Result<u64> {
    let mut items = 0;
    // What is not there is found before anything is removed.
    for name in names {
        items += find(client, name).await?.items;
    }
    let count = names.len() as u64;
    let what = format!("removes {} objects with {} items", grouped(count), grouped(items));
    queue::confirm(consent, &what)?;
    for name in names {
        queue::count(client, AdminVerb::ObjectRemove { object: name.clone() }).await?;
    }
    Ok(count)
}

fn show_types(show: &Show, typeid: Option<Name>) -> Result {
    let out = Output::new(show);
    let Some(typeid) = typeid else {
        return out.list("types", TYPES, shown::TYPES, shown::object_type, |_| Tone::Plain);
    };
    let found = types::builtin(&typeid).ok_or_else(|| {
        Failure::new(exit::NOT_FOUND, format!("there is no type {typeid}"))
            .with_advice("ganger object types")
    })?;
    match out.format {
        Format::Json => {
            let Json::Object(parts) = shown::object_type(found) else { return Ok(()) };
            let parts: Vec<(&str, Json)> =
                parts.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
            out.document(&parts)
        }
        Format::Table | Format::Plain | Format::Ndjson => {
            out.list("methods", found.methods, shown::METHODS, shown::method, |_| Tone::Plain)
        }
    }
}
