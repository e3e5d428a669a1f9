//! Calls that the broker has not answered yet, and how answers reach their callers.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use ganger_shared::{Block, Ending, JobRange, LeaseId, LeaseRange, Request, RequestId, Response};

use crate::endings::Collector;
use crate::error::{Error, ProtocolError};
use crate::oneshot::{Receiver, Sender};

/// One unanswered call.
#[derive(Debug)]
pub(crate) struct Call {
    /// What to send again after a broken connection; none once a submit was accepted, when only
    /// the ends of its jobs are still to come. Boxed, because entries of the table of calls move when
    /// others leave it.
    pub(crate) request: Option<Box<Request>>,
    pub(crate) answer: Answer,
}

/// Who waits for what.
#[derive(Debug)]
pub(crate) enum Answer {
    /// For one frame.
    Once(Sender<Result<Response, Error>>),
    /// For Accepted, and then for the ends of the jobs.
    Submit { accepted: Sender<Result<Response, Error>>, collector: Arc<Collector>, jobs: JobRange },
    /// For one frame with the answers of all, each for its own.
    Joined(Vec<Joiner>),
    /// For Settled, each for its own leases.
    Settled(Vec<Settler>),
    /// For the ends of jobs.
    Endings { collector: Arc<Collector>, jobs: JobRange },
}

/// Who waits for the answer of one call of several in a frame.
pub(crate) type Joiner = Sender<Result<Response, Error>>;

/// Who waits to hear what became of these leases.
#[derive(Debug)]
pub(crate) struct Settler {
    pub(crate) leases: LeaseRange,
    pub(crate) sender: Sender<Result<Response, Error>>,
}

impl Settler {
    /// The first lease of its own that is among `lost`.
    fn lost(&self, lost: &[LeaseRange]) -> Option<LeaseId> {
        let mine = self.leases;
        let overlap =
            |range: &&LeaseRange| range.first.0 < mine.end() && mine.first.0 < range.end();
        lost.iter().find(overlap).map(|range| range.first.max(mine.first))
    }
}

impl Answer {
    /// Hands over one frame and returns what is still to come under the same number.
    pub(crate) fn answer(self, response: Response) -> Option<Self> {
        match self {
            Self::Once(sender) => {
                sender.send(refused(response));
                None
            }
            Self::Joined(joiners) => {
                match refused(response) {
                    Ok(Response::Returned { request, results, errors })
                        if results.count() as usize == joiners.len() =>
                    {
                        for ((place, joiner), result) in (0..).zip(joiners).zip(results.iter()) {
                            let error = errors.iter().find(|(failed, _)| *failed == place);
                            let errors = error.map(|(_, error)| (0, error.clone()));
                            let (results, errors) =
                                (Block::one(result), errors.into_iter().collect());
                            joiner.send(Ok(Response::Returned { request, results, errors }));
                        }
                    }
                    Ok(_) => Self::Joined(joiners).fail(unexpected()),
                    Err(error) => Self::Joined(joiners).fail(error),
                }
                None
            }
            Self::Settled(settlers) => {
                match refused(response) {
                    Ok(Response::Settled { request, lost }) => {
                        for settler in settlers {
                            let answer = match settler.lost(&lost) {
                                None => Ok(Response::Settled { request, lost: Vec::new() }),
                                Some(lease) => Err(Error::LeaseLost { lease }),
                            };
                            settler.sender.send(answer);
                        }
                    }
                    Ok(_) => Self::Settled(settlers).fail(unexpected()),
                    Err(error) => Self::Settled(settlers).fail(error),
                }
                None
            }
            Self::Submit { accepted, collector, jobs } => {
                let response = refused(response);
                let rest = response.is_ok() && !collector.is_done(jobs);
                if response.is_err() {
                    collector.forget(jobs);
                }
                accepted.send(response);
                rest.then_some(Self::Endings { collector, jobs })
            }
            Self::Endings { collector, .. } => {
                if let Err(error) = refused(response) {
                    collector.fail(error);
                }
                None
            }
        }
    }

