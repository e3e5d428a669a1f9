//! Jobs run by a command: the payload on standard input, the result from standard output.
//!
//! ```text
//!   exit status 0      ack, with what was written to standard output
//!   one of dead_on     dead letter, kind exit-65
//!   another one        failure, kind exit-1, with the end of standard error
//!   a signal           failure, kind signal-11
//! ```
//!
//! The command runs in a process group of its own. When its time is over, or its lease, the whole
//! group is killed; when its job is cancelled, the group is asked to end (SIGTERM) first.

mod process;
mod template;

use std::time::Duration;

use bytes::Bytes;
use ganger_shared::Failure;

pub use self::template::Template;
use crate::ctx::Ctx;
use crate::exec::process::{Ended, Running};
use crate::handler::JobError;

/// How long a cancelled command may take to end before it is killed: 5 s, half of the broker's grace.
const TERM_GRACE: Duration = Duration::from_secs(5);

/// A command that runs jobs.
///
/// ```
/// use ganger_worker::exec::{Exec, Template};
/// use ganger_worker::Router;
///
/// let exec = Exec::new(Template::shell("wc -c; printf %s {/}"));
/// let router = Router::new().handle_any(move |payload, ctx| exec.clone().run(payload, ctx));
/// let output = ganger_worker::block_on(router.run_once("count", "/etc/$(reboot)"));
/// assert_eq!(output.unwrap(), "14\n$(reboot)");
/// ```
#[derive(Clone, Debug)]
pub struct Exec {
    template: Template,
    dead_on: Vec<i32>,
    output_bytes_max: usize,
}

impl Exec {
    /// Runs `template` for each job.
    #[must_use]
    pub const fn new(template: Template) -> Self {
        let output_bytes_max = ganger_shared::limits::PAYLOAD_BYTES_MAX;
        Self { template, dead_on: Vec::new(), output_bytes_max }
    }

    /// Exit statuses that are not worth another try.
    #[must_use]
    pub fn dead_on(mut self, statuses: impl Into<Vec<i32>>) -> Self {
        self.dead_on = statuses.into();
        self
    }

    /// Kills a command that writes more than this to its standard output; 16 MiB unless set. Its job
    /// is a dead letter of kind `output-too-large` then.
    #[must_use]
    pub const fn output_bytes_max(mut self, bytes: usize) -> Self {
        self.output_bytes_max = bytes;
        self
    }

    /// Runs one job.
    ///
    /// The command finds the job's id, attempt and queue in its environment, as `GANGER_JOB`,
    /// `GANGER_ATTEMPT` and `GANGER_QUEUE`.
    ///
    /// # Errors
    /// What the job's failure is, as above; kind `bad-payload` for one that cannot be put into the
    /// command, `spawn` if the command could not be started.
    ///
    /// # Cancel safety
    /// Dropping it kills the command's process group.
    pub async fn run(self, payload: Bytes, ctx: Ctx) -> Result<Bytes, JobError> {
        let mut command = self.template.command(&payload)?;
        command.env("GANGER_JOB", ctx.job().to_string());
        command.env("GANGER_ATTEMPT", ctx.attempt().to_string());
        command.env("GANGER_QUEUE", ctx.queue().as_str());
        let running = Running::start(command).map_err(|error| {
            JobError::retry("spawn", &format!("the command cannot run: {error}"))
        })?;
        let group = running.group();
        let stop = async {
            ctx.cancelled().await;
            group.terminate();
            ganger_rt::sleep(TERM_GRACE).await;
            None
        };
        let work = async { Some(running.finish(&payload, self.output_bytes_max).await) };
        match futures_lite::future::or(work, stop).await {
            Some(ended) => self.judge(ended?),
            None => Err(JobError::retry("cancelled", "killed, as it did not end when asked to")),
        }
    }

    fn judge(&self, ended: Ended) -> Result<Bytes, JobError> {
        let Ended::Exited { status, output, stderr } = ended else {
            let message = format!("more than {} bytes on standard output", self.output_bytes_max);
            return Err(JobError::dead("output-too-large", &message));
        };
        let message = |otherwise: String| if stderr.is_empty() { otherwise } else { stderr };
        match status {
            Ok(0) => Ok(output),
            Ok(code) => {
                let kind = format!("exit-{code}");
                let failure = Failure::new(&kind, &message(format!("exit status {code}")));
                if self.dead_on.contains(&code) {
                    Err(JobError::Dead { failure })
                } else {
                    Err(JobError::Retry { failure, after: None })
                }
            }
            Err(signal) => {
                let kind = format!("signal-{signal}");
                Err(JobError::retry(&kind, &message(format!("killed by signal {signal}"))))
            }
        }
    }
}
