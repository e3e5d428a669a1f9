//! `#[object]`: from an ordinary `impl` block, what a broker has to know of its type and what a client calls.
//!
//! Not for use by itself: programs have it as `ganger_shared::object`, beside the traits that are implemented.
//!
//! `interface` reads the block and finds every fault in it; `served` and `proxy` write what comes of an
//! interface without one.

mod faults;
mod interface;
mod options;
mod proxy;
mod served;
mod signature;
mod text;

use proc_macro::TokenStream;
use quote::quote;

use crate::interface::Interface;

/// What it writes names everything from `::ganger_shared`, where its documentation is too: a program that
/// uses it depends on that package, by that name.
#[proc_macro_attribute]
pub fn object(options: TokenStream, block: TokenStream) -> TokenStream {
    let read = Interface::read(options.into(), block.into());
    let (kept, made) = (
        read.kept,
        read.interface.map(|interface| {
            let (served, proxy) = (served::write(&interface), proxy::write(&interface));
            quote! { #served #proxy }
        }),
    );
    let made = made.unwrap_or_else(|faults| faults.to_compile_error());
    quote! { #kept #made }.into()
}
