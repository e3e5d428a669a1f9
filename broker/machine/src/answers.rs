//! Answers to calls on objects: put together, sent, and kept until the caller has said that they came.
//!
//! Not how a call comes to its answer, which is `invoke`'s.

use std::collections::BTreeMap;

use ganger_shared::{Block, CallError, Durability, RequestId, Response, SessionId};
use serde::{Deserialize, Serialize};

use crate::output::Output;

/// The answer to calls of one method.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// What each returned.
    pub results: Block,
    /// Those that failed, by their place.
    pub errors: Vec<(u32, CallError)>,
}

impl Answer {
    pub(crate) fn size_bytes(&self) -> u64 {
        self.results.size_bytes() as u64
    }
}

/// Answers that a session may ask for again, by the number of the first call.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    /// To calls that are in the journal. What it forgets, the journal's replay forgets.
    pub(crate) kept: BTreeMap<u64, Answer>,
    /// To others.
    pub(crate) passing: BTreeMap<u64, Answer>,
}

impl Answers {
    pub(crate) fn find(&self, seq: u64) -> Option<&Answer> {
        self.kept.get(&seq).or_else(|| self.passing.get(&seq))
    }

    pub(crate) fn len(&self) -> usize {
        self.kept.len() + self.passing.len()
    }

    /// Those that stay when the ones below the number `answered` are forgotten.
    pub(crate) fn count_from(&self, answered: u64) -> usize {
        self.kept.range(answered..).count() + self.passing.range(answered..).count()
    }

    /// Bytes of them.
    pub(crate) fn bytes(&self) -> u64 {
        self.kept.values().chain(self.passing.values()).map(Answer::size_bytes).sum()
    }

    /// Forgets those below the number `answered`; says how many bytes that were.
    pub(crate) fn forget(&mut self, answered: u64, is_kept: bool) -> u64 {
        let forget = |answers: &mut BTreeMap<u64, Answer>| {
            if answers.first_key_value().is_none_or(|(&first, _)| first >= answered) {
                return 0;
            }
            let later = answers.split_off(&answered);
            core::mem::replace(answers, later).values().map(Answer::size_bytes).sum()
        };
        let passing = forget(&mut self.passing);
        if is_kept { passing + forget(&mut self.kept) } else { passing }
    }
}

/// The results of calls, put together.
pub(crate) struct Results {
    count: u32,
    builder: ganger_shared::block::BlockBuilder,
    any: bool,
}

impl Results {
    pub(crate) fn new(count: u32) -> Self {
        Self { count, builder: Block::builder(), any: false }
    }

    pub(crate) fn size_bytes(&self) -> usize {
        self.builder.size_bytes()
    }

    pub(crate) fn push(&mut self, result: &[u8]) {
        self.any |= !result.is_empty();
        self.builder.push(result);
    }

    pub(crate) fn finish(mut self) -> Block {
        if self.any { self.builder.finish() } else { Block::empties(self.count) }
    }
}

/// The answer to `count` calls that failed alike.
pub(crate) fn failed(error: CallError, count: u32) -> Answer {
    let errors = (0..count).map(|place| (place, error.clone())).collect();
    Answer { results: Block::empties(count), errors }
}

/// Sends an answer.
pub(crate) fn answer(
    session: SessionId,
    request: RequestId,
    promise: Durability,
    answer: Answer,
    out: &mut Output,
) {
    let Answer { results, errors } = answer;
    out.promise(session, promise, Response::Returned { request, results, errors });
}
