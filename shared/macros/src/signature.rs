//! Reading a signature: what a call takes, the arguments, the answer, and what cannot be called from afar.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::ToTokens;
use syn::spanned::Spanned;
use syn::{
    FnArg, GenericArgument, Pat, PatIdent, PathArguments, ReceiverKind, ReturnType, Safety,
    Signature, Type,
};

use crate::faults::Faults;
use crate::text::{text, without_self};

/// Whether a call may change the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takes {
    Nothing,
    Room,
}

/// One argument.
#[derive(Debug)]
pub(crate) struct Argument {
    pub(crate) name: Ident,
    /// Without `Self`.
    pub(crate) kind: TokenStream,
    pub(crate) span: Span,
    pub(crate) text: String,
}

/// What comes back.
#[derive(Debug)]
pub(crate) enum Answer {
    Plain {
        kind: TokenStream,
        text: String,
    },
    /// The program's own error is told from all others.
    Outcome {
        kind: TokenStream,
        error: TokenStream,
        text: String,
    },
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Plain { text, .. } | Self::Outcome { text, .. } => text,
        }
    }
}

/// By the receiver, which there is.
pub(crate) fn takes(sig: &Signature, faults: &mut Faults) -> Option<Takes> {
    let receiver = sig.receiver()?;
    match &receiver.kind {
        ReceiverKind::Reference(_, _, None) => return Some(Takes::Nothing),
        ReceiverKind::Reference(_, _, Some(_)) => return Some(Takes::Room),
        ReceiverKind::Value => {
            let shared = "the object is shared and stays where it is: take `&self` or `&mut self`";
            faults.at(receiver, shared);
        }
        _ => faults.at(receiver, "write `&self` or `&mut self`"),
    }
    None
}

/// The arguments and the answer.
pub(crate) fn read(
    sig: &Signature,
    meaning: &TokenStream,
    faults: &mut Faults,
) -> (Vec<Argument>, Answer) {
    if let Some(asyncness) = &sig.asyncness {
        let one_step = "a broker carries a call out in one step: there is nothing to await";
        faults.at(asyncness, one_step);
    }
    if !matches!(sig.safety, Safety::Default) {
        faults.at(&sig.safety, "whoever has the key can call it: it cannot be unsafe");
    }
    if !sig.generics.params.is_empty() {
        let one =
            "calls come as bytes, so that types are chosen here: name them, without parameters";
        faults.at(&sig.generics, one);
    }
    let arguments = sig.inputs.iter().filter_map(|input| match input {
        FnArg::Receiver(_) => None,
        FnArg::Typed(typed) => {
            let name = match &*typed.pat {
                Pat::Ident(PatIdent { by_ref: None, subpat: None, ident, .. }) => Some(ident),
                pattern => {
                    faults.at(pattern, "an argument has a name here; take it apart in the body");
                    None
                }
            };
            check(&typed.ty, "an argument", faults);
            let kind = without_self(typed.ty.to_token_stream(), meaning);
            let (text, span) = (text(&kind), typed.ty.span());
            name.map(|name| Argument { name: name.clone(), kind, span, text })
        }
    });
    (arguments.collect(), answer(&sig.output, meaning, faults))
}

fn answer(output: &ReturnType, meaning: &TokenStream, faults: &mut Faults) -> Answer {
    let kind = match output {
        ReturnType::Default => return Answer::Plain { kind: quote::quote!(()), text: "()".into() },
        ReturnType::Type(_, kind) => kind,
    };
    check(kind, "a result", faults);
    let whole = without_self(kind.to_token_stream(), meaning);
    let text = text(&whole);
    match outcome(kind) {
        None => Answer::Plain { kind: whole, text },
        Some(Some([kind, error])) => {
            let outside = |kind: &Type| without_self(kind.to_token_stream(), meaning);
            Answer::Outcome { kind: outside(kind), error: outside(error), text }
        }
        Some(None) => {
            let both = "callers get the error as it was: write both types, `Result<T, E>`";
            faults.at(kind, both);
            Answer::Plain { kind: whole, text }
        }
    }
}

/// For a type that is called `Result` its two parameters, if it has two.
fn outcome(kind: &Type) -> Option<Option<[&Type; 2]>> {
    let Type::Path(path) = bare(kind) else { return None };
    let last = path.path.segments.last().filter(|last| last.ident == "Result")?;
    let PathArguments::AngleBracketed(given) = &last.arguments else { return Some(None) };
    let mut types = given.args.iter().map(|argument| match argument {
        GenericArgument::Type(kind) => Some(kind),
        _ => None,
    });
    match (types.next(), types.next(), types.next()) {
        (Some(Some(good)), Some(Some(error)), None) => Some(Some([good, error])),
        _ => Some(None),
    }
}

/// Without what parentheses and macros put around it.
fn bare(kind: &Type) -> &Type {
    match kind {
        Type::Group(group) => bare(&group.elem),
        Type::Paren(paren) => bare(&paren.elem),
        other => other,
    }
}

/// Says where a type cannot travel.
fn check(kind: &Type, what: &str, faults: &mut Faults) {
    match bare(kind) {
        Type::Reference(reference) => {
            let owned = match bare(&reference.elem) {
                Type::Path(path) if path.path.is_ident("str") => "String".to_owned(),
                Type::Slice(slice) => format!("Vec<{}>", text(&slice.elem)),
                other => text(other),
            };
            faults.at(kind, format!("{what} travels, so it cannot be borrowed: take `{owned}`"));
        }
        Type::ImplTrait(_) => {
            faults.at(kind, format!("{what} travels, so both ends have to know its type: name it"));
        }
        other => {
            if let Some(token) = first(
                other.to_token_stream(),
                &|token| matches!(token, TokenTree::Punct(sign) if sign.as_char() == '&'),
            ) {
                faults.at(token, format!("{what} travels, so nothing in it can be borrowed"));
            } else if let Some(token) = first(
                other.to_token_stream(),
                &|token| matches!(token, TokenTree::Ident(word) if word == "impl"),
            ) {
                faults.at(token, format!("{what} travels, so both ends have to know its type"));
            }
        }
    }
}

/// The first token of this kind at any depth.
fn first(tokens: TokenStream, is: &dyn Fn(&TokenTree) -> bool) -> Option<TokenTree> {
    tokens.into_iter().find_map(|token| match token {
        TokenTree::Group(group) => first(group.stream(), is),
        token => is(&token).then_some(token),
    })
}
