//! Objects in stories: how they are called, and what is said of them.
//!
//! ```text
//!   use c1 NAME|_ TYPEID [durability=] [VALUE …]
//!   call c1 NAME METHOD [seq=] [answered=] [type=] [by=2|lease#1] [wait=5s] [VALUE …] [; VALUE …]
//!   finish w1 lease#1 OUTPUT [; NAME[:TYPEID] METHOD VALUE … | ; submit QUEUE NUMBER PAYLOAD …]
//!   watch c1 NAME [from=5] [made=0s] [window=10] [sub=7]
//!   objects    object NAME    remove NAME    make NAME TYPEID [durability=] [VALUE …]
//! ```
//!
//! A value is JSON, and what is no JSON is a text. Calls are numbered from 1000 on, session by session;
//! `seq=none` leaves the number out, and `seq=1000` says a call again. `;` begins the arguments of a
//! further call in the same frame.

use bytes::Bytes;
use ganger_shared::admin::{AdminVerb, HolderInfo, ObjectDetails, ObjectInfo, WaiterInfo};
use ganger_shared::{
    Block, By, CallError, Change, Effect, JobOptions, Name, Packed, Request, SessionId,
    SubscriptionId, Value, What,
};

use super::commands::{Problem, START, Words, World, durability, name};
use super::show::Names;

/// Numbers of calls in a story, apart from those of jobs.
const FIRST_SEQ: u64 = 1_000;

impl World {
    pub(super) fn use_object(
        &mut self,
        session: SessionId,
        words: &mut Words<'_>,
    ) -> Result<Request, Problem> {
        let object = words.next("a name, or _")?;
        Ok(Request::Use {
            request: self.next_request(session),
            object: if object == "_" { None } else { Some(name(object)?) },
            typeid: name(words.next("a typeid")?)?,
            schema: None,
            durability: words.named.remove("durability").map(durability).transpose()?,
            args: arguments(&words.ordered.by_ref().collect::<Vec<_>>()),
        })
    }

    pub(super) fn finish(
        &mut self,
        session: SessionId,
        words: &mut Words<'_>,
    ) -> Result<Request, Problem> {
        let lease = self.leases(words.next("a lease")?)?.first;
        let given: Vec<&str> = words.ordered.by_ref().collect();
        let mut parts = given.split(|word| *word == ";");
        let output = parts.next().into_iter().flatten().copied().next().unwrap_or_default();
        let effects = parts.map(effect).collect::<Result<Vec<_>, _>>()?;
        let output = Bytes::copy_from_slice(output.as_bytes());
        Ok(Request::Finish { request: self.next_request(session), lease, output, effects })
    }

    pub(super) fn watch(
        &mut self,
        session: SessionId,
        subscription: SubscriptionId,
        words: &mut Words<'_>,
    ) -> Result<Request, Problem> {
        let from = words
            .named
            .remove("from")
            .map(|text| text.parse().map_err(|_| format!("revision {text:?}")));
        Ok(Request::Watch {
            request: self.next_request(session),
            subscription,
            object: name(words.next("an object")?)?,
            made: words.millis("made")?.map(|after| START.plus_millis(after)),
            from: from.transpose()?,
            window: words.option("window", 10)?,
        })
    }

    pub(super) fn call(
        &mut self,
        session: SessionId,
        words: &mut Words<'_>,
    ) -> Result<Request, Problem> {
        let (object, method) = (name(words.next("an object")?)?, words.next("a method")?);
        let seq = words.named.remove("seq");
        let typeid = words.named.remove("type").map(name).transpose()?;
        let by = match words.named.remove("by") {
            None => By::Session,
            Some(lease) if lease.starts_with("lease") => By::Lease(self.leases(lease)?.first),
            Some(number) => By::Holder(number.parse().map_err(|_| format!("holder {number:?}"))?),
        };
        let given: Vec<&str> = words.ordered.by_ref().collect();
        let args: Block = given.split(|word| *word == ";").map(arguments).collect();
        let seq = match seq {
            Some("none") => None,
            Some(seq) => Some(seq.parse().map_err(|_| format!("number {seq:?}"))?),
            None => {
                let next = self.calls.entry(session).or_insert(FIRST_SEQ);
                *next += u64::from(args.count());
                Some(*next - u64::from(args.count()))
            }
        };
        Ok(Request::Call {
            request: self.next_request(session),
            object,
            typeid,
            method: method.to_owned(),
            seq,
            answered: words.option("answered", 0)?,
            by,
            wait_ms: words.millis("wait")?.unwrap_or(0),
            args,
        })
    }
}

pub(super) fn admin_verb(verb: &str, words: &mut Words<'_>) -> Result<Option<AdminVerb>, Problem> {
    Ok(Some(match verb {
        "objects" => AdminVerb::ObjectList,
        "object" => AdminVerb::ObjectShow { object: name(words.next("an object")?)? },
        "remove" => AdminVerb::ObjectRemove { object: name(words.next("an object")?)? },
        "make" => AdminVerb::ObjectMake {
            object: name(words.next("an object")?)?,
            typeid: name(words.next("a typeid")?)?,
            durability: words.named.remove("durability").map(durability).transpose()?,
            args: arguments(&words.ordered.by_ref().collect::<Vec<_>>()),
        },
        _ => return Ok(None),
    }))
}

