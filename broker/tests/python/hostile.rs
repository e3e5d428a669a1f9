//! What strangers and broken clients send: they are refused, and nobody else notices.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use ganger_broker::config::{Config, Span};
use hmac::{Hmac, KeyInit as _, Mac as _};
use md5::Md5;

use crate::{AUTHKEY, House, PYTHONS, ran, run, script, succeeded};

fn message(payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[..], payload].concat()
}

fn next(stream: &mut TcpStream) -> Vec<u8> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let mut payload = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut payload).unwrap();
    payload
}

fn proof(challenge: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Md5>::new_from_slice(AUTHKEY.as_bytes()).unwrap();
    mac.update(challenge.strip_prefix(b"#CHALLENGE#").unwrap());
    mac.finalize().into_bytes().to_vec()
}

/// A connection that has proven the key, as an old Python does it.
fn admitted(address: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    let challenge = next(&mut stream);
    stream.write_all(&message(&proof(&challenge))).unwrap();
    assert_eq!(next(&mut stream), b"#WELCOME#");
    let ours = [b"#CHALLENGE#", &[7; 20][..]].concat();
    stream.write_all(&message(&ours)).unwrap();
    assert_eq!(next(&mut stream), proof(&ours));
    stream.write_all(&message(b"#WELCOME#")).unwrap();
    stream
}

/// All that comes until the broker closes.
fn rest(mut stream: TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    // A connection that is reset has ended too.
    let _ = stream.read_to_end(&mut all);
    all
}

/// Programs are served as ever.
async fn is_sound(house: &House) {
    let newest = PYTHONS.last().unwrap();
    let output = ran(house.program(newest, script("sound.py"))).await;
    succeeded("sound.py", &output);
}

#[test]
fn strangers_are_turned_away_without_a_word_too_much() {
    run(async {
        let house = House::open("").await;
        let address = house.address();
        let said = ganger_rt::unblock(move || {
            let wrong: [&[u8]; 6] = [
                b"GET / HTTP/1.1\r\n\r\n",
                &message(&[0; 16]),
                &message(b"{sha256}0123456789abcdef0123456789abcdef"),
                &message(b""),
                &[0xff; 64],
                &message(&[0x80; 257]),
            ];
            wrong.map(|bytes| {
                let mut stream = TcpStream::connect(&address).unwrap();
                assert_eq!(next(&mut stream).len(), 59);
                stream.write_all(bytes).unwrap();
                rest(stream)
            })
        });
        for said in said.await {
            assert!(said.is_empty() || said == message(b"#FAILURE#"), "{said:?}");
        }
        is_sound(&house).await;
    });
}

#[test]
fn what_is_no_request_ends_its_connection_only() {
    run(async {
        let house = House::open("").await;
        let address = house.address();
        let said = ganger_rt::unblock(move || {
            let wrong: [&[u8]; 7] = [
                // No pickle; one of an old protocol; a class by a forbidden opcode; no request.
                &message(b"garbage"),
                &message(b"\x80\x02N."),
                &message(b"\x80\x04\x82\x01."),
                &message(b"\x80\x04K\x01."),
                // As deep as it gets.
                &message(&[&b"\x80\x04"[..], &vec![b'('; 1 << 20], b"."].concat()),
                // One that claims to be too long, and one of a length that is none.
                &[0x7f, 0xff, 0xff, 0xff],
                &[0xff, 0xff, 0xff, 0xfe],
            ];
            wrong.map(|bytes| {
                let mut stream = admitted(&address);
                stream.write_all(bytes).unwrap();
                rest(stream)
            })
        });
        for said in said.await.iter().take(5) {
            let text = String::from_utf8_lossy(said);
            assert!(text.contains("#TRACEBACK") && text.contains("cannot read that"), "{text}");
        }
        is_sound(&house).await;
    });
}

#[test]
fn message_that_stops_in_the_middle_disturbs_nobody() {
    run(async {
        let house = House::open("").await;
        let address = house.address();
        let open = ganger_rt::unblock(move || {
            let mut stopped = Vec::new();
            for end in [1, 3, 4, 5, 20] {
                let mut stream = admitted(&address);
                let whole = message(b"\x80\x04(N\x8c\x05dummy\x94)}\x94t\x94.");
                stream.write_all(&whole[..end]).unwrap();
                stopped.push(stream);
            }
            stopped
        });
        let open = open.await;
        is_sound(&house).await;
        drop(open);
        is_sound(&house).await;
    });
}

#[test]
fn thousand_handshakes_that_go_nowhere_leave_room_for_others() {
    run(async {
        let soon = |config: &mut Config, _: &Path| {
            config.limits.handshake_timeout = Span(Duration::from_millis(500));
        };
        let house = House::with("", soon, |builder| builder).await;
        let address = house.address();
        let open = ganger_rt::unblock(move || {
            let connect = |_| TcpStream::connect(&address).unwrap();
            (0..1_000).map(connect).collect::<Vec<_>>()
        });
        let open = open.await;
        is_sound(&house).await;
        drop(open);
    });
}

#[test]
fn item_for_a_program_that_takes_no_answer_goes_back_to_its_queue() {
    run(async {
        let impatient = |config: &mut Config, _: &Path| {
            config.limits.write_stall = Span(Duration::from_millis(300));
        };
        let house = House::with("names.get_tasks = \"Queue:tasks\"", impatient, |builder| builder);
        let house = house.await;
        let newest = PYTHONS.last().unwrap();
        let large = |what: &str| {
            let mut program = house.program(newest, script("large_item.py"));
            program.arg(what);
            ran(program)
        };
        succeeded("large_item.py put", &large("put").await);
        let address = house.address();
        let taken = ganger_rt::unblock(move || {
            let mut stream = admitted(&address);
            let get = b"\x80\x04(\x8c\x0bQueue:tasks\x94\x8c\x03get\x94)}\x94t\x94.";
            stream.write_all(&message(get)).unwrap();
            stream
        });
        let taken = taken.await;
        succeeded("large_item.py get", &large("get").await);
        drop(taken);
    });
}
