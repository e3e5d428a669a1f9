//! Faults that were found, all of which are told at once.

use proc_macro2::Span;
use quote::ToTokens;

/// None yet, or some.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    found: Option<syn::Error>,
}

impl Faults {
    /// One more, at these tokens.
    pub(crate) fn at(&mut self, tokens: impl ToTokens, message: impl core::fmt::Display) {
        self.add(syn::Error::new_spanned(tokens, message));
    }

    /// One more, at the attribute itself: what is missing is nowhere.
    pub(crate) fn missing(&mut self, message: impl core::fmt::Display) {
        self.add(syn::Error::new(Span::call_site(), message));
    }

    pub(crate) fn add(&mut self, fault: syn::Error) {
        match &mut self.found {
            Some(found) => found.combine(fault),
            None => self.found = Some(fault),
        }
    }

    /// What was read, if nothing is wrong with it.
    pub(crate) fn unless<T>(self, read: Option<T>) -> syn::Result<T> {
        match (self.found, read) {
            (Some(found), _) => Err(found),
            (None, Some(read)) => Ok(read),
            (None, None) => Err(syn::Error::new(Span::call_site(), "there is no interface")),
        }
    }
}
