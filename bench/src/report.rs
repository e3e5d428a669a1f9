//! What was measured: series of runs, their medians, and the JSON of it.
//! Not how it looks: `table` and `plot` show it.

use serde::Serialize;

use crate::calls::Call;
use crate::check::Verdict;
use crate::level::Level;
use crate::peer::Peer;
use crate::procfs::Machine;
use crate::roles::Latency;
use crate::shapes::{Shape, Unit};

/// Everything one call of the benchmark found out.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// The version of this format.
    pub(crate) v: u32,
    pub(crate) machine: Machine,
    pub(crate) contestants: Vec<Contestant>,
    /// Peers that were asked for and are not installed, and what to do about it.
    pub(crate) missing: Vec<Missing>,
    pub(crate) series: Vec<Series>,
}

/// A peer that took part.
#[derive(Debug, Serialize)]
pub(crate) struct Contestant {
    pub(crate) name: &'static str,
    pub(crate) version: String,
    pub(crate) driven_as: &'static str,
}

/// A peer that could not take part.
#[derive(Debug, Serialize)]
pub(crate) struct Missing {
    pub(crate) name: &'static str,
    pub(crate) reason: String,
}

/// The runs of one peer under one load.
#[derive(Debug, Serialize)]
pub(crate) struct Series {
    pub(crate) load: Load,
    pub(crate) peer: &'static str,
    /// Whether the peer is no broker but the limit of what one could do.
    pub(crate) is_limit: bool,
    pub(crate) unit: Unit,
    /// The figure of a run, over all runs that went well.
    pub(crate) figure: Option<Spread>,
    /// Its median divided by that of the first peer.
    pub(crate) ratio: Option<f64>,
    /// What became of the jobs of all runs, where results are received.
    pub(crate) results: Option<Verdict>,
    pub(crate) runs: Vec<Run>,
    /// Why the peer cannot carry this load at all, if it cannot. No failure: it is said beforehand.
    pub(crate) unavailable: Option<&'static str>,
    /// Why runs do not count: results were lost, or something broke.
    pub(crate) failures: Vec<String>,
}

/// What peers have in common when they are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Load {
    pub(crate) shape: Shape,
    /// What is called, where it is calls.
    pub(crate) call: Option<Call>,
    pub(crate) durability: Level,
    /// The length of a job's or a call's payload.
    pub(crate) payload: usize,
}

/// One run.
#[derive(Debug, Serialize)]
pub(crate) struct Run {
    /// Or calls.
    pub(crate) jobs: u64,
    pub(crate) seconds: f64,
    /// What the shape is about, in the unit of its series.
    pub(crate) figure: f64,
    pub(crate) latency_us: Option<Latency>,
    /// CPU time per job or call, in microseconds.
    pub(crate) server_cpu_us: Option<f64>,
    pub(crate) roles_cpu_us: Option<f64>,
    /// The server's resident memory at the end, in bytes.
    pub(crate) server_rss: u64,
    /// What became of the jobs, where results are received, or of what was called.
    pub(crate) results: Option<Verdict>,
}

/// The middle and the ends of some values.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Load {
    /// Its shape, and what is called.
    pub(crate) fn name(self) -> String {
        let shape = self.shape.name();
        self.call.map_or_else(|| shape.to_owned(), |call| format!("{shape} {}", call.name()))
    }
}

impl Series {
    /// A series without runs.
    pub(crate) fn new(load: Load, peer: &dyn Peer, unavailable: Option<&'static str>) -> Self {
        Self {
            load,
            peer: peer.name(),
            is_limit: peer.is_limit(),
            unit: load.shape.unit(),
            figure: None,
            ratio: None,
            results: None,
            runs: Vec::new(),
            unavailable,
            failures: Vec::new(),
        }
    }

    /// Adds what came of one run. It counts if each of its jobs has one result.
    pub(crate) fn add(&mut self, outcome: anyhow::Result<Run>) {
        match outcome {
            Ok(run) => {
                self.results = Verdict::both(self.results, run.results);
                match run.results.and_then(|results| results.complaint()) {
                    None => self.runs.push(run),
                    Some(complaint) => self.failures.push(complaint),
                }
            }
            Err(error) => self.failures.push(format!("{error:#}")),
        }
        self.figure = self.spread(|run| Some(run.figure));
    }

