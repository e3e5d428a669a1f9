//! The broker's side: `SharedObject` for the type.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::ext::IdentExt;

use crate::interface::{Interface, Make, Method};
use crate::signature::{Answer, Argument, Takes};

pub(crate) fn write(interface: &Interface) -> TokenStream {
    let Interface { typeid, object, .. } = interface;
    let (make, methods) = (make(&interface.make), &interface.methods);
    let (rows, arms) = (methods.iter().map(row), methods.iter().map(arm));
    let unknown = format!("{} has no method {{}}", typeid.value());
    // With names of its own: an argument of the program's may be called as one of these.
    quote_spanned! {Span::mixed_site()=>
        #[automatically_derived]
        impl ::ganger_shared::object::custom::SharedObject for #object {
            const TYPEID: &'static str = #typeid;
            const METHODS: &'static [::ganger_shared::object::Method] = &[#(#rows),*];

            fn make(
                arguments: &mut ::ganger_shared::object::custom::Arguments,
            ) -> ::core::result::Result<Self, ::ganger_shared::CallError> {
                #make
            }

            fn call(
                &mut self,
                method: &str,
                arguments: &mut ::ganger_shared::object::custom::Arguments,
            ) -> ::core::result::Result<::ganger_shared::Value, ::ganger_shared::CallError> {
                match method {
                    #(#arms)*
                    other => ::core::result::Result::Err(::ganger_shared::CallError::Type(
                        ::std::format!(#unknown, other),
                    )),
                }
            }
        }
    }
}

fn make(make: &Make) -> TokenStream {
    let at = Span::mixed_site();
    match make {
        Make::Default => quote_spanned! {at=>
            arguments.end()?;
            ::core::result::Result::Ok(<Self as ::core::default::Default>::default())
        },
        Make::With { function, arguments, answer } => {
            let (taken, names) = (taken(arguments), arguments.iter().map(|one| &one.name));
            let made = quote_spanned!(at=> Self::#function(#(#names),*));
            match answer {
                Answer::Plain { .. } => {
                    quote_spanned!(at=> #taken ::core::result::Result::Ok(#made))
                }
                Answer::Outcome { .. } => quote_spanned! {at=>
                    #taken
                    #made.map_err(|error| ::ganger_shared::object::custom::failed(&error))
                },
            }
        }
    }
}

/// The method's row in the table.
fn row(method: &Method) -> TokenStream {
    let Method { conditions, function, cost, .. } = method;
    let (name, takes) = (function.unraw().to_string(), takes(method));
    let one = |one: &Argument| format!("{}: {}", one.name.unraw(), one.text);
    let args = method.arguments.iter().map(one).collect::<Vec<_>>().join(", ");
    let returns = method.answer.text();
    quote! {
        #(#conditions)*
        ::ganger_shared::object::Method {
            name: #name,
            args: #args,
            returns: #returns,
            takes: #takes,
            cost: #cost,
        }
    }
}

pub(crate) fn takes(method: &Method) -> TokenStream {
    match method.takes {
        Takes::Nothing => quote!(::ganger_shared::object::Takes::Nothing),
        Takes::Room => quote!(::ganger_shared::object::Takes::Room),
    }
}

/// What carries the method out.
fn arm(method: &Method) -> TokenStream {
    let Method { conditions, function, arguments, answer, .. } = method;
    let name = function.unraw().to_string();
    let (taken, names) = (taken(arguments), arguments.iter().map(|one| &one.name));
    let at = Span::mixed_site();
    let result = quote_spanned!(at=> self.#function(#(#names),*));
    let returned = match answer {
        Answer::Plain { kind, .. } => {
            let at = at.located_at(span_of(kind));
            quote_spanned!(at=> ::ganger_shared::object::custom::returned::<#kind>(&#result))
        }
        Answer::Outcome { kind, error, .. } => {
            let (good_at, bad_at) = (at.located_at(span_of(kind)), at.located_at(span_of(error)));
            let good = quote_spanned! {good_at=>
                ::ganger_shared::object::custom::returned::<#kind>(&result)
            };
            let bad = quote_spanned! {bad_at=>
                ::ganger_shared::object::custom::failed::<#error>(&error)
            };
            quote_spanned! {at=>
                match #result {
                    ::core::result::Result::Ok(result) => #good,
                    ::core::result::Result::Err(error) => ::core::result::Result::Err(#bad),
                }
            }
        }
    };
    quote! {
        #(#conditions)*
        #name => { #taken #returned }
    }
}

/// Takes the arguments of a call, which then go by their names; a type that cannot be one is told where
/// it stands.
fn taken(arguments: &[Argument]) -> TokenStream {
    let all = arguments.iter().map(|Argument { name, kind, span, .. }| {
        let said = name.unraw().to_string();
        let at = Span::mixed_site().located_at(*span);
        quote_spanned!(at=> let #name = arguments.next::<#kind>(#said)?;)
    });
    quote_spanned! {Span::mixed_site()=>
        #(#all)*
        arguments.end()?;
    }
}

/// Where a type stands.
pub(crate) fn span_of(kind: &TokenStream) -> Span {
    kind.clone().into_iter().next().map_or_else(Span::call_site, |first| first.span())
}
