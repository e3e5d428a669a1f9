//! What a session and the engine do around the machine, for one frame: `broker/src/session.rs` reads it,
//! `Core::commit` in `broker/src/engine.rs` passes on what came of it.

use std::mem;

use ganger_machine::config::Available;
use ganger_machine::{Command, Config, Event, Machine, Output, Seq};
use ganger_shared::codec::{self, FrameBuffer};
use ganger_shared::key::KeyId;
use ganger_shared::{Durability, Response, SessionId, Time};

/// Always the same, and as long on the wire as those of these years.
pub(crate) const NOW: Time = Time::from_millis(1_800_000_000_000);

/// Of a broker with a journal.
pub(crate) fn config() -> Config {
    let mut config = Config {
        available: Available::All,
        // Full before anything is counted: what is remembered takes the place of something.
        finished_runs_max: 64,
        ..Config::default()
    };
    config.queue_defaults.durability = Durability::Relaxed;
    config
}

/// A machine, and what is around it.
pub(crate) struct Driver {
    machine: Machine,
    output: Output,
    frames: FrameBuffer,
    limit: usize,
    last: Seq,
    /// The events of each record, as the journal's thread gets them.
    records: Vec<Vec<Event>>,
    /// What the last frame was answered with.
    outgoing: Vec<u8>,
}

impl Driver {
    pub(crate) fn new(machine: Machine) -> Self {
        let limit = machine.config().frame_bytes_max as usize;
        let last = Seq::START;
        Self {
            machine,
            output: Output { record: Some(last.next()), ..Output::default() },
            frames: FrameBuffer::new(),
            limit,
            last,
            records: Vec::new(),
            outgoing: Vec::new(),
        }
    }

    pub(crate) fn open(&mut self, session: SessionId) {
        let (key, held, name) = (KeyId([7; 8]), Vec::new(), "guard".to_owned());
        self.machine.step(NOW, Command::Open { session, key, held, name }, &mut self.output);
        self.commit();
    }

    /// Reads a frame, has it carried out and encodes the answers.
    pub(crate) fn handle(&mut self, session: SessionId, mut frame: &[u8]) {
        while !frame.is_empty() {
            // What the kernel does.
            let spare = self.frames.spare();
            let (now, later) = frame.split_at(frame.len().min(spare.len()));
            spare[..now.len()].copy_from_slice(now);
            self.frames.filled(now.len());
            frame = later;
            while let Some(whole) = self.frames.next_frame(self.limit).expect("it is short") {
                let request = codec::decode(whole).expect("it was encoded here");
                self.machine.step(NOW, Command::Request { session, request }, &mut self.output);
            }
        }
        self.commit();
    }

    fn commit(&mut self) {
        let Self { output, last, records, outgoing, .. } = self;
        if !output.journal.is_empty() {
            *last = last.next();
            output.record = Some(last.next());
            records.push(mem::take(&mut output.journal));
        }
        outgoing.clear();
        for send in output.sends.drain(..) {
            codec::encode(&send.response, outgoing);
        }
    }

    /// The last of the answers to the last frame.
    pub(crate) fn last_answer(&self) -> Response {
        let mut rest = &self.outgoing[..];
        loop {
            let size = codec::declared_size(rest).expect("a frame was answered");
            let (frame, later) = rest.split_at(size);
            if later.is_empty() {
                return codec::decode(frame).expect("it was encoded here");
            }
            rest = later;
        }
    }

    /// All records so far.
    pub(crate) fn into_records(self) -> Vec<Vec<Event>> {
        self.records
    }
}
