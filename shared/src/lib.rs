//! What both ends of Ganger agree on: ids, names, jobs, values, frames, the codec, the handshake and the limits.
//!
//! Nothing here opens a socket, reads a clock or touches a file: the crate turns bytes into
//! messages and back, and says what is allowed.

pub mod admin;
pub mod block;
mod bounded;
pub mod change;
pub mod codec;
mod complaint;
pub mod effect;
pub mod handshake;
pub mod id;
pub mod job;
pub mod kept;
pub mod key;
pub mod limits;
pub mod name;
pub mod object;
mod pool;
pub mod prerequisite;
pub mod read_buffer;
pub mod rejection;
pub mod request;
pub mod response;
pub mod time;
pub mod value;

pub use block::{Block, Shape};
pub use change::{Change, What};
pub use effect::Effect;
/// Makes the methods of an `impl` block those of a shared object.
///
/// The block stays as it is. Beside it there are then
/// * [`SharedObject`](object::SharedObject) for the type: a broker that was told of it serves such objects;
/// * `InventoryProxy<C>` for a type `Inventory`, an [`ObjectProxy`](object::proxy::ObjectProxy): the same
///   methods with the same arguments and documentation, `async`, each of them a call to the broker. Clients
///   come to one by `open`, which compares the signatures of both sides.
///
/// | of the block | becomes |
/// | --- | --- |
/// | `pub fn` with `&self` | a method that reads |
/// | `pub fn` with `&mut self` | a method that is recorded, and carried out again when a broker starts: it must be deterministic |
/// | `pub fn new`, or the function marked `#[make]` | what an object is made with; where there is neither, it is `Default` |
/// | whatever else | stays the program's own |
///
/// Arguments and results are values of any type that serde knows, without references. A method whose result
/// is written `Result<T, E>` fails with `E`, which is `Display` too, and must have changed nothing then; the
/// proxy gives `E` back as it was. `#[cost("O(n)")]` on a method says how its cost grows.
///
/// The typeid is a name and a version. Change the version with the meaning of a method or of the state; a
/// changed signature is noticed when a proxy is opened.
///
/// ```
/// use serde::{Deserialize, Serialize};
///
/// /// How many of each item are left.
/// #[derive(Default, Serialize, Deserialize)]
/// pub struct Inventory {
///     left: std::collections::BTreeMap<String, u32>,
/// }
///
/// #[derive(Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
/// #[error("{item} is sold out")]
/// pub struct SoldOut {
///     item: String,
/// }
///
/// #[ganger_shared::object(typeid = "inventory/1")]
/// impl Inventory {
///     /// Adds items; returns how many of them there are then.
///     pub fn put(&mut self, item: String, count: u32) -> u32 {
///         let left = self.left.entry(item).or_default();
///         *left = left.saturating_add(count);
///         *left
///     }
///
///     /// Takes one item; returns how many are left.
///     pub fn take(&mut self, item: String) -> Result<u32, SoldOut> {
///         match self.left.get_mut(&item) {
///             Some(left) if *left > 0 => {
///                 *left -= 1;
///                 Ok(*left)
///             }
///             Some(_) | None => Err(SoldOut { item }),
///         }
///     }
/// }
///
/// use ganger_shared::object::proxy::Caller;
///
/// async fn buy<C: Caller>(shop: &InventoryProxy<C>) -> Result<String, C::Error> {
///     Ok(match shop.take("pear".to_owned()).await? {
///         Ok(left) => format!("{left} left"),
///         Err(SoldOut { item }) => format!("no {item}"),
///     })
/// }
/// ```
pub use ganger_macros::object;
pub use id::{
    JobId, JobRange, LeaseId, LeaseRange, ObjectId, RequestId, SessionId, SubscriptionId,
};
pub use job::{
    Backoff, DeathReason, Durability, Ending, Failure, JobOptions, Outcome, Priority, ResultsTo,
    Settlement,
};
pub use name::Name;
pub use object::{By, CallError, ObjectType};
pub use prerequisite::Prerequisite;
pub use rejection::Rejection;
pub use request::Request;
pub use response::Response;
pub use time::Time;
pub use value::{Packed, Value};
