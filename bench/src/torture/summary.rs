//! What is said of runs in the end.

use std::process::ExitCode;
use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use ganger_history::{Counts, Verdict};
use ganger_shared::Durability;
use serde::Serialize;

use super::proxy::Silence;
use super::run::{Outcome, Plan};

/// How long a client may hear nothing on an open session: two heartbeats. It looks three times in
/// each, so it notices up to two thirds later; the rest is for a busy machine.
const CLIENT_SILENCE_MAX: Duration = Duration::from_millis(3_250);

/// How long opening a session may take, by the client's own bound of 10 s.
const OPENING_SILENCE_MAX: Duration = Duration::from_millis(11_500);

/// How long a broker may hear nothing: three heartbeats, and a quarter of that until it looks.
const BROKER_SILENCE_MAX: Duration = Duration::from_millis(4_250);

/// One run.
#[derive(Debug, Serialize)]
pub(crate) struct Run {
    scenario: &'static str,
    seed: u64,
    durability: Durability,
    passed: bool,
    /// What is wrong.
    complaints: Vec<String>,
    seconds: f64,
    counts: Counts,
    /// From the start of a killed broker until it served again.
    recovery_ms: Option<Recovery>,
    peak_rss_bytes: u64,
    /// Files of the journal, in the end.
    data_bytes: u64,
    /// Only with a proxy.
    silence_ms: Option<SilenceMs>,
}

/// Milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
struct Recovery {
    p50: f64,
    p99: f64,
    max: f64,
}

/// The longest that each kept a connection on which it heard nothing, in milliseconds; and how many
/// connections met a fault.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
struct SilenceMs {
    clients: f64,
    opening: f64,
    brokers: f64,
    faults: u64,
}

fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e4).round() / 10.0
}

impl Recovery {
    fn of(mut times: Vec<Duration>) -> Option<Self> {
        times.sort();
        // The smallest that so many of a hundred are not above.
        let at = |percent: usize| times.get((times.len() * percent).div_ceil(100).max(1) - 1);
        let [p50, p99, max] = [50, 99, 100].map(at);
        Some(Self { p50: millis(*p50?), p99: millis(*p99?), max: millis(*max?) })
    }
}

impl Run {
    pub(crate) fn of(plan: &Plan, outcome: &Outcome) -> Self {
        let mut complaints: Vec<String> = outcome.failure.iter().cloned().collect();
        complaints.extend(outcome.verdict.complaint());
        complaints.extend(too_long(&outcome.silence));
        let Silence { clients, opening, brokers, faults } = outcome.silence;
        let silence = SilenceMs {
            clients: millis(clients),
            opening: millis(opening),
            brokers: millis(brokers),
            faults,
        };
        Self {
            scenario: plan.scenario.as_ref().map_or("kills", |scenario| scenario.name),
            seed: plan.seed,
            durability: plan.durability,
            passed: complaints.is_empty(),
            complaints,
            seconds: outcome.elapsed.as_secs_f64(),
            counts: outcome.verdict.counts.clone(),
            recovery_ms: Recovery::of(outcome.recoveries.clone()),
            peak_rss_bytes: outcome.peak_bytes,
            data_bytes: outcome.data_bytes,
            silence_ms: plan.scenario.as_ref().map(|_| silence),
        }
    }

    /// As progress is told.
    pub(crate) fn line(&self) -> String {
        let Self { scenario, seed, seconds, counts, .. } = self;
        let verdict = if self.passed { "passed" } else { "FAILED" };
        let jobs = counts.attempted;
        let mut line = format!("{scenario:<20} {verdict} seed {seed}, {jobs} jobs, {seconds:.1} s");
        for complaint in &self.complaints {
            line += &format!("\n  {complaint}");
        }
        line
    }
}

/// Who has waited for too long on a dead connection.
fn too_long(silence: &Silence) -> Vec<String> {
    let bounds = [
        ("a client with an open session", silence.clients, CLIENT_SILENCE_MAX),
        ("a client that opened a session", silence.opening, OPENING_SILENCE_MAX),
        ("the broker", silence.brokers, BROKER_SILENCE_MAX),
    ];
    let late = bounds.into_iter().filter(|(_, time, most)| time > most);
    late.map(|(who, time, most)| {
        format!("{who} kept a silent connection for {time:.1?}, the most is {most:?}")
    })
    .collect()
}

/// All runs of one call.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    /// The version of this format.
    v: u32,
    passed: bool,
    runs: Vec<Run>,
}

