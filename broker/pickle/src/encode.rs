//! Opcodes as they are written: those of protocol 4, without frames.
//!
//! Not what they add up to; see [`crate::cut`] and [`crate::write`].

use ganger_shared::value::Integer;

use crate::opcode::Op;

/// Opcodes in a row.
#[derive(Clone, Debug, Default)]
pub(crate) struct Code {
    pub(crate) bytes: Vec<u8>,
}

impl Code {
    pub(crate) fn op(&mut self, op: Op) {
        self.bytes.push(op.byte());
    }

    pub(crate) fn bool(&mut self, bool: bool) {
        self.op(if bool { Op::NewTrue } else { Op::NewFalse });
    }

    pub(crate) fn int(&mut self, number: &Integer) {
        let small = number.as_i64();
        if let Some(Ok(number)) = small.map(u8::try_from) {
            self.op(Op::BinInt1);
            self.bytes.push(number);
        } else if let Some(Ok(number)) = small.map(u16::try_from) {
            self.op(Op::BinInt2);
            self.bytes.extend(number.to_le_bytes());
        } else if let Some(Ok(number)) = small.map(i32::try_from) {
            self.op(Op::BinInt);
            self.bytes.extend(number.to_le_bytes());
        } else {
            let bytes = number.to_bytes();
            if let Ok(size) = u8::try_from(bytes.len()) {
                self.op(Op::Long1);
                self.bytes.push(size);
            } else {
                self.op(Op::Long4);
                // The size has a sign, and a number of 2 GiB does not come into being.
                let size = i32::try_from(bytes.len()).unwrap_or(i32::MAX);
                self.bytes.extend(size.to_le_bytes());
            }
            self.bytes.extend(bytes);
        }
    }

    pub(crate) fn float(&mut self, float: f64) {
        self.op(Op::BinFloat);
        self.bytes.extend(float.to_be_bytes());
    }

    /// A text, in UTF-8 where halves of surrogate pairs are allowed.
    pub(crate) fn text(&mut self, text: &[u8]) {
        self.sized(text, [Op::ShortBinUnicode, Op::BinUnicode, Op::BinUnicode8]);
    }

    pub(crate) fn blob(&mut self, bytes: &[u8]) {
        self.sized(bytes, [Op::ShortBinBytes, Op::BinBytes, Op::BinBytes8]);
    }

    fn sized(&mut self, bytes: &[u8], [short, middle, long]: [Op; 3]) {
        if let Ok(size) = u8::try_from(bytes.len()) {
            self.op(short);
            self.bytes.push(size);
        } else if let Ok(size) = u32::try_from(bytes.len()) {
            self.op(middle);
            self.bytes.extend(size.to_le_bytes());
        } else {
            self.op(long);
            self.bytes.extend((bytes.len() as u64).to_le_bytes());
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The class or function `module.name`, which is not remembered.
    pub(crate) fn global(&mut self, module: &str, name: &str) {
        self.text(module.as_bytes());
        self.text(name.as_bytes());
        self.op(Op::StackGlobal);
    }

    pub(crate) fn slot(&mut self, slot: u32) {
        self.op(Op::LongBinGet);
        self.bytes.extend(slot.to_le_bytes());
    }

    /// What makes a tuple of the last `count` values, for which there is a mark if they are more
    /// than three.
    pub(crate) fn tuple(&mut self, count: usize) {
        self.op(match count {
            0 => Op::EmptyTuple,
            1 => Op::Tuple1,
            2 => Op::Tuple2,
            3 => Op::Tuple3,
            _ => Op::Tuple,
        });
    }
}
