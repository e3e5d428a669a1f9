//! Every opcode of the protocols 0 to 5: its byte, its name, and what stands behind it.
//!
//! Not what it does: reading is [`crate::read`]'s matter, which refuses some by name.
//!
//! The table is that of the module `pickletools` of Python's library.

use core::ops::Range;

use crate::PickleError;

/// What stands behind an opcode's byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    Nothing,
    /// An unsigned number of so many bytes, the lowest first.
    Unsigned(u8),
    /// A signed number of four bytes, the lowest first.
    Signed,
    /// Eight bytes, the highest first.
    Float,
    /// Characters up to the end of the line.
    Line,
    /// Two lines.
    TwoLines,
    /// A size of so many bytes, the lowest first, and as many bytes as it says.
    Sized(u8),
    /// The same with a size of four bytes that has a sign.
    SignedSize,
}

macro_rules! opcodes {
    ($($op:ident = $byte:literal $name:literal $layout:ident $(($size:literal))?;)*) => {
        /// One of the opcodes, by the name that it has in Python.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Op {
            $($op,)*
        }

        impl Op {
            pub(crate) const fn of(byte: u8) -> Option<Self> {
                match byte {
                    $($byte => Some(Self::$op),)*
                    _ => None,
                }
            }

            pub(crate) const fn byte(self) -> u8 {
                match self {
                    $(Self::$op => $byte,)*
                }
            }

            pub(crate) const fn name(self) -> &'static str {
                match self {
                    $(Self::$op => $name,)*
                }
            }

            pub(crate) const fn layout(self) -> Layout {
                match self {
                    $(Self::$op => Layout::$layout $(($size))?,)*
                }
            }
        }
    };
}

opcodes! {
    Mark = b'(' "MARK" Nothing;
    Stop = b'.' "STOP" Nothing;
    Pop = b'0' "POP" Nothing;
    PopMark = b'1' "POP_MARK" Nothing;
    Dup = b'2' "DUP" Nothing;
    Float = b'F' "FLOAT" Line;
    Int = b'I' "INT" Line;
    BinInt = b'J' "BININT" Signed;
    BinInt1 = b'K' "BININT1" Unsigned(1);
    Long = b'L' "LONG" Line;
    BinInt2 = b'M' "BININT2" Unsigned(2);
    None = b'N' "NONE" Nothing;
    PersId = b'P' "PERSID" Line;
    BinPersId = b'Q' "BINPERSID" Nothing;
    Reduce = b'R' "REDUCE" Nothing;
    String = b'S' "STRING" Line;
    BinString = b'T' "BINSTRING" SignedSize;
    ShortBinString = b'U' "SHORT_BINSTRING" Sized(1);
    Unicode = b'V' "UNICODE" Line;
    BinUnicode = b'X' "BINUNICODE" Sized(4);
    Append = b'a' "APPEND" Nothing;
    Build = b'b' "BUILD" Nothing;
    Global = b'c' "GLOBAL" TwoLines;
    Dict = b'd' "DICT" Nothing;
    EmptyDict = b'}' "EMPTY_DICT" Nothing;
    Appends = b'e' "APPENDS" Nothing;
    Get = b'g' "GET" Line;
    BinGet = b'h' "BINGET" Unsigned(1);
    Inst = b'i' "INST" TwoLines;
    LongBinGet = b'j' "LONG_BINGET" Unsigned(4);
    List = b'l' "LIST" Nothing;
    EmptyList = b']' "EMPTY_LIST" Nothing;
    Obj = b'o' "OBJ" Nothing;
    Put = b'p' "PUT" Line;
    BinPut = b'q' "BINPUT" Unsigned(1);
    LongBinPut = b'r' "LONG_BINPUT" Unsigned(4);
    SetItem = b's' "SETITEM" Nothing;
    Tuple = b't' "TUPLE" Nothing;
    EmptyTuple = b')' "EMPTY_TUPLE" Nothing;
    SetItems = b'u' "SETITEMS" Nothing;
    BinFloat = b'G' "BINFLOAT" Float;
    Proto = b'\x80' "PROTO" Unsigned(1);
    NewObj = b'\x81' "NEWOBJ" Nothing;
    Ext1 = b'\x82' "EXT1" Unsigned(1);
    Ext2 = b'\x83' "EXT2" Unsigned(2);
    Ext4 = b'\x84' "EXT4" Signed;
    Tuple1 = b'\x85' "TUPLE1" Nothing;
    Tuple2 = b'\x86' "TUPLE2" Nothing;
    Tuple3 = b'\x87' "TUPLE3" Nothing;
    NewTrue = b'\x88' "NEWTRUE" Nothing;
    NewFalse = b'\x89' "NEWFALSE" Nothing;
    Long1 = b'\x8a' "LONG1" Sized(1);
    Long4 = b'\x8b' "LONG4" SignedSize;
    BinBytes = b'B' "BINBYTES" Sized(4);
    ShortBinBytes = b'C' "SHORT_BINBYTES" Sized(1);
    ShortBinUnicode = b'\x8c' "SHORT_BINUNICODE" Sized(1);
    BinUnicode8 = b'\x8d' "BINUNICODE8" Sized(8);
    BinBytes8 = b'\x8e' "BINBYTES8" Sized(8);
    EmptySet = b'\x8f' "EMPTY_SET" Nothing;
    AddItems = b'\x90' "ADDITEMS" Nothing;
    FrozenSet = b'\x91' "FROZENSET" Nothing;
    NewObjEx = b'\x92' "NEWOBJ_EX" Nothing;
    StackGlobal = b'\x93' "STACK_GLOBAL" Nothing;
    Memoize = b'\x94' "MEMOIZE" Nothing;
    Frame = b'\x95' "FRAME" Unsigned(8);
    ByteArray8 = b'\x96' "BYTEARRAY8" Sized(8);
    NextBuffer = b'\x97' "NEXT_BUFFER" Nothing;
    ReadOnlyBuffer = b'\x98' "READONLY_BUFFER" Nothing;
}

