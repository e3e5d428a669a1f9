//! Listening and connecting.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use ganger_rt::{Listener, Peer, Stream, block_on, spawn, thread, yield_now};

const SOON: Duration = Duration::from_secs(10);

async fn connected() -> (Stream, Stream) {
    let listener = Listener::bind("127.0.0.1:0").await.expect("a free port exists");
    let address = listener.local_addr().expect("the socket is open").to_string();
    let client = Stream::connect(&address, SOON).await.expect("the listener is there");
    let (server, _) = listener.accept().await.expect("the client is there");
    (client, server)
}

#[test]
fn port_zero_becomes_a_port_that_accepts() {
    block_on(async {
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let listener = Listener::bind(any).await.unwrap();
        let address = listener.local_addr().unwrap();
        assert_ne!(address.port(), 0);
        let client = Stream::connect(&address.to_string(), SOON).await.unwrap();
        let (server, from) = listener.accept().await.unwrap();
        assert_eq!(client.peer(), Peer::Tcp(address));
        assert_eq!(server.peer(), from);
        let Peer::Tcp(from) = from else { panic!("not TCP") };
        assert_eq!(server.peer().to_string(), from.to_string());
    });
}

#[test]
fn host_names_are_looked_up_on_both_sides() {
    block_on(async {
        let listener = Listener::bind("localhost:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        Stream::connect(&format!("localhost:{port}"), SOON).await.unwrap();
    });
}

#[test]
fn taken_port_is_in_use() {
    block_on(async {
        let listener = Listener::bind("127.0.0.1:0").await.unwrap();
        let again = Listener::bind(listener.local_addr().unwrap()).await.unwrap_err();
        assert_eq!(again.kind(), ErrorKind::AddrInUse);
    });
}

#[test]
fn reserved_address_refuses_until_it_is_listened_on() {
    block_on(async {
        let listening = Listener::bind("127.0.0.1:0").await.unwrap();
        let taken = Listener::reserve(listening.local_addr().unwrap()).await.unwrap_err();
        assert_eq!(taken.kind(), ErrorKind::AddrInUse);
        let address = listening.local_addr().unwrap().to_string();
        drop(listening);
        let reserved = Listener::reserve(&address).await.unwrap();
        let refused = Stream::connect(&address, SOON).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        let listener = reserved.listen().unwrap();
        assert_eq!(listener.local_addr().unwrap().to_string(), address);
        Stream::connect(&address, SOON).await.unwrap();
    });
}

#[test]
fn address_without_a_port_is_invalid() {
    let error = block_on(Listener::bind("127.0.0.1")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[test]
fn nobody_listening_is_connection_refused() {
    block_on(async {
        // The port of a connection's client end is taken and not listened on.
        let (client, server) = connected().await;
        let Peer::Tcp(taken) = server.peer() else { panic!("not TCP") };
        let error = Stream::connect(&taken.to_string(), SOON).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        drop(client);
    });
}

#[test]
fn connection_that_takes_too_long_says_how_long() {
    let error = block_on(Stream::connect("localhost:1", Duration::ZERO)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert_eq!(error.to_string(), "no connection to localhost:1 within 0ns");
}

#[test]
fn closing_wakes_the_readers_of_both_ends() {
    block_on(async {
        let (client, server) = connected().await;
        let (here, there) = (client.clone(), server.clone());
        let here = spawn(async move { here.read(&mut [0; 8]).await });
        let there = spawn(async move { there.read(&mut [0; 8]).await });
        yield_now().await;
        client.close();
        client.close();
        assert_eq!((here.await.unwrap(), there.await.unwrap()), (0, 0));
        assert_eq!(client.try_write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn closing_wakes_a_writer_of_a_full_socket() {
    block_on(async {
        let (client, _server) = connected().await;
        let writing = client.clone();
        let writer = spawn(async move { writing.write_all(&vec![0; 64 << 20]).await });
        let mut full = false;
        while !full {
            yield_now().await;
            full = client.try_write(&[0]).is_err();
        }
        client.close();
        assert_eq!(writer.await.unwrap_err().kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn try_write_fills_the_socket_and_then_refuses() {
    block_on(async {
        let (client, server) = connected().await;
        let chunk = vec![7; 1 << 20];
        let mut sent = 0;
        let error = loop {
            match client.try_write(&chunk) {
                Ok(n) => sent += n,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        client.close();
        let mut got = 0;
        let mut buf = vec![0; 1 << 16];
        loop {
            match server.read(&mut buf).await.unwrap() {
                0 => break,
                n => got += n,
            }
        }
        assert_eq!(got, sent);
    });
}

/// Reads exactly as much, with quick acknowledgements.
async fn read_exact(stream: &Stream, buf: &mut [u8]) {
    let mut filled = 0;
    while filled < buf.len() {
        stream.quick_ack();
        match stream.read(&mut buf[filled..]).await.expect("a connection") {
            0 => panic!("the end after {filled} of {} bytes", buf.len()),
            n => filled += n,
        }
    }
}

#[test]
fn message_in_two_writes_is_answered() {
    const ROUNDS: u8 = 20;
    const BODY_BYTES: usize = 20_000;
    block_on(async {
        let listener = Listener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        // With Nagle's algorithm on, which is the system's default.
        let client = thread("client", move || {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(SOON)).unwrap();
            for round in 0..ROUNDS {
                let body = vec![round; BODY_BYTES];
                stream.write_all(&u32::try_from(body.len()).unwrap().to_be_bytes()).unwrap();
                stream.write_all(&body).unwrap();
                let mut answer = [0; 1];
                stream.read_exact(&mut answer).unwrap();
                assert_eq!(answer, [round]);
            }
        })
        .unwrap();
        let (server, _) = listener.accept().await.unwrap();
        for round in 0..ROUNDS {
            let mut header = [0; 4];
            read_exact(&server, &mut header).await;
            let mut body = vec![0; u32::from_be_bytes(header).try_into().unwrap()];
            read_exact(&server, &mut body).await;
            assert!(body == vec![round; BODY_BYTES]);
            server.write_all(&[round]).await.unwrap();
        }
        client.join().unwrap();
    });
}

#[test]
fn quick_acknowledgements_of_an_ended_connection_do_nothing() {
    block_on(async {
        let (client, server) = connected().await;
        drop(server);
        client.close();
        client.quick_ack();
        assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0);
    });
}
