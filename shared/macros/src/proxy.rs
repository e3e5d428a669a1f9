//! The client's side: a proxy with the same methods.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::ext::IdentExt;

use crate::interface::{Interface, Method};
use crate::served::takes;
use crate::signature::Answer;

pub(crate) fn write(interface: &Interface) -> TokenStream {
    let Interface { object, name, proxy, methods, .. } = interface;
    let about = format!("Calls one [`{name}`] at a broker.");
    let methods = methods.iter().map(method);
    quote_spanned! {Span::mixed_site()=>
        #[doc = #about]
        #[derive(::core::clone::Clone, ::core::fmt::Debug)]
        #[allow(
            unreachable_pub,
            rustdoc::private_intra_doc_links,
            reason = "nothing here says who may see the type"
        )]
        pub struct #proxy<C> {
            object: C,
        }

        #[allow(
            dead_code,
            private_interfaces,
            unreachable_pub,
            clippy::len_without_is_empty,
            rustdoc::private_intra_doc_links,
            reason = "the methods are those of the type, whoever may see it and calls them"
        )]
        impl<C: ::ganger_shared::object::proxy::Caller> #proxy<C> {
            /// The proxy of the object that `object` leads to.
            #[must_use]
            pub const fn new(object: C) -> Self {
                Self { object }
            }

            /// The way to the object.
            #[must_use]
            pub const fn object(&self) -> &C {
                &self.object
            }

            #(#methods)*
        }

        #[automatically_derived]
        impl<C: ::ganger_shared::object::proxy::Caller>
            ::ganger_shared::object::proxy::ObjectProxy<C> for #proxy<C>
        {
            const TYPEID: &'static str =
                <#object as ::ganger_shared::object::custom::SharedObject>::TYPEID;
            const METHODS: &'static [::ganger_shared::object::Method] =
                <#object as ::ganger_shared::object::custom::SharedObject>::METHODS;

            fn over(object: C) -> Self {
                Self::new(object)
            }
        }
    }
}

fn method(method: &Method) -> TokenStream {
    let Method { conditions, function, arguments, answer, .. } = method;
    let (docs, takes, called) = (docs(method), takes(method), function.unraw().to_string());
    let (names, kinds): (Vec<_>, Vec<_>) =
        arguments.iter().map(|one| (&one.name, &one.kind)).unzip();
    let at = Span::mixed_site();
    let pushed = arguments.iter().map(|one| {
        let (name, at) = (&one.name, at.located_at(one.span));
        quote_spanned!(at=> arguments.push(&#name)?;)
    });
    let arguments = quote_spanned! {at=>
        let mut arguments = ::ganger_shared::object::proxy::Arguments::default();
        #(#pushed)*
        let arguments = arguments.finish();
    };
    let arguments = if names.is_empty() {
        quote_spanned! {at=>
            let arguments = ::ganger_shared::object::proxy::Arguments::default().finish();
        }
    } else {
        arguments
    };
    let (kind, answer) = match answer {
        Answer::Plain { kind, .. } => (
            quote!(#kind),
            quote_spanned! {at=>
                ::core::result::Result::Ok(::ganger_shared::object::proxy::answer(&answered?)?)
            },
        ),
        Answer::Outcome { kind, error, .. } => (
            quote!(::core::result::Result<#kind, #error>),
            quote_spanned!(at=> ::ganger_shared::object::proxy::outcome(answered)),
        ),
    };
    quote_spanned! {at=>
        #(#conditions)*
        #docs
        pub async fn #function(
            &self,
            #(#names: #kinds),*
        ) -> ::core::result::Result<#kind, C::Error> {
            #arguments
            let call = ::ganger_shared::object::proxy::Invocation::new(#called, #takes, arguments);
            let answered = self.object.call(call).await;
            #answer
        }
    }
}

/// Those of the method, and what a call may come to beside.
fn docs(method: &Method) -> TokenStream {
    let Method { docs, function, .. } = method;
    let unsaid = docs.is_empty().then(|| format!("Calls `{}`.", function.unraw()));
    let unsaid = unsaid.iter();
    let said = quote!(#(#docs)*).to_string();
    let errors = (!said.contains("# Errors")).then_some("\n# Errors\nThe caller's.");
    let errors = errors.iter();
    quote!(#(#docs)* #(#[doc = #unsaid])* #(#[doc = #errors])*)
}
