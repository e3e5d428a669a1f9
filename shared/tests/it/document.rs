//! docs/protocol.md says what the code does: its numbers and its example are checked here.
#![expect(clippy::disallowed_methods, reason = "the package is pure, its tests read files")]

use ganger_shared::admin::{AdminAnswer, AdminVerb, DeadWhich, JobState, Pause};
use ganger_shared::handshake::Handshake;
use ganger_shared::prerequisite::{Need, OnFailure, Prerequisite};
use ganger_shared::request::{Notify, WhenFull};
use ganger_shared::{
    By, CallError, DeathReason, Durability, Effect, Ending, Outcome, Rejection, Request, Response,
    ResultsTo, What,
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
    check::<By>(&document, "By");
    check::<Effect>(&document, "Effect");
    check::<Prerequisite>(&document, "Prerequisite");
    check::<CallError>(&document, "CallError");
    check::<What>(&document, "What");
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
    check::<Need>(&document, "Need");
    check::<OnFailure>(&document, "OnFailure");
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

/// The part of docs/objects.md that lists every type and method.
fn object_types() -> String {
    let mut text = String::new();
    for found in ganger_shared::object::types::TYPES {
        let ganger_shared::ObjectType { typeid, about, made_with, methods } = found;
        let made_with = if made_with.is_empty() { "nothing" } else { made_with };
        text += &format!("\n### {typeid}\n\n");
        text +=
            &format!("{}{}. Made with: {made_with}.\n\n", about[..1].to_uppercase(), &about[1..]);
        text += "| method | arguments | returns | cost |\n| --- | --- | --- | --- |\n";
        for method in *methods {
            let waits =
                if method.takes == ganger_shared::object::Takes::Time { ", may wait" } else { "" };
            let ganger_shared::object::Method { name, args, returns, cost, .. } = method;
            text += &format!("| `{name}` | {args} | {returns}{waits} | {cost} |\n");
        }
    }
    text
}

#[test]
fn objects_page_lists_every_type_and_method() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/objects.md");
    let page = std::fs::read_to_string(path).unwrap();
    let (before, found) = page.split_once("\n## Types\n").unwrap();
    let expected = object_types();
    if std::env::var_os("UPDATE_GOLDEN").is_some() && found != expected {
        std::fs::write(path, format!("{before}\n## Types\n{expected}")).unwrap();
        return;
    }
    assert_eq!(found, expected, "write it with UPDATE_GOLDEN=1");
}
