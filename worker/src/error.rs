//! What can go wrong between a client and its broker, and the exit codes that stand for it.
//!
//! Not how a job ended: that is [`JobFailed`](crate::JobFailed).

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use ganger_shared::codec::CodecError;
use ganger_shared::handshake::HandshakeError;
use ganger_shared::name::NameError;
use ganger_shared::value::ConvertError;
use ganger_shared::{CallError, JobRange, LeaseId, Rejection};

/// Why a call to the broker did not succeed. Cheap to clone: one cause can end many calls.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// No connection came about, or a broken one did not come back in time. Look at the broker.
    #[error("broker {broker} cannot be reached")]
    Unreachable {
        /// Where it was looked for.
        broker: String,
        /// What the system says.
        source: Arc<io::Error>,
    },
    /// The broker and this client do not know the same key, or the session belongs to another one.
    #[error("broker {broker} does not accept this client")]
    NotAuthorised {
        /// Which broker.
        broker: String,
        /// What did not match.
        source: HandshakeError,
    },
    /// What answers there is no ganger broker, or one that this client cannot talk to.
    #[error("{broker} is no broker that this client can talk to")]
    Protocol {
        /// Which broker.
        broker: String,
        /// What was wrong.
        source: ProtocolError,
    },
    /// The broker does not want this connection: it has too many, or the session is not this client's.
    #[error("broker {broker} turned this client away: {reason}")]
    TurnedAway {
        /// Which broker.
        broker: String,
        /// As it said.
        reason: String,
    },
    /// The broker refused the request, which changed nothing.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// A call on a shared object failed and changed nothing.
    #[error(transparent)]
    Call(#[from] CallError),
    /// A value of a shared object is not of the program's type, or the other way round.
    #[error("a value of a shared object cannot be converted")]
    Convert(#[from] ConvertError),
    /// The lease ended before it was settled: it expired, its job was cancelled, or the broker
    /// forgot the session. What was said of the job changed nothing; it may run elsewhere.
    #[error("lease {lease} was lost before it was settled")]
    LeaseLost {
        /// The first lease that was lost.
        lease: LeaseId,
    },
    /// Some runs of a large submit were accepted and then one was not.
    #[error("{} of the jobs were accepted before the broker refused one run", accepted_count(.accepted))]
    Partial {
        /// The jobs that are the broker's.
        accepted: Vec<JobRange>,
        /// Why the others are not.
        source: Box<Self>,
    },
    /// The broker said goodbye for good, or the client was closed.
    #[error("the connection was closed: {reason}")]
    Closed {
        /// By whom, or why.
        reason: String,
    },
    /// A text that must be a name is none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// An argument that makes no sense, found before anything was sent.
    #[error("{0}")]
    Invalid(String),
    /// A payload that cannot be written as JSON.
    #[error("the payload cannot be written as JSON")]
    Encode(#[source] Arc<serde_json::Error>),
    /// The key file cannot be read.
    #[error("key file {} cannot be read", path.display())]
    KeyFile {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: Arc<io::Error>,
    },
    /// The key file holds something else.
    #[error("key file {}, line {line}: no key; expected gk1_ and 64 hex digits", path.display())]
    KeyFileContent {
        /// Which file.
        path: PathBuf,
        /// The first line that is no key; 0 where there is no line at all.
        line: usize,
    },
}

/// What a peer did that no broker of this protocol version does.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ProtocolError {
    /// Bytes that are no frame.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// Another version, or another protocol.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// A frame that does not belong where it came.
    #[error("{0}")]
    Unexpected(&'static str),
}

/// The exit codes of every client program.
pub mod exit {
    /// All went well.
    pub const OK: u8 = 0;
    /// The operation failed in a way that has no code of its own.
    pub const FAILED: u8 = 1;
    /// The command line makes no sense.
    pub const USAGE: u8 = 2;
    /// The thing does not exist.
    pub const NOT_FOUND: u8 = 3;
    /// The broker does not accept the key.
    pub const NOT_AUTHORISED: u8 = 4;
    /// No broker answers.
    pub const UNREACHABLE: u8 = 5;
    /// The request clashes with the state of things: a lost lease, a repeated number.
    pub const CONFLICT: u8 = 6;
    /// The broker refuses: full, paused, over a limit.
    pub const REFUSED: u8 = 7;
    /// Some of a batch succeeded.
    pub const PARTIAL: u8 = 8;
    /// The job failed.
    pub const JOB_FAILED: u8 = 9;
    /// The job was cancelled.
    pub const CANCELLED: u8 = 10;
    /// The job is a dead letter.
    pub const DEAD: u8 = 11;
    /// A wait took longer than allowed, as with `timeout`.
    pub const TIMED_OUT: u8 = 124;
    /// Ctrl-C.
    pub const INTERRUPTED: u8 = 130;
}

impl Error {
    /// The exit code that stands for this error at the command line.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Unreachable { .. } => exit::UNREACHABLE,
            Self::NotAuthorised { .. } => exit::NOT_AUTHORISED,
            Self::Protocol { .. } | Self::Closed { .. } | Self::Encode(_) => exit::FAILED,
            Self::TurnedAway { .. } => exit::REFUSED,
            Self::Rejected(rejection) => rejection_code(rejection),
            Self::Call(error) => call_code(error),
            Self::Convert(_) => exit::FAILED,
            Self::LeaseLost { .. } => exit::CONFLICT,
            Self::Partial { .. } => exit::PARTIAL,
            Self::Name(_) | Self::Invalid(_) => exit::USAGE,
            Self::KeyFile { .. } | Self::KeyFileContent { .. } => exit::NOT_AUTHORISED,
        }
    }

    /// What a person can try next, where there is something.
    #[must_use]
    pub fn advice(&self) -> Option<String> {
        match self {
            Self::Unreachable { broker, .. } => Some(format!(
                "start one with `ganger-broker --listen {broker}`, or name another with --broker"
            )),
            Self::NotAuthorised { .. } => {
                Some("copy the broker's key file here and name it with --key-file".to_owned())
            }
            Self::KeyFile { .. } | Self::KeyFileContent { .. } => Some(
                "start ganger-broker, which writes one, or name another with --key-file".to_owned(),
            ),
            Self::Rejected(Rejection::Paused { queue, .. }) => {
                Some(format!("ganger queue resume {queue}"))
            }
            Self::Rejected(Rejection::QueueFull { .. } | Rejection::MemoryFull { .. }) => {
                Some("submit again later, or wait for room with --when-full wait".to_owned())
            }
            Self::Rejected(Rejection::NotFound { what, name }) if what == "object" => {
                Some(format!("ganger object create {name} --type TYPEID"))
            }
            Self::Call(CallError::NotHeld(_) | CallError::StaleToken { .. }) => {
                Some("`ganger object holders NAME` says who holds it".to_owned())
            }
            Self::Rejected(Rejection::StorageFull { .. }) => {
                Some("submit again later: the broker's disk is full".to_owned())
            }
            Self::Protocol { .. }
            | Self::TurnedAway { .. }
            | Self::Rejected(_)
            | Self::Call(_)
            | Self::Convert(_)
            | Self::LeaseLost { .. }
            | Self::Partial { .. }
            | Self::Closed { .. }
            | Self::Name(_)
            | Self::Invalid(_)
            | Self::Encode(_) => None,
        }
    }

    pub(crate) fn closed(reason: impl Into<String>) -> Self {
        Self::Closed { reason: reason.into() }
    }
}

