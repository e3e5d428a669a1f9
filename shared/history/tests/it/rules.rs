//! For each rule a history that breaks it, and one that nearly does.

use ganger_history::{Ending, Hash, Outcome, Reply, Rule, check};

use crate::support::{Story, payload, result};

fn story() -> Story {
    Story::default()
}

#[test]
fn whole_life_of_a_job_passes() {
    let counts = story().accepted(0).granted(0, 1).acked(0, 1).read(0, 0, 1).passes().counts;
    assert_eq!((counts.acknowledged, counts.completed, counts.acked), (1, 1, 1));
    assert_eq!((counts.deliveries, counts.duplicate_deliveries, counts.ordered), (1, 0, 1));
}

#[test]
fn accepted_job_that_never_ends_is_lost() {
    story().accepted(0).breaks(Rule::Lost);
    story().accepted(0).granted(0, 1).nacked(0, 1).breaks(Rule::Lost);
    // Nobody knows whether this ack took effect; but then its result would be somewhere.
    story().accepted(0).granted(0, 1).settle(0, 1, Outcome::Ack).breaks(Rule::Lost);
}

#[test]
fn job_that_was_not_accepted_or_was_given_up_is_not_lost() {
    story().submit(0).submitted(0, Reply::Fail).passes();
    assert_eq!(story().submit(0).passes().counts.unanswered, 1);
    story().accepted(0).granted(0, 1).settle(0, 1, Outcome::Dead).passes();
}

#[test]
fn job_that_the_broker_says_is_over_is_not_lost() {
    for ending in [Ending::Dead, Ending::Cancelled] {
        story().accepted(0).ended(0, ending).passes();
    }
    story().accepted_without_results(0).ended(0, Ending::Acked).passes();
    story().accepted(0).accepted(1).ended(0, Ending::Dead).breaks(Rule::Lost);
    // The broker says that of a job whose submit was refused.
    story().submit(0).submitted(0, Reply::Fail).ended(0, Ending::Dead).breaks(Rule::Unexpected);
}

#[test]
fn result_that_nobody_wants_is_not_unread() {
    story().accepted_without_results(0).granted(0, 1).acked(0, 1).passes();
    story().accepted_without_results(0).granted(0, 1).nacked(0, 1).breaks(Rule::Lost);
}

#[test]
fn job_that_is_done_as_the_broker_says_has_a_result() {
    story().accepted(0).ended(0, Ending::Acked).breaks(Rule::Unread);
    // Nobody was told that this ack took effect, but for whoever waited for the job.
    let done = story().accepted(0).granted(0, 1).settle(0, 1, Outcome::Ack);
    done.ended(0, Ending::Acked).read(0, 0, 1).passes();
}

#[test]
fn dead_letter_comes_again_only_if_an_operator_asked_for_it() {
    let dead = || {
        let given_up = story().accepted(0).granted(0, 1).settle(0, 1, Outcome::Dead);
        given_up.settled(0, 1, Reply::Ok)
    };
    dead().redriven().granted(0, 2).acked(0, 2).read(0, 0, 2).passes();
    dead().granted(0, 2).nacked(0, 2).redriven().breaks(Rule::GrantAfterAck);
    // What is done is no dead letter.
    let done = story().accepted(0).granted(0, 1).acked(0, 1).read(0, 0, 1).redriven();
    done.granted(0, 2).breaks(Rule::GrantAfterAck);
}

#[test]
fn job_whose_submit_a_dead_broker_forgot_may_be_refused_after_its_delivery() {
    let refused = |story: Story| story.submitted(0, Reply::Fail);
    refused(story().submit(0).granted(0, 1).killed().started()).passes();
    refused(story().killed().started().submit(0).granted(0, 1)).breaks(Rule::Unexpected);
}

#[test]
fn job_that_nobody_submitted_or_that_was_refused_is_unexpected() {
    story().granted(0, 1).breaks(Rule::Unexpected);
    story().submit(0).submitted(0, Reply::Fail).granted(0, 1).breaks(Rule::Unexpected);
}

#[test]
fn unanswered_submit_that_appears_is_recovered() {
    let counts = story().submit(0).granted(0, 1).acked(0, 1).read(0, 0, 1).passes().counts;
    assert_eq!((counts.unanswered, counts.recovered), (1, 1));
    // Delivered before its acceptance was heard of.
    let early = story().submit(0).granted(0, 1).submitted(0, Reply::Ok).acked(0, 1);
    early.read(0, 0, 1).passes();
}

#[test]
fn payload_that_is_not_what_was_sent_is_corrupt() {
    let delivered = |payload| story().accepted(0).granted_with(0, 1, payload).acked(0, 1);
    delivered(Hash::of(b"else")).read(0, 0, 1).breaks(Rule::Corrupt);
    delivered(payload(0)).read(0, 0, 1).passes();
}

