//! `set/1`: different values, in the order in which they came.

use std::collections::BTreeMap;

use bytes::Bytes;
use ganger_shared::value::Key;
use ganger_shared::{CallError, ObjectId, Packed};

use super::args::{items_of, key_of, shown};
use super::{
    Args, Callable, Cx, Extent, Kind, Owner, PART_BYTES, Reply, Savepoint, no_method, part_of,
    part_to, reply, reply_items,
};

pub(super) const TYPEID: &str = "set/1";

#[derive(Debug, Default)]
pub(crate) struct Set {
    places: BTreeMap<Key, u64>,
    /// By place: the order in which they came.
    members: BTreeMap<u64, Packed>,
    next_place: u64,
    bytes: u64,
}

impl Set {
    pub(super) fn make(mut args: Args, cx: &Cx<'_>) -> Result<Self, CallError> {
        let items = args.some()?.map_or(Ok(Vec::new()), |items| items_of(&items))?;
        args.end()?;
        let mut set = Self::default();
        set.judge(&items, cx)?;
        for item in items {
            set.insert(item)?;
        }
        Ok(set)
    }

    /// Whether all of `items` may be put in.
    fn judge(&self, items: &[Packed], cx: &Cx<'_>) -> Result<(), CallError> {
        let mut more = Extent::default();
        for item in items {
            if !self.places.contains_key(&key_of(item)?) {
                more.items += 1;
                more.bytes += item.as_bytes().len() as u64;
            }
        }
        cx.limits.judge(self.extent(), more)
    }

    fn insert(&mut self, item: Packed) -> Result<bool, CallError> {
        if self.places.contains_key(&key_of(&item)?) {
            return Ok(false);
        }
        let item = item.detached();
        let key = key_of(&item)?;
        self.place(key, self.next_place, item);
        self.next_place += 1;
        Ok(true)
    }

    fn place(&mut self, key: Key, place: u64, item: Packed) {
        self.bytes += item.as_bytes().len() as u64;
        self.places.insert(key, place);
        self.members.insert(place, item);
    }

    fn remove(&mut self, key: &Key) -> Option<Packed> {
        let place = self.places.remove(key)?;
        let item = self.members.remove(&place)?;
        self.bytes -= item.as_bytes().len() as u64;
        Some(item)
    }

    fn list(&self, mut args: Args) -> Result<Reply, CallError> {
        let after = args.some()?;
        let count = args.items_max()?;
        args.end()?;
        let from = match &after {
            None => 0,
            Some(item) => 1 + self.places.get(&key_of(item)?).ok_or_else(|| absent(item))?,
        };
        let items = self.members.range(from..).map(|(_, item)| Ok(item.clone()));
        reply_items(items.take(count))
    }
}

fn absent(item: &Packed) -> CallError {
    CallError::Absent { value: shown(&item.unpack()) }
}

impl Callable for Set {
    fn call(&mut self, method: &str, mut args: Args, cx: &mut Cx<'_>) -> Result<Reply, CallError> {
        match method {
            "contains" => {
                let item = args.value()?;
                args.end()?;
                Ok(reply(self.places.contains_key(&key_of(&item)?)))
            }
            "len" => {
                args.end()?;
                Ok(Reply::Value(Packed::from(self.members.len() as u64)))
            }
            "items" => self.list(args),
            "add" => {
                let item = args.value()?;
                args.end()?;
                self.judge(core::slice::from_ref(&item), cx)?;
                cx.changed = self.insert(item)?;
                Ok(reply(cx.changed))
            }
            "update" => {
                let items = args.items()?;
                args.end()?;
                self.judge(&items, cx)?;
                let before = self.members.len();
                for item in items {
                    self.insert(item)?;
                }
                let new = self.members.len() - before;
                cx.changed = new > 0;
                Ok(Reply::Value(Packed::from(new as u64)))
            }
            "discard" | "remove" => {
                let item = args.value()?;
                args.end()?;
                cx.changed = self.remove(&key_of(&item)?).is_some();
                match method {
                    "discard" => Ok(reply(cx.changed)),
                    _ if cx.changed => Ok(Reply::None),
                    _ => Err(absent(&item)),
                }
            }
            "pop" => {
                args.end()?;
                let (_, first) = self.members.first_key_value().ok_or(CallError::Empty)?;
                let item = self.remove(&key_of(first)?).ok_or(CallError::Empty)?;
                cx.changed = true;
                Ok(Reply::Value(item))
            }
            "clear" => {
                args.end()?;
                cx.changed = !self.members.is_empty();
                *self = Self { next_place: self.next_place, ..Self::default() };
                Ok(Reply::None)
            }
            _ => Err(no_method(TYPEID, method)),
        }
    }

    fn extent(&self) -> Extent {
        Extent { items: self.members.len() as u64, bytes: self.bytes }
    }

    fn references(&self, tell: &mut dyn FnMut(ObjectId)) {
        self.members.values().flat_map(Packed::refs).for_each(tell);
    }

    fn savepoint(&self, method: &str, args: &Args, _owner: Owner) -> Option<Savepoint> {
        if !matches!(method, "add" | "discard" | "remove") {
            return None;
        }
        let key = args.clone().value().ok()?.key().ok()?;
        let place = self.places.get(&key).copied();
        let item = place.and_then(|place| Some((place, self.members.get(&place)?.clone())));
        Savepoint::of((key, item, self.next_place))
    }

    fn go_back(&mut self, to: Savepoint) {
        type Saved = (Key, Option<(u64, Packed)>, u64);
        let Some((key, item, next_place)) = to.state::<Saved>() else { return };
        self.remove(&key);
        if let Some((place, item)) = item {
            self.place(key, place, item);
        }
        self.next_place = next_place;
    }
}

impl Kind for Set {
    fn typeid(&self) -> &'static str {
        TYPEID
    }

    fn parts(&self, tell: &mut dyn FnMut(Bytes)) {
        let (mut part, mut bytes) = (Vec::new(), 0);
        for (place, item) in &self.members {
            bytes += item.as_bytes().len();
            part.push((place, item));
            if bytes >= PART_BYTES {
                tell(part_of(&(self.next_place, &part)));
                (part, bytes) = (Vec::new(), 0);
            }
        }
        tell(part_of(&(self.next_place, &part)));
    }

    fn take(&mut self, part: &[u8]) {
        let Some((next_place, part)) = part_to::<(_, Vec<(u64, Packed)>)>(part) else { return };
        self.next_place = next_place;
        for (place, item) in part {
            if let Ok(key) = item.key() {
                self.place(key, place, item);
            }
        }
    }
}
