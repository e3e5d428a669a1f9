//! Objects without a name: what can be reached is there, and what cannot is gone in the end, circles
//! too, over random references, restarts and time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use ganger_chance::Rng;
use ganger_machine::Command;
use ganger_shared::admin::{AdminAnswer, AdminVerb};
use ganger_shared::{Block, By, Name, ObjectId, Request, Response, SessionId, Time, Value};

use super::desk::{Desk, Outcome, Terms, config, encoded, name, restated, returned};

const CALLER: SessionId = SessionId(1);
const IDLE: Duration = Duration::from_secs(10);

/// Where references can be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Dict,
    List,
    Queue,
    /// A dict without a name.
    Of(ObjectId),
    /// A list without a name.
    In(ObjectId),
    /// A queue without a name.
    At(ObjectId),
}

struct World<'a> {
    rng: &'a mut Rng,
    desk: Desk,
    next_seq: u64,
    /// What each place has, in order; of a dict, by the key.
    held: BTreeMap<Place, Vec<Vec<ObjectId>>>,
    /// When each that was made was last used, and when it was last seen to be in use or referred to.
    lived: BTreeMap<ObjectId, (Time, Time)>,
    /// Where references in each are.
    places: BTreeMap<ObjectId, Place>,
    gone: u64,
    kept: u64,
}

