//! Every input of the corpus: no promise is broken, and little memory is taken.

use std::fs;
use std::path::{Path, PathBuf};

use ganger_fuzz::{TARGETS, Target};

use crate::cost::cost;

/// The inputs of a target.
pub(crate) fn inputs(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let mut paths: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

fn replay(target: Target) {
    let inputs = inputs(target.name);
    assert!(inputs.len() > 20, "the corpus of {} is not there", target.name);
    for (path, bytes) in inputs {
        let ran = std::panic::catch_unwind(|| (target.run)(&bytes));
        assert!(ran.is_ok(), "{}", path.display());
        let cost = cost(target, &bytes);
        let most = (target.memory_max)(cost.read);
        assert!(
            cost.peak <= most,
            "{}: {} bytes of memory for {} bytes, at most {most}",
            path.display(),
            cost.peak,
            cost.read
        );
    }
}

#[test]
fn wire_bears_its_corpus() {
    replay(ganger_fuzz::wire::TARGET);
}

#[test]
fn handshake_bears_its_corpus() {
    replay(ganger_fuzz::handshake::TARGET);
}

#[test]
fn journal_bears_its_corpus() {
    replay(ganger_fuzz::journal::TARGET);
}

#[test]
fn config_bears_its_corpus() {
    replay(ganger_fuzz::config::TARGET);
}

#[test]
fn pickle_bears_its_corpus() {
    replay(ganger_fuzz::pickle::TARGET);
}

#[test]
fn every_target_has_a_corpus_and_a_binary() {
    for target in TARGETS {
        let binary = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bin").join(target.name);
        assert!(binary.with_extension("rs").exists() && !inputs(target.name).is_empty());
    }
}
