//! What a manager's client asks for.
//!
//! Not what it means: methods and idents are the broker's.

use bytes::Bytes;

use crate::graph::{Graph, Node, NodeId};
use crate::{Limits, PickleError, read};

/// One request: `(ident, method, arguments, keywords)`, as `dispatch` and `_callmethod` of Python's
/// `multiprocessing.managers` send it.
#[derive(Clone, Debug)]
pub struct Request {
    /// The object that is asked; none for the manager itself.
    pub ident: Option<String>,
    /// The method.
    pub method: String,
    /// The arguments.
    pub arguments: Vec<NodeId>,
    /// The arguments that have a name.
    pub keywords: Vec<(String, NodeId)>,
    /// Where the arguments are described.
    pub graph: Graph,
}

impl Request {
    /// Reads a request, which is all of `message`.
    ///
    /// ```
    /// use bytes::Bytes;
    /// use ganger_pickle::{Limits, Request};
    ///
    /// let message = Bytes::from_static(b"\x80\x04(N\x8c\x05dummy\x94)}\x94t\x94.");
    /// let request = Request::read(message, &Limits::default())?;
    /// assert_eq!((request.ident, request.method.as_str()), (None, "dummy"));
    /// # Ok::<(), ganger_pickle::PickleError>(())
    /// ```
    ///
    /// # Errors
    /// As [`read`]; [`PickleError::NotARequest`] for a pickle of something else.
    pub fn read(message: Bytes, limits: &Limits) -> Result<Self, PickleError> {
        let graph = read(message, limits)?;
        let found = |what, id| PickleError::NotARequest { what, found: graph.node(id).kind() };
        let Some(&[ident, method, arguments, keywords]) = graph.tuple(graph.root()) else {
            return Err(found("it", graph.root()));
        };
        let ident = match graph.node(ident) {
            Node::None => None,
            _ => Some(graph.text(ident).ok_or_else(|| found("the ident", ident))?.to_owned()),
        };
        let method = graph.text(method).ok_or_else(|| found("the method", method))?.to_owned();
        let (Node::Tuple(items) | Node::List(items)) = graph.node(arguments) else {
            return Err(found("what should be the arguments", arguments));
        };
        let items = items.clone();
        let Node::Dict(entries) = graph.node(keywords) else {
            return Err(found("what should be the keywords", keywords));
        };
        let (entries, _) = entries.as_chunks::<2>();
        let keyword = |&[name, value]: &[NodeId; 2]| match graph.text(name) {
            Some(name) => Ok((name.to_owned(), value)),
            None => Err(found("the name of a keyword", name)),
        };
        let keywords = entries.iter().map(keyword).collect::<Result<_, _>>()?;
        Ok(Self { ident, method, arguments: items, keywords, graph })
    }
}
