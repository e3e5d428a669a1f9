//! Unix sockets: their files, and that they behave like any other connection.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ganger_rt::{Listener, Peer, PeerProcess, Stream, block_on, spawn, yield_now};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(10);

fn somewhere() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("door");
    (directory, path)
}

async fn connected() -> (Stream, Stream) {
    let (_directory, path) = somewhere();
    let listener = Listener::bind_unix(&path).expect("an empty directory");
    let client = Stream::connect_unix(&path, SOON).await.expect("the listener is there");
    let (server, _) = listener.accept().await.expect("the client is there");
    (client, server)
}

/// Leaves a socket file as a killed process does.
fn leave_dead_socket(path: &Path) {
    drop(UnixListener::bind(path).expect("nothing is there"));
    assert!(path.exists());
}

#[test]
fn bytes_go_both_ways_until_the_end() {
    block_on(async {
        let (client, server) = connected().await;
        let mut buf = [0; 16];
        client.write_all(b"there").await.unwrap();
        assert_eq!(server.read(&mut buf).await.unwrap(), 5);
        assert_eq!(&buf[..5], b"there");
        server.write_all(b"and back").await.unwrap();
        drop(server);
        assert_eq!(client.read(&mut buf).await.unwrap(), 8);
        assert_eq!(&buf[..8], b"and back");
        assert_eq!(client.read(&mut buf).await.unwrap(), 0);
        assert_eq!(client.try_write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn both_ends_know_the_process_at_the_other() {
    block_on(async {
        let (_directory, path) = somewhere();
        let listener = Listener::bind_unix(&path).unwrap();
        let client = Stream::connect_unix(&path, SOON).await.unwrap();
        let (server, from) = listener.accept().await.unwrap();
        let (pid, uid) = (std::process::id(), rustix::process::getuid().as_raw());
        let here = Peer::Unix(PeerProcess { pid: Some(pid), uid });
        assert_eq!((client.peer(), server.peer(), from), (here, here, here));
        assert_eq!(from.to_string(), format!("unix(pid={pid},uid={uid})"));
    });
}

#[test]
fn process_outside_of_our_container_has_no_number() {
    let peer = Peer::Unix(PeerProcess { pid: None, uid: 1000 });
    assert_eq!(peer.to_string(), "unix(uid=1000)");
}

#[test]
fn what_only_tcp_has_is_not_asked_of_a_unix_socket() {
    block_on(async {
        let (_directory, path) = somewhere();
        let listener = Listener::bind_unix(&path).unwrap();
        assert_eq!(listener.local_addr().unwrap_err().kind(), ErrorKind::Unsupported);
        let client = Stream::connect_unix(&path, SOON).await.unwrap();
        client.quick_ack();
        assert_eq!(client.try_write(b"x").unwrap(), 1);
    });
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
        assert_eq!((here.await.unwrap(), there.await.unwrap()), (0, 0));
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
            match ganger_rt::timeout(SOON, server.read(&mut buf)).await.unwrap().unwrap() {
                0 => break,
                n => got.extend_from_slice(&buf[..n]),
            }
        }
        writer.await.unwrap();
        assert!(got == bytes);
    });
}

#[test]
fn listener_takes_many_connections() {
    block_on(async {
        let (_directory, path) = somewhere();
        let listener = Listener::bind_unix(&path).unwrap();
        let mut clients = Vec::new();
        for _ in 0..300 {
            clients.push(Stream::connect_unix(&path, SOON).await.unwrap());
        }
        for client in &clients {
            let (server, _) = listener.accept().await.unwrap();
            server.try_write(b"x").unwrap();
            assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 1);
        }
    });
}

#[test]
fn socket_file_of_a_dead_process_is_replaced() {
    block_on(async {
        let (_directory, path) = somewhere();
        leave_dead_socket(&path);
        let refused = Stream::connect_unix(&path, SOON).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        let listener = Listener::bind_unix(&path).unwrap();
        let _client = Stream::connect_unix(&path, SOON).await.unwrap();
        listener.accept().await.unwrap();
    });
}

