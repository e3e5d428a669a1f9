//! How much memory calls take that wait. No clock: what is allocated is counted.

use ganger_shared::{Block, By, SessionId};

use super::desk::{Desk, Terms, config};

const WAITING: u64 = 100_000;

/// Sessions that share them: a session may have 65,536.
const SESSIONS: u64 = 4;

/// So many bytes in all: 640 for each.
const BYTES_MAX: i64 = 64 << 20;

fn park(desk: &mut Desk, number: u64) {
    let session = SessionId(1 + number % SESSIONS);
    let (object, method) = if number.is_multiple_of(2) { ("l", "acquire") } else { ("e", "wait") };
    let terms = Terms { seq: Some(number), answered: 0, by: By::Session, wait_ms: 60_000 + number };
    let call = desk.call(object, None, method, terms, Block::empties(1));
    let told = desk.ask_unchecked(session, call);
    assert!(told.is_empty(), "{told:?}");
}

#[test]
fn hundred_thousand_calls_that_wait_cost_little_memory_and_are_all_answered() {
    let mut desk = Desk::new(config());
    for session in 1..=SESSIONS + 1 {
        desk.open(SessionId(session), "one of many", &[]);
    }
    let holder = SessionId(SESSIONS + 1);
    for (seq, object, typeid, method) in
        [(0, "l", "lock/1", "acquire"), (1, "e", "event/1", "clear")]
    {
        let terms = Terms { seq: Some(seq), answered: 0, by: By::Session, wait_ms: 0 };
        let call = desk.call(object, Some(typeid), method, terms, Block::empties(1));
        desk.ask(holder, call);
    }
    let counted = allocation_counter::measure(|| {
        for number in 0..WAITING {
            park(&mut desk, number);
        }
    });
    assert!(counted.bytes_current < BYTES_MAX, "{} bytes", counted.bytes_current);
    println!(
        "{} bytes for each call that waits",
        counted.bytes_current / i64::try_from(WAITING).unwrap()
    );
    // Every second is let go by the event, and the others get the lock one after the other, or nothing.
    let terms = Terms { seq: Some(2), answered: 0, by: By::Session, wait_ms: 0 };
    let set = desk.call("e", None, "set", terms, Block::empties(1));
    assert_eq!(desk.ask(holder, set).len() as u64, WAITING / 2 + 1);
    desk.now = desk.now.plus_millis(60_000 + WAITING);
    let told = desk.step(ganger_machine::Command::Tick);
    assert_eq!(told.len() as u64, WAITING / 2);
}
