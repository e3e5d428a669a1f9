//! Rules of the whole workspace that no compiler checks: who imports whom, where the runtime is
//! named, how long a file may get.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Who may depend on whom, outside its tests. What is left out depends on nothing of ours, or is
/// among [`FREE`].
const MAY_USE: [(&str, &[&str]); 10] = [
    ("ganger-rt", &["async-std", "ganger-shared"]),
    ("ganger-machine", &["ganger-shared"]),
    ("ganger-pickle", &["ganger-shared"]),
    ("ganger-worker", &["ganger-shared", "ganger-rt"]),
    ("ganger-broker", &["ganger-machine", "ganger-pickle", "ganger-shared", "ganger-rt"]),
    ("ganger-cli", &["ganger-worker", "ganger-broker", "ganger-shared", "ganger-rt"]),
    ("ganger-history", &["ganger-shared"]),
    ("ganger-shared", &["ganger-macros"]),
    ("ganger-macros", &[]),
    ("ganger-chance", &[]),
];

/// They may use anything of ours.
const FREE: [&str; 4] = ["ganger-bench", "ganger-examples", "ganger-fuzz", "ganger-guard"];

/// All that the machine links: nothing that has a clock, a socket, a file, a log or chance.
const MACHINE_USES: [&str; 6] =
    ["bytes", "ganger-shared", "serde", "slab", "smallvec", "thiserror"];

/// The one file that names the runtime.
const RUNTIME_FILE: &str = "shared/rt/src/base.rs";

/// Lines of a source file before it has to say here why it is one file.
const LINES_MAX: usize = 700;

/// Longer files, each with its reason.
const LONG_FILES: [(&str, &str); 0] = [];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Every file below the workspace's root that git would have, as far as folders tell.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            if name != "target" && !name.starts_with('.') {
                files(&path, found);
            }
        } else {
            found.push(path);
        }
    }
}

fn workspace_files() -> Vec<(String, PathBuf)> {
    let (root, mut found) = (root(), Vec::new());
    files(&root, &mut found);
    found.sort();
    let relative =
        |path: &PathBuf| path.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
    found.into_iter().map(|path| (relative(&path), path)).collect()
}

fn is_source(path: &str) -> bool {
    path.ends_with(".rs") && (path.starts_with("src/") || path.contains("/src/"))
}

/// A package's name and what it depends on outside its tests, from its manifest.
fn dependencies(manifest: &str) -> Option<(String, BTreeSet<String>)> {
    let (mut section, mut name, mut uses) = (String::new(), None, BTreeSet::new());
    for line in manifest.lines() {
        if let Some(header) = line.strip_prefix('[') {
            section = header.trim_end_matches(']').to_owned();
        } else if let Some((key, value)) = line.split_once('=') {
            let key = key.trim();
            if section == "package" && key == "name" {
                name = Some(value.trim().trim_matches('"').to_owned());
            }
            // Also those of one platform only: [target.'cfg(unix)'.dependencies].
            if section == "dependencies" || section.ends_with(".dependencies") {
                uses.insert(key.split('.').next().unwrap_or(key).to_owned());
            }
        }
    }
    // The workspace's own table of versions is no package.
    name.map(|name| (name, uses))
}

fn packages() -> BTreeMap<String, BTreeSet<String>> {
    let manifests = workspace_files().into_iter().filter(|(path, _)| path.ends_with("Cargo.toml"));
    manifests
        .filter_map(|(_, path)| dependencies(&std::fs::read_to_string(path).unwrap()))
        .collect()
}

#[test]
fn packages_import_only_what_the_design_allows() {
    let packages = packages();
    let allowed: BTreeMap<&str, &[&str]> = MAY_USE.into_iter().collect();
    for (name, uses) in &packages {
        if FREE.contains(&name.as_str()) {
            continue;
        }
        let allowed = allowed.get(name.as_str());
        let allowed = allowed.unwrap_or_else(|| panic!("say in MAY_USE what {name} may use"));
        for used in uses.iter().filter(|used| used.starts_with("ganger-") || *used == "async-std") {
            assert!(allowed.contains(&used.as_str()), "{name} must not depend on {used}");
        }
    }
    let machine: Vec<&str> = packages["ganger-machine"].iter().map(String::as_str).collect();
    assert_eq!(machine, MACHINE_USES, "what the machine depends on");
}

#[test]
fn the_runtime_is_named_in_one_file() {
    let naming = workspace_files().into_iter().filter(|(path, file)| {
        is_source(path) && std::fs::read_to_string(file).unwrap().contains("async_std")
    });
    assert_eq!(naming.map(|(path, _)| path).collect::<Vec<_>>(), [RUNTIME_FILE]);
}

#[test]
fn no_file_grows_beyond_what_one_reads() {
    let reasons: BTreeMap<&str, &str> = LONG_FILES.into_iter().collect();
    for (path, file) in workspace_files().into_iter().filter(|(path, _)| is_source(path)) {
        let lines = std::fs::read_to_string(file).unwrap().lines().count();
        let reason = reasons.get(path.as_str());
        assert!(
            lines <= LINES_MAX || reason.is_some(),
            "{path} has {lines} lines; what hides in it?"
        );
        assert!(lines > LINES_MAX || reason.is_none(), "{path} is short again: strike it off");
    }
}
