//! The lines of a history and the verdict, as others read them.

use ganger_history::{
    Ending, Event, Outcome, ReadError, Reply, Verdict, What, Writer, check, read,
};
use ganger_shared::Durability;

use crate::support::Story;

fn every_kind() -> Vec<Event> {
    let setup =
        What::Setup { seed: 42, durability: Durability::Strict, scenario: "kills".to_owned() };
    let story = Story::default().line("killer", setup).started().submit(0);
    let story = story.submit_free(1).submitted(0, Reply::Ok).submitted(1, Reply::Unknown);
    let story = story.granted(0, 0xa1).settle(0, 0xa1, Outcome::Ack).settled(0, 0xa1, Reply::Fail);
    let story = story.disturbed().killed().started().granted(1, 0xb2).nacked(1, 0xb2);
    let story = story.read(3, 0, 0xa1).confirmed().accepted_without_results(2);
    let story = story.ended(2, Ending::Cancelled).redriven();
    story.line("everybody", What::Drained).events
}

const LINES: &str = r#"{"at_ns":1,"who":"killer","event":"setup","seed":42,"durability":"strict","scenario":"kills"}
{"at_ns":2,"who":"killer","event":"broker-started"}
{"at_ns":3,"who":"submitter","event":"submit","queue":"mail","order":"fifo","jobs":{"first":"0000000000000007-0","count":1},"payloads":["71e0a99173564931"]}
"#;

#[test]
fn lines_read_as_they_are_documented() {
    let mut writer = Writer::new(Vec::new());
    for event in every_kind() {
        writer.write(&event).unwrap();
    }
    let text = String::from_utf8(writer.finish().unwrap()).unwrap();
    assert!(text.starts_with(LINES), "{text}");
    let granted = r#""event":"granted","queue":"mail","jobs":{"first":"0000000000000007-0","count":1},"lease":"a1","attempt":1,"#;
    assert!(text.contains(granted), "{text}");
    assert!(text.contains(r#""],"results":"dropped"}"#), "{text}");
    let ended =
        r#""event":"ended","jobs":{"first":"0000000000000007-2","count":1},"ending":"cancelled"}"#;
    assert!(text.contains(ended), "{text}");
    assert_eq!(read(text.as_bytes()).unwrap(), every_kind());
}

#[test]
fn line_that_is_no_event_is_named() {
    let cut = &LINES[..LINES.len() - 20];
    let error = read(cut.as_bytes()).unwrap_err();
    assert!(matches!(error, ReadError::Line { line: 3, .. }), "{error}");
    assert!(error.to_string().starts_with("line 3 is no event: {\"at_ns\":3"), "{error}");
}

#[test]
fn verdict_survives_its_text() {
    let verdict = check(&every_kind());
    let text = serde_json::to_string(&verdict).unwrap();
    assert_eq!(serde_json::from_str::<Verdict>(&text).unwrap(), verdict);
    assert!(text.contains(r#""violations":{"#), "{text}");
    assert_eq!(verdict.run.unwrap().durability, Durability::Strict);
}
