//! A copy that is made of the changes of an object, held against the object: over random calls, windows,
//! broken connections and restarts.

mod lists;

use std::collections::BTreeMap;

use ganger_chance::Rng;
use ganger_machine::Command;
use ganger_shared::value::Key;
use ganger_shared::{
    Block, By, Change, Packed, Rejection, Request, Response, SessionId, SubscriptionId, Time,
    Value, What,
};

use super::desk::{Desk, Terms, config, encoded, name, returned};
use super::values;

const CALLER: SessionId = SessionId(1);
const OBJECTS: [(&str, &str); 4] =
    [("n", "counter/1"), ("v", "value/1"), ("d", "dict/1"), ("l", "list/1")];
const LIST: usize = 3;

/// What is known of an object.
#[derive(Debug, Default, PartialEq)]
struct State {
    /// Of a counter or value, as JSON.
    one: Option<String>,
    entries: BTreeMap<Key, (Packed, Packed)>,
    items: Vec<Packed>,
    /// At which a list was read.
    revision: u64,
}

impl State {
    /// Applies a change; says whether it was one that tells nothing.
    fn apply(&mut self, what: What) -> bool {
        match what {
            What::Number(number) => self.one = Some(number.to_string()),
            What::Value(value) => self.one = Some(value.unpack().to_json()),
            What::Key { key, value } => {
                let known = key.key().unwrap();
                match value {
                    None => drop(self.entries.remove(&known)),
                    // The first spelling of a key stays.
                    Some(value) => {
                        self.entries.entry(known).or_insert((key, Packed::none())).1 = value
                    }
                }
            }
            What::Cleared => self.entries.clear(),
            What::Anew => return true,
            What::Spliced { at, removed, items } => {
                let [at, removed] = [at, removed].map(|n| usize::try_from(n).unwrap());
                self.items.splice(at..at + removed, items);
            }
        }
        false
    }

    fn shown(&self) -> (Option<&String>, BTreeMap<String, String>, Vec<String>) {
        let json = |value: &Packed| value.unpack().to_json();
        (
            self.one.as_ref(),
            self.entries.values().map(|(key, value)| (json(key), json(value))).collect(),
            self.items.iter().map(json).collect(),
        )
    }
}

/// A client that has a copy.
struct Copy {
    session: SessionId,
    object: usize,
    state: State,
    seen: u64,
    made: Option<Time>,
    online: bool,
    /// It has to read the object.
    lost: bool,
}

impl Copy {
    fn subscription(&self) -> SubscriptionId {
        SubscriptionId(u32::try_from(self.object).unwrap() + 1)
    }
}

struct World<'a> {
    rng: &'a mut Rng,
    desk: Desk,
    next_seq: u64,
    copies: Vec<Copy>,
    forgotten: u64,
    popped: lists::Popped,
}

fn pack(value: &Value) -> Packed {
    Packed::new(encoded(std::slice::from_ref(value))).unwrap()
}

