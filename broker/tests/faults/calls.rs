//! System calls that fail, by `strace`.

use std::time::{Duration, Instant};

use crate::daemon::Home;
use crate::{End, Submits, need, run};

fn need_strace() {
    need(&["strace", "-qq", "-o", "/dev/null", "true"]);
}

/// A payload of which a segment of 64 MiB holds few.
const LARGE: usize = 1 << 20;

/// A broker whose journal cannot be written ends and says so, and the next one has all that was
/// accepted.
///
/// `file` is what the calls are about, in the journal's folder; `warm` submits come before they fail.
fn broker_ends(inject: &str, file: &str, bytes: usize, says: &[&str]) {
    need_strace();
    let home = Home::new();
    let daemon = home.start();
    let mut submits = Submits::default();
    let strace = run(async {
        let mut client = daemon.client().await;
        assert_eq!(submits.go_on(&mut client, 5, bytes).await, End::Accepted);
        let strace = daemon.inject(inject, &home.data.join(file));
        assert_eq!(submits.go_on(&mut client, 100, bytes).await, End::HungUp);
        strace
    });
    let line = daemon.last_line();
    drop(strace);
    for part in says {
        assert!(line.contains(part), "the last line says {line:?} and not {part:?}");
    }
    let daemon = home.start();
    run(async { submits.expect_all(&mut daemon.client().await, bytes).await });
    daemon.stop();
}

#[test]
#[ignore = "needs strace"]
fn sync_that_fails_ends_the_broker() {
    let says = ["cannot sync", "seg-0000000001", "Input/output error"];
    broker_ends("fdatasync:error=EIO:when=1+", "seg-0000000001", 0, &says);
}

#[test]
#[ignore = "needs strace"]
fn sync_that_fails_once_is_not_tried_again() {
    // The kernel has forgotten what it could not write: a second sync would promise what is not so.
    let says = ["cannot sync", "seg-0000000001", "Input/output error"];
    broker_ends("fdatasync:error=EIO:when=3", "seg-0000000001", 0, &says);
}

#[test]
#[ignore = "needs strace"]
fn write_that_fails_ends_the_broker() {
    let says = ["cannot write", "seg-0000000001", "Input/output error"];
    broker_ends("pwrite64:error=EIO:when=4", "seg-0000000001", 0, &says);
}

#[test]
#[ignore = "needs strace"]
fn write_without_space_ends_the_broker() {
    // Not as a full disk does, which is refused in time: what was allocated is not there.
    let says = ["cannot write", "seg-0000000001", "No space left on device"];
    broker_ends("pwrite64:error=ENOSPC:when=2+", "seg-0000000001", 4_000, &says);
}

#[test]
#[ignore = "needs strace"]
fn segment_that_cannot_get_its_name_ends_the_broker() {
    let says = ["cannot name", "seg-000000000", "Input/output error"];
    broker_ends("rename:error=EIO:when=1+", "spare", LARGE, &says);
}

#[test]
#[ignore = "needs strace"]
fn directory_that_cannot_be_synced_ends_the_broker() {
    let says = ["cannot name", "seg-000000000", "Input/output error"];
    broker_ends("fsync:error=EIO:when=1+", "", LARGE, &says);
}

#[test]
#[ignore = "needs strace"]
fn write_that_is_interrupted_is_tried_again() {
    need_strace();
    let home = Home::new();
    let daemon = home.start();
    let mut submits = Submits::default();
    run(async {
        let mut client = daemon.client().await;
        assert_eq!(submits.go_on(&mut client, 5, 0).await, End::Accepted);
        let file = home.data.join("seg-0000000001");
        let strace = daemon.inject("pwrite64:error=EINTR:when=1+2", &file);
        assert_eq!(submits.go_on(&mut client, 50, 0).await, End::Accepted);
        drop(strace);
        assert_eq!(submits.accepted.len(), 55);
    });
    daemon.stop();
    let daemon = home.start();
    run(async { submits.expect_all(&mut daemon.client().await, 0).await });
    daemon.stop();
}

/// The next segment cannot be made: new work is refused in time, and taken again by itself.
fn broker_refuses_and_heals(inject: &str) {
    need_strace();
    let home = Home::new();
    let daemon = home.start();
    let mut submits = Submits::default();
    run(async {
        let mut client = daemon.client().await;
        assert_eq!(submits.go_on(&mut client, 5, LARGE).await, End::Accepted);
        let mut other = daemon.client().await;
        let strace = daemon.inject(inject, &home.data.join("spare"));
        assert_eq!(Submits::churn(&mut other, 300, LARGE).await, End::StorageFull);
        drop(strace);
        let since = Instant::now();
        while submits.go_on(&mut client, 1, LARGE).await == End::StorageFull {
            assert!(since.elapsed() < Duration::from_secs(30), "it does not heal");
            ganger_rt::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(submits.go_on(&mut client, 10, LARGE).await, End::Accepted);
    });
    daemon.stop();
    let daemon = home.start();
    run(async { submits.expect_all(&mut daemon.client().await, LARGE).await });
    daemon.stop();
}

#[test]
#[ignore = "needs strace"]
fn segment_that_cannot_be_made_is_a_full_storage() {
    broker_refuses_and_heals("openat:error=ENOSPC:when=1+");
}

#[test]
#[ignore = "needs strace"]
fn segment_that_gets_no_space_is_a_full_storage() {
    broker_refuses_and_heals("fallocate:error=ENOSPC:when=1+");
}

#[test]
#[ignore = "needs strace"]
fn journal_that_cannot_be_made_is_refused_at_the_start_and_made_at_the_next() {
    need_strace();
    for (inject, says) in [
        ("fallocate:error=ENOSPC", "no storage space"),
        ("fdatasync:error=EIO:when=1", "Input/output error"),
        ("rename:error=EIO:when=1", "Input/output error"),
        ("rename:error=EIO:when=2", "Input/output error"),
        ("flock:error=EIO", "Input/output error"),
    ] {
        let home = Home::new();
        let told = home.refuse(inject, None);
        assert!(told.starts_with("error: ") && told.contains(says), "{inject}: {told}");
        assert!(told.contains(home.data.to_str().unwrap()), "{inject}: {told}");
        let daemon = home.start();
        run(async { daemon.client().await.is_served().await });
        daemon.stop();
    }
}

#[test]
#[ignore = "needs strace"]
fn journal_that_cannot_be_read_is_refused_at_the_start_and_left_as_it_is() {
    need_strace();
    let home = Home::new();
    let daemon = home.start();
    let mut submits = Submits::default();
    run(async {
        assert_eq!(submits.go_on(&mut daemon.client().await, 20, 100).await, End::Accepted);
    });
    daemon.stop();
    for (inject, file) in [
        ("pread64:error=EIO:when=1", "FORMAT"),
        ("pread64:error=EIO:when=1", "seg-0000000001"),
        ("pread64:error=EIO:when=2", "seg-0000000001"),
    ] {
        let told = home.refuse(inject, Some(&home.data.join(file)));
        assert!(told.starts_with("error: ") && told.contains("Input/output error"), "{told}");
    }
    let daemon = home.start();
    run(async { submits.expect_all(&mut daemon.client().await, 100).await });
    daemon.stop();
}
