//! Memory and work for each byte of input, counted and not timed.

use std::fmt::Write as _;

use ganger_fuzz::{Target, config, handshake, journal, pickle, wire};
use ganger_shared::codec;
use ganger_shared::response::Items;
use ganger_shared::{
    Block, JobId, JobRange, LeaseId, LeaseRange, Name, Outcome, Request, RequestId, Response,
    SessionId, Settlement, SubscriptionId,
};

/// What reading one input took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    /// Bytes of input.
    pub(crate) read: usize,
    /// Bytes of memory at once.
    pub(crate) peak: usize,
    /// Allocations, and bytes of them, in all: what stands for work here.
    pub(crate) allocations: u64,
    pub(crate) allocated: u64,
}

pub(crate) fn cost(target: Target, bytes: &[u8]) -> Cost {
    let mut cost = Cost { read: 0, peak: 0, allocations: 0, allocated: 0 };
    cost.read = (target.read)(bytes, &mut |read| {
        let info = allocation_counter::measure(&mut *read);
        cost.peak = usize::try_from(info.bytes_max).unwrap();
        (cost.allocations, cost.allocated) = (info.count_total, info.bytes_total);
    });
    cost
}

/// Four times the input takes at most five times the work, and no more memory than it may.
fn is_linear(target: Target, what: &str, make: impl Fn(usize) -> Vec<u8>) {
    let [small, large] = [1, 4].map(|factor| cost(target, &make(factor * 500)));
    for cost in [small, large] {
        let most = (target.memory_max)(cost.read);
        assert!(cost.peak <= most, "{what}: {cost:?}, at most {most} bytes of memory");
    }
    let grown = large.read.div_ceil(small.read) as u64;
    let most = |before: u64, fixed: u64| before * (grown + 1) + fixed;
    assert!(large.allocations <= most(small.allocations, 64), "{what}: {small:?}, {large:?}");
    assert!(large.allocated <= most(small.allocated, 64 << 10), "{what}: {small:?}, {large:?}");
}

fn message(kind: u8, message: &impl serde::Serialize) -> Vec<u8> {
    let mut frame = Vec::new();
    codec::encode(message, &mut frame);
    frame.drain(..codec::LENGTH_BYTES);
    frame.insert(0, kind);
    frame
}

fn leases(n: usize) -> impl Iterator<Item = LeaseRange> {
    (0..n as u64).map(|first| LeaseRange { first: LeaseId(first), count: 1 })
}

#[test]
fn work_for_a_message_is_linear_in_its_bytes() {
    is_linear(wire::TARGET, "settlements", |n| {
        let outcome = Outcome::Release { delay_ms: 0 };
        let settlements = leases(n).map(|leases| Settlement { leases, outcome: outcome.clone() });
        let (request, settlements) = (RequestId(1), settlements.collect());
        message(0, &Request::Settle { request, settlements })
    });
    is_linear(wire::TARGET, "leases that are held", |n| {
        let (session, held) = (SessionId(1), leases(n).collect());
        message(0, &Request::Open { session, held, name: String::new() })
    });
    is_linear(wire::TARGET, "payloads of a size each", |n| {
        let items = (0..n).map(|size| vec![7; size % 3]).collect();
        let (request, list, seq) = (RequestId(1), Name::new("l").unwrap(), 1);
        message(0, &Request::Append { request, list, seq, items })
    });
    is_linear(wire::TARGET, "items", |n| {
        let items = (0..n as u64).map(|seq| {
            let jobs = JobRange::one(JobId { session: SessionId(1), seq });
            Items { jobs: Some(jobs), block: Block::one("x") }
        });
        let (subscription, items) = (SubscriptionId(1), items.collect());
        message(1, &Response::Followed { subscription, start: 1, items })
    });
    for read in [1_u8, 255] {
        is_linear(wire::TARGET, "frames", |n| {
            let mut wire = vec![3, read, 0];
            for _ in 0..n {
                codec::encode(&Request::Heartbeat, &mut wire);
            }
            wire
        });
    }
}

#[test]
fn lengths_that_lie_cost_nothing() {
    for kind in 0..3_u8 {
        for variant in 0..20_u8 {
            for shape in
                [&[0xff_u8, 0xff, 0xff, 0xff, 0x0f][..], &[0xff, 0xff, 3], &[0x80, 0x80, 4]]
            {
                for before in 0..12 {
                    let zeros = [1_u8].repeat(before);
                    let bytes = [&[kind, variant][..], &zeros, shape, &[1; 40]].concat();
                    let cost = cost(wire::TARGET, &bytes);
                    let most = (wire::TARGET.memory_max)(cost.read);
                    assert!(cost.peak <= most, "{bytes:?}: {cost:?}");
                }
            }
        }
    }
}

#[test]
fn work_for_a_stranger_is_linear_in_its_bytes() {
    is_linear(handshake::TARGET, "anything", |n| {
        let long = u16::try_from(n * 4).unwrap().to_le_bytes();
        [&[0, 0][..], &long, &vec![200; n * 4]].concat()
    });
}

