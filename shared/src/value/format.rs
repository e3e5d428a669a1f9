//! The encoding of a value, piece by piece: what precedes each kind, and how to walk over it.
//!
//! Pieces lie in the order of their values, so many walks need no stack. How deep they are nested
//! and whether keys are unique is not seen here, but in `check`.

use super::{Integer, ValueError};

pub(super) const NONE: u8 = 0;
pub(super) const FALSE: u8 = 1;
pub(super) const TRUE: u8 = 2;
const INT: u8 = 3;
const LARGE_INT: u8 = 4;
const FLOAT: u8 = 5;
const TEXT: u8 = 6;
const BYTES: u8 = 7;
const LIST: u8 = 8;
const TUPLE: u8 = 9;
const MAP: u8 = 10;
const SET: u8 = 11;
const OPAQUE: u8 = 12;
const REF: u8 = 13;

/// A value that contains none, or the beginning of one that does.
#[derive(Clone, Copy, Debug)]
pub(super) enum Piece<'a> {
    None,
    Bool(bool),
    Int(i64),
    /// Little-endian two's complement.
    LargeInt(&'a [u8]),
    Float(f64),
    Text(&'a str),
    Bytes(&'a [u8]),
    /// So many values follow.
    List(usize),
    /// So many values follow.
    Tuple(usize),
    /// So many keys follow, each with its value behind it.
    Map(usize),
    /// So many values follow.
    Set(usize),
    Opaque {
        format: &'a str,
        bytes: &'a [u8],
    },
    Ref(u64),
}

impl Piece<'_> {
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Bool(_) => "bool",
            Self::Int(_) | Self::LargeInt(_) => "int",
            Self::Float(_) => "float",
            Self::Text(_) => "text",
            Self::Bytes(_) => "bytes",
            Self::List(_) => "list",
            Self::Tuple(_) => "tuple",
            Self::Map(_) => "map",
            Self::Set(_) => "set",
            Self::Opaque { .. } => "opaque",
            Self::Ref(_) => "ref",
        }
    }

    /// Appends its encoding.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        match *self {
            Self::None => out.push(NONE),
            Self::Bool(false) => out.push(FALSE),
            Self::Bool(true) => out.push(TRUE),
            Self::Int(number) => {
                out.push(INT);
                put_number(zigzag(number), out);
            }
            Self::LargeInt(bytes) => put_bytes(LARGE_INT, bytes, out),
            Self::Float(float) => {
                out.push(FLOAT);
                out.extend_from_slice(&float.to_le_bytes());
            }
            Self::Text(text) => put_bytes(TEXT, text.as_bytes(), out),
            Self::Bytes(bytes) => put_bytes(BYTES, bytes, out),
            Self::List(count) => put_count(LIST, count, out),
            Self::Tuple(count) => put_count(TUPLE, count, out),
            Self::Map(count) => put_count(MAP, count, out),
            Self::Set(count) => put_count(SET, count, out),
            Self::Opaque { format, bytes } => {
                put_bytes(OPAQUE, format.as_bytes(), out);
                put_number(bytes.len() as u64, out);
                out.extend_from_slice(bytes);
            }
            Self::Ref(id) => {
                out.push(REF);
                put_number(id, out);
            }
        }
    }
}

/// The piece of an integer of any size, lent to `put`.
pub(super) fn put_integer(number: &Integer, out: &mut Vec<u8>) {
    match number.as_i64() {
        Some(small) => Piece::Int(small).put(out),
        None => Piece::LargeInt(&number.to_bytes()).put(out),
    }
}

fn put_count(tag: u8, count: usize, out: &mut Vec<u8>) {
    out.push(tag);
    put_number(count as u64, out);
}

fn put_bytes(tag: u8, bytes: &[u8], out: &mut Vec<u8>) {
    put_count(tag, bytes.len(), out);
    out.extend_from_slice(bytes);
}

/// Seven bits a byte, the lowest first; all bytes but the last have their highest bit set.
fn put_number(mut number: u64, out: &mut Vec<u8>) {
    while number > 0x7f {
        out.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}

/// 0, -1, 1, -2, … as 0, 1, 2, 3, …: numbers near zero are short.
const fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}

