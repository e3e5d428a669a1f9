//! What the clients of a life ask and are told, in the format that the histories of real brokers
//! have: one checker judges all of them.
//! Not what the journal says: that is [`record`](super::record)'s.

use std::fs;
use std::path::PathBuf;

use ganger_history::{Event, Verdict, What, Writer, check};
use ganger_shared::Durability;

/// The lines of one life. They are kept if it fails.
#[derive(Debug)]
pub(crate) struct History {
    seed: u64,
    pub(crate) events: Vec<Event>,
}

impl History {
    pub(super) fn new(seed: u64, now: u64) -> Self {
        let mut history = Self { seed, events: Vec::new() };
        let (durability, scenario) = (Durability::Strict, "simulation".to_owned());
        history.note(now, "world", What::Setup { seed, durability, scenario });
        history.note(now, "world", What::BrokerStarted);
        history
    }

    /// Adds a line, a nanosecond after the one before if the simulated clock stands still.
    pub(super) fn note(&mut self, now: u64, who: &str, what: What) {
        let next = self.events.last().map_or(0, |last| last.at_ns + 1);
        let at_ns = next.max(nanoseconds(now));
        self.events.push(Event { at_ns, who: who.to_owned(), what });
    }

    pub(crate) fn verdict(&self) -> Verdict {
        check(&self.events)
    }

    /// Writes the history and its verdict to a folder of their own.
    fn keep(&self) -> std::io::Result<PathBuf> {
        let name = format!("ganger-simulation-{}-{}", self.seed, std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder)?;
        let mut lines = Writer::new(Vec::new());
        for event in &self.events {
            lines.write(event)?;
        }
        fs::write(folder.join("history.jsonl"), lines.finish()?)?;
        let verdict = serde_json::to_string_pretty(&self.verdict())?;
        fs::write(folder.join("verdict.json"), verdict + "\n")?;
        Ok(folder)
    }
}

/// Simulated milliseconds, as a history counts.
pub(super) const fn nanoseconds(ms: u64) -> u64 {
    ms * 1_000_000
}

impl Drop for History {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        eprintln!("the simulation failed; repeat it with SEED={}", self.seed);
        match self.keep() {
            Ok(folder) => eprintln!("its history and the verdict are in {}", folder.display()),
            Err(error) => eprintln!("its history cannot be written: {error}"),
        }
    }
}
