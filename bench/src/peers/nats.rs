//! NATS JetStream: a work-queue stream of jobs and one of results, each with a pull consumer.
//! Not its protocol: that is `jetstream`.

use std::collections::VecDeque;
use std::fs;
use std::ops::Range;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::jetstream::{Link, Message, Stream};
use crate::blocking;
use crate::check::Ledger;
use crate::payload::{self, RESULT_LEN, Template};
use crate::peer::{
    self, Client, Collector, Durability, Peer, Producer, Program, Site, Task, Worker,
};
use crate::shapes::Style;
use crate::wire::is_timeout;

const JOBS: Stream = Stream { name: "JOBS", subject: "jobs" };
const RESULTS: Stream = Stream { name: "RESULTS", subject: "results" };

/// The file in the server's directory that configures it.
const CONFIG: &str = "nats.conf";

/// The first version that flushes before it acknowledges, if it is told to.
const STRICT_SINCE: (u32, u32) = (2, 10);

/// NATS with JetStream.
#[derive(Debug)]
pub(crate) struct Nats;

impl Peer for Nats {
    fn name(&self) -> &'static str {
        "nats"
    }

    fn driven_as(&self) -> &'static str {
        "JetStream, two work-queue streams: publish with PubAck, pull, publish of the result, ack \
         that is confirmed; batched: a window of publishes, pulls of 256, two under way; memory / \
         file, flushed every 2 minutes / file with sync_interval: always (since 2.10)"
    }

    fn locate(&self) -> Result<Program> {
        peer::locate("nats-server", "-v", "nats-server")
    }

    fn lacks(&self, program: &Program, durability: Durability) -> Option<&'static str> {
        match durability {
            Durability::None | Durability::Relaxed => None,
            Durability::Strict if version(&program.version) >= Some(STRICT_SINCE) => None,
            Durability::Strict => {
                Some("cannot flush before it acknowledges (nats-server can since 2.10)")
            }
        }
    }

    fn furnish(&self, site: &Site) -> Result<()> {
        let sync = match site.durability {
            // Files are flushed every 2 minutes, the default: before 2.10 nobody could say it.
            Durability::None | Durability::Relaxed => "",
            Durability::Strict => "sync_interval: always",
        };
        Ok(fs::write(site.dir.join(CONFIG), format!("jetstream {{ store_dir: data\n{sync} }}\n"))?)
    }

    fn command(&self, program: &Program, site: &Site) -> Command {
        let mut command = Command::new(&program.path);
        command.args(["--addr", &site.address.ip().to_string()]);
        command.args(["--port", &site.address.port().to_string()]);
        command.arg("--config").arg(site.dir.join(CONFIG));
        command
    }

    fn ask(&self, site: &Site) -> Result<()> {
        Link::connect(site, "ask")?.request("$JS.API.INFO", "").map(drop)
    }

    fn prepare(&self, site: &Site) -> Result<()> {
        let mut link = Link::connect(site, "prepare")?;
        let storage = match site.durability {
            Durability::None => "memory",
            Durability::Relaxed | Durability::Strict => "file",
        };
        [JOBS, RESULTS].iter().try_for_each(|stream| stream.create(&mut link, storage))
    }

    fn client(&self, task: &Task) -> Result<Box<dyn Client>> {
        let link = Link::connect(&task.site, "client")?;
        Ok(blocking::role(StreamClient { link, style: task.style, received: None }))
    }

    fn producer(&self, task: &Task) -> Result<Box<dyn Producer>> {
        let link = Link::connect(&task.site, "producer")?;
        Ok(blocking::role(StreamProducer { link, template: Template::new(task.payload) }))
    }

    fn worker(&self, task: &Task) -> Result<Box<dyn Worker>> {
        let mut link = Link::connect(&task.site, &format!("worker{}", task.index))?;
        link.wire.input.set_patience(None)?;
        let Task { style, payload, batch, .. } = *task;
        let pulls = Pulls::new(JOBS, style, batch);
        Ok(blocking::role(StreamWorker { link, style, payload, pulls, unsettled: VecDeque::new() }))
    }

    fn collector(&self, task: &Task) -> Result<Box<dyn Collector>> {
        let link = Link::connect(&task.site, "collector")?;
        let pulls = Pulls::new(RESULTS, task.style, task.batch);
        Ok(blocking::role(StreamCollector { link, pulls }))
    }
}

struct StreamClient {
    link: Link,
    style: Style,
    /// The ack subject of the result whose ack is not yet sent.
    received: Option<Vec<u8>>,
}

impl blocking::Client for StreamClient {
    fn round_trip(&mut self, job: &[u8]) -> Result<[u8; RESULT_LEN]> {
        let is_plain = self.style == Style::Plain;
        let link = &mut self.link;
        link.publish(JOBS, job);
        if is_plain {
            link.expect_stored()?;
        }
        let mut unconfirmed = usize::from(!is_plain);
        if let Some(subject) = self.received.take() {
            link.ack(&subject);
            unconfirmed += 1;
        }
        link.pull(RESULTS, 1);
        let mut received = None;
        // The server takes in publishes, acks and pulls apart from each other: any reply may come
        // first.
        while unconfirmed > 0 || received.is_none() {
            match link.next()? {
                Message::Stored | Message::Acked => unconfirmed -= 1,
                Message::Delivered { body, ack } => {
                    received = Some((body.try_into()?, ack.to_vec()))
                }
                Message::Answer(_) => bail!("nats answers what nobody asked"),
            }
        }
        let (result, subject) = received.context("the loop ends with a result")?;
        if is_plain {
            link.ack(&subject);
            link.expect_acked()?;
        } else {
            self.received = Some(subject);
        }
        Ok(result)
    }
}