    pub(crate) fn fail(self, error: Error) {
        match self {
            Self::Once(sender) => sender.send(Err(error)),
            Self::Joined(joiners) => {
                for joiner in joiners {
                    joiner.send(Err(error.clone()));
                }
            }
            Self::Settled(settlers) => {
                for settler in settlers {
                    settler.sender.send(Err(error.clone()));
                }
            }
            Self::Submit { accepted, collector, .. } => {
                collector.fail(error.clone());
                accepted.send(Err(error));
            }
            Self::Endings { collector, .. } => collector.fail(error),
        }
    }
}

fn refused(response: Response) -> Result<Response, Error> {
    match response {
        Response::Rejected { rejection, .. } => Err(Error::Rejected(rejection)),
        response => Ok(response),
    }
}

impl Call {
    /// How many wait for an answer that comes as soon as the broker has dealt with the call.
    pub(crate) fn short_answers(&self) -> usize {
        if let Some(Request::Call { wait_ms, .. }) = self.request.as_deref()
            && *wait_ms > 0
        {
            return 0;
        }
        match &self.answer {
            Answer::Once(_) | Answer::Settled(_) | Answer::Submit { .. } => 1,
            Answer::Joined(joiners) => joiners.len(),
            Answer::Endings { .. } => 0,
        }
    }

    pub(crate) const fn is_settle(&self) -> bool {
        matches!(self.answer, Answer::Settled(_))
    }

    /// Payload bytes that are kept with it.
    pub(crate) fn size_bytes(&self) -> usize {
        match self.request.as_deref() {
            Some(
                Request::Submit { payloads: block, .. }
                | Request::Append { items: block, .. }
                | Request::Call { args: block, .. },
            ) => block.size_bytes(),
            _ => 0,
        }
    }

    /// The first number of a call on an object.
    pub(crate) fn object_seq(&self) -> Option<u64> {
        match self.request.as_deref() {
            Some(Request::Call { seq, .. }) => *seq,
            _ => None,
        }
    }

    /// Takes an ending; says whether this was the last thing to come.
    pub(crate) fn ended(&self, ended: JobRange, ending: &Ending) -> bool {
        match &self.answer {
            Answer::Submit { collector, .. } => {
                collector.push(ended, ending);
                false
            }
            Answer::Endings { collector, jobs } => {
                collector.push(ended, ending);
                collector.is_done(*jobs)
            }
            Answer::Once(_) | Answer::Joined(_) | Answer::Settled(_) => false,
        }
    }

    /// Says again what was not answered.
    pub(crate) fn repeat(&self, id: RequestId, mut send: impl FnMut(&Request)) {
        match (&self.answer, &self.request) {
            (Answer::Endings { collector, jobs }, _) => {
                for jobs in collector.outstanding(*jobs) {
                    send(&Request::Wait { request: id, jobs });
                }
            }
            (_, Some(request)) => send(request),
            (_, None) => {}
        }
    }

    /// The leases are lost, so nothing that was said of them counts.
    pub(crate) fn fail_as_lost(self) {
        match self.answer {
            Answer::Settled(settlers) => {
                for Settler { leases, sender } in settlers {
                    sender.send(Err(Error::LeaseLost { lease: leases.first }));
                }
            }
            answer => answer.fail(Error::closed("the broker has forgotten the session")),
        }
    }
}

/// The answer of one call, to be awaited.
#[derive(Debug)]
pub(crate) struct Answered {
    receiver: Receiver<Result<Response, Error>>,
}

impl Answered {
    pub(crate) const fn new(receiver: Receiver<Result<Response, Error>>) -> Self {
        Self { receiver }
    }
}

impl Future for Answered {
    type Output = Result<Response, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.receiver)
            .poll(cx)
            .map(|answer| answer.unwrap_or_else(|| Err(Error::closed("the client has ended"))))
    }
}

/// An answer of the wrong kind.
pub(crate) fn unexpected() -> Error {
    Error::Protocol {
        broker: "the broker".to_owned(),
        source: ProtocolError::Unexpected("it answered another question"),
    }
}
