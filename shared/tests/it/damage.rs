//! What a peer could send that is wrong: cut, flipped, lying about sizes, or anything at all.

use std::fmt::Debug;

use ganger_shared::codec::{CodecError, FrameBuffer, decode, encode, frame_size};
use ganger_shared::handshake::Handshake;
use ganger_shared::limits::{
    ERROR_BYTES_MAX, ERROR_KIND_BYTES_MAX, FRAME_BYTES_MAX, RUN_COUNT_MAX, SETTLEMENTS_MAX,
};
use ganger_shared::{
    Block, Failure, JobRange, LeaseRange, Name, Outcome, Priority, Request, RequestId, Response,
    Settlement,
};
use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::samples::{Sample, handshakes, requests, responses};

trait Message: Serialize + DeserializeOwned + PartialEq + Debug {}
impl<T: Serialize + DeserializeOwned + PartialEq + Debug> Message for T {}

fn frame(message: &impl Serialize) -> Vec<u8> {
    let mut frame = Vec::new();
    encode(message, &mut frame);
    frame
}

/// `message` as a frame whose length is right.
fn framed(message: &[u8]) -> Vec<u8> {
    [&u32::try_from(message.len()).unwrap().to_le_bytes(), message].concat()
}

fn postcard<T: Serialize>(value: T) -> Vec<u8> {
    postcard::to_stdvec(&value).unwrap()
}

fn is_malformed<T: Message>(message: &[u8]) -> bool {
    matches!(decode::<T>(&framed(message)), Err(CodecError::Malformed { .. }))
}

/// Gives `bytes` to a reader.
fn give(frames: &mut FrameBuffer, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let spare = frames.spare();
        let count = spare.len().min(bytes.len());
        spare[..count].copy_from_slice(&bytes[..count]);
        frames.filled(count);
        bytes = &bytes[count..];
    }
}

fn take<T: Message>(frames: &mut FrameBuffer, into: &mut Vec<T>) {
    while let Some(frame) = frames.next_frame(FRAME_BYTES_MAX).unwrap() {
        into.push(decode(frame).unwrap());
    }
}

#[test]
fn stream_cut_anywhere_gives_the_same_messages() {
    fn check<T: Message>(samples: Vec<Sample<T>>) {
        let messages: Vec<T> = samples.into_iter().map(|(_, message)| message).collect();
        let wire: Vec<u8> = messages.iter().flat_map(frame).collect();
        for cut in 0..=wire.len() {
            let mut frames = FrameBuffer::new();
            let mut taken: Vec<T> = Vec::new();
            for part in [&wire[..cut], &wire[cut..]] {
                give(&mut frames, part);
                take(&mut frames, &mut taken);
            }
            assert_eq!(taken, messages, "cut at {cut}");
        }
    }
    check(handshakes());
    check(requests());
    check(responses());
}

#[test]
fn stream_of_single_bytes_gives_each_message_with_its_last_byte() {
    fn check<T: Message>(samples: Vec<Sample<T>>) {
        let mut frames = FrameBuffer::new();
        for (name, message) in samples {
            let wire = frame(&message);
            for (i, byte) in wire.iter().enumerate() {
                give(&mut frames, &[*byte]);
                let mut taken = Vec::new();
                take::<T>(&mut frames, &mut taken);
                assert_eq!(taken.len(), usize::from(i + 1 == wire.len()), "{name} at byte {i}");
                assert!(taken.iter().all(|taken| *taken == message), "{name}");
            }
        }
    }
    check(handshakes());
    check(requests());
    check(responses());
}

#[test]
fn truncated_frame_is_never_taken_for_a_whole_one() {
    fn check<T: Message>(samples: Vec<Sample<T>>) {
        for (name, message) in samples {
            let whole = frame(&message);
            for end in 0..whole.len() {
                let cut = frame_size(&whole[..end], FRAME_BYTES_MAX);
                assert_eq!(cut, Ok(None), "{name} cut at {end}");
            }
            // Nor is a message that was cut before it was framed.
            let message = &whole[4..];
            for end in 0..message.len() {
                assert!(is_malformed::<T>(&message[..end]), "{name} cut at {end}");
            }
        }
    }
    check(handshakes());
    check(requests());
    check(responses());
}