#[test]
fn result_that_no_worker_sent_is_corrupt() {
    let settled = || story().accepted(0).granted(0, 1).settle(0, 1, Outcome::Ack);
    settled().read_by("reader", 0, 0, Hash::of(b"else")).breaks(Rule::Corrupt);
    settled().read(0, 0, 1).passes();
}

#[test]
fn item_that_becomes_another_is_corrupt() {
    let two = || story().accepted(0).accepted(1).granted(0, 1).granted(1, 2).acked(0, 1);
    let verdict = two().acked(1, 2).read(0, 0, 1).read(0, 1, 2).verdict();
    assert_eq!(verdict.count(Rule::Corrupt), 1);
    two().acked(1, 2).read(0, 0, 1).read(1, 1, 2).passes();
}

#[test]
fn second_result_of_a_job_is_doubled() {
    let twice = story().accepted(0).granted(0, 1).settle(0, 1, Outcome::Ack).granted(0, 2);
    twice.settle(0, 2, Outcome::Ack).read(0, 0, 1).read(1, 0, 2).breaks(Rule::Doubled);
    // One of two attempts is right, if the first was not told that it had succeeded.
    let once = story().accepted(0).granted(0, 1).settle(0, 1, Outcome::Ack).granted(0, 2);
    let counts = once.acked(0, 2).read(0, 0, 2).passes().counts;
    assert_eq!((counts.deliveries, counts.duplicate_deliveries), (2, 1));
}

#[test]
fn second_settlement_that_takes_effect_is_doubled() {
    // The broker died between both, so that both leases may have been given.
    let settled = |reply| {
        let first = story().accepted(0).granted(0, 1).granted(0, 2).killed().started().acked(0, 1);
        first.settle(0, 2, Outcome::Ack).settled(0, 2, reply).read(0, 0, 1)
    };
    let verdict = settled(Reply::Ok).verdict();
    assert_eq!(verdict.count(Rule::Doubled), 1, "{verdict:#?}");
    assert_eq!(settled(Reply::Fail).passes().counts.acks_refused, 1);
}

#[test]
fn result_that_comes_again_after_its_confirmation_is_doubled() {
    let read = || story().accepted(0).granted(0, 1).acked(0, 1).read(0, 0, 1);
    read().confirmed().read_by("another", 0, 0, result(1)).breaks(Rule::Doubled);
    // Without the confirmation it may.
    assert_eq!(read().read_by("another", 0, 0, result(1)).passes().counts.duplicate_reads, 1);
    // Nor does the confirmation count of what a dead broker had given out.
    let forgotten = read().killed().started().confirmed();
    forgotten.read_by("another", 0, 0, result(1)).passes();
}

#[test]
fn grant_after_the_answer_that_the_job_is_over_is_found_across_restarts() {
    let over = || story().accepted(0).granted(0, 1).acked(0, 1).read(0, 0, 1);
    over().granted(0, 2).breaks(Rule::GrantAfterAck);
    over().killed().started().granted(0, 2).breaks(Rule::GrantAfterAck);
}

#[test]
fn grant_before_the_answer_of_an_earlier_lease_that_comes_late_passes() {
    // Lease 1 was given first and arrived last: its connection was slow.
    let late = story().accepted(0).disturbed().granted(0, 2).acked(0, 2).read(0, 0, 2);
    late.granted(0, 1).settle(0, 1, Outcome::Ack).settled(0, 1, Reply::Fail).passes();
}

#[test]
fn result_that_is_not_the_acknowledged_one_differs() {
    let attempts = |acked: u64, other: u64| {
        let given = story().accepted(0).granted(0, 1).granted(0, 2).killed().started();
        given.settle(0, other, Outcome::Ack).acked(0, acked).read(0, 0, 2)
    };
    attempts(1, 2).breaks(Rule::ResultDiffers);
    attempts(2, 1).passes();
}

#[test]
fn acknowledged_result_that_nobody_can_read_is_unread() {
    story().accepted(0).granted(0, 1).acked(0, 1).breaks(Rule::Unread);
    story().accepted(0).granted(0, 1).acked(0, 1).read(0, 0, 1).passes();
}

#[test]
fn refused_ack_takes_no_effect_while_all_is_calm() {
    let given = || story().accepted(0).granted(0, 1).settle(0, 1, Outcome::Ack);
    given().settled(0, 1, Reply::Fail).read(0, 0, 1).breaks(Rule::RefusedTookEffect);
    // Here its first answer was lost with the connection, and the session with it.
    let counts = given().disturbed().settled(0, 1, Reply::Fail).read(0, 0, 1).passes().counts;
    assert_eq!((counts.acks_refused, counts.acks_refused_but_stored), (1, 1));
}

