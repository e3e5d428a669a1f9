//! What the broker reads from strangers and from disks, on arbitrary bytes.
//!
//! Not the fuzzer: a target is a function that panics where a promise is broken, and anything may
//! call it. `broker/fuzz/run` has libFuzzer make up the bytes; the test beside this replays what it
//! has found so far (`broker/fuzz/corpus`) and measures what each input costs.

pub mod config;
pub mod handshake;
pub mod journal;
pub mod pickle;
pub mod script;
pub mod wire;

/// Something that must bear any bytes.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its folder in the corpus, and its binary.
    pub name: &'static str,
    /// Panics where a promise is broken.
    pub run: fn(&[u8]),
    /// Has the code under test read the bytes, within the measure and nothing else in there. Returns
    /// how many bytes it was given.
    pub read: fn(&[u8], &mut Measure<'_>) -> usize,
    /// Bytes of memory at most for so many bytes of input.
    pub memory_max: fn(usize) -> usize,
}

/// Runs what it is given, and measures it.
pub type Measure<'a> = dyn FnMut(&mut dyn FnMut()) + 'a;

/// All of them.
pub const TARGETS: [Target; 5] =
    [wire::TARGET, handshake::TARGET, journal::TARGET, config::TARGET, pickle::TARGET];

/// Runs one target on the files that the command line names: what a binary does that is built
/// without the fuzzer.
///
/// # Panics
///
/// Where a promise is broken, and for a file that cannot be read.
pub fn replay(target: fn(&[u8])) {
    for path in std::env::args_os().skip(1) {
        let bytes = std::fs::read(&path);
        target(&bytes.unwrap_or_else(|error| panic!("{}: {error}", path.display())));
    }
}
