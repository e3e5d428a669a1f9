//! A progress bar on standard error, where a person can see it.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::args::Show;
use crate::output::grouped;

/// Redraws a second; more would cost and please nobody.
const DRAWS_A_SECOND: u8 = 10;

/// How many of how many jobs are done, the rate, and the time to come.
#[derive(Clone, Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    what: &'static str,
    started: Instant,
}

impl Progress {
    /// A bar that counts `what`, if there is somebody to see it.
    pub(crate) fn new(show: &Show, what: &'static str) -> Self {
        let seen = io::stderr().is_terminal() && !show.quiet && !show.no_progress;
        let bar = ProgressBar::no_length().with_message(what);
        bar.set_draw_target(if seen {
            ProgressDrawTarget::stderr_with_hz(DRAWS_A_SECOND)
        } else {
            ProgressDrawTarget::hidden()
        });
        bar.set_style(style("{spinner} {human_pos} {msg}, {per_sec}, {elapsed}"));
        if seen {
            bar.enable_steady_tick(Duration::from_millis(100));
        }
        Self { bar, what, started: Instant::now() }
    }

    /// There are `length` in all.
    pub(crate) fn set_length(&self, length: u64) {
        self.bar.set_length(length);
        self.bar.set_message(self.what);
        self.bar.set_style(style(
            "{wide_bar:.cyan/dim} {human_pos} of {human_len} {msg}, {per_sec}, {eta} left",
        ));
    }

    pub(crate) fn set(&self, done: u64) {
        self.bar.set_position(done);
    }

    /// So many of them are known so far.
    pub(crate) fn set_known(&self, known: u64) {
        if self.bar.length().is_none() && !self.bar.is_hidden() {
            self.bar.set_message(format!("of {} jobs done", grouped(known)));
        }
    }

    /// Takes the bar away for good, without a word.
    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }

    /// Takes the bar away while `talk` writes.
    pub(crate) fn suspend<T>(&self, talk: impl FnOnce() -> T) -> T {
        self.bar.suspend(talk)
    }

    /// Takes the bar away for good; says how it went if a bar was there.
    pub(crate) fn finish(&self, what: &str) {
        let seen = !self.bar.is_hidden();
        let done = self.bar.position();
        self.bar.finish_and_clear();
        if seen {
            crate::output::note(&summary(done, what, self.started.elapsed()));
        }
    }
}

/// `10,000 jobs done in 0.35 s (28,571/s)`.
pub(crate) fn summary(count: u64, what: &str, time: Duration) -> String {
    format!("{} {what} in {:.2} s ({}/s)", grouped(count), time.as_secs_f64(), rate(count, time))
}

/// How many a second, as people read it.
pub(crate) fn rate(count: u64, time: Duration) -> String {
    let millis = ganger_shared::time::millis(time).max(1);
    grouped(count.saturating_mul(1_000) / millis)
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
