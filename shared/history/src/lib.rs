//! The history of a run, as its clients saw it, and the verdict on it.
//!
//! Not how a run is made, nor where its files lie: whoever torments a broker writes down what it
//! asked and what it was told, one [`Event`] a line; [`check`] reads that and nothing else. So
//! anybody can judge a run again, with this checker or with another.
//!
//! ```text
//!  clients, tormentor ── Writer ──▶ history.jsonl ── read ──▶ check ──▶ Verdict (JSON)
//! ```
//!
//! What a client asks is written before it is sent, what it is told after it has come. An answer
//! that never comes is [`Reply::Unknown`]: the thing may have happened or not, and either is right.
//!
//! ```
//! use ganger_history::{Event, Hash, Jobs, Order, Reply, Results, Rule, What, check};
//! use ganger_shared::{JobId, Name, SessionId};
//!
//! let jobs = Jobs::one(JobId { session: SessionId(7), seq: 0 });
//! let (queue, payloads) = (Name::new("mail")?, vec![Hash::of(b"hello")]);
//! let (order, results) = (Order::Fifo, Results::Kept);
//! let event = |at_ns, what| Event { at_ns, who: "submitter-0".to_owned(), what };
//! let history = [
//!     event(1, What::Submit { queue, order, jobs, payloads, results }),
//!     event(2, What::Submitted { jobs, reply: Reply::Ok }),
//!     event(3, What::Drained),
//! ];
//! // It was accepted, and nobody ever saw its result.
//! assert_eq!(check(&history).count(Rule::Lost), 1);
//! # Ok::<(), ganger_shared::name::NameError>(())
//! ```

mod check;
mod event;
mod file;
mod verdict;

pub use check::check;
pub use event::{Ending, Event, Hash, Item, Jobs, Order, Outcome, Reply, Results, What};
pub use file::{ReadError, Writer, read};
pub use verdict::{Counts, Example, Rule, Run, Verdict};
