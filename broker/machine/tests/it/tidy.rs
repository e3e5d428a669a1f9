//! The house rules that no compiler knows: who imports whom, and who may name the runtime.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Which of our packages a package may use. `examples` and `bench` may use anything.
const MAY_USE: [(&str, &[&str]); 6] = [
    ("shared", &[]),
    ("shared/rt", &[]),
    ("broker/machine", &["shared"]),
    ("worker", &["shared", "rt"]),
    ("broker", &["machine", "shared", "rt"]),
    ("cli", &["worker", "broker", "shared", "rt"]),
];

/// What packages that are pure must not use.
const IMPURE: [&str; 6] = ["log", "async-channel", "async-std", "async-io", "rustix", "getrandom"];

/// The one file that names the runtime underneath the facade.
const NAMES_THE_RUNTIME: &str = "shared/rt/src/base.rs";

/// A file that passes 600 lines should be asked what it hides; none passes this many.
const LINES_MAX: usize = 700;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// The names below `[dependencies]` of a package's manifest.
fn dependencies(package: &str) -> Vec<String> {
    let manifest = std::fs::read_to_string(root().join(package).join("Cargo.toml")).unwrap();
    let (_, section) = manifest.split_once("\n[dependencies]\n").unwrap();
    let lines = section.lines().take_while(|line| !line.starts_with('['));
    let names = lines.filter_map(|line| line.split(['.', ' ', '=']).next());
    names.filter(|name| !name.is_empty() && *name != "#").map(str::to_owned).collect()
}

/// The sources of the workspace's packages, by their path from the root.
fn sources() -> BTreeMap<String, String> {
    let root = root();
    let mut sources = BTreeMap::new();
    let packages = ["shared", "broker", "worker", "cli", "bench", "examples"];
    let mut folders: Vec<PathBuf> = packages.iter().map(|package| root.join(package)).collect();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                sources.insert(name, std::fs::read_to_string(path).unwrap());
            }
        }
    }
    sources
}

#[test]
fn packages_use_only_those_below_them() {
    for (package, allowed) in MAY_USE {
        for dependency in dependencies(package) {
            if let Some(ours) = dependency.strip_prefix("ganger-") {
                assert!(allowed.contains(&ours), "{package} must not use {dependency}");
            }
        }
    }
}

#[test]
fn the_machine_reaches_nothing_outside() {
    for dependency in dependencies("broker/machine") {
        assert!(!IMPURE.contains(&dependency.as_str()), "the machine must not use {dependency}");
    }
}

#[test]
fn one_file_names_the_runtime() {
    let this = "broker/machine/tests/it/tidy.rs";
    let name = concat!("async", "_std");
    let named = sources().into_iter().filter(|(_, text)| text.contains(name));
    let files: Vec<String> = named.map(|(file, _)| file).filter(|file| file != this).collect();
    assert_eq!(files, [NAMES_THE_RUNTIME]);
}

#[test]
fn no_file_has_everything_meet_in_it() {
    for (file, text) in sources() {
        let lines = text.lines().count();
        assert!(lines <= LINES_MAX, "{file} has {lines} lines: what does it hide?");
    }
}
