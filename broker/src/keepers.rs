//! The broker's own tasks: they bring the engine the time, the journal's progress and some order.
//!
//! Not what is done about it, which the engine passes on.

use std::sync::Arc;
use std::time::Duration;

use futures_lite::future::or;

use crate::engine::Engine;

/// Brings the machine its ticks.
pub(crate) async fn keep_time(engine: Arc<Engine>) {
    loop {
        let (due, earlier) = engine.next_tick();
        let tick = async {
            match due {
                Some(due) => ganger_rt::sleep_until(due).await,
                None => std::future::pending().await,
            }
            true
        };
        let is_due = or(tick, async {
            earlier.await;
            false
        });
        if is_due.await {
            engine.ready().await;
            engine.tick();
        }
    }
}

/// Lets leave what the journal has made safe; ends the broker when it fails.
pub(crate) async fn follow_journal(engine: Arc<Engine>) {
    let Some(progress) = engine.progress() else { return };
    let mut seen = 0;
    loop {
        progress.beyond(seen).await;
        match progress.take() {
            Ok(report) => {
                seen = report.number;
                engine.heed(report);
            }
            Err(error) => return engine.fail(error),
        }
    }
}

/// Gives up clients that do not read or do not speak. `shortest_bound` is the shortest time that
/// one may do so.
pub(crate) async fn keep_house(engine: Arc<Engine>, shortest_bound: Duration) {
    // No client is given up late by more than a quarter of its time, or by a second.
    let interval = (shortest_bound / 4).clamp(Duration::from_millis(5), Duration::from_secs(1));
    loop {
        ganger_rt::sleep(interval).await;
        engine.sweep();
    }
}
