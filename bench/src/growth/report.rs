//! What was measured: a curve for each dimension, and how it rises.
//! Not how it looks: `table` and `plot` show it.

use serde::Serialize;

use super::dimension::Dimension;
use crate::procfs::Machine;
use crate::report::Spread;

/// Below this exponent a curve counts as flat: a third more at the end of four decades.
const FLAT_BELOW: f64 = 0.03;

/// Below this one it rises no faster than a logarithm, which from 1 k to 10 M is an exponent of 0.09.
const LOGARITHMIC_BELOW: f64 = 0.1;

/// Everything one call found out.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// The version of this format.
    pub(crate) v: u32,
    pub(crate) machine: Machine,
    pub(crate) durability: &'static str,
    /// Jobs or calls that were asked for at each step.
    pub(crate) jobs: u64,
    pub(crate) runs: u32,
    pub(crate) curves: Vec<Curve>,
}

/// What a job or a call costs along one dimension.
#[derive(Debug, Serialize)]
pub(crate) struct Curve {
    pub(crate) dimension: Dimension,
    pub(crate) steps: Vec<Step>,
    /// Only of two steps and more.
    pub(crate) trend: Option<Trend>,
}

/// One point of a curve.
#[derive(Debug, Serialize)]
pub(crate) struct Step {
    /// How much there is of what grows.
    pub(crate) size: u64,
    /// The broker's CPU time per job or call, in microseconds, over all runs that went well.
    pub(crate) cpu_us: Option<Spread>,
    pub(crate) jobs_per_second: Option<Spread>,
    /// The broker's resident memory for each of what grows, in bytes.
    pub(crate) unit_bytes: Option<Spread>,
    pub(crate) runs: Vec<Run>,
    /// Why runs do not count: jobs were lost, or something broke.
    pub(crate) failures: Vec<String>,
}

/// One run that went well.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Run {
    pub(crate) jobs: u64,
    pub(crate) seconds: f64,
    pub(crate) cpu_us: f64,
    pub(crate) jobs_per_second: f64,
    pub(crate) unit_bytes: Option<f64>,
}

/// How a curve rises, by the medians of its steps.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Trend {
    /// The last step's cost divided by the first's.
    pub(crate) ratio: f64,
    /// The slope of the straight line through the points where both axes are logarithmic: the cost
    /// rises like this power of the size.
    pub(crate) exponent: f64,
    pub(crate) growth: Growth,
}

/// A trend in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Growth {
    Flat,
    Logarithmic,
    Faster,
}

impl Growth {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Flat => "flat",
            Self::Logarithmic => "logarithmic",
            Self::Faster => "faster",
        }
    }
}

impl Report {
    /// How many runs do not count.
    pub(crate) fn failures(&self) -> usize {
        let steps = self.curves.iter().flat_map(|curve| &curve.steps);
        steps.map(|step| step.failures.len()).sum()
    }
}

impl Curve {
    /// A curve whose points are yet to be measured.
    pub(crate) fn new(dimension: Dimension, sizes: &[u64]) -> Self {
        let steps = sizes.iter().map(|&size| Step::new(size)).collect();
        Self { dimension, steps, trend: None }
    }

    /// The most connections that a step needs.
    pub(crate) fn connections(&self) -> u64 {
        match self.dimension {
            Dimension::Connections | Dimension::Workers => {
                self.steps.iter().map(|step| step.size).max().unwrap_or(0)
            }
            Dimension::Backlog
            | Dimension::Queues
            | Dimension::Delayed
            | Dimension::Leased
            | Dimension::Payload
            | Dimension::ListAppend
            | Dimension::ListPopFirst
            | Dimension::ListPopLast
            | Dimension::ListGet
            | Dimension::ListLen => 0,
        }
    }

    /// Finds the trend, once all steps are measured.
    pub(crate) fn conclude(&mut self) {
        let point = |step: &Step| Some((step.size as f64, step.cpu_us?.median));
        let points: Vec<_> = self.steps.iter().filter_map(point).collect();
        self.trend = Trend::of(&points);
    }
}

