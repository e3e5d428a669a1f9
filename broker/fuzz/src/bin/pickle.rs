//! The target of this name: under the fuzzer, or on the files that the command line names.

#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ganger_fuzz::pickle::target(bytes));

#[cfg(not(fuzzing))]
fn main() {
    ganger_fuzz::replay(ganger_fuzz::pickle::target);
}
