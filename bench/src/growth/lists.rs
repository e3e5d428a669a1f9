//! Lists of a certain length, and calls of them that leave them as long as they are.
//! Not what a call costs the broker: `stage` reads its clocks around each burst.
//!
//! ```text
//!  append ─ ─ pop the last     a burst of calls that is measured,
//!  append ─ ─ pop the first    and one that undoes it, or was undone before
//!  get, len
//! ```
//!
//! All calls of a burst are in flight together, and so the broker finds many whenever it wakes up. They
//! go to as many lists as it takes for none to grow by more than a tenth.

use std::collections::VecDeque;

use anyhow::{Context as _, Result, ensure};
use ganger_worker::{Client, Objects as _, TypedList};

use crate::peers::ganger::{UnderWay, begin};

/// Calls in flight.
pub(super) const BURST: u64 = 256;

/// By which part of its length a list may grow.
const GROWTH: u64 = 10;

/// Items of one call while a list is filled, and such calls in flight.
const FILL: u64 = 16_384;
const FILLS: usize = 4;

/// A call on a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Append,
    PopFirst,
    PopLast,
    /// Of the item in the middle.
    Get,
    Len,
}

/// Lists whose items are numbers that follow each other.
#[derive(Debug)]
pub(super) struct Lists {
    lists: Vec<List>,
}

#[derive(Debug)]
struct List {
    proxy: TypedList<u64>,
    /// Its items are `first..next`.
    first: u64,
    next: u64,
}

impl Lists {
    /// Makes lists of `size` items.
    ///
    /// # Errors
    ///
    /// The broker refuses, or goes away.
    pub(super) async fn fill(client: &Client, size: u64) -> Result<Self> {
        let count = (BURST * GROWTH / size).clamp(1, BURST);
        let list = |number| {
            let proxy = client.typed_list(format!("list-{number}").as_str())?;
            Ok(List { proxy, first: 0, next: size })
        };
        let lists = (0..count).map(list).collect::<Result<Vec<_>>>()?;
        let mut under_way = VecDeque::new();
        for list in &lists {
            for start in (0..size).step_by(usize::try_from(FILL)?) {
                let end = size.min(start + FILL);
                let (proxy, items) = (list.proxy.clone(), (start..end).collect::<Vec<_>>());
                under_way.push_back((end, begin(async move { proxy.extend(&items).await })));
                if under_way.len() >= FILLS {
                    filled(&mut under_way).await?;
                }
            }
        }
        while !under_way.is_empty() {
            filled(&mut under_way).await?;
        }
        Ok(Self { lists })
    }

    /// How many items all of them have.
    pub(super) fn items(&self) -> u64 {
        self.lists.iter().map(|list| list.next - list.first).sum()
    }

    /// Makes a burst of calls and checks what each is answered.
    ///
    /// # Errors
    ///
    /// An answer is not what it must be, or the connection breaks.
    pub(super) async fn burst(&mut self, operation: Operation, calls: u64) -> Result<()> {
        let mut under_way = Vec::new();
        let lists = self.lists.len();
        for call in 0..usize::try_from(calls)? {
            under_way.push(self.lists[call % lists].call(operation));
        }
        for (expected, call) in under_way {
            let answer = call.await?;
            ensure!(answer == expected, "{operation:?} gave {answer} instead of {expected}");
        }
        Ok(())
    }
}

impl List {
    /// Makes one call; with it what it must be answered.
    fn call(&mut self, operation: Operation) -> (u64, UnderWay<u64>) {
        let (list, len) = (self.proxy.clone(), self.next - self.first);
        match operation {
            Operation::Append => {
                let item = self.next;
                self.next += 1;
                (len + 1, begin(async move { list.append(&item).await }))
            }
            Operation::PopFirst => {
                self.first += 1;
                (self.first - 1, begin(async move { list.pop(0).await }))
            }
            Operation::PopLast => {
                self.next -= 1;
                (self.next, begin(async move { list.pop(-1).await }))
            }
            Operation::Get => {
                let index = i64::try_from(len / 2).expect("no list is so long");
                (self.first + len / 2, begin(async move { list.get(index).await }))
            }
            Operation::Len => (len, begin(async move { list.len().await })),
        }
    }
}

/// Waits for the oldest call that fills a list.
async fn filled(under_way: &mut VecDeque<(u64, UnderWay<u64>)>) -> Result<()> {
    let (expected, call) = under_way.pop_front().context("no list is being filled")?;
    let len = call.await?;
    ensure!(len == expected, "a list has {len} items instead of {expected}");
    Ok(())
}
