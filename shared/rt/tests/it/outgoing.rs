//! The queue of outgoing bytes.

use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use ganger_rt::{Listener, Outgoing, Stream, block_on, spawn, thread, yield_now};

const LIMIT: usize = 1 << 20;

async fn read_to_end(stream: &Stream) -> Vec<u8> {
    let mut got = Vec::new();
    let mut buf = vec![0; 1 << 16];
    loop {
        match stream.read(&mut buf).await.expect("the connection ends in order") {
            0 => return got,
            n => got.extend_from_slice(&buf[..n]),
        }
    }
}

fn put(outgoing: &Outgoing, frame: &[u8]) -> usize {
    outgoing.append(|bytes| bytes.extend_from_slice(frame))
}

#[test]
fn appended_frames_leave_with_the_flush_and_in_one_write() {
    block_on(async {
        let (stream, other) = Stream::pipe(64);
        let outgoing = Outgoing::new(stream, LIMIT);
        assert_eq!(put(&outgoing, b"one"), 3);
        assert_eq!(put(&outgoing, b"two"), 6);
        assert_eq!(outgoing.queued(), 6);
        outgoing.flush().unwrap();
        assert_eq!(outgoing.queued(), 0);
        let mut buf = [0; 64];
        assert_eq!(other.read(&mut buf).await.unwrap(), 6);
        assert_eq!(&buf[..6], b"onetwo");
    });
}

#[test]
fn full_connection_is_no_error_and_drain_finishes() {
    block_on(async {
        let (stream, other) = Stream::pipe(4);
        let outgoing = Outgoing::new(stream, LIMIT);
        put(&outgoing, b"0123456789");
        outgoing.flush().unwrap();
        assert_eq!(outgoing.queued(), 6);
        assert!(outgoing.stalled_for().is_some());

        let drained = outgoing.clone();
        let drain = spawn(async move { drained.drain().await });
        let reader = spawn(async move { read_to_end(&other).await });
        outgoing.below(1).await;
        assert_eq!(outgoing.stalled_for(), None);

        // A second burst finds the same drain task waiting.
        put(&outgoing, b"abcdefghij");
        outgoing.flush().unwrap();
        outgoing.below(1).await;
        outgoing.close();
        drain.await.unwrap();
        assert_eq!(reader.await, b"0123456789abcdefghij");
    });
}

#[test]
fn full_socket_is_drained_byte_for_byte() {
    block_on(async {
        let listener = Listener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let other = Stream::connect(&address, Duration::from_secs(10)).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let outgoing = Outgoing::new(stream, LIMIT);

        let sent: Vec<u8> = (0_u32..8 << 20).flat_map(u32::to_le_bytes).collect();
        put(&outgoing, &sent);
        outgoing.flush().unwrap();
        assert!(outgoing.queued() > 0, "the socket took 32 MiB at once");
        assert!(outgoing.over_limit());

        let drained = outgoing.clone();
        let drain = spawn(async move { drained.drain().await });
        let reader = spawn(async move { read_to_end(&other).await });
        outgoing.below(1).await;
        assert!(!outgoing.over_limit());
        outgoing.close();
        drain.await.unwrap();
        assert!(reader.await == sent);
    });
}

#[test]
fn frames_of_two_threads_stay_whole_and_in_order() {
    const FRAMES: u32 = 20_000;
    // The capacity fits no whole number of frames, so that most writes are partial ones.
    let (stream, other) = Stream::pipe(61);
    let outgoing = Outgoing::new(stream, LIMIT);
    let writers: Vec<_> = [1_u8, 2]
        .into_iter()
        .map(|id| {
            let outgoing = outgoing.clone();
            thread("writer", move || {
                for number in 0..FRAMES {
                    outgoing.append(|bytes| {
                        bytes.push(id);
                        bytes.extend_from_slice(&number.to_le_bytes());
                        bytes.extend_from_slice(&[id; 3]);
                    });
                    outgoing.flush().unwrap();
                }
            })
            .unwrap()
        })
        .collect();
    let drained = outgoing.clone();
    let drain = spawn(async move { drained.drain().await });
    let reader = spawn(async move { read_to_end(&other).await });
    let got = block_on(async {
        ganger_rt::unblock(|| writers.into_iter().for_each(|w| w.join().unwrap())).await;
        outgoing.below(1).await;
        outgoing.close();
        drain.await.unwrap();
        reader.await
    });

    let mut next = [0_u32; 3];
    for frame in got.chunks(8) {
        let id = frame[0];
        let number = u32::from_le_bytes(frame[1..5].try_into().unwrap());
        assert_eq!(frame[5..], [id; 3]);
        assert_eq!(number, next[usize::from(id)]);
        next[usize::from(id)] += 1;
    }
    assert_eq!(next, [0, FRAMES, FRAMES]);
}

