//! The arguments of one call, as the method that is called names them.
//!
//! Not what they mean to it.

use std::time::Duration;

use ganger_pickle::write::Exception;
use ganger_pickle::{Graph, Known, Limits, Node, NodeId, Proxy, Values};
use ganger_shared::{Packed, Value};

use super::kind::{Kind, Shared};
use super::raise::Raised;

/// The longest wait that is told from one for ever: a hundred years.
const WAIT_MAX: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// What a call was made with.
pub(crate) struct Arguments<'g> {
    method: &'g str,
    graph: &'g Graph,
    given: &'g [NodeId],
    keywords: &'g [(String, NodeId)],
    values: Values<'g>,
}

impl<'g> Arguments<'g> {
    pub(crate) const fn new(
        method: &'g str,
        graph: &'g Graph,
        given: &'g [NodeId],
        keywords: &'g [(String, NodeId)],
        limits: &'g Limits,
    ) -> Self {
        Self { method, graph, given, keywords, values: Values::new(graph, limits) }
    }

    /// What was given for each of `names`, by place or by name. The first `needed` of them have to be.
    pub(crate) fn bind<const N: usize>(
        &self,
        names: [&str; N],
        needed: usize,
    ) -> Result<[Option<NodeId>; N], Raised> {
        let method = self.method;
        let wrong = |what: String| Err(Raised::new(Exception::TypeError, what));
        if self.given.len() > N {
            let given = self.given.len();
            return wrong(format!("{method}() takes at most {N} arguments ({given} given)"));
        }
        let mut bound = [None; N];
        for (place, id) in bound.iter_mut().zip(self.given) {
            *place = Some(*id);
        }
        for (name, id) in self.keywords {
            let Some(place) = names.iter().position(|known| known == name) else {
                return wrong(format!("{method}() got an unexpected keyword argument '{name}'"));
            };
            if bound[place].replace(*id).is_some() {
                return wrong(format!("{method}() got multiple values for argument '{name}'"));
            }
        }
        match (0..needed).find(|place| bound[*place].is_none()) {
            Some(place) => {
                let name = names[place];
                wrong(format!("{method}() missing 1 required positional argument: '{name}'"))
            }
            None => Ok(bound),
        }
    }

    /// The first argument, a text, and the others.
    pub(crate) fn after_first(mut self, name: &str) -> Result<(&'g str, Self), Raised> {
        let missing =
            || Raised::new(Exception::TypeError, format!("{} lacks its {name}", self.method));
        let (first, rest) = self.given.split_first().ok_or_else(missing)?;
        let text = self.graph.text(*first).ok_or_else(missing)?;
        self.given = rest;
        self.method = text;
        Ok((text, self))
    }

    /// The only argument.
    pub(crate) fn one(&self, name: &str) -> Result<NodeId, Raised> {
        let [id] = self.bind([name], 1)?;
        Ok(id.expect("bound"))
    }

    /// There is none.
    pub(crate) fn none(&self) -> Result<(), Raised> {
        self.bind([], 0).map(|[]| ())
    }

