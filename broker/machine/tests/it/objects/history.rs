//! Random histories of several clients that call objects of every type, each answer compared with
//! the model's at once.
//!
//! Not what a restart makes of them: see [`super::replay`].

mod frames;
mod lists;

use std::collections::BTreeMap;

use ganger_chance::Rng;
use ganger_machine::{Command, Config, Event};
use ganger_shared::object::Takes;
use ganger_shared::object::types::{TYPES, builtin};
use ganger_shared::{
    Block, By, Durability, JobId, LeaseId, Request, RequestId, Response, SessionId, Value,
};

use self::lists::{Reader, WaitingPop};
use super::desk::{Desk, Terms, answered, config, encoded, name, returned};
use super::model::Model;
use super::values::agree;

/// An object that the clients know.
pub(super) struct Object {
    pub(super) name: String,
    pub(super) typeid: &'static str,
    pub(super) durability: Durability,
    /// None for those that make callers wait.
    pub(super) model: Option<Model>,
    made_with: Vec<Value>,
}

pub(super) struct Client {
    pub(super) session: SessionId,
    pub(super) next_seq: u64,
    /// It has said that it knows the answers below this number.
    pub(super) answered: u64,
    is_online: bool,
    renamed: u32,
    readers: BTreeMap<usize, Reader>,
    leases: Vec<(LeaseId, JobId)>,
}

/// A call that was answered, changed something, and is in the journal.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) session: SessionId,
    pub(super) seq: u64,
    pub(super) request: Request,
    pub(super) response: Response,
}

/// What happens in a history.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// Objects that make callers wait are called too, and some objects are in memory.
    pub(super) everything: bool,
    /// Items in one object.
    pub(super) items_max: usize,
    pub(super) durability: Durability,
}

pub(super) struct History<'a> {
    pub(super) rng: &'a mut Rng,
    pub(super) desk: Desk,
    pub(super) objects: Vec<Object>,
    pub(super) clients: Vec<Client>,
    plan: Plan,
    /// Calls that are not answered yet.
    asked: BTreeMap<RequestId, (SessionId, Request)>,
    pops: Vec<WaitingPop>,
    pub(super) kept: Vec<Kept>,
    /// The last frame, its answer, and nothing has happened since.
    last: Option<(usize, Request, Response)>,
}

fn settings(plan: Plan) -> Config {
    let mut config = config();
    config.list_items_max = plan.items_max as u64;
    config.queue_defaults.durability = plan.durability;
    config
}

impl<'a> History<'a> {
    pub(super) fn new(rng: &'a mut Rng, plan: Plan) -> Self {
        let mut history = Self {
            rng,
            desk: Desk::new(settings(plan)),
            objects: Vec::new(),
            clients: Vec::new(),
            plan,
            asked: BTreeMap::new(),
            pops: Vec::new(),
            kept: Vec::new(),
            last: None,
        };
        for number in 1..=3 {
            let session = SessionId(number);
            let (readers, leases) = (BTreeMap::new(), Vec::new());
            let client = Client {
                session,
                next_seq: 0,
                answered: 0,
                is_online: false,
                renamed: 0,
                readers,
                leases,
            };
            history.clients.push(client);
            history.open(history.clients.len() - 1);
        }
        for typeid in TYPES.iter().map(|found| found.typeid) {
            for copy in 0..2 {
                history.add_object(typeid, copy);
            }
        }
        history
    }

    fn add_object(&mut self, typeid: &'static str, copy: u32) {
        // The callers of a queue wait only where everything is tried.
        let waits = matches!(typeid, "event/1" | "barrier/1")
            || typeid == "queue/1" && self.plan.everything;
        let has_model = builtin(typeid).unwrap().method("acquire").is_none() && !waits;
        if !has_model && !self.plan.everything {
            return;
        }
        let made_with = frames::made_with(self.rng, typeid);
        let in_memory = self.plan.everything && copy == 1 && typeid != "list/1";
        let durability = if in_memory { Durability::Memory } else { self.plan.durability };
        let model = has_model.then(|| Model::made(typeid, &made_with));
        let name = format!("{typeid}-{copy}");
        self.objects.push(Object { name, typeid, durability, model, made_with });
        self.make(self.objects.len() - 1);
    }

    /// Has the object made; a client is there.
    fn make(&mut self, object: usize) {
        let Object { name: object, typeid, durability, made_with, .. } = &self.objects[object];
        let request = Request::Use {
            request: self.desk.request(),
            object: Some(name(object)),
            typeid: name(typeid),
            schema: None,
            args: encoded(made_with),
            durability: Some(*durability),
        };
        let told = self.desk.ask(self.clients[0].session, request);
        assert!(matches!(told[0].1, Response::Using { is_new: true, .. }), "{told:?}");
    }

    pub(super) fn step(&mut self) {
        match self.rng.below(100) {
            0..=63 => self.call(),
            64..=83 => self.list_frame(),
            84..=87 => self.come_or_go(),
            88..=91 => self.say_again(),
            _ => self.pass_time(),
        }
    }