#[test]
fn path_that_somebody_listens_on_is_in_use() {
    block_on(async {
        let (_directory, path) = somewhere();
        let listener = Listener::bind_unix(&path).unwrap();
        let error = Listener::bind_unix(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        assert_eq!(error.to_string(), format!("another process listens on {}", path.display()));
        // The one that looked was a connection, which has ended.
        let (looked, _) = listener.accept().await.unwrap();
        assert_eq!(looked.read(&mut [0; 8]).await.unwrap(), 0);
        let _client = Stream::connect_unix(&path, SOON).await.unwrap();
        listener.accept().await.unwrap();
    });
}

#[test]
fn full_queue_of_a_listener_makes_connections_wait() {
    block_on(async {
        let (_directory, path) = somewhere();
        let flags = SocketFlags::CLOEXEC;
        let socket =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
        rustix::net::bind(&socket, &SocketAddrUnix::new(&path).unwrap()).unwrap();
        rustix::net::listen(&socket, 0).unwrap();
        let listener = UnixListener::from(socket);
        let _first = Stream::connect_unix(&path, SOON).await.unwrap();

        let late = Stream::connect_unix(&path, Duration::from_millis(1)).await.unwrap_err();
        assert_eq!(late.kind(), ErrorKind::TimedOut);
        let text = format!("no connection to {} within 1ms", path.display());
        assert_eq!(late.to_string(), text);
        // Not a dead one, although nobody got in.
        assert_eq!(Listener::bind_unix(&path).unwrap_err().kind(), ErrorKind::AddrInUse);

        let waiting = spawn(async move { Stream::connect_unix(&path, SOON).await });
        yield_now().await;
        listener.accept().unwrap();
        waiting.await.unwrap();
    });
}

#[test]
fn file_that_is_no_socket_is_left_alone() {
    let (directory, path) = somewhere();
    fs::write(&path, "precious").unwrap();
    let error = Listener::bind_unix(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert_eq!(error.to_string(), format!("{} is no socket", path.display()));
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");

    // A link too, even to the file of a dead socket.
    let (dead, link) = (directory.path().join("dead"), directory.path().join("link"));
    leave_dead_socket(&dead);
    symlink(&dead, &link).unwrap();
    assert_eq!(Listener::bind_unix(&link).unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert!(link.is_symlink() && dead.exists());
}

#[test]
fn path_without_a_directory_is_refused_before_listening() {
    let (_directory, path) = somewhere();
    let error = Listener::reserve_unix(path.join("below")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(Listener::reserve_unix("").unwrap_err().kind(), ErrorKind::InvalidInput);
    let long = path.with_file_name("x".repeat(108));
    assert_eq!(Listener::reserve_unix(long).unwrap_err().kind(), ErrorKind::InvalidFilename);
}

#[test]
fn file_is_for_its_owner_only() {
    let (_directory, path) = somewhere();
    let _listener = Listener::bind_unix(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn file_goes_with_its_listener() {
    block_on(async {
        let (_directory, path) = somewhere();
        let listener = Listener::bind_unix(&path).unwrap();
        assert!(path.exists());
        drop(listener);
        assert!(!path.exists());
        let error = Stream::connect_unix(&path, SOON).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    });
}

#[test]
fn file_of_a_successor_is_left_alone() {
    block_on(async {
        let (_directory, path) = somewhere();
        let first = Listener::bind_unix(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let second = Listener::bind_unix(&path).unwrap();
        drop(first);
        let _client = Stream::connect_unix(&path, SOON).await.unwrap();
        second.accept().await.unwrap();
    });
}

#[test]
fn reserved_path_refuses_until_it_is_listened_on() {
    block_on(async {
        let (_directory, path) = somewhere();
        leave_dead_socket(&path);
        let reserved = Listener::reserve_unix(&path).unwrap();
        let refused = Stream::connect_unix(&path, SOON).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        let _listener = reserved.listen().unwrap();
        Stream::connect_unix(&path, SOON).await.unwrap();
    });
}

#[test]
fn whoever_listens_first_has_the_path() {
    block_on(async {
        let (_directory, path) = somewhere();
        let gives_up = Listener::reserve_unix(&path).unwrap();
        let first = Listener::reserve_unix(&path).unwrap();
        let second = Listener::reserve_unix(&path).unwrap();
        drop(gives_up);
        let listener = first.listen().unwrap();
        assert_eq!(second.listen().unwrap_err().kind(), ErrorKind::AddrInUse);
        let _client = Stream::connect_unix(&path, SOON).await.unwrap();
        listener.accept().await.unwrap();
    });
}
