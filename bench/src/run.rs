//! Carries out a plan: for each load, the peers in turn, run after run (A B C A B C), so that a
//! machine that changes its speed changes it for all.
//! Not what a shape is, nor how a figure is shown.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::calls::Call;
use crate::crew::{Crew, Performance};
use crate::janitor::Premises;
use crate::level::Level;
use crate::peer::{Peer, Program, Role, Task};
use crate::procfs::{self, CpuTimes};
use crate::report::{Contestant, Load, Missing, Report, Run, Series};
use crate::server::{Server, Start};
use crate::shapes::{Amount, Shape, Style, Unit};

/// The most payload bytes of one batch: larger ones only fill buffers.
const BATCH_BYTES_MAX: usize = 1 << 20;

/// Round trips before a client measures.
const WARMUP: u64 = 200;

/// What to measure.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) peers: Vec<&'static dyn Peer>,
    /// Whether a peer that is not installed is only noted.
    pub(crate) tolerates_missing: bool,
    pub(crate) shapes: Vec<Shape>,
    /// What is called in shapes of calls.
    pub(crate) calls: Vec<Call>,
    pub(crate) payloads: Vec<usize>,
    pub(crate) levels: Vec<Level>,
    pub(crate) runs: u32,
    /// Jobs or calls per run, instead of what the shape says.
    pub(crate) jobs: Option<u64>,
    /// How long a run should take, if the shape leaves it open.
    pub(crate) seconds: f64,
    pub(crate) batch: usize,
    /// Where servers keep their data.
    pub(crate) dir: PathBuf,
}

/// A peer that is installed.
struct Entrant {
    peer: &'static dyn Peer,
    program: Program,
}

/// Carries out `plan`, and tells `progress` before each run what it is.
///
/// # Errors
///
/// A peer is not installed, unless that is tolerated. What goes wrong in a run is in the report.
pub(crate) fn carry_out(plan: &Plan, progress: &mut dyn FnMut(&str)) -> Result<Report> {
    let (entrants, missing) = entrants(plan)?;
    let premises = Premises::new(&plan.dir)?;
    let mut series = Vec::new();
    for load in loads(plan) {
        series.extend(compare(plan, &premises, load, &entrants, progress));
    }
    let contestant = |entrant: &Entrant| Contestant {
        name: entrant.peer.name(),
        version: entrant.program.version.clone(),
        driven_as: entrant.peer.driven_as(),
    };
    let contestants = entrants.iter().map(contestant).collect();
    Ok(Report { v: 1, machine: procfs::machine(&plan.dir), contestants, missing, series })
}

fn entrants(plan: &Plan) -> Result<(Vec<Entrant>, Vec<Missing>)> {
    let (mut entrants, mut missing) = (Vec::new(), Vec::new());
    for &peer in &plan.peers {
        match peer.locate() {
            Ok(program) => entrants.push(Entrant { peer, program }),
            Err(error) if plan.tolerates_missing => {
                missing.push(Missing { name: peer.name(), reason: format!("{error:#}") });
            }
            Err(error) => return Err(error.context(format!("{} cannot take part", peer.name()))),
        }
    }
    Ok((entrants, missing))
}

fn loads(plan: &Plan) -> Vec<Load> {
    let mut loads = Vec::new();
    for &durability in &plan.levels {
        for (at, &payload) in plan.payloads.iter().enumerate() {
            for &shape in &plan.shapes {
                let calls = calls(plan, shape).into_iter();
                // What has no payload is the same for all lengths of one.
                let calls = calls.filter(|call| at == 0 || call.is_none_or(Call::has_payload));
                loads.extend(calls.map(|call| Load { shape, call, durability, payload }));
            }
        }
    }
    loads
}

/// What is called in a shape; one that is about jobs has no call.
fn calls(plan: &Plan, shape: Shape) -> Vec<Option<Call>> {
    let callers = shape.cast().callers;
    if callers == 0 {
        return vec![None];
    }
    let suiting = plan.calls.iter().filter(|call| callers == 1 || call.suits_many());
    suiting.copied().map(Some).collect()
}

