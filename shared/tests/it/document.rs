//! docs/protocol.md says what the code does: its numbers and its example are checked here.
#![expect(clippy::disallowed_methods, reason = "the package is pure, its tests read files")]

use ganger_shared::admin::{AdminAnswer, AdminVerb, DeadWhich, JobState, Pause};
use ganger_shared::handshake::Handshake;
use ganger_shared::request::{Notify, WhenFull};
use ganger_shared::{
    DeathReason, Durability, Ending, Outcome, Rejection, Request, Response, ResultsTo,
};

use crate::golden::lines;
use crate::samples::Variants;

fn document() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/protocol.md");
    std::fs::read_to_string(path).unwrap()
}

/// The rows `| number | name | …` of the table under the heading `### heading`.
fn rows(document: &str, heading: &str) -> Vec<(usize, String)> {
    let start = format!("\n### {heading}\n");
    let at = document.find(&start).unwrap_or_else(|| panic!("no heading {heading:?}"));
    let section = &document[at + start.len()..];
    let section = section.find("\n#").map_or(section, |end| &section[..end]);
    let row = |line: &str| {
        let mut cells = line.strip_prefix("| ")?.split(" | ");
        let number = cells.next()?.parse().ok()?;
        Some((number, cells.next()?.trim_matches('`').to_owned()))
    };
    section.lines().filter_map(row).collect()
}

#[test]
fn tables_name_every_variant_under_its_number() {
    fn check<T: Variants>(document: &str, heading: &str) {
        let expected: Vec<_> = T::NAMES.iter().map(|&name| name.to_owned()).enumerate().collect();
        assert_eq!(rows(document, heading), expected, "table under {heading:?}");
    }
    let document = document();
    check::<Handshake>(&document, "Handshake frames");
    check::<Request>(&document, "Requests");
    check::<Response>(&document, "Responses");
    check::<Outcome>(&document, "Outcome");
    check::<Ending>(&document, "Ending");
    check::<DeathReason>(&document, "DeathReason");
    check::<Rejection>(&document, "Rejection");
    check::<AdminVerb>(&document, "AdminVerb");
    check::<AdminAnswer>(&document, "AdminAnswer");
    check::<JobState>(&document, "JobState");
}

#[test]
fn small_enums_are_listed_in_order() {
    fn check<T: Variants>(document: &str, name: &str) {
        let variants = T::NAMES.iter().zip(0..).map(|(variant, n)| format!("{n} `{variant}`"));
        let list = format!("`{name}`: {}", variants.collect::<Vec<_>>().join(", "));
        assert!(document.contains(&list), "docs/protocol.md does not say {list}");
    }
    let document = document();
    check::<Durability>(&document, "Durability");
    check::<WhenFull>(&document, "WhenFull");
    check::<Notify>(&document, "Notify");
    check::<ResultsTo>(&document, "ResultsTo");
    check::<Pause>(&document, "Pause");
    check::<DeadWhich>(&document, "DeadWhich");
}

/// The first column of the worked example under `#### file name`, put together.
#[test]
fn worked_examples_are_the_golden_bytes() {
    let document = document();
    let mut examples = 0;
    for section in document.split("\n#### ").skip(1) {
        let heading = section.lines().next().unwrap();
        let (file, name) = heading.split_once(' ').unwrap();
        let code = section.split("```").nth(1).unwrap();
        let bytes = code.lines().skip(1).map(|line| line.split("  ").next().unwrap());
        let bytes = bytes.collect::<String>().replace(' ', "");
        assert_eq!(Some(&bytes), lines(file).get(name), "example {heading:?}");
        examples += 1;
    }
    assert!(examples >= 4, "{examples} examples");
}