#[test]
fn length_over_the_limit_is_refused_before_its_message_arrives() {
    let limit = 1_000;
    for size in [1_001, 1 << 24, u32::MAX] {
        let too_long = CodecError::TooLong { size: size as usize, limit };
        assert_eq!(frame_size(&size.to_le_bytes(), limit), Err(too_long));
    }
    assert_eq!(frame_size(&1_000_u32.to_le_bytes(), limit), Ok(None));
    assert_eq!(frame_size(&[255, 255, 255], limit), Ok(None));
}

#[test]
fn bytes_after_a_message_are_refused() {
    fn check<T: Message>(samples: Vec<Sample<T>>) {
        for (name, message) in samples {
            let bytes = [postcard(&message), vec![0; 3]].concat();
            let trailing = CodecError::Trailing { size: bytes.len(), extra: 3 };
            assert_eq!(decode::<T>(&framed(&bytes)), Err(trailing), "{name}");
        }
    }
    check(handshakes());
    check(requests());
    check(responses());
}

#[test]
fn unknown_variant_is_refused() {
    for number in [17_u8, 99, 127] {
        assert!(is_malformed::<Request>(&[number]));
        assert!(is_malformed::<Response>(&[number]));
        assert!(is_malformed::<Handshake>(&[number]));
    }
    assert!(is_malformed::<Request>(&postcard(u32::MAX)));
    assert!(is_malformed::<Request>(&[]), "an empty frame");
}

#[test]
fn number_too_large_for_its_type_is_refused() {
    let credit = |subscription: u64| postcard((4_u8, subscription, 1_u32));
    assert!(!is_malformed::<Request>(&credit(u64::from(u32::MAX))));
    assert!(is_malformed::<Request>(&credit(u64::from(u32::MAX) + 1)));
}

#[test]
fn flag_and_option_other_than_0_and_1_are_refused() {
    let accepted = |paused: u8| postcard((2_u8, 300_u64, 0_u8, paused));
    assert!(!is_malformed::<Response>(&accepted(1)));
    assert!(is_malformed::<Response>(&accepted(2)));
    let items = |jobs: u8| postcard((11_u8, 300_u64, 0_u64, 0_u64, 1_u8, jobs, Block::empties(0)));
    assert!(!is_malformed::<Response>(&items(0)));
    assert!(is_malformed::<Response>(&items(2)));
}

/// A Subscribe to the queue of these bytes.
fn subscribe(queue: &[u8]) -> Vec<u8> {
    [postcard((3_u8, 1_u32, queue.len())), queue.to_vec(), postcard(64_u32)].concat()
}

#[test]
fn name_that_is_none_is_refused() {
    assert!(!is_malformed::<Request>(&subscribe(b"img/thumbs")));
    let long = "x".repeat(201);
    let not_utf8 = b"\xff\xfe";
    for queue in
        [&b""[..], b"a b", b"../x", b"a//b", "n\u{e9}".as_bytes(), not_utf8, long.as_bytes()]
    {
        assert!(is_malformed::<Request>(&subscribe(queue)), "{queue:?}");
    }
}

#[test]
fn text_that_is_not_utf8_is_refused() {
    let open = |name: &[u8]| [postcard((0_u8, 1_u64, 0_u8, name.len())), name.to_vec()].concat();
    assert!(!is_malformed::<Request>(&open("å".as_bytes())));
    assert!(is_malformed::<Request>(&open(b"\xe5")));
}

#[test]
fn priority_above_9_is_refused() {
    assert_eq!(postcard::from_bytes(&[9]), Ok(Priority::new(9).unwrap()));
    for level in [10, 255] {
        assert!(postcard::from_bytes::<Priority>(&[level]).is_err());
    }
}

