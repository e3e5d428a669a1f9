//! Whether bytes are a value, without building it.

use super::canonical;
use super::format::{Piece, Reader};
use super::integer::shortened;
use super::{Packed, ValueError};
use crate::limits::DEPTH_MAX;

/// The size of the value at the start of `bytes`.
pub(super) fn size_of_first(bytes: &[u8]) -> Result<usize, ValueError> {
    let mut reader = Reader::new(bytes);
    value(&mut reader, 0)?;
    Ok(reader.at())
}

/// Why the checked value in `bytes` cannot be a key: the kind of it or of what is inside.
pub(super) fn unhashable(bytes: &[u8]) -> Option<&'static str> {
    let mut reader = Reader::new(bytes);
    while !reader.is_at_end() {
        let piece = reader.checked_piece();
        if !is_hashable(&piece) {
            return Some(piece.kind());
        }
    }
    None
}

/// By itself: a tuple is if its items are.
const fn is_hashable(piece: &Piece<'_>) -> bool {
    match piece {
        Piece::None
        | Piece::Bool(_)
        | Piece::Int(_)
        | Piece::LargeInt(_)
        | Piece::Float(_)
        | Piece::Text(_)
        | Piece::Bytes(_)
        | Piece::Tuple(_)
        | Piece::Ref(_) => true,
        Piece::List(_) | Piece::Map(_) | Piece::Set(_) | Piece::Opaque { .. } => false,
    }
}

