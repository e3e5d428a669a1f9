//! What happens inside the processes that call shared objects: one makes the calls and keeps time,
//! another looks afterwards at what they have left.
//! Not how a peer is called: its `Caller` does that.

use std::collections::VecDeque;

use anyhow::{Context as _, Result};
use hdrhistogram::Histogram;

use crate::calls::{Audit, Call};
use crate::payload::Template;
use crate::peer::{Caller, Task};
use crate::procfs::monotonic_ns;
use crate::roles::{Latency, Report};
use crate::shapes::Style;

/// Calls that are under way on one connection unless [`Style::Plain`] has one.
pub(crate) const WINDOW: usize = 256;

/// Makes every call whose turn is this caller's, of `callers`, and checks the answers.
///
/// # Errors
///
/// The connection breaks, or an answer is not what it must be.
pub(crate) async fn make_calls(
    task: &Task,
    caller: &mut dyn Caller,
    call: Call,
    callers: u32,
) -> Result<Report> {
    let window = match task.style {
        Style::Plain => 1,
        Style::Pipelined | Style::Batched => WINDOW,
    };
    let mut template = Template::new(task.payload);
    // Up to a minute, in nanoseconds, with three digits.
    let mut latencies = Histogram::<u64>::new_with_max(60_000_000_000, 3)?;
    let mut ids = (u64::from(task.index)..task.jobs).step_by(usize::try_from(callers)?);
    let mut under_way = VecDeque::with_capacity(window);
    let mut started_ns = monotonic_ns();
    loop {
        for id in ids.by_ref().take(window - under_way.len()) {
            under_way.push_back((id, monotonic_ns()));
            caller.call(id)?;
        }
        if under_way.is_empty() {
            break;
        }
        caller.send()?;
        // Half a window at a time: answers come in bunches, and so do the next writes.
        for _ in 0..under_way.len().div_ceil(2) {
            let (id, called_ns) = under_way.pop_front().context("no call is under way")?;
            let answer = caller.answer().await?;
            let answered_ns = monotonic_ns();
            call.check(id, &answer, callers == 1, |id| template.job(id))?;
            if id < task.warmup {
                started_ns = answered_ns;
            } else {
                latencies.saturating_record(answered_ns - called_ns);
            }
        }
    }
    Ok(Report {
        started_ns,
        finished_ns: monotonic_ns(),
        verdict: None,
        latency: Some(Latency::from_ns(&latencies)),
    })
}

/// Reads the object back and compares it with what all calls must have left.
///
/// # Errors
///
/// The connection breaks.
pub(crate) async fn look_back(task: &Task, caller: &mut dyn Caller, call: Call) -> Result<Report> {
    let (call, calls) = call.remainder(task.jobs);
    let mut audit = Audit::new(call, calls, task.payload);
    let started_ns = monotonic_ns();
    caller.read(&mut audit).await?;
    let verdict = Some(audit.verdict());
    Ok(Report { started_ns, finished_ns: monotonic_ns(), verdict, latency: None })
}
