//! The in-memory connection behaves like a socket.

use std::io::ErrorKind;

use ganger_rt::{Peer, Stream, block_on, spawn, yield_now};

#[test]
fn reader_gets_what_was_written_before_the_end() {
    block_on(async {
        let (one, other) = Stream::pipe(16);
        one.write_all(b"last words").await.unwrap();
        one.close();
        let mut buf = [0; 32];
        assert_eq!(other.read(&mut buf).await.unwrap(), 10);
        assert_eq!(other.read(&mut buf).await.unwrap(), 0);
        assert_eq!(other.read(&mut buf).await.unwrap(), 0);
    });
}

#[test]
fn connection_lives_until_the_last_clone_is_dropped() {
    block_on(async {
        let (one, other) = Stream::pipe(16);
        let clone = one.clone();
        drop(one);
        assert_eq!(other.try_write(b"x").unwrap(), 1);
        drop(clone);
        assert_eq!(other.try_write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn closing_wakes_the_reader_at_either_end() {
    block_on(async {
        let (one, other) = Stream::pipe(16);
        let (here, there) = (one.clone(), other.clone());
        let here = spawn(async move { here.read(&mut [0; 8]).await });
        let there = spawn(async move { there.read(&mut [0; 8]).await });
        yield_now().await;
        one.close();
        assert_eq!((here.await.unwrap(), there.await.unwrap()), (0, 0));
    });
}

#[test]
fn closing_wakes_the_writer_at_either_end() {
    block_on(async {
        let (one, other) = Stream::pipe(4);
        let (here, there) = (one.clone(), other.clone());
        let here = spawn(async move { here.write_all(b"too long").await });
        let there = spawn(async move { there.write_all(b"too long").await });
        yield_now().await;
        other.close();
        assert_eq!(here.await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert_eq!(there.await.unwrap_err().kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn full_pipe_takes_a_part_and_then_nothing() {
    let (one, _other) = Stream::pipe(4);
    assert_eq!(one.try_write(b"abcdef").unwrap(), 4);
    assert_eq!(one.try_write(b"ef").unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn writer_goes_on_as_the_reader_makes_room() {
    block_on(async {
        let (one, other) = Stream::pipe(3);
        let sent: Vec<u8> = (0..=255).collect();
        let bytes = sent.clone();
        let writer = spawn(async move { one.write_all(&bytes).await });
        let mut got = Vec::new();
        let mut buf = [0; 2];
        loop {
            match other.read(&mut buf).await.unwrap() {
                0 => break,
                n => got.extend_from_slice(&buf[..n]),
            }
        }
        writer.await.unwrap();
        assert_eq!(got, sent);
    });
}

#[test]
fn two_readers_of_one_end_both_get_their_turn() {
    block_on(async {
        let (one, other) = Stream::pipe(16);
        let clone = other.clone();
        let first = spawn(async move { clone.read(&mut [0; 1]).await });
        let second = spawn(async move { other.read(&mut [0; 1]).await });
        yield_now().await;
        one.write_all(b"ab").await.unwrap();
        assert_eq!((first.await.unwrap(), second.await.unwrap()), (1, 1));
    });
}

#[test]
fn peer_of_a_pipe_reads_as_pipe() {
    let (one, _other) = Stream::pipe(1);
    assert_eq!(one.peer(), Peer::Pipe);
    assert_eq!(one.peer().to_string(), "pipe");
}