#[test]
fn lease_that_is_given_while_another_is_held_overlaps() {
    let held = || story().accepted(0).granted(0, 1).granted(0, 2);
    held().nacked(0, 1).acked(0, 2).read(0, 0, 2).breaks(Rule::Overlap);
    held().acked(0, 1).read(0, 0, 1).breaks(Rule::Overlap);
    // Between the ack and its answer is too early as well.
    let acking = story().accepted(0).granted(0, 1).settle(0, 1, Outcome::Ack).granted(0, 2);
    acking.settled(0, 1, Reply::Ok).read(0, 0, 1).breaks(Rule::Overlap);
}

#[test]
fn lease_that_is_given_after_another_ended_passes() {
    let held = || story().accepted(0).granted(0, 1).granted(0, 2);
    // The first had expired: its settlement is refused.
    held()
        .settle(0, 1, Outcome::Nack)
        .settled(0, 1, Reply::Fail)
        .acked(0, 2)
        .read(0, 0, 2)
        .passes();
    // The grant of the second died with the broker, and the first lived on.
    held().killed().started().acked(0, 1).read(0, 0, 1).passes();
    // The job came back before the worker had heard that its nack was done.
    let nacked = story().accepted(0).granted(0, 1).settle(0, 1, Outcome::Nack).granted(0, 2);
    let counts = nacked.settled(0, 1, Reply::Ok).acked(0, 2).read(0, 0, 2).passes().counts;
    assert_eq!(counts.duplicate_deliveries, 0);
}

#[test]
fn lease_id_that_comes_twice_is_reused() {
    let two = |lease| {
        let given = story().accepted(0).accepted(1).granted(0, 1).acked(0, 1).read(0, 0, 1);
        given.granted(1, lease).acked(1, lease).read(1, 1, lease)
    };
    two(1).breaks(Rule::LeaseReused);
    two(2).passes();
}

#[test]
fn first_deliveries_out_of_their_order_are_found() {
    let two = || story().accepted(0).accepted(1).granted(1, 1).granted(0, 2);
    let done = |story: Story| story.acked(1, 1).acked(0, 2).read(0, 1, 1).read(1, 0, 2);
    done(two()).breaks(Rule::OutOfOrder);
    // Heard of in another order than given.
    let heard = story().accepted(0).accepted(1).granted(1, 2).granted(0, 1);
    heard.acked(1, 2).acked(0, 1).read(0, 1, 2).read(1, 0, 1).passes();
}

#[test]
fn order_is_not_asked_of_others() {
    let done = |story: Story| story.acked(1, 1).acked(0, 2).read(0, 1, 1).read(1, 0, 2);
    // A delay, or a priority.
    let free = story().submit_free(0).submitted(0, Reply::Ok).accepted(1);
    done(free.granted(1, 1).granted(0, 2)).passes();
    // A worker that left may have had the job before.
    let left = story().accepted(0).accepted(1).granted(1, 1).disturbed().granted(0, 2);
    assert_eq!(done(left).passes().counts.ordered, 1);
    // It was about to leave while both were delivered.
    let leaving = done(story().accepted(0).accepted(1).granted(1, 1).granted(0, 2)).left(1);
    assert_eq!(leaving.passes().counts.ordered, 0);
}

#[test]
fn lines_that_contradict_each_other_are_found() {
    story().submit(0).submit(0).breaks(Rule::Contradiction);
    story().submitted(0, Reply::Fail).breaks(Rule::Contradiction);
    let settled_twice = story().accepted(0).granted(0, 1).acked(0, 1).settle(0, 1, Outcome::Nack);
    settled_twice.read(0, 0, 1).breaks(Rule::Contradiction);
    let mut backwards = story().accepted(0).granted(0, 1).acked(0, 1).read(0, 0, 1);
    backwards.events[2].at_ns = 1;
    backwards.breaks(Rule::Contradiction);
}

#[test]
fn history_that_stops_before_the_end_is_unfinished() {
    let verdict = check(&story().accepted(0).granted(0, 1).acked(0, 1).read(0, 0, 1).events);
    assert_eq!(verdict.count(Rule::Unfinished), 1);
    assert_eq!(check(&[]).count(Rule::Unfinished), 1);
}

#[test]
fn many_cases_are_all_counted_and_some_are_shown() {
    let lost = (0..100).fold(story(), Story::accepted).verdict();
    assert_eq!(lost.count(Rule::Lost), 100);
    assert_eq!(lost.examples.len(), 10);
    assert!(
        lost.complaint().unwrap().starts_with("100 lost; first: 0000000000000007-0 was accepted")
    );
}
