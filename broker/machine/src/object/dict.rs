//! `dict/1`: values by key, in the order in which the keys came.
//!
//! An entry whose time is up is not there any more, also before its memory is taken back.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use ganger_shared::value::Key;
use ganger_shared::{CallError, ObjectId, Packed, Time, Value, What};
use serde::{Deserialize, Serialize};

use super::args::{key_of, pack, shown, tuple, wanted};
use super::counter::sum;
use super::{
    Args, Callable, Cx, Extent, Kind, Owner, PART_BYTES, Reply, Savepoint, int_of, no_method,
    part_of, part_to, reply, reply_items, reply_tuple,
};

pub(super) const TYPEID: &str = "dict/1";

/// One key and its value; its form in the journal too.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Entry {
    key: Packed,
    value: Packed,
    /// The number of the change that set it.
    revision: u64,
    expires: Option<Time>,
}

impl Entry {
    fn bytes(&self) -> u64 {
        (self.key.as_bytes().len() + self.value.as_bytes().len()) as u64
    }

    fn is_there(&self, now: Time) -> bool {
        self.expires.is_none_or(|at| at > now)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Dict {
    places: BTreeMap<Key, u64>,
    /// By place: the order in which the keys came.
    entries: BTreeMap<u64, Entry>,
    /// Places by the time at which their entries end.
    ends: BTreeSet<(Time, u64)>,
    next_place: u64,
    /// How often an entry was set.
    revision: u64,
    bytes: u64,
}

/// What of an entry is wanted.
#[derive(Clone, Copy)]
enum Wanted {
    Key,
    Value,
    Both,
}

impl Dict {
    pub(super) fn make(args: Args) -> Result<Self, CallError> {
        args.end()?;
        Ok(Self::default())
    }

    fn find(&self, key: &Packed, now: Time) -> Result<Option<&Entry>, CallError> {
        let found = self.places.get(&key_of(key)?).and_then(|place| self.entries.get(place));
        Ok(found.filter(|entry| entry.is_there(now)))
    }

    fn len(&self, now: Time) -> u64 {
        let over = self.ends.range(..=(now, u64::MAX)).count();
        (self.entries.len() - over) as u64
    }

    fn remove(&mut self, key: &Key) -> Option<Entry> {
        let place = self.places.remove(key)?;
        let entry = self.entries.remove(&place)?;
        self.bytes -= entry.bytes();
        if let Some(at) = entry.expires {
            self.ends.remove(&(at, place));
        }
        Some(entry)
    }

    fn insert(&mut self, key: Key, place: u64, entry: Entry) {
        self.bytes += entry.bytes();
        if let Some(at) = entry.expires {
            self.ends.insert((at, place));
        }
        self.places.insert(key, place);
        self.entries.insert(place, entry);
    }

    fn put(
        &mut self,
        key: Packed,
        value: Packed,
        expires: Option<Time>,
        cx: &mut Cx<'_>,
    ) -> Result<u64, CallError> {
        let known = key_of(&key)?;
        let place = self.places.get(&known).copied();
        let old = place.and_then(|place| Some((place, self.entries.get_mut(&place)?)));
        let old_bytes = old.as_ref().map_or(0, |(_, old)| old.bytes());
        let extent = Extent { bytes: self.bytes - old_bytes, items: self.places.len() as u64 };
        let bytes = (key.as_bytes().len() + value.as_bytes().len()) as u64;
        cx.limits.judge(extent, Extent { items: u64::from(old.is_none()), bytes })?;
        let (value, revision) = (value.detached(), self.revision + 1);
        let now = Some(value.clone());
        let key = match old {
            // A key that is there keeps its place and its first spelling, as 1 does when 1.0 is set.
            Some((place, old)) if old.is_there(cx.now) => {
                let ended = core::mem::replace(&mut old.expires, expires);
                (old.value, old.revision) = (value, revision);
                self.bytes = self.bytes - old_bytes + old.bytes();
                if let Some(at) = ended {
                    self.ends.remove(&(at, place));
                }
                if let Some(at) = expires {
                    self.ends.insert((at, place));
                }
                old.key.clone()
            }
            Some(_) | None => {
                let over = self.remove(&known);
                cx.whats.extend(over.map(gone));
                let place = self.next_place;
                self.next_place += 1;
                let key = key.detached();
                let entry = Entry { key: key.clone(), value, revision, expires };
                self.insert(key_of(&key)?, place, entry);
                key
            }
        };
        self.revision = revision;
        cx.whats.push(What::Key { key, value: now });
        cx.changed = true;
        Ok(revision)
    }

    fn delete(&mut self, key: &Packed, cx: &mut Cx<'_>) -> Result<Option<Entry>, CallError> {
        if self.find(key, cx.now)?.is_none() {
            return Ok(None);
        }
        cx.changed = true;
        let entry = self.remove(&key_of(key)?);
        cx.whats.extend(entry.clone().map(gone));
        Ok(entry)
    }

    fn update(&mut self, map: &Packed, cx: &mut Cx<'_>) -> Result<Reply, CallError> {
        let Value::Map(pairs) = map.unpack() else { return Err(wanted("a map", &map.unpack())) };
        let mut packed = Vec::with_capacity(pairs.len());
        for (key, value) in &pairs {
            packed.push((pack(key)?, pack(value)?));
        }
        let pairs = packed;
        // All or nothing: what the worst case needs has to be there before the first is put.
        let bytes =
            pairs.iter().map(|(k, v)| k.as_bytes().len() + v.as_bytes().len()).sum::<usize>();
        let mut new = 0;
        for (key, _) in &pairs {
            new += u64::from(!self.places.contains_key(&key_of(key)?));
        }
        cx.limits.judge(self.extent(), Extent { items: new, bytes: bytes as u64 })?;
        for (key, value) in pairs {
            self.put(key, value, None, cx)?;
        }
        Ok(Reply::None)
    }

    fn add(&mut self, key: Packed, by: i64, cx: &mut Cx<'_>) -> Result<Reply, CallError> {
        let found = self.find(&key, cx.now)?;
        let expires = found.and_then(|entry| entry.expires);
        let number = found.map_or(Ok(0), |entry| int_of(&entry.value))?;
        let sum = Packed::from(sum(number, by)?);
        self.put(key, sum.clone(), expires, cx)?;
        Ok(Reply::Value(sum))
    }

    fn compare_and_set(&mut self, mut args: Args, cx: &mut Cx<'_>) -> Result<Reply, CallError> {
        let (key, wanted, value) = (args.value()?, args.count()?, args.value()?);
        args.end()?;
        let found = self.find(&key, cx.now)?;
        let revision = found.map_or(0, |entry| entry.revision);
        if wanted != revision {
            return Err(CallError::Revision { wanted, revision });
        }
        let expires = found.and_then(|entry| entry.expires);
        self.put(key, value, expires, cx).map(reply)
    }

    /// `after = none, count = all`: entries in order.
    fn list(&self, wanted: Wanted, mut args: Args, cx: &Cx<'_>) -> Result<Reply, CallError> {
        let after = args.some()?;
        let count = args.items_max()?;
        args.end()?;
        let from = match &after {
            None => 0,
            Some(key) => {
                self.find(key, cx.now)?.ok_or_else(|| missing(key))?;
                1 + self.places[&key_of(key)?]
            }
        };
        let there = self.entries.range(from..).map(|(_, entry)| entry);
        let items = there.filter(|entry| entry.is_there(cx.now)).map(|entry| match wanted {
            Wanted::Key => Ok(entry.key.clone()),
            Wanted::Value => Ok(entry.value.clone()),
            Wanted::Both => tuple(&[entry.key.clone(), entry.value.clone()]),
        });
        reply_items(items.take(count))
    }

    /// What is set until then.
    fn expiry(ttl_ms: Option<Packed>, cx: &Cx<'_>) -> Result<Option<Time>, CallError> {
        let Some(ttl_ms) = ttl_ms else { return Ok(None) };
        match int_of(&ttl_ms)? {
            ms if ms > 0 => Ok(Some(cx.now.plus_millis(ms.unsigned_abs()))),
            ms => Err(CallError::Value(format!("a time to live of {ms} ms"))),
        }
    }
}

fn gone(entry: Entry) -> What {
    What::Key { key: entry.key, value: None }
}

fn missing(key: &Packed) -> CallError {
    CallError::Key { key: shown(&key.unpack()) }
}

impl Callable for Dict {
    fn call(&mut self, method: &str, mut args: Args, cx: &mut Cx<'_>) -> Result<Reply, CallError> {
        match method {
            "get" => {
                let key = args.value()?;
                let default = args.given()?.unwrap_or_else(Packed::none);
                args.end()?;
                let found = self.find(&key, cx.now)?.map(|entry| entry.value.clone());
                Ok(Reply::Value(found.unwrap_or(default)))
            }
            "at" => {
                let key = args.value()?;
                args.end()?;
                let found = self.find(&key, cx.now)?.ok_or_else(|| missing(&key))?;
                Ok(Reply::Value(found.value.clone()))
            }
            "entry" => {
                let key = args.value()?;
                args.end()?;
                let Some(found) = self.find(&key, cx.now)? else { return Ok(Reply::None) };
                let left = found.expires.map(|at| at.as_millis() - cx.now.as_millis());
                let left = left.map_or_else(Packed::none, Packed::from);
                let revision = Packed::from(found.revision);
                reply_tuple(&[found.value.clone(), revision, left])
            }
            "contains" => {
                let key = args.value()?;
                args.end()?;
                Ok(reply(self.find(&key, cx.now)?.is_some()))
            }
            "len" => {
                args.end()?;
                Ok(reply(self.len(cx.now)))
            }
            "keys" => self.list(Wanted::Key, args, cx),
            "values" => self.list(Wanted::Value, args, cx),
            "items" => self.list(Wanted::Both, args, cx),
            "set" => {
                let (key, value, ttl_ms) = (args.value()?, args.value()?, args.some()?);
                args.end()?;
                let expires = Self::expiry(ttl_ms, cx)?;
                self.put(key, value, expires, cx).map(reply)
            }
            "set_default" => {
                let key = args.value()?;
                let value = args.given()?.unwrap_or_else(Packed::none);
                args.end()?;
                if let Some(found) = self.find(&key, cx.now)? {
                    return Ok(Reply::Value(found.value.clone()));
                }
                self.put(key, value.clone(), None, cx)?;
                Ok(Reply::Value(value))
            }
            "update" => {
                let map = args.value()?;
                args.end()?;
                self.update(&map, cx)
            }
            "add" => {
                let (key, by) = (args.value()?, args.int_or(1)?);
                args.end()?;
                self.add(key, by, cx)
            }
            "compare_and_set" => self.compare_and_set(args, cx),
            "expire" => {
                let (key, ttl_ms) = (args.value()?, args.some()?);
                args.end()?;
                let expires = Self::expiry(ttl_ms, cx)?;
                let Some(found) = self.find(&key, cx.now)?.cloned() else {
                    return Ok(reply(false));
                };
                let known = key_of(&key)?;
                let place = self.places[&known];
                self.remove(&known);
                self.insert(known, place, Entry { expires, ..found });
                cx.changed = true;
                Ok(reply(true))
            }
            "delete" => {
                let key = args.value()?;
                args.end()?;
                Ok(reply(self.delete(&key, cx)?.is_some()))
            }
            "pop" => {
                let (key, default) = (args.value()?, args.given()?);
                args.end()?;
                let found = self.delete(&key, cx)?.map(|entry| entry.value);
                found.or(default).map(Reply::Value).ok_or_else(|| missing(&key))
            }
            "pop_item" => {
                args.end()?;
                let there = |(_, entry): &(&u64, &Entry)| entry.is_there(cx.now);
                let latest = self.entries.iter().rev().find(there);
                let (_, entry) = latest.ok_or(CallError::Empty)?;
                let key = entry.key.clone();
                let entry = self.delete(&key, cx)?.ok_or(CallError::Empty)?;
                reply_tuple(&[entry.key, entry.value])
            }
            "clear" => {
                args.end()?;
                cx.changed = !self.entries.is_empty();
                cx.whats.extend(cx.changed.then_some(What::Cleared));
                let Self { next_place, revision, .. } = *self;
                *self = Self { next_place, revision, ..Self::default() };
                Ok(Reply::None)
            }
            _ => Err(no_method(TYPEID, method)),
        }
    }

    fn extent(&self) -> Extent {
        Extent { items: self.entries.len() as u64, bytes: self.bytes }
    }

    fn references(&self, tell: &mut dyn FnMut(ObjectId)) {
        for Entry { key, value, .. } in self.entries.values() {
            key.refs().chain(value.refs()).for_each(&mut *tell);
        }
    }

    fn savepoint(&self, method: &str, args: &Args, _owner: Owner) -> Option<Savepoint> {
        if !matches!(method, "set" | "set_default" | "add" | "compare_and_set" | "delete") {
            return None;
        }
        let key = args.clone().value().ok()?.key().ok()?;
        let place = self.places.get(&key).copied();
        let entry = place.and_then(|place| Some((place, self.entries.get(&place)?.clone())));
        Savepoint::of((key, entry, self.next_place, self.revision))
    }

    fn go_back(&mut self, to: Savepoint) {
        type Saved = (Key, Option<(u64, Entry)>, u64, u64);
        let Some((key, entry, next_place, revision)) = to.state::<Saved>() else { return };
        self.remove(&key);
        if let Some((place, entry)) = entry {
            self.insert(key, place, entry);
        }
        (self.next_place, self.revision) = (next_place, revision);
    }
}

impl Kind for Dict {
    fn typeid(&self) -> &'static str {
        TYPEID
    }

    fn parts(&self, tell: &mut dyn FnMut(Bytes)) {
        let (mut part, mut bytes) = (Vec::new(), 0);
        for (place, entry) in &self.entries {
            bytes += entry.bytes();
            part.push((place, entry));
            if bytes >= PART_BYTES as u64 {
                tell(part_of(&(self.next_place, self.revision, &part)));
                (part, bytes) = (Vec::new(), 0);
            }
        }
        tell(part_of(&(self.next_place, self.revision, &part)));
    }

    fn take(&mut self, part: &[u8]) {
        let Some((next_place, revision, part)) = part_to::<(_, _, Vec<(u64, Entry)>)>(part) else {
            return;
        };
        (self.next_place, self.revision) = (next_place, revision);
        for (place, entry) in part {
            if let Ok(key) = entry.key.key() {
                self.insert(key, place, entry);
            }
        }
    }

    fn deadline(&self) -> Option<Time> {
        self.ends.first().map(|&(at, _)| at)
    }

    fn watched_by(&self) -> Option<&'static str> {
        Some("items")
    }

    fn pass(&mut self, now: Time) -> Vec<What> {
        let mut whats = Vec::new();
        while let Some(&(at, place)) = self.ends.first().filter(|(at, _)| *at <= now) {
            match self.entries.get(&place).and_then(|entry| entry.key.key().ok()) {
                Some(key) => whats.extend(self.remove(&key).map(gone)),
                None => drop(self.ends.remove(&(at, place))),
            }
        }
        whats
    }
}