impl World<'_> {
    fn call(
        &mut self,
        object: &Name,
        typeid: Option<&str>,
        method: &str,
        args: &[Value],
    ) -> Outcome {
        let (seq, answered) = (Some(self.next_seq), self.next_seq);
        self.next_seq += 1;
        let terms = Terms { seq, answered, by: By::Session, wait_ms: 0 };
        let args = Block::one(encoded(args));
        let call = self.desk.call(object, typeid, method, terms, args);
        let told = self.desk.ask(CALLER, call);
        let mut answers = told.iter().find_map(|(_, response)| returned(response)).unwrap();
        answers.pop().unwrap()
    }

    fn make(&mut self) {
        let (typeid, place): (_, fn(ObjectId) -> Place) = match self.rng.between(0..=3) {
            0 => ("list/1", Place::In),
            1 => ("queue/1", Place::At),
            _ => ("dict/1", Place::Of),
        };
        let request = Request::Use {
            request: self.desk.request(),
            object: None,
            typeid: name(typeid),
            schema: None,
            args: Bytes::new(),
            durability: None,
        };
        let told = self.desk.ask(CALLER, request);
        let [(_, Response::Using { object, is_new: true, .. })] = &told[..] else {
            panic!("{told:?}")
        };
        let now = self.desk.now;
        let id = ObjectId::of(object).unwrap();
        self.lived.insert(id, (now, now));
        self.places.insert(id, place(id));
    }

    fn any(&mut self) -> Option<ObjectId> {
        let all: Vec<ObjectId> = self.lived.keys().copied().collect();
        (!all.is_empty()).then(|| *self.rng.pick(&all))
    }

    fn place(&mut self) -> Option<Place> {
        Some(match self.rng.between(0..=5) {
            0 => Place::Dict,
            1 => Place::List,
            2 => Place::Queue,
            _ => {
                let id = self.any()?;
                self.of(id)
            }
        })
    }

    fn of(&self, id: ObjectId) -> Place {
        self.places[&id].clone()
    }

    fn name_of(place: &Place) -> (Name, &'static str) {
        match place {
            Place::Dict => (name("board"), "dict/1"),
            Place::List => (name("line"), "list/1"),
            Place::Queue => (name("mail"), "queue/1"),
            Place::Of(id) => (id.name(), "dict/1"),
            Place::In(id) => (id.name(), "list/1"),
            Place::At(id) => (id.name(), "queue/1"),
        }
    }

    fn refer(&mut self) {
        let (Some(place), count) = (self.place(), self.rng.between(0..=3)) else { return };
        let refs: Vec<ObjectId> = (0..count).filter_map(|_| self.any()).collect();
        let values: Vec<Value> = refs.iter().map(|&id| id.into()).collect();
        let value = match self.rng.between(0..=2) {
            0 => Value::Tuple(values),
            1 => Value::Map(vec![(Value::from("inside"), Value::List(values))]),
            _ => Value::List(values),
        };
        let (object, typeid) = Self::name_of(&place);
        let slots = self.held.get(&place).map_or(0, Vec::len);
        let at = self.rng.size(0..=slots as u64);
        let (method, args) = match &place {
            Place::Dict | Place::Of(_) => ("set", vec![Value::from(at as u64), value]),
            Place::List | Place::In(_) => ("append", vec![value]),
            Place::Queue | Place::At(_) => ("put", vec![value]),
        };
        self.call(&object, Some(typeid), method, &args).unwrap();
        self.use_of(&place);
        let held = self.held.entry(place.clone()).or_default();
        match place {
            Place::Dict | Place::Of(_) if at < held.len() => held[at] = refs,
            _ => held.push(refs),
        }
    }

    fn drop_one(&mut self) {
        let Some(place) = self.place() else { return };
        let held = self.held.entry(place.clone()).or_default();
        if held.is_empty() {
            return;
        }
        let (object, typeid) = Self::name_of(&place);
        let (method, args) = match &place {
            Place::Dict | Place::Of(_) => {
                held.pop();
                ("delete", vec![Value::from(held.len() as u64)])
            }
            Place::List | Place::In(_) => {
                held.remove(0);
                ("pop", vec![Value::from(0)])
            }
            Place::Queue | Place::At(_) => {
                held.remove(0);
                ("get", vec![])
            }
        };
        self.call(&object, Some(typeid), method, &args).unwrap();
        self.use_of(&place);
    }

    fn use_of(&mut self, place: &Place) {
        if let Place::Of(id) | Place::In(id) | Place::At(id) = place {
            let now = self.desk.now;
            self.lived.insert(*id, (now, now));
        }
    }

    /// Whoever had it says that it needs it no more.
    fn let_go(&mut self) {
        let Some(id) = self.any() else { return };
        self.desk.machine.let_go(&id.name());
        let soon = self.desk.now.plus_millis(1_000).as_millis();
        let idle = u64::try_from(IDLE.as_millis()).unwrap();
        if let Some(lived) = self.lived.get_mut(&id) {
            lived.0 = lived.0.min(Time::from_millis(soon.saturating_sub(idle)));
        }
    }

    fn reachable(&self) -> BTreeSet<ObjectId> {
        let refs = |place: &Place| {
            let found: Vec<ObjectId> =
                self.held.get(place).into_iter().flatten().flatten().copied().collect();
            found
        };
        let mut open: Vec<ObjectId> =
            [Place::Dict, Place::List, Place::Queue].iter().flat_map(refs).collect();
        // Those in use lead to others as well.
        let idle = |at: Time| at + IDLE <= self.desk.now;
        open.extend(self.lived.iter().filter(|(_, (used, _))| !idle(*used)).map(|(&id, _)| id));
        // A queue is in use while something is in it, whoever refers to it.
        let waiting = self.held.iter().filter(|(_, held)| !held.is_empty());
        open.extend(waiting.filter_map(|(place, _)| match place {
            Place::At(id) => Some(*id),
            Place::Dict | Place::List | Place::Queue | Place::Of(_) | Place::In(_) => None,
        }));
        let mut found = BTreeSet::new();
        while let Some(id) = open.pop() {
            if found.insert(id) {
                open.extend(refs(&self.of(id)));
            }
        }
        found
    }

    /// What is there is what must be.
    fn judge(&mut self) {
        let mut there = BTreeSet::new();
        for verb in [AdminVerb::ObjectList, AdminVerb::ListList, AdminVerb::QueueList] {
            let request = self.desk.request();
            let told = self.desk.ask(CALLER, Request::Admin { request, verb });
            let [(_, Response::Admin { answer, .. })] = &told[..] else { panic!("{told:?}") };
            let names: Vec<&Name> = match answer {
                AdminAnswer::Objects(all) => all.iter().map(|info| &info.name).collect(),
                AdminAnswer::Lists(all) => all.iter().map(|info| &info.name).collect(),
                AdminAnswer::Queues(all) => all.iter().map(|info| &info.name).collect(),
                other => panic!("{other:?}"),
            };
            there.extend(names.into_iter().filter_map(ObjectId::of));
        }
        for id in self.reachable() {
            // What is referred to from there may have been removed before it was.
            if let Some(lived) = self.lived.get_mut(&id) {
                assert!(there.contains(&id), "{id} is referred to or in use, and gone");
                lived.1 = self.desk.now;
                self.kept += 1;
            }
        }
        let over: Vec<ObjectId> =
            self.lived.keys().copied().filter(|id| !there.contains(id)).collect();
        for id in over {
            self.lived.remove(&id);
            self.held.remove(&self.of(id));
            self.gone += 1;
        }
        for (id, &(_, seen)) in &self.lived {
            assert!(seen + IDLE * 3 > self.desk.now, "{id} has nobody since {seen:?}");
        }
    }

    fn pass(&mut self) {
        let now = self.desk.now.plus_millis(self.rng.between(1..=8_000));
        while let Some(due) = self.desk.machine.next_deadline().filter(|due| *due <= now) {
            self.desk.now = self.desk.now.max(due);
            self.desk.step(Command::Tick);
            self.judge();
        }
        self.desk.now = now;
    }

    fn restart(&mut self) {
        if self.rng.percent(50) {
            self.desk.journal = restated(&mut self.desk.machine);
        }
        self.desk.restart();
        self.desk.open(CALLER, "caller", &[]);
        // Nobody knows when they were used.
        let now = self.desk.now;
        self.lived.values_mut().for_each(|lived| *lived = (now, now));
    }

    fn step(&mut self) {
        match self.rng.between(0..=99) {
            0..=14 => self.make(),
            15..=49 => self.refer(),
            50..=54 => self.let_go(),
            55..=79 => self.drop_one(),
            80..=97 => self.pass(),
            _ => self.restart(),
        }
        self.judge();
    }
}

#[test]
fn what_can_be_reached_stays_and_nothing_else() {
    let (mut gone, mut kept) = (0, 0);
    super::each_seed("a history of references", 60, |rng| {
        let config = ganger_machine::Config { unnamed_idle: IDLE, ..config() };
        let mut world = World {
            desk: Desk::new(config),
            rng,
            next_seq: 0,
            held: BTreeMap::new(),
            lived: BTreeMap::new(),
            places: BTreeMap::new(),
            gone: 0,
            kept: 0,
        };
        world.desk.open(CALLER, "caller", &[]);
        for _ in 0..200 {
            world.step();
        }
        (gone, kept) = (gone + world.gone, kept + world.kept);
    });
    assert!(gone > 0 && kept > 0, "{gone} were removed, {kept} found to live");
}
