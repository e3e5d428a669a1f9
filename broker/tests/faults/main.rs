//! The real broker on a real kernel that refuses: system calls that fail (`strace` makes them) and a
//! file system that is full (an ext4 image on a loop device).
//!
//! They need `strace`, and root with `mkfs.ext4`, `mount` and loop devices, and fail where these are
//! missing. So they run when they are asked for:
//! `cargo test -p ganger-broker --test faults -- --ignored`.

#![expect(clippy::unwrap_used, reason = "a test stops where it finds something wrong")]

mod calls;
#[allow(dead_code, reason = "the other tests of the broker ask for more")]
#[path = "../it/client.rs"]
mod client;
mod daemon;
mod full;

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::time::Duration;

use ganger_shared::admin::{AdminAnswer, AdminVerb};
use ganger_shared::{LeaseRange, Rejection, Response};

use client::Client;

/// Longer than anything here takes; a test that hangs fails instead.
const LONG: Duration = Duration::from_secs(100);

/// Runs a test on a runtime, within [`LONG`].
fn run<T>(test: impl Future<Output = T>) -> T {
    ganger_rt::block_on(async {
        ganger_rt::timeout(LONG, test).await.expect("the test ends by itself")
    })
}

/// Fails the test, in words, if `probe`, a command that succeeds where the test can be made, does not.
fn need(probe: &[&str]) {
    let mut command = Command::new(probe[0]);
    command.args(&probe[1..]).stdout(Stdio::null()).stderr(Stdio::null());
    let works = command.status().is_ok_and(|status| status.success());
    assert!(works, "`{}` does not work here, and this test needs it", probe.join(" "));
}

/// How many jobs could start.
async fn ready(client: &mut Client) -> u64 {
    match client.admin(AdminVerb::QueueShow { queue: client::name("mail") }).await {
        Ok(AdminAnswer::Queue(info)) => info.ready,
        other => panic!("no queue but {other:?}"),
    }
}

/// Jobs of a submit: all of them are there or none.
const RUN: usize = 3;

/// What the jobs of a submit carry.
fn payloads(number: usize, bytes: usize) -> [Vec<u8>; RUN] {
    std::array::from_fn(|part| {
        let mut payload = format!("{number}/{part} ").into_bytes();
        payload.resize(bytes.max(payload.len()), b'.');
        payload
    })
}

/// What has come of submits.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// All were accepted.
    Accepted,
    /// The last one was refused.
    StorageFull,
    /// The broker has not answered the last one and is gone.
    HungUp,
}

/// Which submits were made, and which of them were answered as accepted.
#[derive(Debug, Default)]
struct Submits {
    made: usize,
    accepted: BTreeSet<usize>,
}

impl Submits {
    /// Makes so many submits, or as many as the broker accepts.
    async fn go_on(&mut self, client: &mut Client, most: usize, bytes: usize) -> End {
        for _ in 0..most {
            let payloads = payloads(self.made, bytes);
            let (_, submit) = client.submission("mail", &payloads.each_ref().map(Vec::as_slice));
            client.say(&submit).await;
            self.made += 1;
            match client.raw.hear::<Response>().await {
                Some(Response::Accepted { .. }) => {
                    self.accepted.insert(self.made - 1);
                }
                Some(Response::Rejected { rejection: Rejection::StorageFull { .. }, .. }) => {
                    return End::StorageFull;
                }
                None => return End::HungUp,
                Some(other) => panic!("no answer to a submit: {other:?}"),
            }
        }
        End::Accepted
    }

    /// Makes so many submits of jobs that are worked off at once: the journal grows, and holds little.
    async fn churn(client: &mut Client, most: usize, bytes: usize) -> End {
        client.subscribe("done", u32::MAX).await;
        for _ in 0..most {
            let payload = vec![b'x'; bytes];
            let (request, submit) = client.submission("done", &[&payload]);
            client.say(&submit).await;
            let (mut accepted, mut lease) = (false, None);
            while !accepted || lease.is_none() {
                match client.raw.hear::<Response>().await {
                    Some(Response::Accepted { request: answered, .. }) if answered == request => {
                        accepted = true;
                    }
                    // What nobody promised to keep is given away before it is safe.
                    Some(Response::Assign { first_lease, .. }) => lease = Some(first_lease),
                    Some(Response::Rejected {
                        rejection: Rejection::StorageFull { .. }, ..
                    }) => {
                        return End::StorageFull;
                    }
                    None => return End::HungUp,
                    Some(other) => panic!("no answer to a submit: {other:?}"),
                }
            }
            if let Some(first) = lease {
                client.ack(LeaseRange { first, count: 1 }).await.unwrap();
            }
        }
        End::Accepted
    }

    /// Takes all jobs from a broker and compares: every accepted submit is there, none is there in
    /// part or twice, and no job is another than it was.
    async fn expect_all(&self, client: &mut Client, bytes: usize) {
        let mut found = Vec::new();
        let ready = ready(client).await;
        client.subscribe("mail", u32::MAX).await;
        while (found.len() as u64) < ready {
            found.extend(client.assigned().await.payloads);
        }
        let mut there = BTreeSet::new();
        for number in 0..self.made {
            let mine = payloads(number, bytes);
            let count = mine.iter().filter(|&payload| found.contains(&payload[..].to_vec().into()));
            match count.count() {
                0 => {}
                RUN => drop(there.insert(number)),
                some => panic!("{some} jobs of submit {number} are there"),
            }
        }
        assert_eq!(found.len(), there.len() * RUN, "jobs that nobody submitted, or twice");
        let lost: Vec<_> = self.accepted.difference(&there).collect();
        assert!(lost.is_empty(), "accepted and lost: {lost:?}");
    }
}