#[test]
fn block_whose_sizes_do_not_fill_its_bytes_is_refused() {
    let one_size = |count: u32, size: u32, bytes: &[u8]| {
        let head = postcard((count, 0_u8, size, bytes.len()));
        postcard::from_bytes::<Block>(&[head, bytes.to_vec()].concat()).is_ok()
    };
    assert!(one_size(2, 3, b"abcdef"));
    assert!(one_size(0, 3, b""));
    assert!(one_size(RUN_COUNT_MAX, 0, b""));
    for (count, size, bytes) in [
        (2, 3, &b"abcde"[..]),
        (2, 3, b"abcdefg"),
        (0, 3, b"abc"),
        (1, 0, b"a"),
        (RUN_COUNT_MAX + 1, 0, b""),
        (u32::MAX, u32::MAX, b""),
        (1 << 16, 1 << 16, b""), // 2^32, which is 0 in 32 bits
    ] {
        assert!(!one_size(count, size, bytes), "{count} of {size} in {bytes:?}");
    }

    let a_size_each = |count: u32, sizes: &[u8], bytes: &[u8]| {
        let head = postcard((count, 1_u8, sizes.len()));
        let wire = [head, sizes.to_vec(), postcard(bytes.len()), bytes.to_vec()].concat();
        postcard::from_bytes::<Block>(&wire).is_ok()
    };
    assert!(a_size_each(2, &[1, 0, 0, 0, 2, 0, 0, 0], b"abb"));
    for (count, sizes, bytes) in [
        (2, &[1, 0, 0, 0, 2, 0, 0, 0][..], &b"ab"[..]),
        (1, &[1, 0, 0, 0, 2, 0, 0, 0], b"abb"),
        (3, &[1, 0, 0, 0, 2, 0, 0, 0], b"abb"),
        (2, &[1, 0, 0, 0, 2, 0, 0], b"abb"),
        (1, &[255, 255, 255, 255], b"a"),
        (2, &[255, 255, 255, 255, 2, 0, 0, 0], b"a"), // 2^32 + 1, which is 1 in 32 bits
        (0, &[], b"a"),
    ] {
        assert!(!a_size_each(count, sizes, bytes), "{count} of {sizes:?} in {bytes:?}");
    }
}

#[test]
fn range_of_nothing_is_refused() {
    let decodes = |count: u32| {
        let jobs = postcard::from_bytes::<JobRange>(&postcard((1_u64, 2_u64, count)));
        let leases = postcard::from_bytes::<LeaseRange>(&postcard((1_u64, count)));
        assert_eq!(jobs.is_ok(), leases.is_ok());
        jobs.is_ok()
    };
    assert!(!decodes(0));
    assert!(decodes(1) && decodes(u32::MAX));
}

#[test]
fn list_that_declares_more_than_arrives_is_refused_without_room_for_it() {
    // Room for 2^60 settlements, or 2^63 - 1, would abort the test.
    for count in [1_u64 << 60, (1 << 63) - 1, 1 << 20] {
        assert!(is_malformed::<Request>(&postcard((6_u8, 300_u64, count))));
        assert!(is_malformed::<Request>(&postcard((0_u8, 1_u64, count))));
        assert!(is_malformed::<Response>(&postcard((6_u8, 300_u64, count))));
        assert!(is_malformed::<Response>(&postcard((11_u8, 300_u64, 0_u64, 0_u64, count))));
        assert!(is_malformed::<Request>(&postcard((3_u8, 1_u32, count))), "a name");
        let payload = postcard((9_u8, 300_u64, "log", 1_u64, 1_u32, (0_u8, 5_u32), count));
        assert!(is_malformed::<Request>(&payload), "bytes");
    }
}

#[test]
fn settle_of_more_than_the_limit_is_refused_though_all_of_it_arrived() {
    let settle = |count: usize| {
        let outcome = Outcome::Release { delay_ms: 0 };
        let leases = LeaseRange { first: ganger_shared::LeaseId(1), count: 1 };
        let settlements = vec![Settlement { leases, outcome }; count];
        postcard(Request::Settle { request: RequestId(1), settlements })
    };
    assert!(!is_malformed::<Request>(&settle(SETTLEMENTS_MAX)));
    assert!(is_malformed::<Request>(&settle(SETTLEMENTS_MAX + 1)));
}

