//! What there can be more and more of, and in which steps.
//! Not how a broker gets there: that is `state`.

use clap::ValueEnum;
use serde::Serialize;

use super::lists::Operation;
use crate::payload::RESULT_LEN;
use crate::report::size;

/// What grows while everything else stays the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Dimension {
    /// Jobs that wait in the queue
    Backlog,
    /// Sessions that are connected and do nothing
    Connections,
    /// Other queues, with one job each
    Queues,
    /// Jobs of the queue that are not due for a day
    Delayed,
    /// Jobs of the queue that somebody else has and does not settle
    Leased,
    /// The length of a job
    Payload,
    /// Connections that take the jobs
    Workers,
    /// Items of a list that is appended to
    ListAppend,
    /// Items of a list whose first one is popped
    ListPopFirst,
    /// Items of a list whose last one is popped
    ListPopLast,
    /// Items of a list whose middle one is read
    ListGet,
    /// Items of a list whose length is asked for
    ListLen,
}

impl Dimension {
    /// The name on the command line and in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Backlog => "backlog",
            Self::Connections => "connections",
            Self::Queues => "queues",
            Self::Delayed => "delayed",
            Self::Leased => "leased",
            Self::Payload => "payload",
            Self::Workers => "workers",
            Self::ListAppend => "list-append",
            Self::ListPopFirst => "list-pop-first",
            Self::ListPopLast => "list-pop-last",
            Self::ListGet => "list-get",
            Self::ListLen => "list-len",
        }
    }

    /// What a step is made of, for the page.
    pub(crate) fn about(self) -> &'static str {
        match self {
            Self::Backlog => {
                "So many jobs of 16 bytes wait in the queue, submitted in runs of 256. Each job that \
                 is measured goes to their end, and for it the first of them is taken."
            }
            Self::Connections => "So many further sessions are connected, and do nothing.",
            Self::Queues => "So many other queues are there, and one job waits in each of them.",
            Self::Delayed => {
                "So many jobs of the queue are not due for a day. Each was submitted by itself."
            }
            Self::Leased => {
                "So many jobs of the queue are leased to another worker, which does not settle them. \
                 Each was submitted and leased by itself."
            }
            Self::Payload => "So many bytes are in a job.",
            Self::Workers => "So many connections take the jobs, each with a credit of 64.",
            Self::ListAppend => {
                "So many items, whole numbers, are in a list, and one more is appended. Calls come in \
                 bursts of 256, and each burst is undone before the next, at nobody's expense; below \
                 2,560 items it goes to several lists, so that none of them grows by more than a tenth."
            }
            Self::ListPopFirst => "The same, where the first item is popped.",
            Self::ListPopLast => "The same, where the last item is popped.",
            Self::ListGet => "The same, where the item in the middle is read.",
            Self::ListLen => "The same, where the length is asked for.",
        }
    }

    /// One of what grows, where it takes memory of its own.
    pub(crate) fn unit(self) -> Option<&'static str> {
        match self {
            Self::Backlog | Self::Delayed | Self::Leased => Some("job"),
            Self::Connections => Some("connection"),
            Self::Queues => Some("queue"),
            Self::ListAppend => Some("item"),
            Self::Payload
            | Self::Workers
            | Self::ListPopFirst
            | Self::ListPopLast
            | Self::ListGet
            | Self::ListLen => None,
        }
    }

    /// What is called, where it is the length of a list that grows.
    pub(super) fn operation(self) -> Option<Operation> {
        match self {
            Self::ListAppend => Some(Operation::Append),
            Self::ListPopFirst => Some(Operation::PopFirst),
            Self::ListPopLast => Some(Operation::PopLast),
            Self::ListGet => Some(Operation::Get),
            Self::ListLen => Some(Operation::Len),
            Self::Backlog
            | Self::Connections
            | Self::Queues
            | Self::Delayed
            | Self::Leased
            | Self::Payload
            | Self::Workers => None,
        }
    }

    /// What is counted at each step.
    pub(crate) fn work(self) -> &'static str {
        if self.operation().is_some() { "call" } else { "job" }
    }

    /// The steps of the sweep, in rising order: those up to `max`, or `max` itself if there is none.
    pub(crate) fn steps(self, max: Option<u64>) -> Vec<u64> {
        let (least, all): (u64, Vec<u64>) = match self {
            Self::Backlog => (1, powers(10, 3..=7)),
            Self::Connections => (1, [powers(10, 0..=3), vec![5_000]].concat()),
            Self::Queues => (1, powers(10, 0..=5)),
            Self::Delayed | Self::Leased => (1, powers(10, 3..=6)),
            Self::Payload => (RESULT_LEN as u64, powers(4, 2..=10)),
            Self::Workers => (1, powers(2, 0..=6)),
            Self::ListAppend
            | Self::ListPopFirst
            | Self::ListPopLast
            | Self::ListGet
            | Self::ListLen => (10, powers(10, 1..=7)),
        };
        let Some(max) = max else { return all };
        let max = max.max(least);
        let within: Vec<_> = all.into_iter().filter(|step| *step <= max).collect();
        if within.is_empty() { vec![max] } else { within }
    }

    /// What a step is multiplied with, mostly, to get the next.
    pub(crate) fn base(self) -> f64 {
        match self {
            Self::Payload => 4.0,
            Self::Workers => 2.0,
            Self::Backlog
            | Self::Connections
            | Self::Queues
            | Self::Delayed
            | Self::Leased
            | Self::ListAppend
            | Self::ListPopFirst
            | Self::ListPopLast
            | Self::ListGet
            | Self::ListLen => 10.0,
        }
    }

    /// A step as people read it.
    pub(crate) fn label(self, step: u64) -> String {
        match (self, step) {
            (Self::Payload, bytes) => size(usize::try_from(bytes).unwrap_or(usize::MAX)),
            (_, step @ 1_000_000..) if step.is_multiple_of(1_000_000) => {
                format!("{} M", step / 1_000_000)
            }
            (_, step @ 1_000..) if step.is_multiple_of(1_000) => format!("{} k", step / 1_000),
            (_, step) => step.to_string(),
        }
    }
}

