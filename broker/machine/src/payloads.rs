//! The payloads of a run: in memory, or in the journal only.
//!
//! Not which of them are where, and when that changes: see [`crate::backlog`].

use std::sync::Arc;

use ganger_shared::{Block, Shape};

use crate::seq::Seq;

/// One payload per job of a run.
#[derive(Clone, Debug)]
pub(crate) enum Payloads {
    /// In memory.
    Loaded(Block),
    /// In the journal.
    Unloaded {
        /// How large each is.
        shape: Shape,
        /// They were asked for and will come.
        is_asked: bool,
    },
}

impl Payloads {
    pub(crate) const fn shape(&self) -> &Shape {
        match self {
            Self::Loaded(block) => block.shape(),
            Self::Unloaded { shape, .. } => shape,
        }
    }

    pub(crate) fn size_bytes(&self) -> usize {
        self.shape().size_bytes()
    }

    /// Bytes of them that are in memory.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.loaded().map_or(0, |block| block.size_bytes() as u64)
    }

    /// The payloads, if they are in memory.
    pub(crate) const fn loaded(&self) -> Option<&Block> {
        match self {
            Self::Loaded(block) => Some(block),
            Self::Unloaded { .. } => None,
        }
    }

    /// Whether they are on their way into memory.
    pub(crate) const fn is_asked(&self) -> bool {
        matches!(self, Self::Unloaded { is_asked: true, .. })
    }

    pub(crate) fn part(&self, offset: u32, count: u32) -> Self {
        match self {
            Self::Loaded(block) => Self::Loaded(block.part(offset, count)),
            Self::Unloaded { shape, is_asked } => {
                Self::Unloaded { shape: shape.part(offset, count), is_asked: *is_asked }
            }
        }
    }

    /// Both, one after the other; in the journal only if one of them is.
    pub(crate) fn concat(earlier: &Self, later: &Self) -> Self {
        match (earlier, later) {
            (Self::Loaded(earlier), Self::Loaded(later)) => {
                Self::Loaded(Block::concat([earlier, later]))
            }
            (earlier, later) => Self::unloaded(Shape::concat([earlier.shape(), later.shape()])),
        }
    }

    pub(crate) const fn unloaded(shape: Shape) -> Self {
        Self::Unloaded { shape, is_asked: false }
    }
}

/// The records of the journal that have the payloads of a run between them, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Records {
    /// It is not in a journal.
    None,
    One(Seq),
    Many(Arc<[Seq]>),
}

impl Records {
    pub(crate) fn as_slice(&self) -> &[Seq] {
        match self {
            Self::None => &[],
            Self::One(seq) => core::slice::from_ref(seq),
            Self::Many(seqs) => seqs,
        }
    }

    /// Both; the later ones are in no record before the earlier ones.
    pub(crate) fn concat(earlier: &Self, later: &Self) -> Self {
        let mut seqs = [earlier.as_slice(), later.as_slice()].concat();
        seqs.dedup();
        match seqs[..] {
            [] => Self::None,
            [seq] => Self::One(seq),
            _ => Self::Many(seqs.into()),
        }
    }
}

impl From<Option<Seq>> for Records {
    fn from(seq: Option<Seq>) -> Self {
        seq.map_or(Self::None, Self::One)
    }
}