    fn online(&mut self) -> usize {
        let online: Vec<usize> =
            (0..self.clients.len()).filter(|&index| self.clients[index].is_online).collect();
        *self.rng.pick(&online)
    }

    // --- calls

    fn call(&mut self) {
        let (client, object) = (self.online(), self.rng.size(0..=self.objects.len() as u64 - 1));
        let methods = builtin(self.objects[object].typeid).unwrap().methods;
        let method = self.rng.pick(methods);
        let takes_turn = method.takes != Takes::Nothing;
        let has_model = self.objects[object].model.is_some();
        let waits = method.takes == Takes::Time && self.rng.percent(60) && !has_model;
        let is_single = waits || self.objects[object].typeid == "queue/1";
        let count = if is_single || self.rng.percent(70) { 1 } else { self.rng.size(2..=3) };
        let calls: Vec<Vec<Value>> = (0..count)
            .map(|_| frames::arguments(self.rng, method, &self.objects[object]))
            .collect();
        let by = if self.rng.percent(50) { By::Session } else { self.holder(client) };
        let Client { session, next_seq, answered, .. } = &mut self.clients[client];
        if self.rng.percent(10) {
            *answered = self.rng.between(*answered..=*next_seq);
        }
        // A call that waits keeps its number until it is answered.
        let oldest = self.asked.values().filter(|(other, _)| other == session);
        let oldest = oldest.filter_map(|(_, request)| seq_of(request)).min();
        *answered = (*answered).min(oldest.unwrap_or(u64::MAX));
        let seq = takes_turn.then_some(*next_seq);
        *next_seq += if takes_turn { count as u64 } else { 0 };
        let wait_ms = if waits { self.rng.between(1..=4_000) } else { 0 };
        let (session, terms) = (*session, Terms { seq, answered: *answered, by, wait_ms });
        let args: Block = calls.iter().map(|args| encoded(args)).collect();
        let Object { name, .. } = &self.objects[object];
        let request = self.desk.call(name, None, method.name, terms, args);
        let told = self.ask(client, request.clone());
        if self.objects[object].model.is_none() {
            return;
        }
        let response = answer_to(&told, &request);
        self.compare(object, method.name, method.takes, &calls, response);
        // Those who wait come after it.
        self.hear_pops(&told);
        let is_alone = told.len() == 1 && self.objects[object].model.is_some();
        self.last = is_alone.then(|| (client, request, response.clone()));
        assert!(session.0 > 0);
    }

    fn holder(&mut self, client: usize) -> By {
        match self.clients[client].leases.first() {
            Some(&(lease, _)) if self.rng.percent(40) => By::Lease(lease),
            _ => By::Holder(u32::try_from(self.rng.below(2)).unwrap()),
        }
    }

    fn compare(
        &mut self,
        object: usize,
        method: &str,
        takes: Takes,
        calls: &[Vec<Value>],
        response: &Response,
    ) {
        let (now, limit) = (self.desk.now.as_millis(), self.plan.items_max);
        let Object { name, model, .. } = &mut self.objects[object];
        let model = model.as_mut().unwrap();
        if let Response::Rejected { rejection, .. } = response {
            if rejection.to_string().starts_with("lease") {
                return;
            }
            let Model::List(list) = model else { panic!("{rejection}") };
            let moves = takes != Takes::Nothing && !matches!(method, "append" | "extend");
            assert!(!list.popped.is_empty() && moves, "{method} of {name}: {rejection}");
            return;
        }
        if let (Model::List(list), true) = (&*model, takes != Takes::Nothing) {
            let may_move = list.popped.is_empty() || matches!(method, "append" | "extend");
            assert!(may_move, "{method} of {name} while {} are popped", list.popped.len());
        }
        let outcomes = returned(response).unwrap();
        assert_eq!(outcomes.len(), calls.len());
        for (args, outcome) in calls.iter().zip(&outcomes) {
            let before = model.clone();
            let expected = model.call(method, args, now, limit);
            assert!(
                agree(&expected, outcome),
                "{method} {args:?} of {name}\n  model   {expected:?}\n  machine {outcome:?}\n  {before:?}"
            );
            if expected.is_err() && !matches!(model, Model::Dict(_)) {
                assert_eq!(format!("{before:?}"), format!("{model:?}"), "a model that half fails");
            }
        }
    }

    /// The same frame again, at once: it takes effect once and is answered alike.
    fn say_again(&mut self) {
        let Some((client, request, response)) = self.last.take() else { return };
        let events = self.desk.journal.len();
        let told = self.desk.ask(self.clients[client].session, request.clone());
        assert_eq!(answer_to(&told, &request), &response, "{request:?} again");
        assert_eq!(self.desk.journal.len(), events, "{request:?} took effect twice");
    }