impl From<std::convert::Infallible> for Error {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}

fn rejection_code(rejection: &Rejection) -> u8 {
    match rejection {
        Rejection::NotFound { .. } => exit::NOT_FOUND,
        Rejection::TooOld { .. }
        | Rejection::Overlap { .. }
        | Rejection::Conflict(_)
        | Rejection::WrongType { .. }
        | Rejection::Schema { .. }
        | Rejection::LeaseLost { .. }
        | Rejection::Effect { .. }
        | Rejection::Forgotten { .. } => exit::CONFLICT,
        Rejection::NoType { .. } | Rejection::NoMethod { .. } => exit::USAGE,
        Rejection::NotYours | Rejection::NotACaller { .. } => exit::NOT_AUTHORISED,
        Rejection::Invalid(_) => exit::USAGE,
        Rejection::QueueFull { .. }
        | Rejection::Paused { .. }
        | Rejection::TooLarge { .. }
        | Rejection::TooMany { .. }
        | Rejection::MemoryFull { .. }
        | Rejection::ListFull { .. }
        | Rejection::StorageFull { .. }
        | Rejection::Durability { .. } => exit::REFUSED,
    }
}

const fn call_code(error: &CallError) -> u8 {
    match error {
        CallError::Index { .. }
        | CallError::Key { .. }
        | CallError::Absent { .. }
        | CallError::Empty
        | CallError::Removed => exit::NOT_FOUND,
        CallError::Type(_) | CallError::Value(_) => exit::USAGE,
        CallError::Full { .. } | CallError::ShutDown => exit::REFUSED,
        CallError::Revision { .. }
        | CallError::NotHeld(_)
        | CallError::StaleToken { .. }
        | CallError::Deadlock(_)
        | CallError::Broken => exit::CONFLICT,
        CallError::Poisoned(_) | CallError::User { .. } => exit::FAILED,
    }
}

fn accepted_count(accepted: &[JobRange]) -> u64 {
    accepted.iter().map(|jobs| u64::from(jobs.count)).sum()
}

/// `error` and its causes as one sentence for a person: `a: b: c`.
#[must_use]
pub fn sentence(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        // A transparent error repeats the text of its cause.
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentence_names_every_cause_once() {
        let error = Error::Unreachable {
            broker: "127.0.0.1:1".to_owned(),
            source: Arc::new(io::Error::other("connection refused")),
        };
        let text = "broker 127.0.0.1:1 cannot be reached: connection refused";
        assert_eq!(sentence(&error), text);
        let rejected = Error::from(Rejection::Invalid("no such thing".to_owned()));
        assert_eq!(sentence(&rejected), "no such thing");
    }

    #[test]
    fn partial_submit_counts_what_was_accepted() {
        let first = ganger_shared::JobId { session: ganger_shared::SessionId(1), seq: 0 };
        let accepted = vec![JobRange { first, count: 3 }, JobRange { first, count: 4 }];
        let error =
            Error::Partial { accepted, source: Box::new(Error::Invalid("full".to_owned())) };
        assert!(sentence(&error).starts_with("7 of the jobs"), "{}", sentence(&error));
        assert_eq!(error.exit_code(), exit::PARTIAL);
    }
}