struct StreamProducer {
    link: Link,
    template: Template,
}

impl blocking::Producer for StreamProducer {
    fn submit(&mut self, ids: Range<u64>) -> Result<()> {
        ids.for_each(|id| self.link.publish(JOBS, self.template.job(id)));
        Ok(())
    }

    fn send(&mut self) -> Result<()> {
        Ok(self.link.wire.output.flush()?)
    }

    fn confirm(&mut self, jobs: u64) -> Result<()> {
        (0..jobs).try_for_each(|_| self.link.expect_stored())
    }
}

/// Answers one message after the other; what it sends is written when no more are there.
///
/// ```text
///           on a job               on the result's PubAck   on the ack's confirmation
/// plain     result                 ack                      pull
/// pipelined result, ack, pull
/// batched   result, perhaps pull   ack
/// ```
///
/// An ack in the same write as the result may overtake it in the server: a crash just then would
/// lose the job. The pipelined shapes ask for that write.
struct StreamWorker {
    link: Link,
    style: Style,
    payload: usize,
    pulls: Pulls,
    /// The ack subjects of jobs whose results are not stored yet. A stream takes in what one
    /// connection sends in its order, so the next result to be stored is that of the first.
    unsettled: VecDeque<Vec<u8>>,
}

impl blocking::Worker for StreamWorker {
    fn work(&mut self) -> Result<()> {
        self.pulls.replenish(&mut self.link);
        loop {
            match self.link.next()? {
                Message::Delivered { body, ack } => {
                    let (result, ack) = (payload::run(body, self.payload)?, ack.to_vec());
                    self.pulls.received();
                    self.link.publish(RESULTS, &result);
                    if self.style == Style::Pipelined {
                        self.link.ack(&ack);
                    } else {
                        self.unsettled.push_back(ack);
                    }
                    if self.style != Style::Plain {
                        self.pulls.replenish(&mut self.link);
                    }
                }
                Message::Stored if self.style == Style::Pipelined => {}
                Message::Stored => {
                    let ack = self.unsettled.pop_front().context("nats stored too many results")?;
                    self.link.ack(&ack);
                }
                Message::Acked => self.pulls.replenish(&mut self.link),
                Message::Answer(_) => bail!("nats answers what nobody asked"),
            }
        }
    }
}

struct StreamCollector {
    link: Link,
    pulls: Pulls,
}

impl blocking::Collector for StreamCollector {
    fn collect(&mut self, ledger: &mut Ledger, patience: Duration) -> Result<u64> {
        let Self { link, pulls } = self;
        link.wire.input.set_patience(Some(patience))?;
        if pulls.style != Style::Plain || pulls.outstanding == 0 {
            pulls.replenish(link);
        }
        let (mut collected, mut unconfirmed) = (0, 0);
        while collected == 0 || unconfirmed > 0 {
            match link.next() {
                Err(error) if collected == 0 && is_timeout(&error) => return Ok(0),
                Err(error) => return Err(error),
                Ok(Message::Delivered { body, ack }) => {
                    ledger.record(body);
                    let ack = ack.to_vec();
                    link.ack(&ack);
                    (collected, unconfirmed) = (collected + 1, unconfirmed + 1);
                    pulls.received();
                    if pulls.style != Style::Plain {
                        pulls.replenish(link);
                    }
                }
                Ok(Message::Acked) => unconfirmed -= 1,
                Ok(Message::Stored | Message::Answer(_)) => bail!("nats answers what nobody asked"),
            }
        }
        Ok(collected)
    }
}

/// How many messages a role has asked for.
#[derive(Debug)]
struct Pulls {
    stream: Stream,
    style: Style,
    /// The messages of one pull.
    batch: usize,
    /// The messages that are asked for and have not come.
    outstanding: usize,
}

impl Pulls {
    fn new(stream: Stream, style: Style, batch: usize) -> Self {
        let batch = match style {
            Style::Plain | Style::Pipelined => 1,
            Style::Batched => batch,
        };
        Self { stream, style, batch, outstanding: 0 }
    }

    /// Notes that a message has come.
    fn received(&mut self) {
        self.outstanding = self.outstanding.saturating_sub(1);
    }

    /// Asks for more when that keeps within one pull, or within two where there are batches: one
    /// is then under way while the messages of the other are worked on.
    fn replenish(&mut self, link: &mut Link) {
        let most = match self.style {
            Style::Plain | Style::Pipelined => 1,
            Style::Batched => 2 * self.batch,
        };
        while self.outstanding + self.batch <= most {
            link.pull(self.stream, self.batch);
            self.outstanding += self.batch;
        }
    }
}

/// The first two numbers of a version such as `nats-server: v2.9.10`.
fn version(text: &str) -> Option<(u32, u32)> {
    let (_, numbers) = text.split_once(" v")?;
    let mut numbers = numbers.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lacks(version: &str, durability: Durability) -> Option<&'static str> {
        let program = Program { path: "nats-server".into(), version: version.to_owned() };
        Nats.lacks(&program, durability)
    }

    #[test]
    fn strict_is_lacking_before_the_version_that_can_flush_first() {
        for version in ["nats-server: v2.9.10", "nats-server: v1.10.2", "nats-server"] {
            assert!(lacks(version, Durability::Strict).is_some_and(|why| why.contains("2.10")));
            assert_eq!(lacks(version, Durability::Relaxed), None);
        }
        for version in ["nats-server: v2.10.0", "nats-server: v2.15.1-beta.2", "nats-server: v3.0"]
        {
            assert_eq!(lacks(version, Durability::Strict), None);
        }
    }
}