/// Checks the next value, which has `depth` containers around it, and returns what in it is not
/// hashable.
fn value(reader: &mut Reader<'_>, depth: usize) -> Result<Option<&'static str>, ValueError> {
    let piece = reader.piece()?;
    let kind = piece.kind();
    let mut unhashable = (!is_hashable(&piece)).then_some(kind);
    match piece {
        Piece::None
        | Piece::Bool(_)
        | Piece::Int(_)
        | Piece::LargeInt(_)
        | Piece::Float(_)
        | Piece::Text(_)
        | Piece::Bytes(_)
        | Piece::Opaque { .. }
        | Piece::Ref(_) => {}
        Piece::List(count) | Piece::Tuple(count) => {
            let depth = deeper(depth, kind)?;
            for _ in 0..count {
                let item = value(reader, depth)?;
                unhashable = unhashable.or(item);
            }
        }
        Piece::Map(count) => {
            let mut keys = Entries::new(kind, count);
            let depth = deeper(depth, kind)?;
            for _ in 0..count {
                keys.push(reader, depth)?;
                value(reader, depth)?;
            }
            keys.check()?;
        }
        Piece::Set(count) => {
            let mut items = Entries::new(kind, count);
            let depth = deeper(depth, kind)?;
            for _ in 0..count {
                items.push(reader, depth)?;
            }
            items.check()?;
        }
    }
    Ok(unhashable)
}

/// The depth inside a container that has `depth` others around it.
const fn deeper(depth: usize, kind: &'static str) -> Result<usize, ValueError> {
    if depth < DEPTH_MAX { Ok(depth + 1) } else { Err(ValueError::TooDeep { kind }) }
}

/// The keys of one map or the items of one set, in their canonical form.
struct Entries {
    kind: &'static str,
    /// How many there will be.
    count: usize,
    bytes: Vec<u8>,
    /// Where each begins and ends: as small as can be, for a key may take four bytes.
    ranges: Vec<(u32, u32)>,
}

impl Entries {
    const fn new(kind: &'static str, count: usize) -> Self {
        Self { kind, count, bytes: Vec::new(), ranges: Vec::new() }
    }

    fn push(&mut self, reader: &mut Reader<'_>, depth: usize) -> Result<(), ValueError> {
        let start = reader.at();
        if let Some(kind) = value(reader, depth)? {
            return Err(ValueError::Unhashable { kind });
        }
        // A single one repeats nothing.
        if self.count > 1 {
            let from = self.end()?;
            canonical::append(reader.since(start), &mut self.bytes);
            self.ranges.push((from, self.end()?));
        }
        Ok(())
    }

    fn end(&self) -> Result<u32, ValueError> {
        let end = u32::try_from(self.bytes.len());
        end.map_err(|_| ValueError::KeysTooLong { kind: self.kind })
    }

    fn check(mut self) -> Result<(), ValueError> {
        let entry = |&(from, to): &(u32, u32)| &self.bytes[from as usize..to as usize];
        self.ranges.sort_unstable_by(|a, b| entry(a).cmp(entry(b)));
        let repeated = self.ranges.windows(2).find(|pair| entry(&pair[0]) == entry(&pair[1]));
        repeated.map_or(Ok(()), |pair| {
            let twice = Packed::trusted(entry(&pair[0]).to_vec()).unpack().to_json();
            Err(ValueError::Repeated { kind: self.kind, entry: shortened(&twice) })
        })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::Value;

    fn error(bytes: &[u8]) -> ValueError {
        Packed::new(Bytes::copy_from_slice(bytes)).unwrap_err()
    }

    /// `count` containers of the tag `container`, each with the next one inside as its only item.
    fn nested(container: u8, count: usize) -> Vec<u8> {
        [[container, 1].repeat(count), vec![0]].concat()
    }

    #[test]
    fn value_cut_short_anywhere_is_refused() {
        let whole = Value::Map(vec![
            ("name".into(), Value::Float(1.5)),
            (Value::Tuple(vec![300.into()]), u128::MAX.into()),
            (1.into(), Value::Opaque { format: "pickle".into(), bytes: Bytes::from_static(b"..") }),
        ]);
        let whole = whole.pack().unwrap().into_bytes();
        for size in 0..whole.len() {
            let error = error(&whole[..size]);
            assert!(
                matches!(error, ValueError::Truncated { .. } | ValueError::Count { .. }),
                "{size}: {error}"
            );
        }
        assert_eq!(error(b"\x06\x05abc"), ValueError::Truncated { at: 2, wanted: 5, left: 3 });
    }

    #[test]
    fn bytes_after_the_value_are_refused() {
        assert_eq!(error(&[3, 2, 0, 0]), ValueError::Trailing { size: 2, extra: 2 });
    }

    #[test]
    fn unknown_tag_is_refused_with_its_place() {
        assert_eq!(error(&[8, 2, 0, 14]), ValueError::UnknownTag { tag: 14, at: 3 });
        assert_eq!(error(&[255]), ValueError::UnknownTag { tag: 255, at: 0 });
    }

    #[test]
    fn number_longer_than_it_needs_to_be_or_than_64_bits_is_refused() {
        assert_eq!(error(&[3, 0x80, 0]), ValueError::Number { at: 1 });
        assert_eq!(error(&[6, 0x81, 0x80, 0, b'a']), ValueError::Number { at: 1 });
        let most = [&[13][..], &[0xff; 9], &[1]].concat();
        assert_eq!(Packed::new(most.into()).unwrap().refs().next().unwrap().0, u64::MAX);
        assert_eq!(error(&[&[13][..], &[0xff; 9], &[2]].concat()), ValueError::Number { at: 1 });
        assert_eq!(error(&[&[13][..], &[0x80; 11], &[1]].concat()), ValueError::Number { at: 1 });
    }

    #[test]
    fn large_integer_that_is_not_in_its_shortest_form_is_refused() {
        let large = |bytes: &[u8]| [&[4, u8::try_from(bytes.len()).unwrap()], bytes].concat();
        let refused = |bytes: &[u8]| {
            assert_eq!(error(&large(bytes)), ValueError::LongInteger { at: 2, size: bytes.len() });
        };
        refused(&[]);
        refused(&[0; 8]);
        refused(&[0, 0, 0, 0, 0, 0, 0, 0x7f, 0]);
        refused(&[0, 0, 0, 0, 0, 0, 0, 0x80, 0xff]);
        refused(&[1, 1, 1, 1, 1, 1, 1, 1, 1, 0]);
        for (bytes, number) in [
            ([0, 0, 0, 0, 0, 0, 0, 0x80, 0], "9223372036854775808"),
            ([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0xff], "-9223372036854775809"),
        ] {
            let value = Packed::new(large(&bytes).into()).unwrap().unpack();
            assert_eq!(value.as_int().unwrap().to_string(), number);
        }
    }

    #[test]
    fn count_that_the_bytes_cannot_hold_is_refused_before_anything_is_read() {
        for (tag, kind, count) in [(8, "list", 3), (9, "tuple", 3), (10, "map", 2), (11, "set", 3)]
        {
            assert_eq!(
                error(&[tag, count, 0, 0]),
                ValueError::Count { kind, count: count.into(), left: 2 }
            );
        }
        let most = [&[8][..], &[0xff; 9], &[1]].concat();
        assert_eq!(error(&most), ValueError::Count { kind: "list", count: u64::MAX, left: 0 });
    }

    #[test]
    fn text_that_is_not_utf8_is_refused_with_its_place() {
        assert_eq!(error(b"\x06\x02a\xff"), ValueError::NotUtf8 { at: 2 });
        assert_eq!(error(b"\x0c\x01\xff\x01a"), ValueError::NotUtf8 { at: 2 });
    }

    #[test]
    fn hundred_containers_deep_is_read_and_one_more_is_not() {
        for (tag, kind) in [(8, "list"), (9, "tuple")] {
            let deepest = Packed::new(nested(tag, 100).into()).unwrap();
            assert_eq!(deepest.unpack().pack(), Ok(deepest));
            assert_eq!(error(&nested(tag, 101)), ValueError::TooDeep { kind });
            assert_eq!(error(&nested(tag, 1_000_000)), ValueError::TooDeep { kind });
        }
        let maps = [[10, 1, 0].repeat(101), vec![0]].concat();
        assert_eq!(error(&maps), ValueError::TooDeep { kind: "map" });
        let keys = [[11, 1].to_vec(), nested(9, 100)].concat();
        assert_eq!(error(&keys), ValueError::TooDeep { kind: "tuple" });
    }

    #[test]
    fn what_can_change_is_no_key_and_no_item_of_a_set() {
        for (item, kind) in [
            (&[8, 0][..], "list"),
            (&[10, 0], "map"),
            (&[11, 0], "set"),
            (&[12, 0, 0], "opaque"),
            (&[9, 2, 0, 8, 0], "list"),
        ] {
            assert_eq!(error(&[&[10, 1], item, &[0]].concat()), ValueError::Unhashable { kind });
            assert_eq!(error(&[&[11, 1], item].concat()), ValueError::Unhashable { kind });
            let alone = Packed::new(Bytes::copy_from_slice(item)).unwrap();
            assert_eq!(alone.key(), Err(ValueError::Unhashable { kind }));
        }
        assert!(Packed::new(Bytes::from_static(&[11, 2, 9, 1, 0, 13, 5])).is_ok());
    }

    #[test]
    fn equal_keys_are_refused_however_they_are_written() {
        let one = [3, 2];
        let float = [&[5][..], &1_f64.to_le_bytes()].concat();
        for other in [&one[..], &[2], &float] {
            let repeated = |kind| ValueError::Repeated { kind, entry: "1".into() };
            assert_eq!(error(&[&[11, 3, 0], &one[..], other].concat()), repeated("set"));
            let map = [&[10, 2], &one[..], &[0], other, &[0]].concat();
            assert_eq!(error(&map), repeated("map"));
        }
        let long = [&[6, 100], &[b'x'; 100][..]].concat();
        let told = error(&[&[11, 2], &long[..], &long].concat()).to_string();
        assert_eq!(told, format!("set has \"{}… more than once", "x".repeat(59)));
    }
}
