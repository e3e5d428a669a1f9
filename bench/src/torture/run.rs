//! One run: a broker, its clients and whatever torments them; then the faults stop, everything must
//! come to its end, and the history is judged.

use std::fs::{self, File};
use std::io::BufReader;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use ganger_chance::Rng;
use ganger_history::{Verdict, What};
use ganger_rt::{Task, block_on, sleep, spawn, timeout};
use ganger_shared::admin::{AdminAnswer, AdminVerb};
use ganger_shared::{Durability, Rejection};
use ganger_worker::{Client, Error, Options, key_file};

use super::broker::Broker;
use super::clients;
use super::proxy::{Proxy, Silence};
use super::scenarios::Scenario;
use super::stage::{QUEUES, Stage, queue, sentence};

/// How long a broker serves before it is killed.
const LIFE_MS: RangeInclusive<u64> = 50..=1_500;

/// How long a broker may take to answer a question, all faults mended.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// How long the queues must stay empty before the run is over.
const CALM: Duration = Duration::from_millis(300);

/// How often that is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The history of a run, in its folder.
pub(crate) const HISTORY: &str = "history.jsonl";

/// What one run is like.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) durability: Durability,
    pub(crate) kills: u64,
    /// How long jobs are submitted, at least.
    pub(crate) load: Duration,
    pub(crate) submitters: u64,
    pub(crate) workers: u64,
    pub(crate) readers: u64,
    /// How long nothing may come forward, all faults mended, before what is missing counts as lost.
    pub(crate) patience: Duration,
    /// What the network does; without one, clients connect to the broker itself.
    pub(crate) scenario: Option<Scenario>,
    pub(crate) dir: PathBuf,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) verdict: Verdict,
    /// How long each start of a killed broker took, until it served.
    pub(crate) recoveries: Vec<Duration>,
    pub(crate) peak_bytes: u64,
    /// Of the journal, in the end.
    pub(crate) data_bytes: u64,
    pub(crate) silence: Silence,
    pub(crate) elapsed: Duration,
    /// What went wrong beside the history: the broker ended by itself, a client lost its session.
    pub(crate) failure: Option<String>,
}

/// Carries out a run and judges it.
///
/// # Errors
///
/// It could not be carried out; whatever the broker does wrong is in the outcome.
pub(crate) fn carry_out(plan: &Plan) -> Result<Outcome> {
    let since = Instant::now();
    let data = plan.dir.join("data");
    ensure!(!data.exists(), "{} is of another run; name a folder without it", data.display());
    fs::create_dir_all(&plan.dir)
        .with_context(|| format!("{} cannot be made", plan.dir.display()))?;
    let broker = Broker::new(&plan.dir, plan.durability)?;
    let (broker_address, key_file) = (broker.address(), broker.key_file());
    let proxy = match &plan.scenario {
        Some(scenario) => Some(Proxy::start(broker_address, scenario, plan.seed)?),
        None => None,
    };
    let address = proxy.as_ref().map_or(broker_address, Proxy::address);
    let (hand_over, orders) = channel();
    let (serves, served) = channel();
    let (kills, seed) = (plan.kills, plan.seed);
    // It starts the broker, which dies with it: nothing outlives this program.
    let tormentor = thread::Builder::new().name("tormentor".to_owned()).spawn(move || {
        let mut tormentor = Tormentor { broker, recoveries: Vec::new() };
        tormentor.broker.start()?;
        serves.send(()).context("nobody waits for the broker")?;
        tormentor.torment(kills, seed, &orders)
    })?;
    if served.recv().is_err() {
        return Err(tormented(tormentor).err().unwrap_or_else(|| anyhow!("there is no broker")));
    }
    let key = key_file::read(&key_file)?;
    let history = plan.dir.join(HISTORY);
    let stage = Arc::new(Stage::new(plan.seed, address.to_string(), key, &history)?);
    let scenario = plan.scenario.as_ref().map_or("kills", |scenario| scenario.name).to_owned();
    stage.note("run", What::Setup { seed, durability: plan.durability, scenario });
    stage.note("run", What::BrokerStarted);
    if let Some(proxy) = &proxy {
        proxy.write_to(&stage);
    }
    hand_over.send(Arc::clone(&stage)).context("the broker ended at once")?;
    let lived = block_on(live(plan, &stage, &tormentor, broker_address, proxy.as_ref()));
    drop(hand_over);
    let torment = tormented(tormentor);
    let silence = proxy.map(Proxy::finish).unwrap_or_default();
    stage.note("run", What::Drained);
    stage.finish()?;
    let (recoveries, peak_bytes, data_bytes, broken) = match torment {
        Ok(Tormentor { broker, recoveries }) => {
            (recoveries, broker.peak_bytes(), broker.data_bytes(), None)
        }
        Err(error) => (Vec::new(), 0, 0, Some(error)),
    };
    // Clients of a broker that has ended complain of that.
    let failure = broken.or_else(|| lived.err()).map(|error| format!("{error:#}"));
    let verdict = judge(&history)?;
    let elapsed = since.elapsed();
    Ok(Outcome { verdict, recoveries, peak_bytes, data_bytes, silence, elapsed, failure })
}

