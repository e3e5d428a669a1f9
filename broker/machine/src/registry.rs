//! Which types of objects there are, and which objects there are from the start.
//!
//! Not what their methods do.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use ganger_shared::key::KeyId;
use ganger_shared::object::custom::schema;
use ganger_shared::object::types::{TYPES, builtin};
use ganger_shared::object::{Method, SharedObject};
use ganger_shared::value::ValueError;
use ganger_shared::{CallError, Durability, Name, Value};

use crate::object::{self, Args, Cx, Kind};

/// The types that a broker serves: those of every broker, and what its program has added.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    added: BTreeMap<&'static str, Added>,
    named: BTreeMap<Name, Registration>,
}

#[derive(Clone, Copy, Debug)]
struct Added {
    methods: &'static [Method],
    make: fn(Args) -> Result<Box<dyn Kind>, CallError>,
    blank: fn() -> Box<dyn Kind>,
}

/// An object that exists from the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Its type.
    pub typeid: Name,
    /// What it is made with: encoded values, one after the other.
    pub args: Bytes,
    /// What an answer about it promises; the broker's default if none.
    pub durability: Option<Durability>,
    /// The methods that clients may call; all of its type's if none.
    pub expose: Option<BTreeSet<String>>,
    /// The keys whose sessions may call them; all that the broker takes if none.
    pub callers: Option<BTreeSet<KeyId>>,
}

impl Registration {
    /// An object of this type, made with nothing, that everybody may call.
    #[must_use]
    pub const fn new(typeid: Name) -> Self {
        Self { typeid, args: Bytes::new(), durability: None, expose: None, callers: None }
    }

    /// What it is made with, in the order that docs/objects.md has; only the first start makes it.
    ///
    /// # Errors
    /// A value that is nested too deep.
    pub fn made_with(mut self, args: &[Value]) -> Result<Self, ValueError> {
        let mut encoded = Vec::new();
        args.iter().try_for_each(|value| value.encode_to(&mut encoded))?;
        self.args = encoded.into();
        Ok(self)
    }

    /// What an answer about it promises.
    #[must_use]
    pub const fn durability(mut self, durability: Durability) -> Self {
        self.durability = Some(durability);
        self
    }

    /// Clients may call these methods and no others.
    #[must_use]
    pub fn expose(mut self, methods: &[&str]) -> Self {
        self.expose = Some(methods.iter().map(|&method| method.to_owned()).collect());
        self
    }

    /// Sessions of these keys may call it and no others.
    #[must_use]
    pub fn callers(mut self, keys: &[KeyId]) -> Self {
        self.callers = Some(keys.iter().copied().collect());
        self
    }
}

/// What is known of a type.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Served {
    pub(crate) typeid: &'static str,
    pub(crate) methods: &'static [Method],
    /// What a client may compare with its own idea of the type; none for types of every broker.
    pub(crate) schema: Option<[u8; 32]>,
}

impl Registry {
    /// Has the broker serve objects of this type.
    pub fn add<T: SharedObject>(&mut self) {
        let added = Added {
            methods: T::METHODS,
            make: |args| Ok(Box::new(object::Custom::<T>::make(args)?)),
            blank: || Box::new(object::Custom::<T>::blank()),
        };
        self.added.insert(T::TYPEID, added);
    }

    /// Has an object of this name exist from the start.
    pub fn name(&mut self, name: Name, registration: Registration) {
        self.named.insert(name, registration);
    }

    /// The typeids of those that its program has added.
    pub fn added(&self) -> impl Iterator<Item = &'static str> {
        self.added.keys().copied()
    }

    /// The objects that exist from the start.
    pub fn named(&self) -> impl Iterator<Item = (&Name, &Registration)> {
        self.named.iter()
    }

    /// Whether clients may call a method of an object of this name.
    pub(crate) fn exposes(&self, name: &Name, method: &str) -> bool {
        let expose = self.named.get(name).and_then(|named| named.expose.as_ref());
        expose.is_none_or(|expose| expose.contains(method))
    }

    /// Whether sessions of this key may use an object of this name.
    pub(crate) fn lets(&self, key: KeyId, name: &Name) -> bool {
        let callers = self.named.get(name).and_then(|named| named.callers.as_ref());
        callers.is_none_or(|callers| callers.contains(&key))
    }

    pub(crate) fn find(&self, typeid: &str) -> Option<Served> {
        if let Some((&typeid, added)) = self.added.get_key_value(typeid) {
            let schema = Some(schema(typeid, added.methods));
            return Some(Served { typeid, methods: added.methods, schema });
        }
        let found = builtin(typeid)?;
        Some(Served { typeid: found.typeid, methods: found.methods, schema: None })
    }

    /// The names of all types.
    pub(crate) fn typeids(&self) -> Vec<String> {
        let added = self.added.keys().copied();
        let mut all: Vec<String> =
            TYPES.iter().map(|found| found.typeid).chain(added).map(str::to_owned).collect();
        all.sort();
        all
    }

    pub(crate) fn make(
        &self,
        typeid: &str,
        args: Args,
        cx: &Cx<'_>,
    ) -> Result<Box<dyn Kind>, CallError> {
        match self.added.get(typeid) {
            Some(added) => (added.make)(args),
            None => object::make(typeid, args, cx),
        }
    }

    pub(crate) fn blank(&self, typeid: &str) -> Option<Box<dyn Kind>> {
        match self.added.get(typeid) {
            Some(added) => Some((added.blank)()),
            None => object::blank(typeid),
        }
    }
}
