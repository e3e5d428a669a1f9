//! Types as text, which is what client and broker compare: the same however it was formatted.

use proc_macro2::{Delimiter, Ident, Spacing, TokenStream, TokenTree};
use quote::ToTokens;

/// A type in the formatter's way of writing it.
pub(crate) fn text(tokens: impl ToTokens) -> String {
    let mut atoms = Vec::new();
    split(tokens.to_token_stream(), &mut atoms);
    let mut text = String::new();
    let mut last = "";
    for (at, atom) in atoms.iter().enumerate() {
        let is_idle = *atom == "," && closes(atoms.get(at + 1)) && !is_single(&atoms[..at]);
        if is_idle {
            continue;
        }
        if parted(last, atom) {
            text.push(' ');
        }
        text += atom;
        last = atom;
    }
    text
}

/// `Self` and whatever it means, in a type that is written outside of its `impl` block.
pub(crate) fn without_self(tokens: TokenStream, meaning: &TokenStream) -> TokenStream {
    let replaced = tokens.into_iter().map(|token| match token {
        TokenTree::Ident(ident) if is_self(&ident) => meaning.clone(),
        TokenTree::Group(group) => {
            let inner = without_self(group.stream(), meaning);
            let mut replaced = proc_macro2::Group::new(group.delimiter(), inner);
            replaced.set_span(group.span());
            TokenTree::from(replaced).into()
        }
        other => other.into(),
    });
    replaced.collect()
}

fn is_self(ident: &Ident) -> bool {
    ident == "Self"
}

/// Words, and signs that belong together.
fn split(tokens: TokenStream, atoms: &mut Vec<String>) {
    let mut joined = String::new();
    for token in tokens {
        match token {
            TokenTree::Punct(sign) => {
                joined.push(sign.as_char());
                // A lifetime is a sign that its name follows; `>>` closes twice.
                let pair = matches!(joined.as_str(), ":" | "-" | "'" | "=" | ".");
                if !(pair && sign.spacing() == Spacing::Joint) {
                    atoms.push(core::mem::take(&mut joined));
                }
            }
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::Brace => ("{", "}"),
                    // What another macro has passed on.
                    Delimiter::None => ("", ""),
                };
                atoms.extend(Some(open.to_owned()).filter(|open| !open.is_empty()));
                split(group.stream(), atoms);
                atoms.extend(Some(close.to_owned()).filter(|close| !close.is_empty()));
            }
            TokenTree::Ident(_) | TokenTree::Literal(_) => {
                atoms.push(core::mem::take(&mut joined) + &token.to_string());
            }
        }
    }
}

fn closes(atom: Option<&String>) -> bool {
    atom.is_some_and(|atom| matches!(atom.as_str(), ")" | "]" | ">"))
}

/// Whether a comma behind these is that of a tuple of one.
fn is_single(before: &[String]) -> bool {
    let mut depth = 0_u32;
    for atom in before.iter().rev() {
        match atom.as_str() {
            ")" | "]" | ">" => depth += 1,
            "(" if depth == 0 => return true,
            "," | "<" | "[" if depth == 0 => return false,
            "(" | "[" | "<" => depth -= 1,
            _ => {}
        }
    }
    false
}

/// Whether there is a space between two of them.
fn parted(last: &str, next: &str) -> bool {
    let is_word =
        |atom: &str| atom.starts_with(|c: char| c.is_alphanumeric() || "_'\"".contains(c));
    let is_spaced = |atom: &str| matches!(atom, "->" | "+" | "=" | "-" | "*" | "/") && last != "<";
    match (last, next) {
        ("", _) | (_, ")" | "]" | ">") => false,
        ("," | ";" | ":", _) => true,
        (_, next) if is_spaced(next) => true,
        (last, _) if is_spaced(last) => last != "*",
        (">", next) => is_word(next),
        (last, next) => is_word(last) && is_word(next),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normal(source: &str) -> String {
        text(source.parse::<TokenStream>().expect("the source is tokens"))
    }

    #[test]
    fn types_come_out_as_the_formatter_writes_them() {
        for source in [
            "u32",
            "()",
            "(u8,)",
            "(BTreeMap<K, V>,)",
            "Vec<(String, u32)>",
            "Option<BTreeMap<String, Vec<u8>>>",
            "[u8; 32]",
            "std::collections::BTreeMap<u8, ()>",
            "Result<u32, SoldOut>",
            "Cow<'static, str>",
            "PhantomData<fn(u8) -> Vec<u8>>",
            "<Vec<u8> as Trait>::Item",
            "Box<dyn Trait + Send>",
        ] {
            assert_eq!(normal(source), source);
        }
    }

    #[test]
    fn spaces_and_last_commas_make_no_difference() {
        for (source, expected) in [
            ("Vec < ( String ,u32, ) >", "Vec<(String, u32)>"),
            ("BTreeMap<\n    String,\n    Vec<u8>,\n>", "BTreeMap<String, Vec<u8>>"),
            ("std :: string::String", "std::string::String"),
            ("( u8 , )", "(u8,)"),
            ("[u8;4]", "[u8; 4]"),
        ] {
            assert_eq!(normal(source), expected);
        }
    }

    #[test]
    fn self_is_replaced_at_any_depth() {
        let tokens = "Vec<(Self, [Self; 2])>".parse().expect("tokens");
        let meaning = "Shop".parse().expect("tokens");
        assert_eq!(text(without_self(tokens, &meaning)), "Vec<(Shop, [Shop; 2])>");
    }
}