/// Judges the history in a file.
///
/// # Errors
///
/// It cannot be read.
pub(crate) fn judge(history: &Path) -> Result<Verdict> {
    let what = || format!("{} cannot be read", history.display());
    let events = ganger_history::read(BufReader::new(File::open(history).with_context(what)?));
    Ok(ganger_history::check(&events.with_context(what)?))
}

/// Who kills the broker, on a thread of its own.
struct Tormentor {
    broker: Broker,
    recoveries: Vec<Duration>,
}

impl Tormentor {
    /// Kills the broker so often, then looks after it until nobody needs it. `stages` brings one
    /// stage, and ends when the run does.
    fn torment(mut self, kills: u64, seed: u64, stages: &Receiver<Arc<Stage>>) -> Result<Self> {
        let stage = stages.recv().context("the run has ended before it began")?;
        let mut rng = Rng::part(seed, "kills", 0);
        for _ in 0..kills {
            thread::sleep(rng.millis(LIFE_MS));
            stage.note("tormentor", What::BrokerKilled);
            self.broker.kill()?;
            self.recoveries.push(self.broker.start()?);
            stage.note("tormentor", What::BrokerStarted);
        }
        stage.end_kills();
        drop(stage);
        while matches!(stages.recv_timeout(LOOK_EVERY), Err(RecvTimeoutError::Timeout)) {
            self.broker.ensure_alive()?;
        }
        self.broker.ensure_alive()?;
        Ok(self)
    }
}

fn tormented(tormentor: JoinHandle<Result<Tormentor>>) -> Result<Tormentor> {
    tormentor.join().map_err(|_| anyhow!("the thread that looks after the broker panicked"))?
}

/// The clients' part of a run.
async fn live(
    plan: &Plan,
    stage: &Arc<Stage>,
    tormentor: &JoinHandle<Result<Tormentor>>,
    broker: SocketAddr,
    proxy: Option<&Proxy>,
) -> Result<()> {
    let started = Instant::now();
    let submitters = (0..plan.submitters).map(|n| spawn(clients::submit(Arc::clone(stage), n)));
    let workers = (0..plan.workers).map(|n| spawn(clients::work(Arc::clone(stage), n)));
    let readers = (0..plan.readers).map(|n| spawn(clients::read(Arc::clone(stage), n)));
    let mut crew =
        Crew { submitters: submitters.collect(), others: workers.chain(readers).collect() };
    while started.elapsed() < plan.load || !stage.kills_are_over() {
        crew.look().await?;
        ensure!(!tormentor.is_finished(), "the broker is gone");
        sleep(LOOK_EVERY).await;
    }
    if let Some(proxy) = proxy {
        proxy.heal();
    }
    stage.end_submits();
    let options = Options::new(broker.to_string(), stage.key.clone());
    let observer = Client::connect(options).await.map_err(|error| anyhow!(sentence(&error)))?;
    loop {
        crew.look().await?;
        ensure!(!tormentor.is_finished(), "the broker is gone");
        let (open, quiet) = stage.rest();
        let silenced = proxy.map_or(0, Proxy::silenced);
        let over = crew.submitters.is_empty() && open == 0 && silenced == 0 && quiet >= CALM;
        if over && jobs_left(&observer).await? == 0 {
            break;
        }
        if quiet > plan.patience {
            let (submitters, jobs) = (crew.submitters.len(), jobs_left(&observer).await?);
            ensure!(submitters == 0, "{submitters} submitters get no answer");
            ensure!(jobs == 0, "{jobs} jobs are left, and nobody is given them");
            // What is missing now is for the checker to say.
            break;
        }
        sleep(LOOK_EVERY).await;
    }
    for client in crew.others {
        if let Some(ended) = client.cancel().await {
            ended?;
        }
    }
    Ok(())
}

/// All clients; those that have ended well are struck off.
struct Crew {
    submitters: Vec<Task<Result<()>>>,
    others: Vec<Task<Result<()>>>,
}

impl Crew {
    /// Finds out whether one has failed.
    async fn look(&mut self) -> Result<()> {
        for clients in [&mut self.submitters, &mut self.others] {
            while let Some(ended) = clients.iter().position(Task::is_finished) {
                clients.swap_remove(ended).await?;
            }
        }
        Ok(())
    }
}

/// Jobs that are in any state but done.
async fn jobs_left(client: &Client) -> Result<u64> {
    let mut jobs = 0;
    for number in 0..QUEUES.len() {
        let show = AdminVerb::QueueShow { queue: queue(number)? };
        match timeout(ANSWER_WITHIN, client.admin(show))
            .await
            .context("the broker does not answer")?
        {
            Ok(AdminAnswer::Queue(info)) => jobs += info.ready + info.delayed + info.leased,
            Ok(_) => bail!("the broker says something else than what a queue is like"),
            Err(Error::Rejected(Rejection::NotFound { .. })) => {}
            Err(error) => bail!("the broker does not show a queue: {}", sentence(&error)),
        }
    }
    Ok(jobs)
}