/// One load on all peers that have its shape.
fn compare(
    plan: &Plan,
    premises: &Premises,
    load: Load,
    entrants: &[Entrant],
    progress: &mut dyn FnMut(&str),
) -> Vec<Series> {
    let mut lanes: Vec<_> = entrants
        .iter()
        .filter(|entrant| entrant.peer.has_shape(load.shape))
        .map(|entrant| {
            let lacks = entrant.peer.lacks(&entrant.program, load.durability.durability());
            (entrant, Series::new(load, entrant.peer, lacks), None)
        })
        .collect();
    for run in 1..=plan.runs {
        for (entrant, series, jobs) in &mut lanes {
            let Load { durability, payload, .. } = load;
            let name = entrant.peer.name();
            if let Some(why) = series.unavailable {
                if run == 1 {
                    let what = format!("{} {} {payload} B", load.name(), durability.name());
                    progress(&format!("{what}: {name} {why}"));
                }
                continue;
            }
            let what = format!("{} {} {payload} B, run {run}", load.name(), durability.name());
            progress(&format!("{what}: {name}"));
            let stage = Stage { plan, premises, load, entrant };
            // A peer that cannot do it once is not asked again.
            if series.failures.is_empty() {
                series.add(stage.jobs(jobs).and_then(|jobs| stage.run(jobs)));
            }
        }
    }
    let mut series: Vec<_> = lanes.into_iter().map(|(_, series, _)| series).collect();
    let first = series.first().and_then(|series| series.figure);
    series.iter_mut().for_each(|series| series.compare(first));
    series
}

/// One peer under one load.
struct Stage<'a> {
    plan: &'a Plan,
    premises: &'a Premises,
    load: Load,
    entrant: &'a Entrant,
}

