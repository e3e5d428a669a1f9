//! What an `impl` block says of its type: the typeid, how one is made, the methods.
//!
//! Not how a signature is read, which is `signature`'s.

use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens, format_ident};
use syn::{Attribute, ImplItem, ImplItemFn, ItemImpl, LitStr, Type, Visibility, parse_quote};

use crate::faults::Faults;
use crate::options;
use crate::signature::{self, Answer, Argument, Takes};

/// What the generated code is written from.
pub(crate) struct Interface {
    pub(crate) typeid: LitStr,
    pub(crate) object: Type,
    /// The last word of the type's path.
    pub(crate) name: Ident,
    pub(crate) proxy: Ident,
    pub(crate) make: Make,
    pub(crate) methods: Vec<Method>,
}

/// How one is made.
#[derive(Debug)]
pub(crate) enum Make {
    Default,
    With { function: Ident, arguments: Vec<Argument>, answer: Answer },
}

/// What can be called.
pub(crate) struct Method {
    pub(crate) docs: Vec<Attribute>,
    pub(crate) conditions: Vec<Attribute>,
    pub(crate) function: Ident,
    pub(crate) takes: Takes,
    pub(crate) arguments: Vec<Argument>,
    pub(crate) answer: Answer,
    pub(crate) cost: String,
}

/// Where nobody has said it. The broker looks at the whole state after a call that may change it.
const COST_UNSAID: &str = "not stated";

/// Names that every proxy has for itself.
const PROXYS_OWN: [&str; 4] = ["clone", "new", "object", "over"];

/// What was read.
pub(crate) struct Read {
    /// The block without our marks in it, also where there are faults: so that these are all the compiler
    /// complains about.
    pub(crate) kept: TokenStream,
    pub(crate) interface: syn::Result<Interface>,
}

impl Interface {
    pub(crate) fn read(options: TokenStream, block: TokenStream) -> Read {
        let mut faults = Faults::default();
        let typeid = options::typeid(options, &mut faults);
        let mut block: ItemImpl = match syn::parse2(block.clone()) {
            Ok(block) => block,
            Err(_) => {
                let first = block.clone().into_iter().next();
                faults.at(first, "#[object] goes on an `impl` block, that of the type's methods");
                return Read { kept: block, interface: faults.unless(None) };
            }
        };
        let name = subject(&block, &mut faults);
        let mut functions = Functions { make: None, new: None, methods: Vec::new() };
        let meaning = block.self_ty.to_token_stream();
        for item in &mut block.items {
            if let ImplItem::Fn(function) = item {
                functions.take(function, &meaning, &mut faults);
            }
        }
        let Functions { make, new, methods } = functions;
        if methods.is_empty() && block.trait_.is_none() {
            let nothing =
                "nothing could be called: there is no `pub fn` with `&self` or `&mut self`";
            faults.at(&block.self_ty, nothing);
        }
        let make = make.or(new).map_or(Make::Default, |constructor| {
            let sig = &constructor.sig;
            let (arguments, answer) = signature::read(sig, &meaning, &mut faults);
            if matches!(&answer, Answer::Plain { text, .. } if text == "()") {
                faults.at(sig, "it is to make one: return `Self`, or `Result<Self, E>`");
            }
            Make::With { function: sig.ident.clone(), arguments, answer }
        });
        let read = typeid.zip(name).map(|(typeid, name)| Self {
            typeid,
            object: (*block.self_ty).clone(),
            proxy: format_ident!("{name}Proxy"),
            name,
            make,
            methods,
        });
        block.attrs.push(parse_quote! {
            #[allow(unreachable_pub, reason = "`pub` says what can be called, also of a type that is not")]
        });
        Read { kept: block.into_token_stream(), interface: faults.unless(read) }
    }
}

/// The name of the type that the block is about.
fn subject(block: &ItemImpl, faults: &mut Faults) -> Option<Ident> {
    if let Some((of, _)) = &block.trait_ {
        faults.at(of, "#[object] goes on the type's own methods, not on those of a trait");
    }
    if !block.generics.params.is_empty() {
        let one = "an object type has no parameters: its typeid stands for one type";
        faults.at(&block.generics, one);
        return None;
    }
    let path = match &*block.self_ty {
        Type::Path(path) if path.qself.is_none() => &path.path,
        other => {
            faults
                .at(other, "an object type has a name of its own: make a struct or an enum of it");
            return None;
        }
    };
    path.segments.last().map(|last| last.ident.clone())
}

/// Those of the block that matter.
struct Functions {
    /// The one that is marked.
    make: Option<ImplItemFn>,
    new: Option<ImplItemFn>,
    methods: Vec<Method>,
}

impl Functions {
    fn take(&mut self, function: &mut ImplItemFn, meaning: &TokenStream, faults: &mut Faults) {
        let (makes, cost) = marks(function, faults);
        let is_public = matches!(function.vis, Visibility::Public(_));
        let has_self = function.sig.receiver().is_some();
        if let Some(mark) = makes {
            if has_self {
                faults.at(mark, "what makes an object has no `self`");
            } else if self.make.is_some() {
                faults.at(mark, "there is one way to make an object, and another one is marked");
            } else {
                self.make = Some(function.clone());
            }
        } else if !has_self && is_public && function.sig.ident == "new" {
            self.new = Some(function.clone());
        }
        if has_self && is_public {
            self.methods.extend(method(function, cost.map(|(_, cost)| cost), meaning, faults));
        } else if let Some((mark, _)) = cost {
            faults.at(mark, "only methods have a cost: `pub fn` with `&self` or `&mut self`");
        }
    }
}

fn method(
    function: &ImplItemFn,
    cost: Option<String>,
    meaning: &TokenStream,
    faults: &mut Faults,
) -> Option<Method> {
    let sig = &function.sig;
    let named = sig.ident.to_string();
    if PROXYS_OWN.contains(&named.as_str()) {
        let own =
            format!("proxies have a function `{named}` of their own; name this one differently");
        faults.at(&sig.ident, own);
    }
    let takes = signature::takes(sig, faults);
    let (arguments, answer) = signature::read(sig, meaning, faults);
    let of = |name| move |attribute: &&Attribute| attribute.path().is_ident(name);
    Some(Method {
        docs: function.attrs.iter().filter(of("doc")).cloned().collect(),
        conditions: function.attrs.iter().filter(of("cfg")).cloned().collect(),
        function: sig.ident.clone(),
        takes: takes?,
        arguments,
        answer,
        cost: cost.unwrap_or_else(|| COST_UNSAID.to_owned()),
    })
}

/// Takes our marks off: `#[make]`, and `#[cost("…")]` with what it says.
fn marks(
    function: &mut ImplItemFn,
    faults: &mut Faults,
) -> (Option<Attribute>, Option<(Attribute, String)>) {
    let (mut makes, mut cost) = (None, None);
    function.attrs.retain(|attribute| {
        if attribute.path().is_ident("make") {
            if let Err(error) = attribute.meta.require_path_only() {
                faults.add(error);
            }
            makes = Some(attribute.clone());
        } else if attribute.path().is_ident("cost") {
            match attribute.parse_args::<LitStr>() {
                Ok(text) => cost = Some((attribute.clone(), text.value())),
                Err(_) => faults.at(attribute, "a cost is a text, as in #[cost(\"O(n)\")]"),
            }
        } else {
            return true;
        }
        false
    });
    (makes, cost)
}
