//! A file system that is full: an ext4 image on a loop device.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::client::Client;
use crate::daemon::Home;
use crate::{End, RUN, Submits, need, ready, run};

/// Of the image: two segments of 64 MiB fit, and not a third, beside what others have.
const IMAGE_BYTES: u64 = 184 << 20;

/// What others have on it.
const OTHERS_BYTES: u64 = 200 << 20;

/// Of one job; a submit is three.
const BYTES: usize = 1 << 20;

/// A file system of its own, unmounted when it is dropped.
struct Mount {
    folder: TempDir,
}

fn call(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {told}");
}

impl Mount {
    fn of(bytes: u64) -> Self {
        let mount = Self { folder: tempfile::tempdir().unwrap() };
        let image = mount.folder.path().join("image");
        File::create(&image).unwrap().set_len(bytes).unwrap();
        let (image, path) = (image.to_str().unwrap(), mount.path());
        fs::create_dir(&path).unwrap();
        call("mkfs.ext4", &["-q", "-F", "-m", "0", image]);
        call("mount", &["-o", "loop", image, path.to_str().unwrap()]);
        mount
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("mounted")
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily: a broker of a test that failed may be there still.
        let _ = Command::new("umount").arg("--lazy").arg(self.path()).status();
    }
}

fn need_mount() {
    need(&["sh", "-c", "mkfs.ext4 -V && test $(id -u) = 0 && losetup --find"]);
}

/// Submits until the storage is full.
async fn fill(submits: &mut Submits, client: &mut Client) {
    assert_eq!(submits.go_on(client, 200, BYTES).await, End::StorageFull);
}

/// Takes so many jobs and acks them.
async fn work_off(worker: &mut Client, jobs: u64) {
    worker.subscribe("mail", 8).await;
    let mut taken = 0;
    while taken < jobs {
        let leases = worker.assigned().await.leases;
        taken += u64::from(leases.count);
        assert_eq!(worker.ack(leases).await, Ok(Vec::new()));
    }
}

/// Submits until that is accepted.
async fn heal(submits: &mut Submits, client: &mut Client) {
    let since = Instant::now();
    while submits.go_on(client, 1, BYTES).await == End::StorageFull {
        assert!(since.elapsed() < Duration::from_secs(20), "it does not heal");
        ganger_rt::sleep(Duration::from_millis(100)).await;
    }
}

#[test]
#[ignore = "needs root and loop devices"]
fn full_file_system_refuses_submits_takes_results_and_heals() {
    need_mount();
    let mount = Mount::of(IMAGE_BYTES + OTHERS_BYTES);
    let others = mount.path().join("others");
    let size = OTHERS_BYTES.to_string();
    call("fallocate", &["--length", &size, others.to_str().unwrap()]);
    let mut home = Home::new();
    home.data = mount.path().join("data");
    let daemon = home.start();
    let mut submits = Submits::default();
    let left = run(async {
        let (mut client, mut worker) = (daemon.client().await, daemon.client().await);
        fill(&mut submits, &mut client).await;
        assert!(submits.accepted.len() > 10, "{} were accepted", submits.accepted.len());
        let all = ready(&mut client).await;
        assert_eq!(all, (submits.accepted.len() * RUN) as u64);
        // What ends work goes through, with its result.
        worker.subscribe("mail", 1).await;
        for _ in 0..5 {
            let leases = worker.assigned().await.leases;
            assert_eq!(worker.ack(leases).await, Ok(Vec::new()));
        }
        fill(&mut submits, &mut client).await;
        all - 5
    });
    // A start takes what little space it needs from the reserve.
    daemon.signal(Signal::KILL);
    drop(daemon);
    drop(home.start());
    // The others give back what they took.
    fs::remove_file(others).unwrap();
    let daemon = home.start();
    run(async {
        let (mut client, mut worker) = (daemon.client().await, daemon.client().await);
        work_off(&mut worker, left).await;
        heal(&mut submits, &mut client).await;
    });
    daemon.stop();
}

#[test]
#[ignore = "needs root and loop devices"]
fn full_file_system_heals_when_its_jobs_are_worked_off() {
    need_mount();
    let mount = Mount::of(IMAGE_BYTES);
    let mut home = Home::new();
    home.data = mount.path().join("data");
    let daemon = home.start();
    let mut submits = Submits::default();
    run(async {
        let (mut client, mut worker) = (daemon.client().await, daemon.client().await);
        fill(&mut submits, &mut client).await;
        work_off(&mut worker, (submits.accepted.len() * RUN) as u64).await;
        heal(&mut submits, &mut client).await;
    });
    daemon.stop();
}

/// Jobs that wait take the disk, more of them than the reserve has room to state anew.
#[test]
#[ignore = "needs root and loop devices"]
fn waiting_jobs_that_fill_the_file_system_leave_a_broker_that_works() {
    need_mount();
    let mount = Mount::of(IMAGE_BYTES + OTHERS_BYTES);
    let mut home = Home::new();
    home.data = mount.path().join("data");
    let daemon = home.start();
    let mut submits = Submits::default();
    run(async { fill(&mut submits, &mut daemon.client().await).await });
    daemon.stop();
    let daemon = home.start();
    run(async { submits.expect_all(&mut daemon.client().await, BYTES).await });
    daemon.stop();
}
