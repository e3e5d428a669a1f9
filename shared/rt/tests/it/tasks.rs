//! Tasks, time, threads and signals.

use std::cell::Cell;
use std::future::{Future as _, pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ganger_rt::{
    Signal, Signals, TimedOut, block_on, drive_in_background, sleep, sleep_until, spawn, thread,
    timeout, unblock, yield_now,
};

#[test]
fn awaited_task_gives_its_result() {
    assert_eq!(block_on(async { spawn(async { 42 }).await }), 42);
}

#[test]
fn dropped_task_is_gone() {
    let held = Arc::new(());
    let inside = Arc::clone(&held);
    block_on(async {
        let task = spawn(async move {
            let _inside = inside;
            pending::<()>().await;
        });
        yield_now().await;
        drop(task);
        while Arc::strong_count(&held) > 1 {
            yield_now().await;
        }
    });
}

#[test]
fn cancelled_task_is_gone_when_cancel_returns() {
    let held = Arc::new(());
    let inside = Arc::clone(&held);
    block_on(async {
        let task = spawn(async move {
            let _inside = inside;
            pending::<()>().await;
        });
        yield_now().await;
        assert_eq!(task.cancel().await, None);
        assert_eq!(Arc::strong_count(&held), 1);
    });
}

#[test]
fn cancelling_a_finished_task_gives_its_result() {
    block_on(async {
        let task = spawn(async { 42 });
        while !task.is_finished() {
            yield_now().await;
        }
        assert_eq!(task.cancel().await, Some(42));
    });
}

#[test]
fn panic_of_a_task_reaches_whoever_awaits_it_and_nobody_else() {
    block_on(async {
        let doomed = spawn(async { panic!("the task's own fault") });
        while !doomed.is_finished() {
            yield_now().await;
        }
        assert_eq!(spawn(async { 42 }).await, 42);
        let caught = catch_unwind(AssertUnwindSafe(|| block_on(doomed)));
        assert!(caught.is_err());
    });
}

#[test]
fn background_thread_runs_tasks_of_another_executor() {
    drive_in_background();
    drive_in_background();
    let name = spawn(async { std::thread::current().name().map(str::to_owned) });
    // An executor that knows nothing of ours.
    assert!(futures_lite::future::block_on(name).is_some());
}

#[test]
fn timeout_ends_a_future_that_does_not_come() {
    let waited = block_on(timeout(Duration::from_millis(2), pending::<()>()));
    assert_eq!(waited, Err(TimedOut));
    assert_eq!(TimedOut.to_string(), "timed out");
}

#[test]
fn ready_future_wins_over_a_limit_of_zero() {
    assert_eq!(block_on(timeout(Duration::ZERO, async { 42 })), Ok(42));
}

#[test]
fn sleep_until_waits_for_the_deadline_and_not_for_a_past_one() {
    let deadline = Instant::now() + Duration::from_millis(2);
    block_on(sleep_until(deadline));
    assert!(Instant::now() >= deadline);
    block_on(async { timeout(Duration::ZERO, sleep_until(deadline)).await }).unwrap();
}

#[test]
fn thread_carries_its_name() {
    let named = thread("ganger-test", || std::thread::current().name().map(str::to_owned));
    assert_eq!(named.unwrap().join().unwrap().as_deref(), Some("ganger-test"));
}

#[test]
fn unblock_runs_elsewhere() {
    let here = std::thread::current().id();
    let there = block_on(unblock(|| std::thread::current().id()));
    assert_ne!(here, there);
}

#[test]
fn raised_signals_arrive_as_what_they_mean() {
    use rustix::process::{Signal as Raw, getpid, kill_process};

    let mut signals = Signals::new().unwrap();
    for (raw, meant) in
        [(Raw::HUP, Signal::Hangup), (Raw::INT, Signal::Interrupt), (Raw::TERM, Signal::Terminate)]
    {
        kill_process(getpid(), raw).unwrap();
        assert_eq!(block_on(signals.next()), meant);
    }
}

#[test]
fn main_future_is_polled_for_its_own_wakes_only() {
    let polls = Cell::new(0);
    block_on(async {
        let task = spawn(async {
            for _ in 0..10 {
                sleep(Duration::from_millis(1)).await;
            }
        });
        let mut task = pin!(task);
        poll_fn(|cx| {
            polls.set(polls.get() + 1);
            task.as_mut().poll(cx)
        })
        .await;
    });
    assert_eq!(polls.get(), 2, "once to begin, once for the end of the task");
}

#[test]
fn main_future_that_always_yields_leaves_room_for_timers_and_tasks() {
    block_on(async {
        let timer = spawn(sleep(Duration::from_millis(5)));
        while !timer.is_finished() {
            yield_now().await;
        }
    });
}

#[test]
fn main_future_that_a_thread_wakes_is_polled() {
    for _ in 0..1_000 {
        assert_eq!(block_on(unblock(|| 7)), 7);
    }
}
