//! What networks do to connections, by name. Each has its seed, so that a name repeats it.
//! Not how it is done: `proxy` does it.

use std::ops::RangeInclusive;

/// The faults of one run. They stop when the load does.
#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// For people.
    pub(crate) about: &'static str,
    /// Of a hundred connections, how many are accepted and never answered.
    pub(crate) half_open: u64,
    /// How long a connection is whole.
    pub(crate) whole_ms: RangeInclusive<u64>,
    /// What happens to it then, one of these; nothing if there are none.
    pub(crate) ends: &'static [End],
    /// Which ways take their time.
    pub(crate) slow: &'static [Way],
    /// How long each piece takes there.
    pub(crate) delay_ms: RangeInclusive<u64>,
    /// Which ways carry bytes one by one.
    pub(crate) crumbs: &'static [Way],
}

/// One direction of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// From the client to the broker.
    Requests,
    /// From the broker to the client.
    Answers,
}

/// What a connection comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Closed in the middle of a frame.
    Cut(Way),
    /// Reset (RST) in the middle of a frame.
    Reset(Way),
    /// Closed, wherever it is.
    Close,
    /// Nothing passes for so many milliseconds, either way; then all of it arrives.
    BlackHole(u64),
    /// What goes one way is lost from now on, ends of connections too.
    Silent(Way),
    /// The client is cut off; the broker learns of it so many milliseconds later, and gets the
    /// client's last requests then.
    Ghost(u64),
}

const BOTH: &[Way] = &[Way::Requests, Way::Answers];

/// No faults at all: what the others are built upon.
const CLEAN: Scenario = Scenario {
    name: "clean",
    about: "nothing happens; so much for the proxy",
    half_open: 0,
    whole_ms: 100..=1_500,
    ends: &[],
    slow: &[],
    delay_ms: 0..=0,
    crumbs: &[],
};

/// Every scenario, the mild ones first.
pub(crate) const ALL: [Scenario; 20] = [
    CLEAN,
    Scenario {
        name: "cut-requests",
        about: "connections close in the middle of a request",
        ends: &[End::Cut(Way::Requests)],
        ..CLEAN
    },
    Scenario {
        name: "cut-answers",
        about: "connections close in the middle of an answer",
        ends: &[End::Cut(Way::Answers)],
        ..CLEAN
    },
    Scenario {
        name: "close",
        about: "connections close at any time",
        ends: &[End::Close],
        ..CLEAN
    },
    Scenario {
        name: "close-at-once",
        about: "connections close while they are being opened, or soon after",
        whole_ms: 0..=60,
        ends: &[End::Close, End::Cut(Way::Answers)],
        ..CLEAN
    },
    Scenario {
        name: "reset-requests",
        about: "connections are reset in the middle of a request",
        ends: &[End::Reset(Way::Requests)],
        ..CLEAN
    },
    Scenario {
        name: "reset-answers",
        about: "connections are reset in the middle of an answer",
        ends: &[End::Reset(Way::Answers)],
        ..CLEAN
    },
    Scenario {
        name: "slow-requests",
        about: "requests take up to 80 ms",
        slow: &[Way::Requests],
        delay_ms: 1..=80,
        ..CLEAN
    },
    Scenario {
        name: "slow-answers",
        about: "answers take up to 80 ms",
        slow: &[Way::Answers],
        delay_ms: 1..=80,
        ..CLEAN
    },
    Scenario {
        name: "slow-and-cut",
        about: "both ways take up to 150 ms, and connections close with frames under way",
        slow: BOTH,
        delay_ms: 1..=150,
        ends: &[End::Close, End::Cut(Way::Requests), End::Cut(Way::Answers)],
        ..CLEAN
    },
    Scenario {
        name: "crumbs-of-requests",
        about: "requests arrive byte by byte",
        crumbs: &[Way::Requests],
        ..CLEAN
    },
    Scenario {
        name: "crumbs-of-answers",
        about: "answers arrive byte by byte",
        crumbs: &[Way::Answers],
        ..CLEAN
    },
    Scenario {
        name: "crumbs-and-cut",
        about: "bytes arrive one by one, and not all of them",
        crumbs: BOTH,
        ends: &[End::Cut(Way::Requests), End::Reset(Way::Answers)],
        ..CLEAN
    },
    Scenario {
        name: "black-hole-short",
        about: "nothing passes for half a second, which nobody should mind",
        ends: &[End::BlackHole(500)],
        ..CLEAN
    },
    Scenario {
        name: "black-hole-long",
        about: "nothing passes for longer than everybody waits, then all of it arrives",
        ends: &[End::BlackHole(6_000)],
        ..CLEAN
    },
    Scenario {
        name: "deaf-broker",
        about: "requests are lost for good, answers are not",
        ends: &[End::Silent(Way::Requests)],
        ..CLEAN
    },
    Scenario {
        name: "mute-broker",
        about: "answers are lost for good, requests are not",
        ends: &[End::Silent(Way::Answers)],
        ..CLEAN
    },
    Scenario {
        name: "half-open",
        about: "connections are accepted and never answered, and others close",
        half_open: 25,
        ends: &[End::Close],
        ..CLEAN
    },
    Scenario {
        name: "ghost",
        about: "the client comes back while its old connection lives and still talks",
        ends: &[End::Ghost(300), End::Ghost(2_500)],
        ..CLEAN
    },
    Scenario {
        name: "storm",
        about: "all of it",
        half_open: 3,
        slow: BOTH,
        delay_ms: 0..=20,
        crumbs: &[Way::Requests],
        ends: &[
            End::Cut(Way::Requests),
            End::Cut(Way::Answers),
            End::Reset(Way::Requests),
            End::Reset(Way::Answers),
            End::Close,
            End::BlackHole(400),
            End::BlackHole(4_000),
            End::Silent(Way::Requests),
            End::Silent(Way::Answers),
            End::Ghost(1_500),
        ],
        ..CLEAN
    },
];

impl Scenario {
    /// The seed of this scenario in a run with `seed`: another one for each name.
    pub(crate) fn seed(&self, seed: u64) -> u64 {
        let number = ALL.iter().position(|scenario| scenario.name == self.name).unwrap_or(0);
        seed.wrapping_mul(1_000).wrapping_add(number as u64 + 1)
    }
}

/// The scenario of this name.
pub(crate) fn find(name: &str) -> Result<Scenario, String> {
    let names = || ALL.iter().map(|scenario| scenario.name).collect::<Vec<_>>().join(", ");
    let found = ALL.into_iter().find(|scenario| scenario.name == name);
    found.ok_or_else(|| format!("there is no scenario {name:?}; there are {}", names()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_has_a_name_and_a_seed_of_its_own() {
        for (number, scenario) in ALL.iter().enumerate() {
            assert_eq!(find(scenario.name).unwrap().seed(7), 7_001 + number as u64);
            assert!(!scenario.whole_ms.is_empty() && !scenario.delay_ms.is_empty());
        }
        assert!(find("strom").unwrap_err().contains("storm"));
    }
}