#[test]
fn flush_goes_on_by_itself_when_nobody_drains() {
    block_on(async {
        let (stream, other) = Stream::pipe(4);
        let outgoing = Outgoing::new(stream, LIMIT);
        put(&outgoing, b"0123");
        put(&outgoing, b"4567");
        outgoing.flush().unwrap();
        let mut buf = [0; 8];
        assert_eq!(other.read(&mut buf).await.unwrap(), 4);
        while outgoing.queued() > 0 {
            outgoing.flush().unwrap();
        }
        assert_eq!(other.read(&mut buf).await.unwrap(), 4);
        assert_eq!(&buf[..4], b"4567");
    });
}

#[test]
fn producer_waits_in_below_until_there_is_room() {
    block_on(async {
        let (stream, other) = Stream::pipe(4);
        let outgoing = Outgoing::new(stream, 8);
        let drained = outgoing.clone();
        let _drain = spawn(async move { drained.drain().await });
        put(&outgoing, b"0123456789");
        outgoing.flush().unwrap();
        let waiting = outgoing.clone();
        let producer = spawn(async move { waiting.below(3).await });
        yield_now().await;
        assert!(!producer.is_finished());
        let mut buf = [0; 4];
        assert_eq!(other.read(&mut buf).await.unwrap(), 4);
        producer.await;
        assert_eq!(outgoing.queued(), 2);
    });
}

#[test]
fn close_drops_what_is_queued_and_wakes_everybody() {
    block_on(async {
        let (stream, other) = Stream::pipe(4);
        let outgoing = Outgoing::new(stream, LIMIT);
        put(&outgoing, b"0123456789");
        outgoing.flush().unwrap();
        let (drained, waiting) = (outgoing.clone(), outgoing.clone());
        let drain = spawn(async move { drained.drain().await });
        let producer = spawn(async move { waiting.below(1).await });
        yield_now().await;
        outgoing.close();
        drain.await.unwrap();
        producer.await;
        assert!(outgoing.is_closed());
        assert_eq!(outgoing.flush().unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert_eq!(put(&outgoing, b"late"), 0);
        assert_eq!(read_to_end(&other).await, b"0123");
    });
}

#[test]
fn lost_connection_ends_the_drain_and_every_flush() {
    block_on(async {
        let (stream, other) = Stream::pipe(4);
        let outgoing = Outgoing::new(stream, LIMIT);
        put(&outgoing, b"0123456789");
        outgoing.flush().unwrap();
        let drained = outgoing.clone();
        let drain = spawn(async move { drained.drain().await });
        yield_now().await;
        drop(other);
        assert_eq!(drain.await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert!(outgoing.is_closed());
        assert_eq!(outgoing.flush().unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert_eq!(outgoing.queued(), 0);
    });
}

#[test]
fn encoder_that_panics_ends_its_connection_and_sends_no_half_frame() {
    block_on(async {
        let (stream, other) = Stream::pipe(64);
        let outgoing = Outgoing::new(stream, LIMIT);
        let torn = catch_unwind(AssertUnwindSafe(|| {
            outgoing.append(|bytes| {
                bytes.extend_from_slice(b"half a fr");
                panic!("the encoder's own fault");
            })
        }));
        assert!(torn.is_err());
        assert_eq!(outgoing.flush().unwrap_err().kind(), ErrorKind::InvalidData);
        assert!(read_to_end(&other).await.is_empty());
    });
}

#[test]
fn large_burst_gives_its_memory_back_once_it_is_over() {
    block_on(async {
        let (stream, _other) = Stream::pipe(5 << 20);
        let outgoing = Outgoing::new(stream, LIMIT);
        let mut kept = Vec::new();
        for size in std::iter::once(4 << 20).chain([100; 20]) {
            outgoing.append(|bytes| {
                kept.push(bytes.capacity());
                bytes.resize(size, 0);
            });
            outgoing.flush().unwrap();
        }
        assert!(kept[2] >= 4 << 20, "{kept:?}");
        assert!(kept[20] <= 256 << 10, "{kept:?}");
    });
}

#[test]
fn queue_that_is_never_empty_forgets_what_it_wrote() {
    block_on(async {
        let (stream, other) = Stream::pipe(1000);
        let outgoing = Outgoing::new(stream, LIMIT);
        let drained = outgoing.clone();
        let _drain = spawn(async move { drained.drain().await });
        let mut capacity = 0;
        let mut buf = [0; 1000];
        put(&outgoing, &[0; 4000]);
        outgoing.flush().unwrap();
        for _ in 0..1000 {
            outgoing.append(|bytes| {
                bytes.extend_from_slice(&[0; 1000]);
                capacity = bytes.capacity();
            });
            let target = outgoing.queued() - 999;
            other.read(&mut buf).await.unwrap();
            outgoing.below(target).await;
        }
        assert!(outgoing.queued() > 0);
        assert!(capacity < 64 << 10, "{capacity} bytes for a queue of 5000");
    });
}
