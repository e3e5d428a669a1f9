//! How a command ends when it does not succeed: a sentence, what to try, and an exit code.

use std::error::Error as StdError;
use std::io;
use std::process::ExitCode;

use ganger_shared::{CallError, Rejection};
use ganger_worker::error::{exit, sentence};
use ganger_worker::{Error, JobFailed};

/// As a shell says of a program that was stopped by SIGPIPE: who read our output has gone.
const BROKEN_PIPE: u8 = 128 + 13;

/// The status of a command that cannot be told.
pub(crate) const UNKNOWN: u8 = exit::FAILED;

/// The page of `ganger help exit-codes`.
pub(crate) const PAGE: &str = "\
Exit codes of every ganger command

    0  all went well
    1  the operation failed in a way that has no code of its own
    2  the command line makes no sense, or a bulk verb was not confirmed
    3  the queue, list, job or object does not exist, or it has no such key or index
    4  not authorised: the broker does not accept the key, or there is no key
    5  no broker answers
    6  conflict with the state of things: another type or revision, not held, deadlock
    7  refused: the queue is full or paused, or a limit is reached
    8  partial: some jobs of a batch succeeded and some did not; details are on
       standard output (-o ndjson) and standard error
    9  no job of a batch succeeded, for different reasons
   10  the job was cancelled
   11  the job was given up and is a dead letter
  124  a wait took longer than --timeout or --wait allows; the jobs go on, the lock
       was not free in time
  130  interrupted with Ctrl-C; jobs that were accepted go on
  141  whoever read the output went away (a broken pipe); quiet

`ganger lock` and `ganger semaphore` end as their command does: with its status, or
128 and the number of the signal that killed it; 126 or 127 if it cannot be run.";

/// Why a command did not succeed. Nothing is said where the sentence is empty.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    sentence: String,
    advice: Option<String>,
}

pub(crate) type Result<T = (), E = Failure> = std::result::Result<T, E>;

impl Failure {
    pub(crate) fn new(code: u8, sentence: impl Into<String>) -> Self {
        Self { code, sentence: sentence.into(), advice: None }
    }

    /// The command line makes no sense in a way that only shows while it is carried out.
    pub(crate) fn usage(sentence: impl Into<String>) -> Self {
        Self::new(exit::USAGE, sentence)
    }

    /// Everything was said already.
    pub(crate) fn silent(code: u8) -> Self {
        Self::new(code, "")
    }

    /// What to try next.
    pub(crate) fn with_advice(self, advice: impl Into<String>) -> Self {
        Self { advice: Some(advice.into()), ..self }
    }

    /// With something said first: `accepted 5 jobs, then: …`.
    pub(crate) fn after(self, before: &str) -> Self {
        Self { sentence: format!("{before}: {}", self.sentence), ..self }
    }

    pub(crate) fn with_code(self, code: u8) -> Self {
        Self { code, ..self }
    }

    pub(crate) const fn code(&self) -> u8 {
        self.code
    }

    pub(crate) fn sentence(&self) -> &str {
        &self.sentence
    }

    /// Says it on standard error.
    pub(crate) fn report(&self) -> ExitCode {
        if !self.sentence.is_empty() {
            crate::output::error(&self.sentence, self.advice.as_deref());
        }
        ExitCode::from(self.code)
    }

    /// Reading or writing went wrong.
    pub(crate) fn io(doing: &str, error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::silent(BROKEN_PIPE);
        }
        Self::new(exit::FAILED, format!("{doing}: {error}"))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let advice = advice(&error);
        Self { code: error.exit_code(), sentence: sentence(&error), advice }
    }
}

