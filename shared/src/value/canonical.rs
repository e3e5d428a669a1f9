//! One encoding for all values that are equal.
//!
//! ```text
//!   bool            int 0 or 1
//!   float, whole    the int, if it fits 64 bits (-0.0 is 0)
//!   large int       the float that has exactly its value, if there is one
//!   float, NaN      00 00 00 00 00 00 f8 7f
//!   map, set        entries in the order of the canonical bytes of their keys, of their items
//! ```
//!
//! Large whole floats stay floats, so the canonical form is never much longer than the other: a
//! float is nine bytes, the integer 10³⁰⁰ is 127.

use super::Integer;
use super::format::{Piece, Reader, put_integer};
use super::integer::small;

/// Which of the many the language's constant is, it does not promise.
const NAN: f64 = f64::from_bits(0x7ff8_0000_0000_0000);

/// Whether the checked values in `bytes` are in their canonical form, as far as is known without
/// looking into maps and sets of several entries.
pub(super) fn is_canonical(bytes: &[u8]) -> bool {
    let mut reader = Reader::new(bytes);
    while !reader.is_at_end() {
        let is_canonical = match reader.checked_piece() {
            Piece::None
            | Piece::Int(_)
            | Piece::Text(_)
            | Piece::Bytes(_)
            | Piece::List(_)
            | Piece::Tuple(_)
            | Piece::Opaque { .. }
            | Piece::Ref(_) => true,
            Piece::Bool(_) => false,
            Piece::LargeInt(number) => Integer::from_bytes(number).as_exact_float().is_none(),
            Piece::Float(float) => !float.is_nan() && small(float).is_none(),
            Piece::Map(count) | Piece::Set(count) => count < 2,
        };
        if !is_canonical {
            return false;
        }
    }
    true
}

/// Appends the canonical form of the value that `bytes` begin with. Those of a [`super::Value`]
/// that was never checked, with a key twice, have one as well.
pub(super) fn append(bytes: &[u8], out: &mut Vec<u8>) {
    value(&mut Reader::new(bytes), out);
}

fn value(reader: &mut Reader<'_>, out: &mut Vec<u8>) {
    match reader.checked_piece() {
        Piece::Bool(bool) => Piece::Int(bool.into()).put(out),
        Piece::Float(float) if float.is_nan() => Piece::Float(NAN).put(out),
        Piece::Float(float) => match small(float) {
            Some(number) => Piece::Int(number).put(out),
            None => Piece::Float(float).put(out),
        },
        Piece::LargeInt(bytes) => {
            let number = Integer::from_bytes(bytes);
            match number.as_exact_float() {
                Some(float) => Piece::Float(float).put(out),
                None => put_integer(&number, out),
            }
        }
        piece @ (Piece::List(count) | Piece::Tuple(count)) => {
            piece.put(out);
            for _ in 0..count {
                value(reader, out);
            }
        }
        piece @ Piece::Map(count) => {
            piece.put(out);
            sorted(count, out, |out| {
                value(reader, out);
                value(reader, out);
            });
        }
        piece @ Piece::Set(count) => {
            piece.put(out);
            sorted(count, out, |out| value(reader, out));
        }
        piece @ (Piece::None
        | Piece::Int(_)
        | Piece::Text(_)
        | Piece::Bytes(_)
        | Piece::Opaque { .. }
        | Piece::Ref(_)) => piece.put(out),
    }
}

/// Appends `count` entries in the order of their bytes, which is that of their keys: none of them
/// is the beginning of another, and none is there twice.
fn sorted(count: usize, out: &mut Vec<u8>, mut append_entry: impl FnMut(&mut Vec<u8>)) {
    let start = out.len();
    let entries: Vec<(usize, usize)> = (0..count)
        .map(|_| {
            let from = out.len();
            append_entry(out);
            (from, out.len())
        })
        .collect();
    let entry = |&(from, to): &(usize, usize)| &out[from..to];
    if entries.is_sorted_by_key(entry) {
        return;
    }
    let mut order = entries;
    order.sort_unstable_by(|a, b| entry(a).cmp(entry(b)));
    let in_order: Vec<u8> = order.iter().flat_map(entry).copied().collect();
    out.truncate(start);
    out.extend_from_slice(&in_order);
}