#[test]
fn work_for_a_pickle_is_linear_in_its_bytes() {
    let is_linear = |what: &str, make: &dyn Fn(usize) -> Vec<u8>| {
        is_linear(pickle::TARGET, what, |n| [&[1][..], &make(n)].concat());
    };
    let around = |before: &[u8], inside: &[u8], n: usize, after: &[u8]| {
        [before, &inside.repeat(n), after].concat()
    };
    is_linear("empty lists", &|n| around(b"](", b"]", n, b"e"));
    is_linear("lists in lists", &|n| around(b"", b"]", n, &b"a".repeat(n - 1)));
    is_linear("tuples in tuples", &|n| around(b"N", b"\x85", n, b""));
    is_linear("marks", &|n| around(b"", b"(", n, b""));
    is_linear("what is remembered", &|n| around(b"N", b"\x94", n, b""));
    is_linear("a text again", &|n| around(b"](\x8c\x0asome text \x94", b"h\0", n, b"e"));
    is_linear("a long text again", &|n| {
        let text = [&b"](X\xe8\x03\0\0"[..], &[b'x'; 1_000], b"\x94"].concat();
        around(&text, b"h\0", n, b"e")
    });
    is_linear("objects", &|n| around(b"](cmodule\nname\n\x94)R", b"h\0)R", n, b"e"));
    is_linear("steps", &|n| around(b"cmodule\nname\n)R", b"Nb", n, b""));
    is_linear("copies", &|n| {
        let list = [&b"cbuiltins\nset\n\x94]\x94("[..], &b"N".repeat(n), b"e0"].concat();
        around(&list, b"h\0h\x01\x85R0", n, b"")
    });
    is_linear("a tuple in many circles", &|n| {
        let n = n.min(65_000);
        let slots = (0..n).flat_map(|slot| {
            let slot = u32::try_from(slot).unwrap().to_le_bytes();
            let tuple = u32::try_from(n).unwrap().to_le_bytes();
            [&b"j"[..], &slot, b"j", &tuple, b"a0"].concat()
        });
        let lists = [&b"("[..], &b"]\x94".repeat(n), b"t\x94"].concat();
        [lists, slots.collect()].concat()
    });
    is_linear("pairs of pairs", &|n| {
        let pair = |slot: usize| {
            [
                &b"0"[..],
                &[b'j', slot.to_le_bytes()[0], slot.to_le_bytes()[1], 0, 0].repeat(2),
                b"\x86\x94",
            ]
            .concat()
        };
        [b"N\x85\x94".to_vec(), (0..n).flat_map(pair).collect()].concat()
    });
}

#[test]
fn reading_a_pickle_takes_memory_as_its_documentation_says() {
    for part in
        [&b"]"[..], b"N\x85", b"K\0", b"\x8c\0", b"(", b"N\x94", b")\x81b", b"h\0)R", b"h\0)\x81)b"]
    {
        let message = [&b"\x80\x04cmodule\nname\n\x94"[..], &part.repeat(20_000)].concat();
        let size = message.len();
        let (message, limits) = (message.into(), ganger_pickle::Limits::default());
        let info = allocation_counter::measure(|| drop(ganger_pickle::read(message, &limits)));
        let most = 160 * size + (4 << 10);
        let peak = usize::try_from(info.bytes_max).unwrap();
        assert!(peak <= most, "{part:?}: {peak} bytes for {size}, at most {most}");
    }
}

#[test]
fn work_for_a_stored_fragment_is_linear_in_its_bytes() {
    is_linear(pickle::TARGET, "references", |n| {
        [&[2][..], b"]\x94(", &b"j\0\0\0\0".repeat(n), b"e"].concat()
    });
    is_linear(pickle::TARGET, "slots", |n| [&[2][..], b"N", &b"\x94".repeat(n)].concat());
}

#[test]
fn work_for_a_configuration_is_linear_in_its_bytes() {
    is_linear(config::TARGET, "queues", |n| {
        let mut text = String::new();
        for index in 0..n {
            let _ = writeln!(text, "[queue.q{index:06}]\njobs_max = 7");
        }
        text.into_bytes()
    });
    is_linear(config::TARGET, "unknown settings", |n| {
        let mut text = String::new();
        for index in 0..n {
            let _ = writeln!(text, "unknown{index:06} = [1, {{a = 2}}]");
        }
        text.into_bytes()
    });
    is_linear(config::TARGET, "a late error", |n| {
        format!("{}durability = 7", "# nothing\n".repeat(n)).into_bytes()
    });
    is_linear(config::TARGET, "a long list", |n| {
        format!("queues.dead_on = [{}]", "\"kind\", ".repeat(n)).into_bytes()
    });
    is_linear(config::TARGET, "a deep key", |n| format!("{}a = 1", "a.".repeat(n)).into_bytes());
    is_linear(config::TARGET, "a deep list", |n| format!("a = {}", "[".repeat(n)).into_bytes());
    is_linear(config::TARGET, "a long text", |n| {
        format!("listen = \"{}\"", "\\u0061".repeat(n)).into_bytes()
    });
}

#[test]
fn work_for_a_journal_is_linear_in_its_bytes() {
    // Frames of one record each behind the golden journal's last one.
    let frames = |n: usize| [&[0][..], &[7, 1, 100, 0, 65, 0, 0].repeat(n / 50)].concat();
    is_linear(journal::TARGET, "frames", frames);
    // A segment of what is neither zeros nor frames.
    is_linear(journal::TARGET, "garbage behind the end", |n| {
        let mut script = vec![0, 3, 2, u8::try_from(8 + n / 50).unwrap(), 0, 0];
        script.extend([0, 2, 0, 32, 0xff, 0xff, 9]);
        script
    });
}