impl From<JobFailed> for Failure {
    fn from(failed: JobFailed) -> Self {
        Self::new(failed.exit_code(), sentence(&failed as &(dyn StdError + 'static)))
    }
}

fn advice(error: &Error) -> Option<String> {
    let advice = match error {
        Error::Unreachable { .. } => {
            "start a broker with `ganger broker`, or name one with --broker HOST:PORT"
        }
        Error::NotAuthorised { .. } => {
            "name the key file of that broker with --key-file PATH or GANGER_KEY_FILE"
        }
        Error::KeyFile { .. } => {
            "start a broker with `ganger broker`, or copy the key file of the one you mean"
        }
        Error::Protocol { .. } => "is --broker the address of a ganger broker of this version?",
        Error::Rejected(rejection) => return rejected(rejection),
        Error::TurnedAway { .. } => "again later; `ganger session ls` shows who is connected",
        Error::Call(error) => return called(error),
        Error::Convert(_)
        | Error::LeaseLost { .. }
        | Error::Partial { .. }
        | Error::Closed { .. }
        | Error::Name(_)
        | Error::Invalid(_)
        | Error::Encode(_)
        | Error::KeyFileContent { .. } => return None,
    };
    Some(advice.to_owned())
}

fn called(error: &CallError) -> Option<String> {
    match error {
        CallError::NotHeld(_) | CallError::StaleToken { .. } => {
            Some("`ganger object holders NAME` says who holds it and who waits".to_owned())
        }
        CallError::Full { .. } => Some(
            "remove something; the bounds are limits.list_items and limits.list_bytes, or those \
             of a queue"
                .to_owned(),
        ),
        CallError::Broken => Some("ganger object call NAME reset".to_owned()),
        CallError::Index { .. }
        | CallError::Key { .. }
        | CallError::Absent { .. }
        | CallError::Type(_)
        | CallError::Value(_)
        | CallError::Empty
        | CallError::Revision { .. }
        | CallError::Deadlock(_)
        | CallError::ShutDown
        | CallError::Removed
        | CallError::Poisoned(_)
        | CallError::User { .. } => None,
    }
}

fn rejected(rejection: &Rejection) -> Option<String> {
    match rejection {
        Rejection::QueueFull { queue, .. } => Some(format!(
            "--when-full wait, or `ganger queue show {queue}` to see what holds it up"
        )),
        Rejection::Paused { queue, .. } => Some(format!("ganger queue resume {queue}")),
        Rejection::NotFound { what, name } => match what.as_str() {
            "queue" => Some("ganger queue ls".to_owned()),
            "list" => Some(format!("ganger list ls; `ganger list create {name}` makes it")),
            "dead letter" => Some("ganger dead ls".to_owned()),
            "object" => Some(format!(
                "ganger object ls; `ganger object create {name} --type TYPEID` makes it"
            )),
            "job" => Some("jobs that ended long ago are forgotten; is the id complete?".to_owned()),
            _ => None,
        },
        Rejection::ListFull { list, .. } => {
            Some(format!("take items with `ganger results {list} --pop`"))
        }
        Rejection::MemoryFull { .. } => {
            Some("later, or start more workers; `ganger status` shows the backlog".to_owned())
        }
        Rejection::StorageFull { .. } => {
            Some("later; workers that finish jobs, or more space on the disk, make room".to_owned())
        }
        Rejection::WrongType { .. } => Some("ganger object ls".to_owned()),
        Rejection::NoType { .. } | Rejection::NoMethod { .. } => {
            Some("ganger object types".to_owned())
        }
        Rejection::NotACaller { .. } => {
            Some("add the key to callers of the object in the broker's configuration".to_owned())
        }
        Rejection::Schema { .. }
        | Rejection::Effect { .. }
        | Rejection::LeaseLost { .. }
        | Rejection::TooLarge { .. }
        | Rejection::TooMany { .. }
        | Rejection::TooOld { .. }
        | Rejection::Overlap { .. }
        | Rejection::NotYours
        | Rejection::Durability { .. }
        | Rejection::Invalid(_)
        | Rejection::Conflict(_)
        | Rejection::Forgotten { .. } => None,
    }
}