fn powers(base: u64, exponents: std::ops::RangeInclusive<u32>) -> Vec<u64> {
    exponents.map(|exponent| base.pow(exponent)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_is_the_one_of_the_command_line_and_of_the_report() {
        for &dimension in Dimension::value_variants() {
            let on_command_line = dimension.to_possible_value().unwrap();
            assert_eq!(on_command_line.get_name(), dimension.name());
            assert_eq!(serde_json::to_value(dimension).unwrap(), dimension.name());
        }
    }

    #[test]
    fn steps_rise_to_what_was_promised() {
        let last = |dimension: Dimension| {
            let steps = dimension.steps(None);
            assert!(steps.is_sorted(), "{steps:?}");
            (steps[0], *steps.last().unwrap())
        };
        let ends = Dimension::value_variants().iter().map(|&dimension| last(dimension));
        let expected = [
            (1_000, 10_000_000),
            (1, 5_000),
            (1, 100_000),
            (1_000, 1_000_000),
            (1_000, 1_000_000),
            (16, 1 << 20),
            (1, 64),
            (10, 10_000_000),
            (10, 10_000_000),
            (10, 10_000_000),
            (10, 10_000_000),
            (10, 10_000_000),
        ];
        assert_eq!(ends.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn cap_leaves_at_least_one_step() {
        assert_eq!(Dimension::Queues.steps(Some(100)), [1, 10, 100]);
        assert_eq!(Dimension::Backlog.steps(Some(100)), [100]);
        assert_eq!(Dimension::Payload.steps(Some(1)), [16]);
    }

    #[test]
    fn labels_are_short() {
        let labels = [1, 64, 5_000, 10_000_000].map(|step| Dimension::Backlog.label(step));
        assert_eq!(labels, ["1", "64", "5 k", "10 M"]);
        assert_eq!(Dimension::Payload.label(1 << 20), "1024 KiB");
    }
}
