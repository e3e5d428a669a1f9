//! Which shared objects there are: found by name, made by use or from the start, removed.
//!
//! Not how they are called, which is [`crate::invoke`]'s.

use std::collections::BTreeMap;

use bytes::Bytes;
use ganger_shared::{
    Block, By, Durability, Name, ObjectId, Rejection, RequestId, Response, SessionId,
};

use crate::config::Creation;
use crate::event::Event;
use crate::invoke::context;
use crate::list::ListKey;
use crate::machine::Machine;
use crate::object::{Args, Kind, Limits, Object, ObjectKey, Owner, Stage};
use crate::output::Output;
use crate::queue::{Size, methods};
use crate::registry::{Registration, Served};
use crate::submit::not_found;
use crate::timer::Timer;
use crate::waiting::Waiters;
use crate::watching::History;

/// The fields of a Use.
pub(crate) struct Use {
    pub(crate) request: RequestId,
    pub(crate) object: Option<Name>,
    pub(crate) typeid: Name,
    pub(crate) schema: Option<[u8; 32]>,
    pub(crate) args: Bytes,
    pub(crate) durability: Option<Durability>,
}

/// What has methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    Object(ObjectKey),
    List(ListKey),
}

impl Machine {
    /// Answers with the object of this name, which is made if there is none.
    pub(crate) fn use_object(
        &mut self,
        session: SessionId,
        wanted: Use,
        out: &mut Output,
    ) -> Result<(), Rejection> {
        let Use { request, object, typeid, schema, args, durability } = wanted;
        self.judge_schema(&typeid, schema)?;
        if let Some(name) = &object {
            self.judge_caller(session, name)?;
        }
        if typeid.as_str() == methods::TYPEID {
            let wanted = Use { request, object, typeid, schema, args, durability };
            return self.use_queue(session, wanted, out);
        }
        let found = object.as_ref().and_then(|name| self.subject(name));
        let subject = match (found, &object) {
            (Some(subject), Some(name)) => {
                self.judge_type(name, subject, &typeid)?;
                self.note_used(name);
                subject
            }
            _ => {
                self.judge_new_object(object.as_ref())?;
                self.make_object(object.clone(), &typeid, args, durability, out)?
            }
        };
        let name = self.subject_name(subject).clone();
        let durability = self.subject_durability(subject);
        let using = Response::Using { request, object: name, durability, is_new: found.is_none() };
        out.promise(session, durability, using);
        Ok(())
    }

    fn served(&self, typeid: &Name) -> Result<Served, Rejection> {
        let registry = &self.config.registry;
        let types = || registry.typeids();
        let found = registry.find(typeid);
        found.ok_or_else(|| Rejection::NoType { typeid: typeid.clone(), types: types() })
    }

    /// Whether client and broker understand the same by a type.
    fn judge_schema(&self, typeid: &Name, client: Option<[u8; 32]>) -> Result<(), Rejection> {
        let served = self.served(typeid)?;
        let Some(client) = client else { return Ok(()) };
        let short = |hash: [u8; 32]| hash[..4].iter().map(|byte| format!("{byte:02x}")).collect();
        let broker = match served.schema {
            Some(broker) if broker == client => return Ok(()),
            Some(broker) => short(broker),
            None => "that of every broker".to_owned(),
        };
        Err(Rejection::Schema { typeid: typeid.clone(), client: short(client), broker })
    }

    /// Whether the configuration lets a session use what has this name.
    pub(crate) fn judge_caller(&self, session: SessionId, name: &Name) -> Result<(), Rejection> {
        let Some(key) = self.sessions.get(&session).map(|found| found.key) else { return Ok(()) };
        if self.config.registry.lets(key, name) {
            return Ok(());
        }
        Err(Rejection::NotACaller { name: name.clone(), key })
    }