    /// Notes how its figure compares to that of the first peer.
    pub(crate) fn compare(&mut self, first: Option<Spread>) {
        self.ratio = self.figure.zip(first).map(|(own, first)| own.median / first.median);
    }

    /// The spread of some value of each run, if any run has it.
    pub(crate) fn spread(&self, value: impl Fn(&Run) -> Option<f64>) -> Option<Spread> {
        Spread::of(self.runs.iter().filter_map(value).collect())
    }
}

impl Spread {
    /// Of any values; none of none.
    pub(crate) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let upper = values[middle];
        let lower = if values.len().is_multiple_of(2) { values[middle - 1] } else { upper };
        Some(Self { median: f64::midpoint(lower, upper), min, max })
    }
}

impl Report {
    /// The loads that were measured, in their order.
    pub(crate) fn loads(&self) -> Vec<Load> {
        let mut loads: Vec<_> = self.series.iter().map(|series| series.load).collect();
        loads.dedup();
        loads
    }

    /// The series of one load, in the order of the peers.
    pub(crate) fn series_of(&self, load: Load) -> impl Iterator<Item = &Series> {
        self.series.iter().filter(move |series| series.load == load)
    }

    /// How many runs do not count.
    pub(crate) fn failures(&self) -> usize {
        self.series.iter().map(|series| series.failures.len()).sum()
    }
}

/// A payload's length as people write it.
pub(crate) fn size(bytes: usize) -> String {
    if bytes >= 1024 && bytes.is_multiple_of(1024) {
        format!("{} KiB", bytes / 1024)
    } else {
        format!("{bytes} B")
    }
}

/// A figure with three digits that count, and a `k` or `M` for large ones.
pub(crate) fn short(value: f64) -> String {
    let (value, suffix) = match value {
        v if v >= 999_500.0 => (v / 1e6, " M"),
        v if v >= 9_995.0 => (v / 1e3, " k"),
        v => (v, ""),
    };
    match value {
        v if v >= 99.95 => format!("{v:.0}{suffix}"),
        v if v >= 9.995 => format!("{v:.1}{suffix}"),
        v => format!("{v:.2}{suffix}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers;

    #[test]
    fn median_of_an_even_count_is_between_the_middle_two() {
        let spread = Spread::of(vec![4.0, 1.0, 3.0, 9.0]).unwrap();
        assert_eq!(spread, Spread { median: 3.5, min: 1.0, max: 9.0 });
        assert_eq!(Spread::of(vec![]), None);
    }

    #[test]
    fn run_with_a_loss_does_not_count_and_the_loss_does() {
        let load = Load { shape: Shape::Best, call: None, durability: Level::None, payload: 16 };
        let mut series = Series::new(load, peers::ALL[0], None);
        for lost in [0, 2] {
            series.add(Ok(Run {
                jobs: 9,
                seconds: 1.0,
                figure: 9.0,
                latency_us: None,
                server_cpu_us: None,
                roles_cpu_us: None,
                server_rss: 0,
                results: Some(Verdict { expected: 9, lost, duplicates: 0, unexpected: 0 }),
            }));
        }
        let results = Verdict { expected: 18, lost: 2, duplicates: 0, unexpected: 0 };
        assert_eq!((series.runs.len(), series.results), (1, Some(results)));
        assert!(series.failures[0].contains("2 lost"));
    }

    #[test]
    fn figures_are_short() {
        let texts = [0.684, 16.84, 562.4, 9_990.0, 52_412.0, 562_000.0, 1_441_000.0].map(short);
        assert_eq!(texts, ["0.68", "16.8", "562", "9990", "52.4 k", "562 k", "1.44 M"]);
        assert_eq!([16, 1000, 65_536].map(size), ["16 B", "1000 B", "64 KiB"]);
    }
}