impl Summary {
    pub(crate) fn of(runs: Vec<Run>) -> Self {
        Self { v: 1, passed: runs.iter().all(|run| run.passed), runs }
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        if self.passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    /// One run below itself, several beside each other.
    pub(crate) fn table(&self) -> String {
        match self.runs.as_slice() {
            [run] => {
                let mut rows = rows(&run.counts);
                if let Some(Recovery { p50, p99, max }) = run.recovery_ms {
                    rows.push(("recovery p50", format!("{p50:.1} ms")));
                    rows.push(("recovery p99", format!("{p99:.1} ms")));
                    rows.push(("recovery max", format!("{max:.1} ms")));
                }
                if let Some(SilenceMs { clients, opening, brokers, faults }) = run.silence_ms {
                    rows.push(("connections with a fault", faults.to_string()));
                    rows.push(("longest silence, clients", format!("{clients:.0} ms")));
                    rows.push(("longest silence, opening", format!("{opening:.0} ms")));
                    rows.push(("longest silence, broker", format!("{brokers:.0} ms")));
                }
                rows.push(("peak memory of the broker", mebibytes(run.peak_rss_bytes)));
                rows.push(("journal in the end", mebibytes(run.data_bytes)));
                let verdict = if run.passed { "passed" } else { "FAILED" };
                rows.push(("verdict", verdict.to_owned()));
                two_columns(rows)
            }
            runs => beside(runs),
        }
    }
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

fn rows(counts: &Counts) -> Vec<(&'static str, String)> {
    [
        ("kills", counts.kills),
        ("jobs", counts.attempted),
        ("acknowledged", counts.acknowledged),
        ("refused", counts.refused),
        ("unanswered", counts.unanswered),
        ("recovered of these", counts.recovered),
        ("completed", counts.completed),
        ("acks", counts.acked),
        ("acks refused", counts.acks_refused),
        ("stored nevertheless", counts.acks_refused_but_stored),
        ("deliveries", counts.deliveries),
        ("duplicate deliveries", counts.duplicate_deliveries),
        ("reads", counts.reads),
        ("duplicate reads", counts.duplicate_reads),
        ("jobs whose order was judged", counts.ordered),
    ]
    .map(|(name, count)| (name, count.to_string()))
    .into()
}

fn two_columns(rows: Vec<(&'static str, String)>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    for (name, value) in rows {
        table.add_row([name.to_owned(), value]);
    }
    align(&mut table)
}

fn beside(runs: &[Run]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header([
        "scenario",
        "verdict",
        "seed",
        "faults",
        "jobs",
        "completed",
        "recovered",
        "redelivered",
        "reread",
        "ordered",
        "silence",
        "opening",
        "broker",
        "seconds",
    ]);
    for run in runs {
        let (counts, silence) = (&run.counts, run.silence_ms);
        let ms = |of: fn(SilenceMs) -> f64| silence.map_or(0.0, of).round().to_string();
        table.add_row([
            run.scenario.to_owned(),
            if run.passed { "passed" } else { "FAILED" }.to_owned(),
            run.seed.to_string(),
            silence.map_or(0, |silence| silence.faults).to_string(),
            counts.attempted.to_string(),
            counts.completed.to_string(),
            counts.recovered.to_string(),
            counts.duplicate_deliveries.to_string(),
            counts.duplicate_reads.to_string(),
            counts.ordered.to_string(),
            ms(|silence| silence.clients),
            ms(|silence| silence.opening),
            ms(|silence| silence.brokers),
            format!("{:.1}", run.seconds),
        ]);
    }
    align(&mut table)
}

fn align(table: &mut Table) -> String {
    table.column_iter_mut().skip(1).for_each(|column| {
        column.set_cell_alignment(CellAlignment::Right);
    });
    format!("{table}\n")
}

/// A verdict, below itself.
pub(crate) fn verdict_table(verdict: &Verdict) -> String {
    let mut rows = rows(&verdict.counts);
    rows.push(("verdict", if verdict.passed { "passed" } else { "FAILED" }.to_owned()));
    let mut text = two_columns(rows);
    for example in &verdict.examples {
        text += &format!("{}: {}\n", example.rule, example.text);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recovery_is_the_smallest_time_that_so_many_are_not_above() {
        let times = (1..=100).rev().map(Duration::from_millis).collect();
        assert_eq!(Recovery::of(times), Some(Recovery { p50: 50.0, p99: 99.0, max: 100.0 }));
        let one = Recovery::of(vec![Duration::from_millis(7)]);
        assert_eq!(one, Some(Recovery { p50: 7.0, p99: 7.0, max: 7.0 }));
        assert_eq!(Recovery::of(Vec::new()), None);
    }

    #[test]
    fn connection_that_is_silent_for_too_long_is_a_complaint() {
        let silence = Silence { clients: CLIENT_SILENCE_MAX, ..Silence::default() };
        assert!(too_long(&silence).is_empty());
        let silence = Silence { brokers: Duration::from_secs(60), ..silence };
        let complaints = too_long(&silence);
        assert_eq!(
            complaints,
            ["the broker kept a silent connection for 60.0s, the most is 4.25s"]
        );
    }
}
