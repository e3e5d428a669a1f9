//! That a stream which waits is always woken: what an edge-triggered reactor gets wrong first.

use std::future::{pending, poll_fn};
use std::sync::mpsc;
use std::task::Poll;
use std::thread::ThreadId;
use std::time::Duration;

use ganger_rt::{Listener, Stream, block_on, spawn, thread, yield_now};

const SOON: Duration = Duration::from_secs(10);

async fn connected() -> (Stream, Stream) {
    let listener = Listener::bind("127.0.0.1:0").await.expect("a free port exists");
    let address = listener.local_addr().expect("the socket is open").to_string();
    let client = Stream::connect(&address, SOON).await.expect("the listener is there");
    let (server, _) = listener.accept().await.expect("the client is there");
    (client, server)
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    ganger_rt::timeout(SOON, future).await.expect("a wake came")
}

/// Answers each byte with the next one until the end.
async fn answer(stream: Stream) {
    let mut buf = [0; 64];
    while let Ok(n @ 1..) = stream.read(&mut buf).await {
        let more: Vec<u8> = buf[..n].iter().map(|byte| byte.wrapping_add(1)).collect();
        if stream.write_all(&more).await.is_err() {
            break;
        }
    }
}

async fn ask(stream: &Stream, byte: u8) {
    stream.write_all(&[byte]).await.expect("a connection");
    let mut buf = [0; 64];
    assert_eq!(soon(stream.read(&mut buf)).await.expect("a connection"), 1);
    assert_eq!(buf[0], byte.wrapping_add(1));
}

#[test]
fn end_right_after_a_short_read_is_seen() {
    block_on(async {
        for round in 0..200 {
            let (client, server) = connected().await;
            // Bytes and end come as one event, as two, or the end between the event and the read.
            let writer = thread("writer", move || {
                client.try_write(b"last words").unwrap();
                if round % 2 == 0 {
                    std::thread::yield_now();
                }
                drop(client);
            })
            .unwrap();
            if round % 3 == 0 {
                yield_now().await;
            }
            let mut buf = [0; 64];
            assert_eq!(soon(server.read(&mut buf)).await.unwrap(), 10);
            assert_eq!(soon(server.read(&mut buf)).await.unwrap(), 0);
            writer.join().unwrap();
        }
    });
}

#[test]
fn end_that_came_with_the_bytes_is_seen() {
    block_on(async {
        let (client, server) = connected().await;
        client.try_write(b"last words").unwrap();
        drop(client);
        // The event of both is collected before the first read.
        ganger_rt::sleep(Duration::from_millis(5)).await;
        let mut buf = [0; 64];
        assert_eq!(soon(server.read(&mut buf)).await.unwrap(), 10);
        assert_eq!(soon(server.read(&mut buf)).await.unwrap(), 0);
    });
}

#[test]
fn bytes_that_exceed_the_buffer_are_read_without_another_event() {
    block_on(async {
        let (client, server) = connected().await;
        client.try_write(b"one two").unwrap();
        let mut buf = [0; 4];
        assert_eq!(soon(server.read(&mut buf)).await.unwrap(), 4);
        assert_eq!(soon(server.read(&mut buf)).await.unwrap(), 3);
    });
}

#[test]
fn every_one_of_many_streams_is_served() {
    block_on(async {
        let mut clients = Vec::new();
        let mut servers = Vec::new();
        // More than the reactor collects at once.
        for _ in 0..400 {
            let (client, server) = connected().await;
            clients.push(client);
            servers.push(spawn(answer(server)));
        }
        for round in 0..3 {
            for client in &clients {
                client.try_write(&[round]).unwrap();
            }
            for client in &clients {
                let mut buf = [0; 8];
                assert_eq!(soon(client.read(&mut buf)).await.unwrap(), 1);
                assert_eq!(buf[0], round + 1);
            }
        }
        drop(clients);
        for server in servers {
            soon(server).await;
        }
    });
}

#[test]
fn full_socket_takes_more_when_its_peer_has_read() {
    block_on(async {
        let (client, server) = connected().await;
        let bytes: Vec<u8> = (0..16 << 20).map(|n: u32| n.to_le_bytes()[1]).collect();
        let sent = bytes.clone();
        let writer = spawn(async move { client.write_all(&sent).await });
        let mut got = Vec::new();
        let mut buf = vec![0; 1 << 16];
        loop {
            match soon(server.read(&mut buf)).await.unwrap() {
                0 => break,
                n => got.extend_from_slice(&buf[..n]),
            }
            if got.len() < 1 << 20 {
                yield_now().await;
            }
        }
        soon(writer).await.unwrap();
        assert!(got == bytes);
    });
}

