//! Figures for docs/journal.md:
//! `cargo test --release -p ganger-broker --test journal -- --ignored --nocapture measure`.

use std::path::Path;
use std::time::{Duration, Instant};

use ganger_broker::storage::{DiskStorage, Record, Seq, Storage, Until};

/// Of one measurement.
const TIME: Duration = Duration::from_secs(2);

const RECORD: [u8; 128] = [7; 128];

/// Bytes that were written to all disks of the machine.
fn device_bytes() -> u64 {
    let stats = std::fs::read_to_string("/proc/diskstats").unwrap_or_default();
    let whole = |name: &str| Path::new("/sys/block").join(name).exists();
    stats
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|fields| whole(fields[2]))
        .map(|fields| fields[9].parse::<u64>().unwrap() * 512)
        .sum()
}

fn append(journal: &mut DiskStorage, last: &mut Seq, count: usize, until: Until) {
    let mut records = Vec::with_capacity(count);
    for _ in 0..count {
        *last = last.next();
        records.push(Record { seq: *last, body: &RECORD });
    }
    journal.append(&records, until).unwrap();
}

#[test]
#[ignore = "a measurement, of the release build"]
fn measure() {
    let directory = tempfile::tempdir_in(".").unwrap();
    for (count, until) in
        [(1, Until::Durable), (64, Until::Durable), (1_024, Until::Durable), (64, Until::Written)]
    {
        let path = directory.path().join(format!("{count}-{until:?}"));
        let mut journal = DiskStorage::new(&path);
        let mut last = journal.replay(&mut |_| Ok(())).unwrap();
        // The spare is there, and its zeros are not counted.
        std::thread::sleep(Duration::from_millis(500));
        let (begun, written) = (Instant::now(), device_bytes());
        let mut latencies = Vec::new();
        while begun.elapsed() < TIME {
            let append_begun = Instant::now();
            append(&mut journal, &mut last, count, until);
            latencies.push(append_begun.elapsed());
        }
        let seconds = begun.elapsed().as_secs_f64();
        journal.append(&[], Until::Durable).unwrap();
        let written = device_bytes() - written;
        latencies.sort_unstable();
        println!(
            "{count} records, {until:?}: {:.0} appends/s, {:.0} records/s, p50 {:?}, p99 {:?}, \
             {:.2} device bytes for a byte",
            latencies.len() as f64 / seconds,
            last.0 as f64 / seconds,
            latencies[latencies.len() / 2],
            latencies[latencies.len() * 99 / 100],
            written as f64 / (last.0 * RECORD.len() as u64) as f64,
        );
        drop(journal);
        std::fs::remove_dir_all(path).unwrap();
    }

    let path = directory.path().join("recovery");
    let mut journal = DiskStorage::new(&path);
    let mut last = journal.replay(&mut |_| Ok(())).unwrap();
    while last.0 * (RECORD.len() as u64) < 100_000_000 {
        append(&mut journal, &mut last, 64, Until::Written);
    }
    journal.append(&[], Until::Durable).unwrap();
    drop(journal);
    let begun = Instant::now();
    let mut bytes = 0;
    let mut journal = DiskStorage::new(&path);
    journal
        .replay(&mut |record| {
            bytes += record.body.len();
            Ok(())
        })
        .unwrap();
    let all = begun.elapsed();
    println!(
        "recovery of {} records, {} MB: {all:?}, {:.0} records/s",
        last.0,
        bytes / 1_000_000,
        last.0 as f64 / all.as_secs_f64(),
    );
}