    /// Says something, and notes the answers that come with it.
    fn ask(&mut self, client: usize, request: Request) -> Vec<(SessionId, Response)> {
        self.last = None;
        let session = self.clients[client].session;
        if let Request::Call { request: number, .. } = &request {
            self.asked.insert(*number, (session, request.clone()));
        }
        let told = self.desk.ask(session, request);
        self.hear(&told);
        told
    }

    /// Notes calls that are answered.
    fn hear(&mut self, told: &[(SessionId, Response)]) {
        for (_, response) in told {
            let Some(number) = answered(response) else { continue };
            let Some((session, request)) = self.asked.remove(&number) else { continue };
            let Some(seq) = seq_of(&request) else { continue };
            let is_it = |event: &&Event| match event {
                Event::Called(called) => (called.session, called.seq) == (session, Some(seq)),
                Event::QueueCalled(called) => (called.session, called.seq) == (session, seq),
                Event::Submitted { jobs, .. } => jobs.first == JobId { session, seq },
                _ => false,
            };
            if self.desk.journal.iter().rev().take(64).any(|event| is_it(&event)) {
                let response = response.clone();
                self.kept.push(Kept { session, seq, request, response });
            }
        }
    }

    // --- time and connections

    fn open(&mut self, client: usize) {
        let Client { session, renamed, leases, is_online, .. } = &mut self.clients[client];
        *is_online = true;
        let name = format!("client {renamed}");
        let held: Vec<LeaseId> = leases.iter().map(|&(lease, _)| lease).collect();
        let told = self.desk.open(*session, &name, &held);
        self.told(&told);
    }

    /// Some client leaves, or comes back.
    fn come_or_go(&mut self) {
        self.last = None;
        if let Some(away) = self.clients.iter().position(|client| !client.is_online) {
            self.clients[away].renamed += u32::from(self.rng.percent(30));
            return self.open(away);
        }
        let leaves = self.online();
        let session = self.clients[leaves].session;
        self.clients[leaves].is_online = false;
        self.asked.retain(|_, (other, _)| *other != session);
        self.pops.retain(|pop| pop.client != leaves);
        let told = self.desk.step(Command::Disconnected { session });
        self.told(&told);
    }

    fn pass_time(&mut self) {
        self.last = None;
        let millis = self.rng.between(1..=3_000);
        let quiet = self.clients.iter().all(|client| client.is_online && client.leases.is_empty());
        if quiet && self.asked.is_empty() && self.pops.is_empty() && self.rng.percent(50) {
            // Nobody ticks: what is over is not there nevertheless.
            if self.plan.items_max > 1_000 {
                self.desk.now = self.desk.now.plus_millis(millis.min(900));
                return;
            }
        }
        let until = self.desk.now.plus_millis(millis);
        while let Some(due) = self.desk.machine.next_deadline().filter(|due| *due <= until) {
            self.desk.now = self.desk.now.max(due);
            let told = self.desk.step(Command::Tick);
            self.put_back_of_the_gone();
            self.told(&told);
        }
        self.desk.now = until;
    }

    /// Takes everything that was said, in order.
    fn told(&mut self, told: &[(SessionId, Response)]) {
        self.hear(told);
        self.hear_pops(told);
    }

    /// The broker is started anew: what was in memory is gone.
    pub(super) fn restart(&mut self) {
        self.last = None;
        self.asked.clear();
        self.pops.clear();
        self.desk.restart();
        for client in 0..self.clients.len() {
            self.put_back(client);
            self.clients[client].is_online = false;
        }
        for client in 0..self.clients.len() {
            self.open(client);
        }
    }

    /// Objects that were in memory are made again, empty.
    pub(super) fn make_again(&mut self) {
        for index in 0..self.objects.len() {
            let object = &mut self.objects[index];
            if object.durability == Durability::Memory && object.typeid != "list/1" {
                object.model =
                    object.model.take().map(|_| Model::made(object.typeid, &object.made_with));
                self.make(index);
            }
        }
    }
}

/// The number of a call that changes something.
fn seq_of(request: &Request) -> Option<u64> {
    let Request::Call { seq, .. } = request else { return None };
    *seq
}

fn answer_to<'a>(told: &'a [(SessionId, Response)], request: &Request) -> &'a Response {
    let Request::Call { request: number, .. } = request else { panic!("{request:?} is no call") };
    let found = told.iter().find(|(_, response)| answered(response) == Some(*number));
    found.map_or_else(|| panic!("{request:?} was not answered: {told:?}"), |(_, response)| response)
}

#[test]
fn objects_of_every_type_do_what_their_models_do() {
    super::each_seed("models", 400, |rng| {
        let items_max = if rng.percent(50) { rng.size(5..=9) } else { 1_000_000 };
        let durability = *rng.pick(&[Durability::Memory, Durability::Strict]);
        let mut history = History::new(rng, Plan { everything: false, items_max, durability });
        for _ in 0..300 {
            history.step();
        }
    });
}
