//! What goes wrong: clients that crash, leave and freeze, operators, clocks, restarts, full disks.

use ganger_history::What;
use ganger_machine::Command;
use ganger_shared::admin::{AdminAnswer, AdminVerb, DeadWhich, Pause};
use ganger_shared::{JobRange, Name, Request, RequestId, SessionId};

use super::{Client, Connection, Due, KEY, LINE, World, ask};

/// A disk that has less room than this for new work takes none.
pub(super) const FULL_BYTES: u64 = 4_096;

/// The operator's session; it has no connection, and its answers are not read.
const OPERATOR: SessionId = SessionId(0);

impl World {
    pub(super) fn fault(&mut self) {
        if self.healed {
            return;
        }
        let next = self.now + self.rng.between(50..=400);
        self.at(next, Due::Fault);
        let index = usize::try_from(self.rng.below(self.clients.len() as u64)).unwrap();
        match self.rng.below(14) {
            0 if self.plan.clock_jumps => {
                self.skew += self.rng.below(8_000);
                self.seen.hit("the clock jumped");
                self.step(Command::Tick);
            }
            1 if self.plan.client_crashes => {
                let session = self.new_session();
                let gone = core::mem::replace(&mut self.clients[index], Client::new(session));
                if let Some(connection) = gone.connection {
                    self.cut(connection);
                }
            }
            2 if self.plan.client_crashes => {
                // It leaves in good order, and a new one comes.
                self.send_up(index, vec![Request::Close]);
                let session = self.new_session();
                let gone = core::mem::replace(&mut self.clients[index], Client::new(session));
                self.abandon(gone);
            }
            3 if self.plan.restarts && self.rng.chance(400) => self.restart(),
            4 if self.plan.freezes => {
                self.clients[index].frozen_until = self.now + self.rng.below(6_000);
            }
            5 if self.plan.operators => {
                let queue = self.rng.pick(&self.plan.queues).clone();
                let reason = String::new();
                let pause = *self.rng.pick(&[Pause::Delivery, Pause::DeliveryAndSubmits]);
                self.operate(AdminVerb::QueuePause { queue, pause, reason });
            }
            6 | 7 if self.plan.operators => {
                let queue = self.rng.pick(&self.plan.queues).clone();
                self.operate(AdminVerb::QueueResume { queue });
            }
            8 if self.plan.operators => {
                let queue = self.rng.pick(&self.plan.queues).clone();
                self.operate(AdminVerb::DeadRetry { which: DeadWhich::Queue(queue) });
            }
            9 if self.plan.operators && self.rng.chance(100) => {
                let queue = self.rng.pick(&self.plan.queues).clone();
                self.operate(AdminVerb::QueuePurge { queue });
            }
            9 if self.plan.operators => {
                // Its jobs have no results list that would begin anew with it.
                let queue = Name::new(LINE.0).unwrap();
                let show = AdminVerb::QueueShow { queue: queue.clone() };
                let now = self.broker_now();
                let was = ask(&mut self.broker.machine, now, show.clone());
                self.operate(AdminVerb::QueueRemove { queue });
                if was.is_some() && ask(&mut self.broker.machine, now, show).is_none() {
                    self.seen.hit("a queue was removed");
                }
            }
            10 | 11 if self.plan.restarts => {
                if self.broker.restate() {
                    self.seen.hit("the journal was restated");
                }
                // Sometimes the power fails before it is durable.
                if self.rng.chance(100) {
                    self.restart();
                } else {
                    self.put_out((Vec::new(), Vec::new()));
                }
            }
            12 if self.plan.fills => {
                let bytes = *self.rng.pick(&[0, 0, FULL_BYTES, 30_000, u64::MAX]);
                self.broker.set_free(bytes);
                self.flushed();
            }
            _ => self.look_for_rare_states(),
        }
    }

    /// A client that is gone: what is on its way to it reaches nobody.
    fn abandon(&mut self, gone: Client) {
        if let Some(connection) = gone.connection {
            // After the Close, which is in front of the cut.
            let link = self.links.get_mut(&connection).unwrap();
            link.lost_since = self.now;
            let after = link.up.max(self.now) + 1;
            self.at(after, Due::BrokerNotices(connection));
        }
    }

    fn look_for_rare_states(&mut self) {
        let now = self.broker_now();
        for queue in self.plan.queues.clone() {
            let show = AdminVerb::QueueShow { queue };
            let answer = ask(&mut self.broker.machine, now, show);
            if let Some(AdminAnswer::Queue(info)) = answer {
                if info.held_by_list.is_some() {
                    self.seen.hit("a full list held jobs back");
                }
                if info.submits_waiting > 0 {
                    self.seen.hit("a submit waited for room");
                }
            }
        }
    }

    pub(super) fn restart(&mut self) {
        self.note(What::BrokerKilled);
        let now = self.broker_now();
        let restart = self.broker.restart(self.plan.config(), now, &mut self.rng);
        self.note(What::BrokerStarted);
        for (what, happened) in [
            ("the broker was restarted", true),
            ("a restart began with a restatement", restart.restated),
            ("the power failed in the middle of a restatement", restart.cut_off),
            ("the power failed before a restatement took its place", restart.unforgotten),
            ("the broker lost what was not durable", restart.lost),
        ] {
            if happened {
                self.seen.hit(what);
            }
        }
        let connections: Vec<Connection> = self.links.keys().copied().collect();
        connections.into_iter().for_each(|connection| self.cut(connection));
        self.step(Command::Tick);
    }

    pub(super) fn operate(&mut self, verb: AdminVerb) {
        if let AdminVerb::DeadRetry { which: DeadWhich::Queue(queue) } = &verb {
            self.note(What::Redriven { queue: queue.clone() });
        }
        self.ask_as_operator(Request::Admin { request: RequestId(0), verb });
    }

    pub(super) fn cancel(&mut self, jobs: JobRange) {
        self.ask_as_operator(Request::Cancel { request: RequestId(0), jobs });
    }

    fn ask_as_operator(&mut self, request: Request) {
        let (key, held, name) = (KEY, Vec::new(), String::new());
        self.step(Command::Open { session: OPERATOR, key, held, name });
        self.step(Command::Request { session: OPERATOR, request });
    }
}
