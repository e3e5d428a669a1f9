//! One connection through the proxy, and its fate.
//!
//! ```text
//!            ┌── until its time, or for ever once healed ──┐
//!  accepted ─┤                                             ├─▶ whole ─▶ ends as its peers end it
//!            │                                             └─▶ meets its End
//!            └─▶ half-open: no broker behind it, nothing is answered
//! ```

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use ganger_chance::Rng;

use super::Shared;
use crate::procfs::monotonic_ns;
use crate::torture::scenarios::{End, Way};

/// How often a thread that waits for bytes looks what time it is.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// How long either end may take nothing before it is given up.
const WRITE_WITHIN: Duration = Duration::from_secs(10);

/// Requests that a ghost has not delivered when its client is cut off.
const GHOST_HOLDS: Duration = Duration::from_millis(150);

/// How long a ghost lives after its last words.
const GHOST_LINGERS: Duration = Duration::from_millis(300);

/// Bytes of each piece that go one by one; a system call for each of 64 KiB would be all that a
/// run does.
const CRUMBS: usize = 256;

/// Bytes that may wait in a black hole.
const HELD_MAX: usize = 16 << 20;

/// Frames from the broker after which a session is open: challenge, welcome, Opened.
const OPENING_FRAMES: u64 = 3;

/// See the module.
#[derive(Debug)]
pub(super) struct Link {
    number: u64,
    client: TcpStream,
    /// None if it is half-open.
    broker: Option<TcpStream>,
    fate: Option<Fate>,
    /// When it met its fate, on the clock of the history; 0 if it has not.
    met_ns: AtomicU64,
    /// Whether it counts as silenced.
    silenced: AtomicBool,
    over: AtomicBool,
    heard: Mutex<Heard>,
}

#[derive(Debug, Clone, Copy)]
struct Fate {
    at: Instant,
    end: End,
}

/// When each end was last told something.
#[derive(Debug)]
struct Heard {
    client_at: Instant,
    broker_at: Instant,
    answers: Frames,
}

/// What becomes of bytes that go one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Passage {
    Open,
    /// Kept until it opens again.
    Held,
    Lost,
    /// Half of the next piece, then nothing.
    Cut,
}