impl World<'_> {
    fn heard(&mut self, told: Vec<(SessionId, Response)>) {
        for (session, response) in told {
            let by_session = |copy: &&mut Copy| copy.session == session;
            let Some(copy) = self.copies.iter_mut().find(by_session) else { continue };
            match response {
                Response::Watching { made, revision, .. } => {
                    copy.made = Some(made);
                    if copy.lost {
                        copy.seen = revision;
                    }
                    assert_eq!(copy.seen, revision);
                }
                Response::Changed { changes, .. } => {
                    assert!(changes[0].revision > copy.seen, "all of a revision, and none twice");
                    for Change { revision, what } in changes {
                        assert!(revision >= copy.seen);
                        copy.seen = revision;
                        // Changes of a list that it has read already, or before it reads it.
                        let is_passed = copy.lost || revision <= copy.state.revision;
                        copy.lost |= !is_passed && copy.state.apply(what);
                    }
                }
                Response::Rejected { rejection, .. } => {
                    assert!(matches!(rejection, Rejection::Forgotten { .. }), "{rejection}");
                    self.forgotten += 1;
                    copy.lost = true;
                }
                _ => {}
            }
        }
    }

    fn call(&mut self, object: usize, method: &str, args: Block) -> Vec<(SessionId, Response)> {
        let (name, typeid) = OBJECTS[object];
        let terms = Terms {
            seq: Some(self.next_seq),
            answered: self.next_seq,
            by: By::Session,
            wait_ms: 0,
        };
        self.next_seq += u64::from(args.count());
        let call = self.desk.call(name, Some(typeid), method, terms, args);
        self.desk.ask(CALLER, call)
    }

    fn change(&mut self) {
        let object = self.rng.size(0..=3);
        if object == LIST {
            return self.change_list();
        }
        let rng = &mut *self.rng;
        let number = |rng: &mut Rng| Value::from(i64::try_from(rng.between(0..=9)).unwrap() - 4);
        let ttl = |rng: &mut Rng| {
            if rng.percent(30) { rng.between(1..=2_000).into() } else { Value::None }
        };
        let large = rng.percent(2);
        let method = match object {
            0 => *rng.pick(&["add", "add", "set"]),
            1 => *rng.pick(&["set", "compare_and_set"]),
            _ => *rng.pick(&[
                "set",
                "set",
                "set",
                "set",
                "delete",
                "pop",
                "add",
                "set_default",
                "clear",
                "pop_item",
                "update",
                "expire",
            ]),
        };
        let count = if rng.percent(10) { rng.between(1..=150) } else { rng.between(1..=3) };
        let mut one = || {
            let value = match large {
                true => Value::from("x".repeat(rng.size(1_000..=40_000)).as_str()),
                false => values::value(rng),
            };
            encoded(&match (object, method) {
                (0, _) => vec![number(rng)],
                (1, "set") => vec![value],
                (1, _) => vec![rng.between(0..=9).into(), value],
                (_, "clear" | "pop_item") => vec![],
                (_, "delete" | "pop") => vec![values::key(rng)],
                (_, "add") => vec![values::key(rng), number(rng)],
                (_, "set_default") => vec![values::key(rng), value],
                (_, "expire") => vec![values::key(rng), ttl(rng)],
                (_, "update") => {
                    let key = values::key(rng);
                    vec![if values::is_hashable(&key) {
                        Value::Map(vec![(key, value)])
                    } else {
                        key
                    }]
                }
                _ => vec![values::key(rng), value, ttl(rng)],
            })
        };
        let args: Vec<_> = (0..count).map(|_| one()).collect();
        let told = self.call(object, method, args.iter().collect());
        self.heard(told);
    }

    fn watch(&mut self, copy: usize, window: u32) {
        let found = &self.copies[copy];
        let request = Request::Watch {
            request: self.desk.request(),
            subscription: found.subscription(),
            object: name(OBJECTS[found.object].0),
            made: found.made,
            from: (!found.lost).then_some(found.seen),
            window,
        };
        let session = found.session;
        let told = self.desk.ask(session, request);
        self.heard(told);
    }

    /// Reads the object; what is told meanwhile is applied on top.
    fn read(&mut self, object: usize) -> State {
        let method = ["get", "get", "items", "snapshot"][object];
        let told = self.call(object, method, Block::empties(1));
        let answer = told.iter().find_map(|(_, response)| returned(response)).unwrap();
        let mut state = State::default();
        match answer.into_iter().next().unwrap().unwrap() {
            Value::Tuple(read) if object == LIST => {
                let [revision, Value::List(items)] = &read[..] else { panic!("{read:?}") };
                state.revision = lists::number(revision);
                state.items = items.iter().map(pack).collect();
            }
            Value::List(items) if object == 2 => {
                for item in items {
                    let Value::Tuple(pair) = item else { panic!("{item:?}") };
                    let (key, value) = (pack(&pair[0]), pack(&pair[1]));
                    state.entries.insert(key.key().unwrap(), (key, value));
                }
            }
            value => state.one = Some(value.to_json()),
        }
        state
    }

    /// Those that have missed something begin anew.
    fn find_again(&mut self, window: u32) {
        for copy in 0..self.copies.len() {
            if self.copies[copy].lost && self.copies[copy].online {
                self.watch(copy, window);
                let state = self.read(self.copies[copy].object);
                let copy = &mut self.copies[copy];
                (copy.state, copy.lost) = (state, false);
            }
        }
    }

    fn step(&mut self) {
        let copy = self.rng.size(0..=self.copies.len() as u64 - 1);
        match self.rng.between(0..=99) {
            0..=59 => self.change(),
            60..=64 => {
                // What it has read already comes too.
                let state = self.read(self.copies[copy].object);
                let copy = &mut self.copies[copy];
                if copy.online && !copy.lost {
                    copy.state = state;
                }
            }
            65..=79 => {
                let (session, online) = (self.copies[copy].session, self.copies[copy].online);
                let subscription = self.copies[copy].subscription();
                let add = u32::try_from(self.rng.between(0..=20)).unwrap();
                if online {
                    let told = self.desk.ask(session, Request::Credit { subscription, add });
                    self.heard(told);
                }
            }
            80..=86 => {
                let now = self.desk.now.plus_millis(self.rng.between(1..=1_500));
                while let Some(due) = self.desk.machine.next_deadline().filter(|due| *due <= now) {
                    self.desk.now = self.desk.now.max(due);
                    let told = self.desk.step(Command::Tick);
                    self.heard(told);
                }
                self.desk.now = now;
            }
            87..=96 => {
                let session = self.copies[copy].session;
                self.copies[copy].online ^= true;
                if self.copies[copy].online {
                    self.desk.open(session, "a copy", &[]);
                    let window = u32::try_from(self.rng.between(0..=300)).unwrap();
                    self.watch(copy, window);
                } else {
                    self.desk.step(Command::Disconnected { session });
                }
            }
            _ => self.restart(),
        }
        self.find_again(50);
    }

    fn restart(&mut self) {
        self.desk.restart();
        self.desk.open(CALLER, "the caller", &[]);
        self.lists_come_back();
        for copy in 0..self.copies.len() {
            if self.copies[copy].online {
                self.desk.open(self.copies[copy].session, "a copy", &[]);
                self.watch(copy, 5);
            }
        }
    }

    /// Everybody gets everything, and has what there is.
    fn compare(&mut self) {
        let told = self.desk.step(Command::Tick);
        self.heard(told);
        for copy in 0..self.copies.len() {
            if !self.copies[copy].online {
                self.copies[copy].online = true;
                self.desk.open(self.copies[copy].session, "a copy", &[]);
            }
            self.watch(copy, 1_000_000);
        }
        self.find_again(1_000_000);
        for copy in 0..self.copies.len() {
            let expected = self.read(self.copies[copy].object);
            assert_eq!(self.copies[copy].state.shown(), expected.shown(), "copy {copy}");
        }
    }
}

