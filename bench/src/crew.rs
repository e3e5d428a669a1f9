//! The processes of one run, seen from the benchmark: assembled, started together, dismissed.
//! Not what they do: `roles` is the other end of the conversation.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use crate::check::Verdict;
use crate::peer::{Role, Task};
use crate::procfs;
use crate::roles::{GO, READY, Report};

/// Roles that are all connected and have not started.
#[derive(Debug)]
pub(crate) struct Crew {
    members: Vec<Member>,
}

/// One role's process, ended when dropped.
#[derive(Debug)]
struct Member {
    role: Role,
    index: u32,
    process: Child,
    to: Option<ChildStdin>,
    from: BufReader<ChildStdout>,
}

/// What a crew did.
#[derive(Debug)]
pub(crate) struct Performance {
    pub(crate) reports: Vec<Report>,
    /// Of all members, from the start until the last report.
    pub(crate) cpu: Duration,
}

impl Crew {
    /// Starts a process per task and waits until all are connected.
    ///
    /// # Errors
    ///
    /// A role does not come up; it has said why on standard error.
    pub(crate) fn assemble(tasks: &[Task]) -> Result<Self> {
        let members = tasks.iter().map(Member::spawn).collect::<Result<Vec<_>>>()?;
        let mut crew = Self { members };
        for member in &mut crew.members {
            let line = member.read_line()?;
            ensure!(line == READY, "{} said {line:?} instead of {READY:?}", member.name());
        }
        Ok(crew)
    }

    /// Starts everybody, receivers before senders, and waits for all reports.
    ///
    /// # Errors
    ///
    /// A role ended before its work.
    pub(crate) fn perform(&mut self) -> Result<Performance> {
        let cpu_before = self.cpu()?;
        self.members.sort_by_key(|member| match member.role {
            Role::Worker => 0,
            Role::Collector => 1,
            Role::Producer | Role::Client | Role::Caller { .. } | Role::Auditor { .. } => 2,
        });
        for member in &mut self.members {
            member.start()?;
        }
        let mut reports = Vec::new();
        for member in self.members.iter_mut().filter(|member| member.role != Role::Worker) {
            let line = member.read_line()?;
            reports.push(
                serde_json::from_str(&line)
                    .with_context(|| format!("{} said it", member.name()))?,
            );
        }
        let cpu = self.cpu()?.saturating_sub(cpu_before);
        Ok(Performance { reports, cpu })
    }

    fn cpu(&mut self) -> Result<Duration> {
        self.members.iter_mut().map(Member::cpu).sum()
    }
}

impl Performance {
    /// From the first start to the last finish of those who reported.
    pub(crate) fn elapsed(&self) -> Duration {
        let started = self.reports.iter().map(|report| report.started_ns).min().unwrap_or(0);
        let finished = self.reports.iter().map(|report| report.finished_ns).max().unwrap_or(0);
        Duration::from_nanos(finished.saturating_sub(started))
    }

    /// What became of the jobs, as far as anybody received results.
    pub(crate) fn verdict(&self) -> Option<Verdict> {
        self.reports.iter().map(|report| report.verdict).fold(None, Verdict::both)
    }
}

impl Member {
    fn spawn(task: &Task) -> Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .arg("role")
            .arg(serde_json::to_string(task)?)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("a role cannot be started")?;
        let to = process.stdin.take();
        let from = process.stdout.take().context("a role has no output")?;
        Ok(Self { role: task.role, index: task.index, process, to, from: BufReader::new(from) })
    }

    fn name(&self) -> String {
        format!("{:?} {}", self.role, self.index)
    }

    fn start(&mut self) -> Result<()> {
        let to = self.to.as_mut().context("a role has no input")?;
        writeln!(to, "{GO}").with_context(|| format!("{:?} {} left", self.role, self.index))
    }

    fn read_line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.from.read_line(&mut line)?;
        if line.is_empty() {
            bail!("{} ended with {} before it was done", self.name(), self.process.wait()?);
        }
        Ok(line.trim_end().to_owned())
    }

    fn cpu(&mut self) -> Result<Duration> {
        if let Some(status) = self.process.try_wait()? {
            bail!("{} ended with {status} before it was done", self.name());
        }
        procfs::cpu_time(self.process.id())
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // A worker never ends by itself, and the others have nothing more to say.
        drop(self.to.take());
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(started_ns: u64, finished_ns: u64, lost: u64) -> Report {
        let verdict = Verdict { expected: 9, lost, duplicates: 0, unexpected: 0 };
        Report { started_ns, finished_ns, verdict: Some(verdict), latency: None }
    }

    #[test]
    fn performance_lasts_from_the_first_start_to_the_last_finish() {
        let reports = vec![report(20, 30, 0), report(10, 25, 0)];
        let performance = Performance { reports, cpu: Duration::ZERO };
        assert_eq!(performance.elapsed(), Duration::from_nanos(20));
    }

    #[test]
    fn loss_that_any_member_reports_is_one_of_the_crew() {
        let reports = vec![report(0, 1, 0), report(0, 1, 2)];
        let performance = Performance { reports, cpu: Duration::ZERO };
        assert_eq!(performance.verdict().map(|verdict| verdict.lost), Some(2));
    }
}