const fn unzigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -((number & 1).cast_signed())
}

/// Walks over encoded values, piece by piece.
#[derive(Clone, Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    /// Invariant: not beyond the end.
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// How far it has come.
    pub(super) const fn at(&self) -> usize {
        self.at
    }

    pub(super) const fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// What lies between `start` and here.
    pub(super) fn since(&self, start: usize) -> &'a [u8] {
        &self.bytes[start..self.at]
    }

    pub(super) const fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// The next piece. A count is at most that of the bytes which are left.
    pub(super) fn piece(&mut self) -> Result<Piece<'a>, ValueError> {
        let at = self.at;
        Ok(match self.byte()? {
            NONE => Piece::None,
            FALSE => Piece::Bool(false),
            TRUE => Piece::Bool(true),
            INT => Piece::Int(unzigzag(self.number()?)),
            LARGE_INT => Piece::LargeInt(self.large_int()?),
            FLOAT => Piece::Float(self.float()?),
            TEXT => Piece::Text(self.text()?),
            BYTES => Piece::Bytes(self.sized()?),
            LIST => Piece::List(self.count("list", 1)?),
            TUPLE => Piece::Tuple(self.count("tuple", 1)?),
            MAP => Piece::Map(self.count("map", 2)?),
            SET => Piece::Set(self.count("set", 1)?),
            OPAQUE => Piece::Opaque { format: self.text()?, bytes: self.sized()? },
            REF => Piece::Ref(self.number()?),
            tag => return Err(ValueError::UnknownTag { tag, at }),
        })
    }

    /// The next piece of what has been checked.
    pub(super) fn checked_piece(&mut self) -> Piece<'a> {
        self.piece().expect("it was checked when it was made")
    }

    fn take(&mut self, size: u64) -> Result<&'a [u8], ValueError> {
        let left = self.left();
        let fitting = usize::try_from(size).ok().filter(|&size| size <= left);
        let Some(size) = fitting else {
            return Err(ValueError::Truncated { at: self.at, wanted: size, left });
        };
        let start = self.at;
        self.at += size;
        Ok(self.since(start))
    }

    fn byte(&mut self) -> Result<u8, ValueError> {
        Ok(self.take(1)?[0])
    }

    fn number(&mut self) -> Result<u64, ValueError> {
        let at = self.at;
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            // The tenth byte has room for one bit; a last byte of zero says nothing.
            if (shift == 63 && byte > 1) || (shift > 0 && byte == 0) {
                return Err(ValueError::Number { at });
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(ValueError::Number { at })
    }

    fn sized(&mut self) -> Result<&'a [u8], ValueError> {
        let size = self.number()?;
        self.take(size)
    }

    fn text(&mut self) -> Result<&'a str, ValueError> {
        let bytes = self.sized()?;
        let at = self.at - bytes.len();
        core::str::from_utf8(bytes).map_err(|_| ValueError::NotUtf8 { at })
    }

    fn large_int(&mut self) -> Result<&'a [u8], ValueError> {
        let bytes = self.sized()?;
        // Nine bytes of which the highest is needed are more than 64 bits.
        let is_shortest = match *bytes {
            [.., next, highest] if bytes.len() > 8 => {
                !matches!((highest, next), (0x00, 0x00..=0x7f) | (0xff, 0x80..=0xff))
            }
            _ => false,
        };
        if is_shortest {
            Ok(bytes)
        } else {
            Err(ValueError::LongInteger { at: self.at - bytes.len(), size: bytes.len() })
        }
    }

    fn float(&mut self) -> Result<f64, ValueError> {
        let bytes = self.take(8)?.first_chunk().expect("eight were taken");
        Ok(f64::from_le_bytes(*bytes))
    }

    /// Of entries that take at least `least` bytes each.
    fn count(&mut self, kind: &'static str, least: usize) -> Result<usize, ValueError> {
        let count = self.number()?;
        let left = self.left();
        let fitting = usize::try_from(count).ok().filter(|&count| count <= left / least);
        fitting.ok_or(ValueError::Count { kind, count, left })
    }
}