impl Stage<'_> {
    /// How many jobs a run has; found out once, and then remembered in `known`.
    fn jobs(&self, known: &mut Option<u64>) -> Result<u64> {
        if let Some(jobs) = *known {
            return Ok(jobs);
        }
        let Load { shape, payload, .. } = self.load;
        let jobs = match (shape.amount(), self.plan.jobs) {
            (Amount::None, _) => 0,
            (Amount::Paced(_) | Amount::Fixed(_), Some(jobs)) | (Amount::Fixed(jobs), None) => {
                shape.bounded(jobs, payload)
            }
            (Amount::Paced(first), None) => {
                let first = shape.bounded(first, payload);
                let run = self.run(first)?;
                let rate = run.jobs as f64 / run.seconds.max(1e-6);
                #[expect(clippy::cast_possible_truncation, reason = "bounded right after")]
                let paced = (rate * self.plan.seconds) as u64;
                shape.bounded(paced.max(first), payload)
            }
        };
        *known = Some(jobs);
        Ok(jobs)
    }

    /// One run on a server of its own.
    fn run(&self, jobs: u64) -> Result<Run> {
        let Load { shape, call, durability, .. } = self.load;
        let Entrant { peer, program } = self.entrant;
        let start = match shape.amount() {
            Amount::None => Start::Bare,
            Amount::Paced(_) | Amount::Fixed(_) => Start::Leashed,
        };
        let server = Server::start(*peer, program, self.premises.dir(), durability, start)?;
        peer.prepare(server.site()).with_context(|| format!("{} refuses", peer.name()))?;
        if shape == Shape::Startup {
            return startup(&server);
        }
        if shape.has_backlog() {
            Crew::assemble(&[self.task(&server, Role::Producer, 0, jobs)])?.perform()?;
        }
        if let Some((call, jobs)) = call.and_then(|call| call.preparation(jobs)) {
            let task = self.task(&server, Role::Caller { call, callers: 1 }, 0, jobs);
            Crew::assemble(&[Task { style: self.caller_style(Style::Batched), ..task }])?
                .perform()?;
        }
        let mut crew = Crew::assemble(&self.tasks(&server, jobs))?;
        let rss_before = procfs::resident_bytes(server.pid())?;
        let cpu_before = CpuTimes::of(server.pid())?;
        let performance = crew.perform()?;
        let cpu = CpuTimes::of(server.pid())?.since(&cpu_before);
        let rss = procfs::resident_bytes(server.pid())?;
        let results = match call {
            None => performance.verdict(),
            Some(call) => {
                let task = self.task(&server, Role::Auditor { call }, 0, jobs);
                Crew::assemble(&[task])?.perform()?.verdict()
            }
        };
        let measured = jobs - self.warmup(jobs);
        let seconds = performance.elapsed().as_secs_f64();
        let per_job = |count: f64| count / jobs as f64;
        Ok(Run {
            jobs: measured,
            seconds,
            figure: match shape.unit() {
                Unit::MicrosecondsP50 => p50(&performance)?,
                Unit::JobsPerSecond | Unit::CallsPerSecond => measured as f64 / seconds,
                Unit::BytesPerJob => per_job(rss.saturating_sub(rss_before) as f64),
                Unit::Milliseconds => server.started_in().as_secs_f64() * 1e3,
            },
            latency_us: performance.reports.iter().find_map(|report| report.latency),
            server_cpu_us: Some(per_job(cpu.as_secs_f64() * 1e6)),
            roles_cpu_us: Some(per_job(performance.cpu.as_secs_f64() * 1e6)),
            server_rss: rss,
            results,
        })
    }

    fn tasks(&self, server: &Server, jobs: u64) -> Vec<Task> {
        let cast = self.load.shape.cast();
        let mut parts = vec![
            (Role::Client, cast.clients),
            (Role::Producer, cast.producers),
            (Role::Worker, cast.workers),
            (Role::Collector, cast.collectors),
        ];
        let callers = cast.callers;
        parts.extend(self.load.call.map(|call| (Role::Caller { call, callers }, callers)));
        let mut tasks = Vec::new();
        for (role, count) in parts {
            tasks.extend((0..count).map(|index| self.task(server, role, index, jobs)));
        }
        tasks
    }

    fn task(&self, server: &Server, role: Role, index: u32, jobs: u64) -> Task {
        let Load { shape, payload, .. } = self.load;
        Task {
            peer: self.entrant.peer.name().to_owned(),
            role,
            index,
            style: match role {
                Role::Caller { .. } => self.caller_style(shape.style()),
                _ => shape.style(),
            },
            site: server.site().clone(),
            payload,
            jobs,
            warmup: self.warmup(jobs),
            batch: match shape.style() {
                Style::Plain | Style::Pipelined => 1,
                Style::Batched => self.plan.batch.min(BATCH_BYTES_MAX / payload).max(1),
            },
        }
    }

    /// How a caller goes about its calls, where `style` is wished for.
    fn caller_style(&self, style: Style) -> Style {
        if self.entrant.peer.has_pipelines() { style } else { Style::Plain }
    }

    /// How many of the jobs are not measured.
    fn warmup(&self, jobs: u64) -> u64 {
        if self.load.shape.unit() == Unit::MicrosecondsP50 { WARMUP.min(jobs / 10) } else { 0 }
    }
}

/// A run of nothing but the start.
fn startup(server: &Server) -> Result<Run> {
    let started_in = server.started_in();
    Ok(Run {
        jobs: 0,
        seconds: started_in.as_secs_f64(),
        figure: started_in.as_secs_f64() * 1e3,
        latency_us: None,
        server_cpu_us: None,
        roles_cpu_us: None,
        server_rss: procfs::resident_bytes(server.pid())?,
        results: None,
    })
}

fn p50(performance: &Performance) -> Result<f64> {
    let latency = performance.reports.iter().find_map(|report| report.latency);
    latency.map(|latency| latency.p50).context("no client has reported")
}