#[test]
fn long_texts_for_people_are_cut_between_characters() {
    let text = "é".repeat(5_000);
    let failure: Failure = postcard::from_bytes(&postcard((&text, &text))).unwrap();
    assert_eq!(failure, Failure::new(&text, &text));
    assert_eq!(failure.kind.len(), ERROR_KIND_BYTES_MAX);
    assert_eq!(failure.message.len(), ERROR_BYTES_MAX);

    let open = decode(&framed(&postcard((0_u8, 1_u64, 0_u8, format!("x{text}"))))).unwrap();
    let Request::Open { name, .. } = open else { panic!("not an Open: {open:?}") };
    assert_eq!(name, format!("x{}", "é".repeat(99)));
}

/// That whatever `bytes` decode to survives being sent on.
fn decodes_to_an_error_or_a_message<T: Message>(bytes: &[u8]) {
    if let Ok(message) = decode::<T>(&framed(bytes)) {
        assert_eq!(decode::<T>(&frame(&message)), Ok(message));
    }
}

#[test]
fn every_flipped_bit_gives_an_error_or_a_message() {
    fn check<T: Message>(samples: Vec<Sample<T>>) {
        for (_, message) in samples {
            let bytes = postcard(&message);
            for bit in 0..bytes.len() * 8 {
                let mut flipped = bytes.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                decodes_to_an_error_or_a_message::<T>(&flipped);
            }
        }
    }
    check(handshakes());
    check(requests());
    check(responses());
}

fn all_messages() -> Vec<Vec<u8>> {
    let handshakes = handshakes().into_iter().map(|(_, message)| postcard(message));
    let requests = requests().into_iter().map(|(_, message)| postcard(message));
    let responses = responses().into_iter().map(|(_, message)| postcard(message));
    handshakes.chain(requests).chain(responses).collect()
}

/// Anything at all, or a message with its middle replaced by a part of another one.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let messages = all_messages();
    let message = proptest::sample::select(messages);
    let cut = any::<proptest::sample::Index>;
    let spliced = (message.clone(), message, cut(), cut(), cut()).prop_map(
        |(mut into, from, at, start, size)| {
            let start = start.index(from.len());
            let size = size.index(from.len() - start + 1);
            let at = at.index(into.len());
            let end = into.len().min(at + size);
            into.splice(at..end, from[start..start + size].iter().copied());
            into
        },
    );
    prop_oneof![proptest::collection::vec(any::<u8>(), 0..300), spliced]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_bytes_give_an_error_or_a_message(bytes in bytes()) {
        decodes_to_an_error_or_a_message::<Handshake>(&bytes);
        decodes_to_an_error_or_a_message::<Request>(&bytes);
        decodes_to_an_error_or_a_message::<Response>(&bytes);
    }

    #[test]
    fn any_stream_gives_frames_until_it_stops_being_one(bytes in bytes(), cut in any::<usize>()) {
        let mut frames = FrameBuffer::new();
        for part in bytes.chunks(cut % 7 + 1) {
            give(&mut frames, part);
            loop {
                match frames.next_frame(1_000) {
                    Ok(Some(frame)) => drop(decode::<Request>(frame)),
                    Ok(None) => break,
                    Err(CodecError::TooLong { .. }) => return Ok(()),
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }

    #[test]
    fn any_text_is_a_name_exactly_if_it_decodes_as_one(text in "[a-c./ é]{0,8}") {
        let decoded = postcard::from_bytes::<Name>(&postcard(&text));
        prop_assert_eq!(decoded.ok(), Name::new(&text).ok());
    }
}

#[test]
fn a_peer_at_fault_is_told_which_rule_it_broke() {
    let refused = |name: &[u8]| {
        let mut message = vec![u8::try_from(name.len()).unwrap()];
        message.extend_from_slice(name);
        decode::<Name>(&framed(&message)).unwrap_err().to_string()
    };
    let text = refused(b"a b");
    assert!(text.contains("\"a b\"") && text.contains("' '"), "{text}");
    let text = refused(b"\xff");
    assert!(text.contains("not UTF-8"), "{text}");
}