fn effect(words: &[&str]) -> Result<Effect, Problem> {
    match words {
        ["submit", queue, number, payloads @ ..] => Ok(Effect::Submit {
            queue: name(queue)?,
            first_seq: number.parse().map_err(|_| format!("number {number:?}"))?,
            options: JobOptions::new(name("work")?),
            payloads: payloads.iter().collect(),
        }),
        [object, method, args @ ..] => {
            let (object, typeid) = match object.split_once(':') {
                Some((object, typeid)) => (object, Some(name(typeid)?)),
                None => (*object, None),
            };
            let (object, method) = (name(object)?, (*method).to_owned());
            Ok(Effect::Call { object, typeid, method, args: arguments(args) })
        }
        _ => Err("an effect is a call or a submit".to_owned()),
    }
}

fn arguments(words: &[&str]) -> Bytes {
    let mut bytes = Vec::new();
    for word in words {
        let value = Value::from_json(word).unwrap_or_else(|_| Value::from(*word));
        value.encode_to(&mut bytes).expect("a value of JSON");
    }
    bytes.into()
}

impl Names {
    pub(super) fn using(&self, object: &Name, is_new: bool) -> String {
        let how = if is_new { "made" } else { "found" };
        format!("{how} {object}")
    }

    pub(super) fn returned(&self, results: &Block, errors: &[(u32, CallError)]) -> String {
        let results = (0..).zip(results.iter()).map(|(index, result)| {
            let failed = errors.iter().find(|(place, _)| *place == index);
            match failed {
                Some((_, error)) => format!("error: {error}"),
                None if result.is_empty() => "none".to_owned(),
                None => self.value(&Packed::new(result).expect("results are values").unpack()),
            }
        });
        results.collect::<Vec<_>>().join("; ")
    }

    pub(super) fn changes(&self, changes: &[Change]) -> String {
        let what = |what: &What| match what {
            What::Number(number) => format!("number {number}"),
            What::Value(value) => format!("value {}", self.value(&value.unpack())),
            What::Key { key, value: None } => format!("{} is gone", self.value(&key.unpack())),
            What::Key { key, value: Some(value) } => {
                format!("{}: {}", self.value(&key.unpack()), self.value(&value.unpack()))
            }
            What::Cleared => "cleared".to_owned(),
            What::Anew => "anew".to_owned(),
            What::Spliced { at, removed, items } => {
                let items: Vec<_> = items.iter().map(|item| self.value(&item.unpack())).collect();
                format!("at {at} [{}] for {removed}", items.join(", "))
            }
        };
        let changes =
            changes.iter().map(|Change { revision, what: of }| format!("@{revision} {}", what(of)));
        changes.collect::<Vec<_>>().join(", ")
    }

    fn value(&self, value: &Value) -> String {
        match value.as_int().and_then(ganger_shared::value::Integer::as_u64) {
            Some(token) if token >= self.first_lease => self.token(token),
            Some(_) | None => value.to_json(),
        }
    }

    fn token(&self, token: u64) -> String {
        format!("token#{}", token - self.first_lease + 1)
    }

    pub(super) fn object(&self, info: &ObjectInfo) -> String {
        let ObjectInfo { name, typeid, durability, revision, items, bytes, holders, waiting } =
            info;
        format!(
            "{name} {typeid} {durability}: revision {revision}, {items} items, {bytes} bytes, \
             {holders} holders, {waiting} waiting"
        )
    }

    pub(super) fn object_details(&self, details: &ObjectDetails) -> String {
        let mut lines = vec![self.object(&details.info)];
        for holder in &details.holders {
            let HolderInfo { token, count, session, name, by, job, since } = holder;
            let job = job.map_or_else(String::new, |job| format!(" job {}", self.job(job)));
            let count = if *count > 1 { format!(" {count} times") } else { String::new() };
            let (token, session) = (self.token(*token), self.session(*session));
            let (by, since) = (self.by(*by), self.time(*since));
            lines.push(format!(
                "  held by {session} ({name}){by}{job} {token}{count} since {since}"
            ));
        }
        for waiter in &details.waiters {
            let WaiterInfo { method, session, name, by, since, until } = waiter;
            let (session, by) = (self.session(*session), self.by(*by));
            let (since, until) = (self.time(*since), self.time(*until));
            lines.push(format!(
                "  {session} ({name}){by} waits in {method} from {since} to {until}"
            ));
        }
        lines.join("\n")
    }

    fn by(&self, by: By) -> String {
        match by {
            By::Session => String::new(),
            By::Holder(number) => format!(" holder {number}"),
            By::Lease(lease) => format!(" {}", self.lease(lease)),
        }
    }
}