    pub(crate) const fn graph(&self) -> &'g Graph {
        self.graph
    }

    pub(crate) const fn given(&self) -> &'g [NodeId] {
        self.given
    }

    pub(crate) const fn keywords(&self) -> &'g [(String, NodeId)] {
        self.keywords
    }

    /// As a value.
    pub(crate) fn packed(&mut self, id: NodeId) -> Result<Packed, Raised> {
        Ok(self.values.packed(id, &mut reference)?)
    }

    /// The items that a loop over it has in Python, each a value.
    pub(crate) fn items(&mut self, id: NodeId) -> Result<Vec<Packed>, Raised> {
        if let Some(numbers) = self.graph.known(id).as_ref().and_then(Known::numbers) {
            // A range says nothing about how much it comes to.
            let items: Vec<Packed> = numbers.take(RANGE_ITEMS_MAX + 1).map(Packed::from).collect();
            if items.len() > RANGE_ITEMS_MAX {
                let most = RANGE_ITEMS_MAX;
                let why = format!("a range of more than {most} numbers; give it in parts");
                return Err(Raised::new(Exception::ValueError, why));
            }
            return Ok(items);
        }
        if let Some(text) = self.graph.text(id) {
            return Ok(text
                .chars()
                .map(|c| Packed::from(c.encode_utf8(&mut [0; 4]) as &str))
                .collect());
        }
        let Some(items) = self.values.items(id) else {
            let kind = self.graph.node(id).kind();
            let why = format!("a broker cannot loop over {kind}; give a list");
            return Err(Raised::new(Exception::TypeError, why));
        };
        items.into_iter().map(|item| self.packed(item)).collect()
    }

    /// All of them as values; there is none by name.
    pub(crate) fn values(mut self) -> Result<Vec<Value>, Raised> {
        if let Some((name, _)) = self.keywords.first() {
            let why = format!("{} takes no argument by name, such as {name:?}", self.method);
            return Err(Raised::new(Exception::TypeError, why));
        }
        self.given.iter().map(|id| Ok(self.packed(*id)?.unpack())).collect()
    }

    /// Keys with their values, of what `dict.update` takes.
    pub(crate) fn entries(&mut self, id: NodeId) -> Result<Vec<(Packed, Packed)>, Raised> {
        let Some(entries) = self.values.entries(id) else {
            let kind = self.graph.node(id).kind();
            let why = format!("a broker cannot take keys and values from {kind}; give a dict");
            return Err(Raised::new(Exception::TypeError, why));
        };
        let packed = |(key, value)| Ok((self.packed(key)?, self.packed(value)?));
        entries.into_iter().map(packed).collect()
    }

    /// A whole number.
    pub(crate) fn int(&self, id: NodeId) -> Result<i64, Raised> {
        match self.graph.node(id) {
            Node::Int(number) => number.as_i64().ok_or_else(|| {
                Raised::new(
                    Exception::OverflowError,
                    "Python int too large to convert to C ssize_t",
                )
            }),
            Node::Bool(flag) => Ok(i64::from(*flag)),
            other => {
                let why = format!("'{}' object cannot be interpreted as an integer", other.kind());
                Err(Raised::new(Exception::TypeError, why))
            }
        }
    }

    /// Whether it is `None`.
    pub(crate) fn is_none(&self, id: NodeId) -> bool {
        matches!(self.graph.node(id), Node::None)
    }

    /// What Python takes for true.
    pub(crate) fn is_true(&self, id: Option<NodeId>, default: bool) -> bool {
        let Some(id) = id else { return default };
        match self.graph.node(id) {
            Node::None => false,
            Node::Bool(flag) => *flag,
            Node::Int(number) => number.as_i64() != Some(0),
            Node::Float(number) => *number != 0.0,
            _ => true,
        }
    }

    /// How long to wait: seconds, or for ever if there is nothing or none.
    pub(crate) fn timeout(&self, id: Option<NodeId>) -> Result<Option<Duration>, Raised> {
        let seconds = match id.map(|id| self.graph.node(id)) {
            None | Some(Node::None) => return Ok(None),
            Some(Node::Float(seconds)) => *seconds,
            Some(Node::Int(number)) =>
            {
                #[expect(clippy::cast_precision_loss, reason = "a time is about right")]
                number.as_i64().map_or(f64::INFINITY, |seconds| seconds as f64)
            }
            Some(other) => {
                let why = format!("a time out is a number of seconds, not {}", other.kind());
                return Err(Raised::new(Exception::TypeError, why));
            }
        };
        // One that is below zero is over at once, as for Python's own locks.
        let wait = Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(WAIT_MAX);
        Ok(Some(wait.min(WAIT_MAX)))
    }

    /// The numbers of a slice, each none where it is to be what lies at that end.
    pub(crate) fn slice(&self, id: NodeId) -> Option<[NodeId; 3]> {
        match self.graph.known(id)? {
            Known::Slice { start, stop, step } => Some([start, stop, step]),
            _ => None,
        }
    }
}

/// Numbers of a range that are written out: 1,048,576.
const RANGE_ITEMS_MAX: usize = 1 << 20;

/// A proxy of an object without a name is a reference to it, for clients of every language. Of those kinds
/// only that can be told again from their object's type.
fn reference(proxy: &Proxy) -> Option<Value> {
    let shared: Shared = proxy.token.ident.parse().ok()?;
    let id = ganger_shared::ObjectId::of(&shared.object)?;
    let is_told = shared.kind.typeid().is_none_or(|typeid| Kind::of(typeid) == shared.kind);
    (is_told && shared.kind != Kind::Iterator).then_some(Value::Ref(id))
}
