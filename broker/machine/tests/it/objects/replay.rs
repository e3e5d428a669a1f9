//! The journal makes of objects what they were: state, answers and tokens, from its start and from a
//! restatement.
//!
//! Two things of a restatement may differ between the machine that lived and the one that replayed, and are
//! left out or put together here: when it was made and which lease is next, for time passed and what
//! is in memory took tokens; and into how many runs the items of a list are cut, which pops decide.

use bytes::Bytes;
use ganger_machine::Event;
use ganger_machine::stated::Stated;
use ganger_shared::{Block, Durability, JobId, JobRange, Name, Request, RequestId, Response, Time};

use super::desk::{Desk, restated};
use super::history::{History, Kept, Plan};

const PLAN: Plan = Plan { everything: true, items_max: 1_000_000, durability: Durability::Strict };

/// Lives a while, and is looked at now and then.
fn live(rng: &mut ganger_chance::Rng, mut look: impl FnMut(&mut History<'_>)) {
    let mut history = History::new(rng, PLAN);
    for _ in 0..4 {
        for _ in 0..history.rng.between(20..=120) {
            history.step();
        }
        look(&mut history);
    }
}

/// One item of a list: where, of which job, whether it is a value, and its bytes.
type Item = (Name, u64, Option<JobId>, bool, Bytes);

/// What must be the same: the parts in their order as bytes, and the items of lists one by one.
fn comparable(events: &[Event]) -> (Vec<(String, Vec<u8>)>, Vec<Item>) {
    let (mut parts, mut items) = (Vec::new(), Vec::new());
    let mut take = |list: &Name, start: u64, jobs: Option<JobRange>, is_value, block: &Block| {
        let jobs = jobs.map(|jobs| jobs.iter().collect::<Vec<_>>());
        for (at, item) in block.iter().enumerate() {
            let job = jobs.as_ref().map(|jobs| jobs[at]);
            items.push((list.clone(), start + at as u64, job, is_value, item));
        }
    };
    for event in events {
        let Event::Stated(stated) = event else { panic!("{event:?} in a restatement") };
        match stated {
            Stated::Begins { .. } => {}
            Stated::Items { list, start, jobs, items } => take(list, *start, *jobs, false, items),
            Stated::Values { list, start, values } => take(list, *start, None, true, values),
            stated => parts.push((format!("{stated:?}"), postcard::to_stdvec(stated).unwrap())),
        }
    }
    (parts, items)
}

fn assert_same(live: &[Event], other: &[Event]) {
    let (live, other) = (comparable(live), comparable(other));
    for (a, b) in live.0.iter().zip(&other.0) {
        assert_eq!(a.0, b.0, "as it lived, and replayed");
        assert_eq!(a.1, b.1, "bytes of {}", a.0);
    }
    assert_eq!(live.0.len(), other.0.len(), "parts");
    assert_eq!(live.1, other.1, "items");
}

fn later(desk: &Desk) -> Time {
    desk.now.plus_millis(3_600_000)
}

#[test]
fn replay_of_the_journal_comes_to_what_was_there() {
    super::each_seed("replay", 300, |rng| {
        live(rng, |history| {
            let desk = &mut history.desk;
            let live = restated(&mut desk.machine);
            // At once, and by a broker that is started long after.
            for at in [desk.now, later(desk)] {
                assert_same(&live, &restated(&mut desk.replayed(at)));
            }
        });
    });
}

#[test]
fn restatement_says_the_same_of_what_it_made() {
    super::each_seed("restatement", 300, |rng| {
        live(rng, |history| {
            let desk = &mut history.desk;
            let stated = restated(&mut desk.machine);
            desk.journal.clone_from(&stated);
            // By a broker whose clock has gone back: its tokens go on where the last one's ended.
            let again = restated(&mut desk.replayed(Time::ZERO));
            assert_eq!(stated, again);
            let bytes = |events: &[Event]| postcard::to_stdvec(events).unwrap();
            assert!(bytes(&stated) == bytes(&again), "other bytes");
        });
    });
}

/// The calls whose answers a client may still ask for.
fn wanted(history: &History<'_>) -> Vec<Kept> {
    let forgotten = |kept: &Kept| {
        let client = history.clients.iter().find(|client| client.session == kept.session);
        kept.seq < client.unwrap().answered
    };
    history.kept.iter().filter(|kept| !forgotten(kept)).cloned().collect()
}

/// The response with the number of another request.
fn renumbered(response: &Response, number: RequestId) -> Response {
    let Response::Returned { results, errors, .. } = response else { panic!("{response:?}") };
    Response::Returned { request: number, results: results.clone(), errors: errors.clone() }
}

#[test]
fn call_that_is_repeated_after_a_restart_is_answered_as_before_and_changes_nothing() {
    let mut repeated = 0;
    super::each_seed("repeat", 300, |rng| {
        live(rng, |history| {
            if history.rng.percent(50) {
                let stated = restated(&mut history.desk.machine);
                history.desk.journal = stated;
            }
            history.restart();
            let wanted = wanted(history);
            let events = history.desk.journal.len();
            let before = restated(&mut history.desk.machine);
            for Kept { session, request, response, .. } in wanted {
                let number = history.desk.request();
                let request = match request {
                    Request::Call {
                        object,
                        typeid,
                        method,
                        seq,
                        answered,
                        by,
                        wait_ms,
                        args,
                        ..
                    } => Request::Call {
                        request: number,
                        object,
                        typeid,
                        method,
                        seq,
                        answered,
                        by,
                        wait_ms,
                        args,
                    },
                    other => panic!("{other:?}"),
                };
                let told = history.desk.ask(session, request.clone());
                let expected = (session, renumbered(&response, number));
                assert_eq!(told, [expected], "{request:?} again");
                repeated += 1;
            }
            assert_eq!(history.desk.journal.len(), events, "a repeated call took effect");
            assert_same(&before, &restated(&mut history.desk.machine));
            history.make_again();
        });
    });
    assert!(repeated > 0, "nothing was repeated");
}
