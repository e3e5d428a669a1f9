//! The broker as its clients and operators meet it: over sockets and pipes, and as a process.

#![expect(clippy::unwrap_used, reason = "a test stops where it finds something wrong")]

mod client;
mod configuration;
mod handshake;
mod hostile;
mod jobs;
mod pressure;
mod process;
mod relaxed;
mod restart;
mod sessions;
mod storages;

use std::time::Duration;

/// Longer than anything here takes; a test that hangs fails instead.
const LONG: Duration = Duration::from_secs(60);

/// Runs a test on a runtime, within [`LONG`].
fn run<T>(test: impl Future<Output = T>) -> T {
    ganger_rt::block_on(async {
        ganger_rt::timeout(LONG, test).await.expect("the test ends by itself")
    })
}