#[test]
fn streams_that_follow_dropped_ones_are_undisturbed() {
    block_on(async {
        for round in 0..300_u32 {
            let (client, server) = connected().await;
            // Leaves events of a stream that is gone when they are looked at, and a descriptor
            // that the next stream gets.
            client.try_write(b"x").unwrap();
            server.try_write(b"y").unwrap();
            if round % 2 == 0 {
                client.close();
            }
            drop((client, server));
            let (client, server) = connected().await;
            let server = spawn(answer(server));
            ask(&client, 7).await;
            drop(client);
            soon(server).await;
        }
    });
}

#[test]
fn wake_from_another_thread_ends_a_wait_for_events() {
    let mut woken = false;
    let future = poll_fn(|cx| {
        if woken {
            return Poll::Ready(());
        }
        woken = true;
        let waker = cx.waker().clone();
        thread("waker", move || {
            // Long enough for the other thread to have gone to sleep; right at any speed.
            std::thread::sleep(Duration::from_millis(20));
            waker.wake();
        })
        .unwrap();
        Poll::Pending
    });
    block_on(future);
}

#[test]
fn task_started_from_outside_runs_on_a_sleeping_thread() {
    let (stop, stopped) = mpsc::channel();
    let runtime = thread("runtime", move || {
        block_on(async {
            let mut id = None;
            poll_fn(|cx| {
                if id.is_none() {
                    id = Some(());
                    stop.send(cx.waker().clone()).unwrap();
                    return Poll::Pending;
                }
                Poll::Ready(())
            })
            .await;
        });
    })
    .unwrap();
    let waker = stopped.recv().unwrap();
    std::thread::sleep(Duration::from_millis(10));
    let (done, finished) = mpsc::channel::<ThreadId>();
    spawn(async move { done.send(std::thread::current().id()).unwrap() }).detach();
    finished.recv_timeout(SOON).expect("a thread inside block_on ran it");
    waker.wake();
    runtime.join().unwrap();
}

#[test]
fn thread_that_stays_serves_when_another_leaves() {
    for _ in 0..50 {
        let (ready, address) = mpsc::channel();
        let (first_out, first_left) = mpsc::channel::<()>();
        // Stays until its peer is gone, whoever of the two has been collecting events.
        let stays = thread("stays", move || {
            block_on(async {
                let listener = Listener::bind("127.0.0.1:0").await.unwrap();
                ready.send(listener.local_addr().unwrap().to_string()).unwrap();
                let (stream, _) = listener.accept().await.unwrap();
                answer(stream).await;
            });
        })
        .unwrap();
        let address = address.recv().unwrap();
        let leaves = thread("leaves", move || {
            let stream = block_on(async {
                let stream = Stream::connect(&address, SOON).await.unwrap();
                for byte in 0..10 {
                    ask(&stream, byte).await;
                }
                stream
            });
            first_out.send(()).unwrap();
            // Nobody but the other thread can see these.
            let mut got = 0;
            stream.try_write(&[1]).unwrap();
            let start = std::time::Instant::now();
            while got == 0 {
                assert!(start.elapsed() < SOON, "the thread that stayed answered");
                // A round in and out hands the turn to and fro.
                got = block_on(stream.read(&mut [0; 8])).unwrap();
            }
        })
        .unwrap();
        first_left.recv_timeout(SOON).unwrap();
        leaves.join().unwrap();
        stays.join().unwrap();
    }
}

#[test]
fn busy_tasks_do_not_keep_events_out() {
    block_on(async {
        let (client, server) = connected().await;
        let busy = spawn(async {
            loop {
                yield_now().await;
            }
        });
        let server = spawn(answer(server));
        for byte in 0..20 {
            ask(&client, byte).await;
        }
        drop(busy);
        drop(client);
        soon(server).await;
    });
}

#[test]
fn block_on_inside_a_task_collects_events_too() {
    block_on(async {
        let (client, server) = connected().await;
        spawn(async move {
            block_on(async {
                let server = spawn(answer(server));
                ask(&client, 1).await;
                drop(client);
                soon(server).await;
            });
        })
        .await;
        // The thread is still a runtime after that.
        let (client, server) = connected().await;
        let idle = spawn(pending::<()>());
        let server = spawn(answer(server));
        ask(&client, 2).await;
        drop((client, idle));
        soon(server).await;
    });
}