/// What stood behind an opcode; ranges are of the pickle.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Argument {
    Nothing,
    Number(i64),
    Float(f64),
    Bytes(Range<usize>),
    TwoLines(Range<usize>, Range<usize>),
}

/// An opcode in its place.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Found {
    pub(crate) op: Op,
    /// Of its byte in the pickle.
    pub(crate) at: usize,
    pub(crate) argument: Argument,
}

/// Walks over the opcodes of a pickle.
#[derive(Clone, Debug)]
pub(crate) struct Scanner<'a> {
    bytes: &'a [u8],
    /// Invariant: not beyond the end.
    at: usize,
}

impl<'a> Scanner<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(crate) const fn at(&self) -> usize {
        self.at
    }

    pub(crate) const fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// The next opcode; the end of the bytes is an error like any other place to be cut.
    pub(crate) fn next(&mut self) -> Result<Found, PickleError> {
        let at = self.at;
        let byte = self.bytes[self.take(1)?][0];
        let op = Op::of(byte).ok_or(PickleError::UnknownOpcode { byte, at })?;
        let argument = match op.layout() {
            Layout::Nothing => Argument::Nothing,
            Layout::Unsigned(size) => {
                // Of eight bytes there is only the size of a frame, which nobody looks at.
                Argument::Number(self.unsigned(size)?.cast_signed())
            }
            Layout::Signed => Argument::Number(self.signed()?.into()),
            Layout::Float => {
                let mut float = [0; 8];
                float.copy_from_slice(&self.bytes[self.take(8)?]);
                Argument::Float(f64::from_be_bytes(float))
            }
            Layout::Line => Argument::Bytes(self.line()?),
            Layout::TwoLines => Argument::TwoLines(self.line()?, self.line()?),
            Layout::Sized(size) => {
                let size = self.unsigned(size)?;
                Argument::Bytes(self.take(size)?)
            }
            Layout::SignedSize => {
                let size = u64::try_from(self.signed()?)
                    .map_err(|_| PickleError::BadArgument { opcode: op.name(), at })?;
                Argument::Bytes(self.take(size)?)
            }
        };
        Ok(Found { op, at, argument })
    }

    fn take(&mut self, size: u64) -> Result<Range<usize>, PickleError> {
        let left = self.left();
        match usize::try_from(size) {
            Ok(size) if size <= left => {
                self.at += size;
                Ok(self.at - size..self.at)
            }
            _ => Err(PickleError::Truncated { at: self.at, wanted: size, left }),
        }
    }

    fn unsigned(&mut self, size: u8) -> Result<u64, PickleError> {
        let range = self.take(size.into())?;
        let digits = self.bytes[range].iter().rev();
        Ok(digits.fold(0, |number, digit| number << 8 | u64::from(*digit)))
    }

    fn signed(&mut self) -> Result<i32, PickleError> {
        let mut number = [0; 4];
        number.copy_from_slice(&self.bytes[self.take(4)?]);
        Ok(i32::from_le_bytes(number))
    }

    /// Up to the end of the line, which is left out and passed over.
    fn line(&mut self) -> Result<Range<usize>, PickleError> {
        let start = self.at;
        let size = self.bytes[start..].iter().position(|byte| *byte == b'\n');
        let missing = PickleError::Truncated { at: self.bytes.len(), wanted: 1, left: 0 };
        let size = size.ok_or(missing)?;
        self.at = start + size + 1;
        Ok(start..start + size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_has_one_opcode_at_most_and_it_has_the_byte() {
        let known: Vec<Op> = (0..=255).filter_map(Op::of).collect();
        assert_eq!(known.len(), 68);
        assert!(known.iter().all(|op| Op::of(op.byte()) == Some(*op)));
    }

    #[test]
    fn what_stands_behind_an_opcode_is_read_as_its_layout_says() {
        let bytes = b"K\xffM\x01\x02J\xfe\xff\xff\xffG\x3f\xf8\0\0\0\0\0\0I12\nca\nb\nC\x02xy.";
        let mut scanner = Scanner::new(bytes);
        let mut arguments = Vec::new();
        while scanner.left() > 0 {
            arguments.push(scanner.next().unwrap().argument);
        }
        let expected = [
            Argument::Number(255),
            Argument::Number(0x201),
            Argument::Number(-2),
            Argument::Float(1.5),
            Argument::Bytes(20..22),
            Argument::TwoLines(24..25, 26..27),
            Argument::Bytes(30..32),
            Argument::Nothing,
        ];
        assert_eq!(arguments, expected);
    }
}