#[test]
fn copy_made_of_the_changes_is_what_the_object_is() {
    let (mut forgotten, mut kept) = (0, 0);
    super::each_seed("watching", 100, |rng| {
        let desk = Desk::new(config());
        let mut world = World {
            rng,
            desk,
            next_seq: 0,
            copies: Vec::new(),
            forgotten: 0,
            popped: lists::Popped::default(),
        };
        world.desk.open(CALLER, "the caller", &[]);
        world.lists_come_back();
        for (object, method) in [(0, "add"), (1, "set"), (2, "len"), (LIST, "len")] {
            let args = if object == 1 { encoded(&[7.into()]) } else { encoded(&[]) };
            world.call(object, method, Block::one(args));
            for number in 0..2 {
                let session = SessionId(10 + 2 * object as u64 + number);
                world.desk.open(session, "a copy", &[]);
                let (state, made) = (State::default(), None);
                // Nobody has counted the changes of the list so far.
                let lost = object == LIST;
                let copy = Copy { session, object, state, seen: 0, made, online: true, lost };
                world.copies.push(copy);
                world.watch(world.copies.len() - 1, 3);
            }
        }
        for _ in 0..4 {
            for _ in 0..50 {
                world.step();
            }
            world.compare();
        }
        world.compare_with_journal();
        forgotten += world.forgotten;
        kept += u64::from(world.forgotten == 0);
    });
    println!("{forgotten} times changes were forgotten, {kept} times never");
    assert!(forgotten > 0 || super::number("SEED").is_some());
}