impl Step {
    fn new(size: u64) -> Self {
        let (runs, failures) = (Vec::new(), Vec::new());
        Self { size, cpu_us: None, jobs_per_second: None, unit_bytes: None, runs, failures }
    }

    /// Adds what came of one run.
    pub(crate) fn add(&mut self, outcome: anyhow::Result<Run>) {
        match outcome {
            Ok(run) => self.runs.push(run),
            Err(error) => self.failures.push(format!("{error:#}")),
        }
        self.cpu_us = self.spread(|run| Some(run.cpu_us));
        self.jobs_per_second = self.spread(|run| Some(run.jobs_per_second));
        self.unit_bytes = self.spread(|run| run.unit_bytes);
    }

    fn spread(&self, value: impl Fn(&Run) -> Option<f64>) -> Option<Spread> {
        Spread::of(self.runs.iter().filter_map(value).collect())
    }
}

impl Trend {
    /// Of points (size, cost), in rising order; none of less than two.
    fn of(points: &[(f64, f64)]) -> Option<Self> {
        let ([(_, first), ..], [.., (_, last)]) = (points, points) else { return None };
        let exponent = slope(points.iter().map(|(size, cost)| (size.ln(), cost.ln())))?;
        let growth = match exponent {
            e if e < FLAT_BELOW => Growth::Flat,
            e if e < LOGARITHMIC_BELOW => Growth::Logarithmic,
            _ => Growth::Faster,
        };
        Some(Self { ratio: last / first, exponent, growth })
    }
}

/// The slope of the straight line that fits the points best, by least squares; none unless they are
/// at two places at least.
fn slope(points: impl Iterator<Item = (f64, f64)> + Clone) -> Option<f64> {
    let count = points.clone().count() as f64;
    let (x, y) = points.clone().fold((0.0, 0.0), |(x, y), (px, py)| (x + px, y + py));
    let (x, y) = (x / count, y / count);
    let (over, under) = points.fold((0.0, 0.0), |(over, under), (px, py)| {
        (over + (px - x) * (py - y), under + (px - x) * (px - x))
    });
    (under > 0.0).then(|| over / under)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trend(cost: impl Fn(f64) -> f64) -> Trend {
        let sizes = [1e3, 1e4, 1e5, 1e6, 1e7];
        Trend::of(&sizes.map(|size| (size, cost(size)))).unwrap()
    }

    #[test]
    fn cost_that_stays_is_flat_and_one_that_follows_the_size_is_not() {
        let flat = trend(|_| 3.0);
        assert_eq!((flat.ratio, flat.growth), (1.0, Growth::Flat));
        let linear = trend(|size| 2.0 * size);
        assert!((linear.exponent - 1.0).abs() < 1e-9, "{linear:?}");
        assert_eq!(linear.growth, Growth::Faster);
        assert!((trend(f64::sqrt).exponent - 0.5).abs() < 1e-9);
    }

    #[test]
    fn logarithm_is_told_from_the_root_of_a_root() {
        assert_eq!(trend(f64::ln).growth, Growth::Logarithmic);
        assert_eq!(trend(|size| size.powf(0.25)).growth, Growth::Faster);
    }

    #[test]
    fn one_point_has_no_trend() {
        assert_eq!(Trend::of(&[(1e3, 1.0)]), None);
        assert_eq!(Trend::of(&[]), None);
    }

    #[test]
    fn run_that_failed_is_no_part_of_the_figure() {
        let mut step = Step::new(10);
        let run =
            |cpu_us| Run { jobs: 1, seconds: 1.0, cpu_us, jobs_per_second: 1.0, unit_bytes: None };
        step.add(Ok(run(2.0)));
        step.add(Err(anyhow::anyhow!("of 1 jobs 1 lost")));
        assert_eq!(step.cpu_us, Some(Spread { median: 2.0, min: 2.0, max: 2.0 }));
        assert_eq!(step.failures.len(), 1);
    }
}