    /// Whether the configuration lets a session do what a request about a queue or a list asks: each is in
    /// the place of a method of that type.
    pub(crate) fn judge_exposed(
        &self,
        session: SessionId,
        typeid: &str,
        name: &Name,
        method: &str,
    ) -> Result<(), Rejection> {
        self.judge_caller(session, name)?;
        if self.config.registry.exposes(name, method) {
            return Ok(());
        }
        Err(self.no_method(typeid, name, method))
    }

    /// What has this name and methods.
    pub(crate) fn subject(&self, name: &Name) -> Option<Subject> {
        let object = self.object_names.get(name).copied().map(Subject::Object);
        object.or_else(|| self.list_names.get(name).copied().map(Subject::List))
    }

    /// The type of the object of this name.
    #[must_use]
    pub fn typeid_of(&self, name: &Name) -> Option<&'static str> {
        match self.subject(name) {
            Some(Subject::Object(key)) => Some(self.objects[key.0].kind.typeid()),
            Some(Subject::List(_)) => Some(crate::list::TYPEID),
            None => self.queue_names.contains_key(name).then_some(methods::TYPEID),
        }
    }

    /// The methods of the object of this name that clients may call.
    #[must_use]
    pub fn methods_of(&self, name: &Name) -> Vec<&'static str> {
        let registry = &self.config.registry;
        let typeid = self.typeid_of(name).map(typeid_name);
        let served = typeid.and_then(|typeid| registry.find(&typeid));
        let methods = served.iter().flat_map(|served| served.methods).map(|method| method.name);
        methods.filter(|method| registry.exposes(name, method)).collect()
    }

    pub(crate) fn subject_name(&self, subject: Subject) -> &Name {
        match subject {
            Subject::Object(key) => &self.objects[key.0].name,
            Subject::List(key) => &self.lists[key.0].name,
        }
    }

    pub(crate) fn subject_durability(&self, subject: Subject) -> Durability {
        match subject {
            Subject::Object(key) => self.objects[key.0].durability,
            Subject::List(key) => self.lists[key.0].durability,
        }
    }

    pub(crate) fn subject_typeid(&self, subject: Subject) -> &'static str {
        match subject {
            Subject::Object(key) => self.objects[key.0].kind.typeid(),
            Subject::List(_) => crate::list::TYPEID,
        }
    }

    fn judge_type(&self, name: &Name, subject: Subject, wanted: &Name) -> Result<(), Rejection> {
        let is = self.subject_typeid(subject);
        if is == wanted.as_str() {
            return Ok(());
        }
        let (name, wanted) = (name.clone(), wanted.clone());
        Err(Rejection::WrongType { name, is: typeid_name(is), wanted })
    }

    /// Whether nothing else has the name that is to be given to something of type `wanted`.
    pub(crate) fn judge_name(&self, name: &Name, wanted: &str) -> Result<(), Rejection> {
        let is = if self.queue_names.contains_key(name) {
            methods::TYPEID
        } else if let Some(subject) = self.subject(name) {
            self.subject_typeid(subject)
        } else {
            return Ok(());
        };
        if is == wanted {
            return Ok(());
        }
        let (is, wanted) = (typeid_name(is), typeid_name(wanted));
        Err(Rejection::WrongType { name: name.clone(), is, wanted })
    }

    /// Whether the configuration lets an object be made by use.
    pub(crate) fn judge_new_object(&self, name: Option<&Name>) -> Result<(), Rejection> {
        match name {
            Some(name) if self.config.creation == Creation::ByOperatorOnly => {
                Err(not_found("object", name))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Makes an object that is to exist from the start, unless it does.
    ///
    /// # Errors
    /// What has its name already, or what is wrong with it.
    pub fn register(
        &mut self,
        name: &Name,
        registration: &Registration,
        out: &mut Output,
    ) -> Result<(), Rejection> {
        let Registration { typeid, args, durability, expose, callers: _ } = registration;
        let methods = self.served(typeid)?.methods;
        let is_unknown = |name: &&String| methods.iter().all(|method| method.name != **name);
        if let Some(unknown) = expose.iter().flatten().find(is_unknown) {
            let methods = methods.iter().map(|method| method.name.to_owned()).collect();
            let (typeid, method) = (typeid.clone(), unknown.clone());
            return Err(Rejection::NoMethod { typeid, method, methods });
        }
        if typeid.as_str() == methods::TYPEID {
            if !self.queue_names.contains_key(name) {
                self.make_queue(Some(name.clone()), args.clone(), *durability, out)?;
            }
            return Ok(());
        }
        match self.subject(name) {
            Some(subject) => self.judge_type(name, subject, typeid),
            None if typeid.as_str() == crate::list::TYPEID => {
                self.judge_name(name, typeid)?;
                self.make_list(name, args, *durability, out).map(drop)
            }
            None => {
                self.make_object(Some(name.clone()), typeid, args.clone(), *durability, out)?;
                Ok(())
            }
        }
    }

    fn make_object(
        &mut self,
        name: Option<Name>,
        typeid: &Name,
        args: Bytes,
        durability: Option<Durability>,
        out: &mut Output,
    ) -> Result<Subject, Rejection> {
        let made = self.served(typeid)?;
        let name = self.name_for_use(name, made.typeid)?;
        if made.typeid == crate::list::TYPEID {
            if durability.is_some() || !args.is_empty() {
                return self.make_list(&name, &args, durability, out);
            }
            // Whoever uses it first with jobs decides what it promises.
            return self.list_for_use(&name, out).map(Subject::List);
        }
        let durability = durability.unwrap_or(self.config.queue_defaults.durability);
        self.judge_durability(durability)?;
        self.judge_count("objects", self.objects.len())?;
        self.judge_storage(durability, Size { jobs: 0, bytes: args.len() as u64 })?;
        // Made twice: here to see whether it can be, and by the event, which must not fail.
        let mut next_token = self.next_lease;
        let owner = Owner { session: SessionId(0), by: By::Session };
        let limits = self.limits();
        let cx = context(self.now, owner, Stage::Made, &mut next_token, limits);
        let what = made.typeid;
        let registry = &self.config.registry;
        registry.make(what, Args::new(args.clone()), &cx).map_err(|error| {
            Rejection::Invalid(format!("no {what} can be made with that: {error}"))
        })?;
        let (at, object, typeid) = (self.now, name.clone(), typeid.clone());
        self.happen(Event::ObjectMade { at, object, typeid, durability, limits, args }, out);
        self.subject(&name).ok_or_else(|| not_found("object", &name))
    }

    fn make_list(
        &mut self,
        name: &Name,
        args: &Bytes,
        durability: Option<Durability>,
        out: &mut Output,
    ) -> Result<Subject, Rejection> {
        if !args.is_empty() {
            return Err(Rejection::Invalid("a list is made with nothing".to_owned()));
        }
        if let Some(event) = self.decide_list_set(name, durability)? {
            self.happen(event, out);
        }
        self.subject(name).ok_or_else(|| not_found("list", name))
    }

    /// The name under which something of type `typeid` is made: nothing else has it.
    pub(crate) fn name_for_use(
        &mut self,
        name: Option<Name>,
        typeid: &str,
    ) -> Result<Name, Rejection> {
        match name {
            // One that it gave and has removed since.
            Some(name) if ObjectId::of(&name).is_some() => Err(not_found("object", &name)),
            Some(name) => self.judge_name(&name, typeid).map(|()| name),
            None => Ok(self.name_for_unnamed()),
        }
    }

    /// The object that a call is about, made if the call says of which type it is.
    pub(crate) fn subject_for_use(
        &mut self,
        name: &Name,
        typeid: Option<&Name>,
        out: &mut Output,
    ) -> Result<Subject, Rejection> {
        self.note_used(name);
        match (self.subject(name), typeid) {
            (Some(subject), Some(typeid)) => {
                self.judge_type(name, subject, typeid)?;
                Ok(subject)
            }
            (Some(subject), None) => Ok(subject),
            (None, Some(typeid)) if self.judge_new_object(Some(name)).is_ok() => {
                self.make_object(Some(name.clone()), typeid, Bytes::new(), None, out)
            }
            (None, _) if self.queue_names.contains_key(name) => {
                let (name, wanted) = (name.clone(), typeid.cloned());
                let wanted = wanted.unwrap_or_else(|| typeid_name("object"));
                Err(Rejection::WrongType { name, is: methods::typeid(), wanted })
            }
            (None, _) => Err(not_found("object", name)),
        }
    }

    /// Sets the timer of an object in which something ends by itself.
    pub(crate) fn note_deadline(&mut self, key: ObjectKey) {
        let object = &mut self.objects[key.0];
        let at = object.kind.deadline();
        if object.passes == at {
            return;
        }
        if let Some(at) = object.passes {
            self.timers.unset(at, Timer::Pass(key));
        }
        if let Some(at) = at {
            self.timers.set(at, Timer::Pass(key));
        }
        object.passes = at;
    }

    /// Something in the object ends by itself.
    pub(crate) fn object_passes(&mut self, key: ObjectKey, out: &mut Output) {
        self.objects[key.0].passes = None;
        let object = self.objects[key.0].name.clone();
        self.happen(Event::Passed { at: self.now, object }, out);
    }

    pub(crate) fn apply_made(
        &mut self,
        at: ganger_shared::Time,
        name: &Name,
        typeid: &Name,
        durability: Durability,
        limits: Limits,
        args: Bytes,
    ) {
        self.note_references(name, &Block::one(args.clone()));
        let owner = Owner { session: SessionId(0), by: By::Session };
        let cx = context(self.now, owner, Stage::Made, &mut self.next_lease, limits);
        // It was made before it was recorded.
        if let Ok(kind) = self.config.registry.make(typeid, Args::new(args), &cx) {
            let key = self.add_object(name, durability, kind);
            self.objects[key.0].made = at;
        }
    }

    /// An object comes to be.
    pub(crate) fn add_object(
        &mut self,
        name: &Name,
        durability: Durability,
        kind: Box<dyn Kind>,
    ) -> ObjectKey {
        self.bytes += kind.extent().bytes;
        let object = Object {
            name: name.clone(),
            durability,
            made: ganger_shared::Time::ZERO,
            revision: 0,
            kind,
            waiters: Waiters::default(),
            passes: None,
            history: History::default(),
            watchers: BTreeMap::new(),
        };
        let key = ObjectKey(self.objects.insert(object));
        self.object_names.insert(name.clone(), key);
        self.keep_unnamed(name);
        key
    }

    /// Changes an object other than by a call, and counts its bytes anew.
    pub(crate) fn change_object(&mut self, key: ObjectKey, change: impl FnOnce(&mut dyn Kind)) {
        let kind = &mut *self.objects[key.0].kind;
        let before = kind.extent();
        change(kind);
        let after = kind.extent();
        self.count_extent(before, after);
    }

    /// A part of an object that is stated again.
    pub(crate) fn take_part(&mut self, name: &Name, part: &[u8]) {
        let Some(&key) = self.object_names.get(name) else { return };
        self.change_object(key, |kind| kind.take(part));
        for hold in self.objects[key.0].kind.holds() {
            self.holdings.set(hold.owner, key, true);
        }
        self.note_deadline(key);
    }

    /// Ends what was due `at` that time, and nothing else: a replay may be long after it.
    pub(crate) fn apply_passed(&mut self, key: ObjectKey, at: ganger_shared::Time) {
        let mut whats = Vec::new();
        self.change_object(key, |kind| whats = kind.pass(at));
        self.objects[key.0].revision += 1;
        self.remember_changes(key, whats);
        self.note_deadline(key);
    }
}

pub(crate) fn typeid_name(typeid: &str) -> Name {
    Name::new(typeid).expect("typeids are names, which a test of the table checks")
}
