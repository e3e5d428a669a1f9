//! What the broker sends, and whom it concerns.

use std::sync::Arc;

use ganger_shared::{LeaseId, LeaseRange, Request, RequestId, Response, SubscriptionId};

use super::{Held, Link, Listener, Session};
use crate::calls::Call;
use crate::error::{Error, ProtocolError};
use crate::inbox::Leased;
use crate::stop::StopReason;

impl Session {
    /// Takes one frame of the broker. Answers to calls that were given up are passed over.
    ///
    /// # Errors
    /// What no broker sends; the connection is of no use any more.
    pub(crate) fn handle(&self, response: Response) -> Result<(), ProtocolError> {
        match response {
            Response::Accepted { request, .. }
            | Response::Rejected { request, .. }
            | Response::Settled { request, .. }
            | Response::Length { request, .. }
            | Response::Items { request, .. }
            | Response::Cancelled { request, .. }
            | Response::Using { request, .. }
            | Response::Returned { request, .. }
            | Response::Admin { request, .. } => self.answered(request, response),
            Response::Finished { request, jobs, ending } => {
                let call = self.lock().take(request);
                if let Some(call) = call
                    && !call.ended(jobs, &ending)
                {
                    self.put_back(request, call);
                }
            }
            Response::Assign {
                subscription,
                first_lease,
                attempt,
                jobs,
                handler,
                deadline,
                time_limit_ms,
                payloads,
            } => {
                if payloads.count() != jobs.count || jobs.count == 0 {
                    return Err(ProtocolError::Unexpected("an Assign without one payload per job"));
                }
                let leases = LeaseRange { first: first_lease, count: jobs.count };
                let mut state = self.lock();
                state.held.insert(leases.first.0..leases.end());
                let held = Held { epoch: state.epoch, leases };
                let inbox = match state.listeners.get(&subscription) {
                    Some(Listener::Jobs(inbox)) => Some(Arc::clone(inbox)),
                    Some(Listener::Items(_) | Listener::Changes(_)) | None => None,
                };
                drop(state);
                let run =
                    Leased { held, attempt, jobs, handler, deadline, time_limit_ms, payloads };
                let taken = inbox.map_or(Ok(false), |inbox| inbox.push(run))?;
                // Nobody takes what comes for a subscription that has ended.
                if !taken {
                    self.release(held);
                }
            }
            Response::Followed { subscription, start, items } => {
                let feed = match self.lock().listeners.get(&subscription) {
                    Some(Listener::Items(feed)) => Some(Arc::clone(feed)),
                    Some(Listener::Jobs(_) | Listener::Changes(_)) | None => None,
                };
                if let Some(feed) = feed {
                    feed.push(start, items)?;
                }
            }
            Response::Watching { request, made, revision } => {
                let state = self.lock();
                let found = state.listeners.values().find_map(|listener| match listener {
                    Listener::Changes(feed) if feed.request() == request => Some(Arc::clone(feed)),
                    Listener::Changes(_) | Listener::Items(_) | Listener::Jobs(_) => None,
                });
                drop(state);
                if let Some(feed) = found {
                    feed.begin(made, revision);
                }
            }
            Response::Changed { subscription, changes } => {
                let feed = match self.lock().listeners.get(&subscription) {
                    Some(Listener::Changes(feed)) => Some(Arc::clone(feed)),
                    Some(Listener::Jobs(_) | Listener::Items(_)) | None => None,
                };
                if let Some(feed) = feed {
                    feed.push(changes)?;
                }
            }
            Response::Unsubscribed { subscription } => self.listener_over(subscription, None),
            Response::NotSubscribed { subscription, rejection } => {
                self.listener_over(subscription, Some(rejection.into()));
            }
            Response::CancelRun { lease, .. } => {
                let mut state = self.lock();
                if state.held.contains(lease.0) {
                    state.told.insert(lease.0..lease.0.saturating_add(1));
                }
                let running = state.running.get(&lease).map(Arc::clone);
                drop(state);
                if let Some(stop) = running {
                    stop.set(StopReason::Cancelled);
                }
            }
            Response::Fenced { leases } => self.fenced(leases),
            Response::Heartbeat => {}
            Response::Opened { .. } | Response::Goodbye { .. } => {
                return Err(ProtocolError::Unexpected("a second Opened"));
            }
        }
        Ok(())
    }

    fn answered(&self, request: RequestId, response: Response) {
        let mut state = self.lock();
        let Some(call) = state.take(request) else {
            if let Response::Rejected { rejection, .. } = response {
                drop(state);
                self.listener_refused(request, rejection.into());
            }
            return;
        };
        match call.request.as_deref() {
            Some(Request::Settle { settlements, .. }) => {
                for settlement in settlements {
                    state.release_held(settlement.leases);
                }
            }
            Some(Request::Finish { lease, .. }) if matches!(response, Response::Settled { .. }) => {
                state.release_held(LeaseRange::one(*lease));
            }
            _ => {}
        }
        drop(state);
        if let Some(answer) = call.answer.answer(response) {
            self.put_back(request, Call { request: None, answer });
        }
        self.room.notify(usize::MAX);
    }

    /// Keeps a call that has more to come. Callers are woken without the lock, and meanwhile the
    /// session may have ended.
    fn put_back(&self, request: RequestId, call: Call) {
        let mut state = self.lock();
        match &state.link {
            Link::Ended(error) => {
                let error = error.clone();
                drop(state);
                call.answer.fail(error);
            }
            Link::Up(_) | Link::Down => state.keep(request, call),
        }
    }

    fn listener_over(&self, subscription: SubscriptionId, error: Option<Error>) {
        let listener = self.lock().listeners.remove(&subscription);
        if let Some(listener) = listener {
            listener.end(error);
        }
    }

    /// A follow or watch that the broker refuses is known by the request that its frame carried.
    fn listener_refused(&self, request: RequestId, error: Error) {
        let mut state = self.lock();
        let mut listeners = state.listeners.iter();
        let found = listeners.find(|(_, listener)| listener.request() == Some(request));
        let found = found.map(|(&id, _)| id);
        let listener = found.and_then(|id| state.listeners.remove(&id));
        drop(state);
        match listener {
            Some(listener) => listener.end(Some(error)),
            None => log::warn!(request = request.0, error:%; "the broker refused an unknown call"),
        }
    }

    fn fenced(&self, leases: LeaseRange) {
        let mut state = self.lock();
        state.release_held(leases);
        let ids: Vec<LeaseId> =
            state.running.range(leases.first..LeaseId(leases.end())).map(|(&id, _)| id).collect();
        let stopped: Vec<_> = ids.iter().filter_map(|id| state.running.remove(id)).collect();
        drop(state);
        for stop in stopped {
            stop.set(StopReason::LeaseLost);
        }
    }
}
