//! The bytes of every message, pinned: a change that breaks released peers fails here.
//!
//! A line is `name: hex` of one frame, length included. `UPDATE_GOLDEN=1` writes the files anew;
//! lines that are already there may only ever change before a release.
#![expect(clippy::disallowed_methods, reason = "the package is pure, its tests read files")]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

use ganger_shared::admin::{AdminAnswer, AdminVerb, DeadWhich, JobState, Pause};
use ganger_shared::codec::{decode, encode};
use ganger_shared::handshake::Handshake;
use ganger_shared::request::{Notify, WhenFull};
use ganger_shared::{
    DeathReason, Durability, Ending, Outcome, Rejection, Request, Response, ResultsTo,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::samples::{Sample, Variants, handshakes, requests, responses};

/// One frame as hex digits.
fn hex(message: &impl Serialize) -> String {
    let mut frame = Vec::new();
    encode(message, &mut frame);
    frame.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn unhex(text: &str) -> Vec<u8> {
    let byte = |i| u8::from_str_radix(&text[i..i + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(byte).collect()
}

fn path(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file)
}

/// The lines of a golden file by name.
pub(crate) fn lines(file: &str) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(path(file)).unwrap_or_default();
    text.lines()
        .map(|line| line.split_once(": ").unwrap())
        .map(|(name, hex)| (name.to_owned(), hex.to_owned()))
        .collect()
}

fn check<T>(file: &str, samples: &[Sample<T>])
where
    T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let samples: Vec<_> = samples.iter().map(|(name, message)| (name, message)).collect();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let lines = samples.iter().map(|(name, message)| format!("{name}: {}\n", hex(message)));
        std::fs::write(path(file), lines.collect::<String>()).unwrap();
    }
    let pinned = lines(file);
    for (name, message) in &samples {
        let Some(line) = pinned.get(*name) else {
            panic!("{file} has no line {name}; write it with UPDATE_GOLDEN=1");
        };
        assert_eq!(&hex(message), line, "{file}: {name} is encoded differently");
        let decoded: T = decode(&unhex(line)).unwrap();
        assert_eq!(&decoded, *message, "{file}: {name} decodes differently");
    }
    assert_eq!(pinned.len(), samples.len(), "{file} has lines without a sample");
}

#[test]
fn handshake_bytes_are_as_released() {
    check("handshake.hex", &handshakes());
}

#[test]
fn request_bytes_are_as_released() {
    check("requests.hex", &requests());
}

#[test]
fn response_bytes_are_as_released() {
    check("responses.hex", &responses());
}

/// That `file` has a line for each variant of `T`: `{prefix}{variant}`, or that and `.detail`.
fn every_variant_has_a_line<T: Variants>(file: &str, prefix: &str) {
    let pinned = lines(file);
    for variant in T::NAMES {
        let name = format!("{prefix}{variant}");
        let detailed = format!("{name}.");
        let found = pinned.keys().any(|key| *key == name || key.starts_with(&detailed));
        assert!(found, "{file} has no line {name}: add a sample");
    }
}

/// That some part of a line's name, between its dots, is each variant of `T`.
fn every_variant_is_a_detail<T: Variants>(file: &str, of: &str) {
    let pinned = lines(file);
    for variant in T::NAMES {
        let mut names = pinned.keys().filter(|name| name.starts_with(of));
        let found = names.any(|name| name.split('.').any(|part| part == *variant));
        assert!(found, "{file} has no line {of}…{variant}: add a sample");
    }
}

#[test]
fn every_variant_is_pinned() {
    every_variant_has_a_line::<Handshake>("handshake.hex", "");
    every_variant_has_a_line::<Request>("requests.hex", "");
    every_variant_has_a_line::<AdminVerb>("requests.hex", "Admin.");
    every_variant_has_a_line::<Outcome>("requests.hex", "Settle.");
    every_variant_has_a_line::<Response>("responses.hex", "");
    every_variant_has_a_line::<AdminAnswer>("responses.hex", "Admin.");
    every_variant_has_a_line::<Ending>("responses.hex", "Finished.");
    every_variant_has_a_line::<Rejection>("responses.hex", "Rejected.");

    every_variant_has_a_line::<Durability>("responses.hex", "Accepted.");
    every_variant_has_a_line::<DeathReason>("responses.hex", "Finished.Dead.");
    every_variant_has_a_line::<JobState>("responses.hex", "Admin.Jobs.");
    every_variant_has_a_line::<Pause>("requests.hex", "Admin.QueuePause.");
    every_variant_has_a_line::<DeadWhich>("requests.hex", "Admin.DeadRetry.");
    every_variant_has_a_line::<WhenFull>("requests.hex", "Submit.");
    every_variant_is_a_detail::<Notify>("requests.hex", "Submit.");
    every_variant_is_a_detail::<ResultsTo>("requests.hex", "Submit.");
}

#[test]
fn variant_number_is_its_place_in_the_list() {
    fn check<T: Variants + Serialize>(samples: &[Sample<T>]) {
        for (name, message) in samples {
            let number = postcard::to_stdvec(message).unwrap()[0];
            assert_eq!(T::NAMES[number as usize], message.name(), "{name}");
        }
    }
    check(&handshakes());
    check(&requests());
    check(&responses());
}