impl Link {
    pub(super) fn open(client: TcpStream, number: u64, shared: &Shared) -> io::Result<Self> {
        let scenario = &shared.scenario;
        let mut rng = Rng::part(shared.seed, "link", number);
        let half_open = rng.percent(scenario.half_open) && !shared.is_healed();
        let whole = rng.millis(scenario.whole_ms.clone());
        let end = match scenario.ends.len() {
            0 => None,
            ends => scenario.ends.get(rng.size(0..=ends as u64 - 1)).copied(),
        };
        let broker = if half_open { None } else { Some(TcpStream::connect(shared.broker)?) };
        for stream in [Some(&client), broker.as_ref()].into_iter().flatten() {
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(LOOK_EVERY))?;
            stream.set_write_timeout(Some(WRITE_WITHIN))?;
        }
        let now = Instant::now();
        let heard = Heard { client_at: now, broker_at: now, answers: Frames::default() };
        let link = Self {
            number,
            client,
            broker,
            fate: end.map(|end| Fate { at: now + whole, end }),
            met_ns: AtomicU64::new(0),
            silenced: AtomicBool::new(false),
            over: AtomicBool::new(false),
            heard: Mutex::new(heard),
        };
        if half_open {
            link.meet(shared);
            link.silence(Way::Requests, shared);
        }
        Ok(link)
    }

    pub(super) fn carry_requests(&self, shared: &Shared) -> Option<u64> {
        self.carry(Way::Requests, shared)
    }

    pub(super) fn carry_answers(&self, shared: &Shared) -> Option<u64> {
        self.broker.as_ref().and_then(|_| self.carry(Way::Answers, shared))
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its fate, once its time has come.
    fn fate(&self, shared: &Shared) -> Option<Fate> {
        let fate = self.fate.filter(|fate| fate.at <= Instant::now())?;
        if self.met_ns.load(Ordering::Relaxed) == 0 {
            if shared.is_healed() {
                return None;
            }
            self.meet(shared);
        }
        Some(fate)
    }

    fn meet(&self, shared: &Shared) {
        if self.met_ns.swap(monotonic_ns(), Ordering::Relaxed) == 0 {
            shared.measure(|silence| silence.faults += 1);
        }
    }

    /// Only the thread that carries requests counts: it is the one that sees the client go.
    fn silence(&self, way: Way, shared: &Shared) {
        if way == Way::Requests && !self.silenced.swap(true, Ordering::Relaxed) {
            shared.silenced.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Says whether it was silenced until now.
    fn heard_again(&self, shared: &Shared) -> bool {
        let silenced = self.silenced.swap(false, Ordering::Relaxed);
        if silenced {
            shared.silenced.fetch_sub(1, Ordering::Relaxed);
        }
        silenced
    }

    fn passage(&self, way: Way, shared: &Shared) -> Passage {
        if self.broker.is_none() {
            return Passage::Lost;
        }
        let Some(Fate { at, end }) = self.fate(shared) else { return Passage::Open };
        match end {
            End::Cut(cut) | End::Reset(cut) if cut == way => Passage::Cut,
            End::Cut(_) | End::Reset(_) => Passage::Open,
            End::Close => {
                self.close();
                Passage::Lost
            }
            End::BlackHole(ms) if at.elapsed() < Duration::from_millis(ms) => {
                self.silence(way, shared);
                Passage::Held
            }
            End::BlackHole(_) => {
                self.heard_again(shared);
                Passage::Open
            }
            End::Silent(lost) => {
                self.silence(way, shared);
                if lost == way { Passage::Lost } else { Passage::Open }
            }
            End::Ghost(ms) => self.ghost(way, at.elapsed(), Duration::from_millis(ms)),
        }
    }

    fn ghost(&self, way: Way, since: Duration, haunts: Duration) -> Passage {
        let last_words = GHOST_HOLDS + haunts;
        if since >= GHOST_HOLDS {
            let _ = self.client.shutdown(Shutdown::Both);
        }
        if since >= last_words + GHOST_LINGERS {
            self.close();
        }
        match way {
            Way::Requests if since < last_words => Passage::Held,
            Way::Answers if since >= GHOST_HOLDS => Passage::Lost,
            Way::Requests | Way::Answers => Passage::Open,
        }
    }

    /// Carries bytes one way until there are no more, or nobody wants them. Returns since when it
    /// may have lost leases.
    fn carry(&self, way: Way, shared: &Shared) -> Option<u64> {
        let mut rng = Rng::part(shared.seed, &format!("{way:?}"), self.number);
        let mut buffer = vec![0; 64 << 10];
        let mut held = Vec::new();
        let mut ended = false;
        loop {
            if shared.is_stopped() || self.over.load(Ordering::Relaxed) {
                break;
            }
            let passage = self.passage(way, shared);
            if passage == Passage::Open {
                if !held.is_empty() && self.pass(way, &held, &mut rng, shared).is_err() {
                    break;
                }
                held.clear();
                if ended {
                    // Says that no more comes; the other way ends the connection.
                    let to = self.to(way);
                    let _ = to.map(|to| to.shutdown(Shutdown::Write));
                    break;
                }
            }
            if ended {
                // A lost end is never heard of; a held one later.
                if passage == Passage::Lost {
                    break;
                }
                thread::sleep(LOOK_EVERY);
                continue;
            }
            let Some(mut from) = self.from(way) else { break };
            let read = match from.read(&mut buffer) {
                Err(error) if is_late(&error) => continue,
                read => read.unwrap_or(0),
            };
            let piece = &buffer[..read];
            if piece.is_empty() {
                ended = true;
                self.given_up(way, shared);
                continue;
            }
            let carried = match passage {
                Passage::Open => self.pass(way, piece, &mut rng, shared),
                Passage::Held if held.len() < HELD_MAX => {
                    held.extend_from_slice(piece);
                    Ok(())
                }
                Passage::Held => Err(ErrorKind::StorageFull.into()),
                Passage::Lost => Ok(()),
                Passage::Cut => {
                    self.cut(way, piece);
                    break;
                }
            };
            // Who is lost to one end does not learn that it has gone.
            if carried.is_err() && !self.is_deaf(shared) {
                self.close();
                break;
            }
        }
        self.ended(way, ended, shared)
    }

    const fn from(&self, way: Way) -> Option<&TcpStream> {
        match way {
            Way::Requests => Some(&self.client),
            Way::Answers => self.broker.as_ref(),
        }
    }

    const fn to(&self, way: Way) -> Option<&TcpStream> {
        match way {
            Way::Requests => self.broker.as_ref(),
            Way::Answers => Some(&self.client),
        }
    }

    /// Hands bytes on, in the way of the scenario.
    fn pass(&self, way: Way, bytes: &[u8], rng: &mut Rng, shared: &Shared) -> io::Result<()> {
        let Some(mut to) = self.to(way) else { return Ok(()) };
        let (scenario, healed) = (&shared.scenario, shared.is_healed());
        if scenario.slow.contains(&way) && !healed {
            thread::sleep(rng.millis(scenario.delay_ms.clone()));
        }
        let mut rest = bytes;
        if scenario.crumbs.contains(&way) && !healed {
            let (crumbs, whole) = bytes.split_at(bytes.len().min(CRUMBS));
            for crumb in crumbs.chunks(1) {
                to.write_all(crumb)?;
            }
            rest = whole;
        }
        to.write_all(rest)?;
        let mut heard = self.heard();
        match way {
            Way::Requests => heard.broker_at = Instant::now(),
            Way::Answers => {
                heard.client_at = Instant::now();
                heard.answers.pass(bytes);
            }
        }
        Ok(())
    }

    /// Hands on the first half of some bytes, and ends the connection in the middle of a frame.
    fn cut(&self, way: Way, piece: &[u8]) {
        // A piece begins with a frame nearly always. Its first half ends with one hardly ever, and
        // an odd number of bytes never where all frames are as short as heartbeats.
        let half = (piece.len() / 2) | 1;
        if let Some(mut to) = self.to(way) {
            let _ = to.write_all(&piece[..half.min(piece.len() - 1)]);
        }
        if let Some(Fate { end: End::Reset(_), .. }) = self.fate {
            for stream in [Some(&self.client), self.broker.as_ref()].into_iter().flatten() {
                // Whatever was not read or sent is thrown away, and the peer is told so.
                let _ = rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO));
            }
            self.over.store(true, Ordering::Relaxed);
        } else {
            self.close();
        }
    }

    /// Ends it, for both ends to see. A reset comes when the last thread drops its sockets.
    fn close(&self) {
        self.over.store(true, Ordering::Relaxed);
        for stream in [Some(&self.client), self.broker.as_ref()].into_iter().flatten() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// One end has closed the connection.
    fn given_up(&self, way: Way, shared: &Shared) {
        let silenced = match way {
            Way::Requests => self.silenced.load(Ordering::Relaxed),
            Way::Answers => self.is_deaf(shared),
        };
        if silenced {
            self.measure(way, shared);
        }
    }

    /// Whether requests are lost, so that the broker hears nothing.
    fn is_deaf(&self, shared: &Shared) -> bool {
        matches!(self.fate(shared), Some(Fate { end: End::Silent(Way::Requests), .. }))
    }

    /// For how long the end that speaks this way has heard nothing.
    fn measure(&self, way: Way, shared: &Shared) {
        let heard = self.heard();
        let opened = heard.answers.count >= OPENING_FRAMES;
        let (client, broker) = (heard.client_at.elapsed(), heard.broker_at.elapsed());
        drop(heard);
        shared.measure(|silence| match way {
            Way::Requests if opened => silence.clients = silence.clients.max(client),
            Way::Requests => silence.opening = silence.opening.max(client),
            Way::Answers => silence.brokers = silence.brokers.max(broker),
        });
    }

    /// A thread is done with it. Returns since when it may have lost leases.
    fn ended(&self, way: Way, given_up: bool, shared: &Shared) -> Option<u64> {
        let ended_ns = monotonic_ns();
        // The client's end is the one that must notice; the broker's has a time of its own.
        if way == Way::Requests && self.heard_again(shared) && !given_up {
            self.measure(way, shared);
        }
        if self.broker.is_none() {
            self.close();
            // Where there is no broker, there are no leases.
            return None;
        }
        let met_ns = self.met_ns.load(Ordering::Relaxed);
        let since_ns = if met_ns == 0 { ended_ns } else { met_ns };
        Some(since_ns)
    }
}

fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

/// Counts frames as they pass: a length of four bytes, then so many.
#[derive(Debug, Default)]
struct Frames {
    count: u64,
    header: Vec<u8>,
    left: usize,
}

impl Frames {
    fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let skipped = self.left.min(bytes.len());
            self.left -= skipped;
            bytes = &bytes[skipped..];
            let Some((&byte, rest)) = bytes.split_first().filter(|_| self.left == 0) else {
                return;
            };
            self.header.push(byte);
            bytes = rest;
            if let Ok(header) = <[u8; 4]>::try_from(self.header.as_slice()) {
                self.header.clear();
                self.left = usize::try_from(u32::from_le_bytes(header)).unwrap_or(usize::MAX);
                self.count += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_counted_however_they_are_cut() {
        let bytes = [3, 0, 0, 0, 9, 9, 9, 0, 0, 0, 0, 1, 0, 0, 0, 9];
        for size in 1..=bytes.len() {
            let mut frames = Frames::default();
            bytes.chunks(size).for_each(|piece| frames.pass(piece));
            assert_eq!((frames.count, frames.left), (3, 0), "pieces of {size}");
        }
    }
}
