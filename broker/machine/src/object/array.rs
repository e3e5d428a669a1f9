//! `array/1`: numbers of one kind, as many as it was made with.

use bytes::Bytes;
use ganger_shared::value::Integer;
use ganger_shared::{CallError, Packed, Value};
use serde::{Deserialize, Serialize};

use super::args::{pack, shown, wanted};
use super::{
    Args, Callable, Cx, Extent, Kind, Owner, PART_BYTES, Reply, Savepoint, judge_answer, no_method,
    part_of, part_to,
};

pub(super) const TYPEID: &str = "array/1";

/// What the numbers are; each has the same size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Numbers {
    #[default]
    I8,
    I16,
    I32,
    I64,
    U8,
    U16,
    U32,
    U64,
    F32,
    F64,
}

const NUMBERS: [(&str, Numbers); 10] = [
    ("i8", Numbers::I8),
    ("i16", Numbers::I16),
    ("i32", Numbers::I32),
    ("i64", Numbers::I64),
    ("u8", Numbers::U8),
    ("u16", Numbers::U16),
    ("u32", Numbers::U32),
    ("u64", Numbers::U64),
    ("f32", Numbers::F32),
    ("f64", Numbers::F64),
];

impl Numbers {
    fn named(name: &str) -> Result<Self, CallError> {
        let found = NUMBERS.iter().find(|(known, _)| *known == name);
        found.map(|&(_, numbers)| numbers).ok_or_else(|| {
            let known: Vec<&str> = NUMBERS.iter().map(|&(name, _)| name).collect();
            let known = known.join(", ");
            CallError::Value(format!("there are no arrays of {name:?}; there are those of {known}"))
        })
    }

    fn name(self) -> &'static str {
        let found = NUMBERS.iter().find(|&&(_, numbers)| numbers == self);
        found.map_or("", |&(name, _)| name)
    }

    const fn size(self) -> usize {
        match self {
            Self::I8 | Self::U8 => 1,
            Self::I16 | Self::U16 => 2,
            Self::I32 | Self::U32 | Self::F32 => 4,
            Self::I64 | Self::U64 | Self::F64 => 8,
        }
    }

    /// Adds a number, little-endian.
    fn encode(self, value: &Packed, to: &mut Vec<u8>) -> Result<(), CallError> {
        macro_rules! whole {
            ($type:ty, $int:expr) => {{
                let int: Option<$type> = $int.try_into().ok();
                let int = int.ok_or_else(|| self.does_not_fit(value))?;
                to.extend(int.to_le_bytes());
            }};
        }
        match self {
            Self::F32 => to.extend(self.float(value)?.to_le_bytes()),
            Self::F64 => to.extend(float(value)?.to_le_bytes()),
            Self::I8 => whole!(i8, whole(value)?),
            Self::I16 => whole!(i16, whole(value)?),
            Self::I32 => whole!(i32, whole(value)?),
            Self::I64 => whole!(i64, whole(value)?),
            Self::U8 => whole!(u8, whole(value)?),
            Self::U16 => whole!(u16, whole(value)?),
            Self::U32 => whole!(u32, whole(value)?),
            Self::U64 => whole!(u64, whole(value)?),
        }
        Ok(())
    }

    /// The nearest number of 32 bits; one beyond them all is refused.
    #[expect(clippy::cast_possible_truncation, reason = "rounding is what such an array is for")]
    fn float(self, value: &Packed) -> Result<f32, CallError> {
        let wide = float(value)?;
        let narrow = wide as f32;
        if narrow.is_infinite() && wide.is_finite() {
            return Err(self.does_not_fit(value));
        }
        Ok(narrow)
    }

    fn does_not_fit(self, value: &Packed) -> CallError {
        CallError::Value(format!("{} does not fit {}", shown(&value.unpack()), self.name()))
    }

    /// The number at the start of `bytes`, which is there.
    fn decode(self, bytes: &[u8]) -> Value {
        macro_rules! number {
            ($type:ty) => {{
                let bytes = bytes[..size_of::<$type>()].try_into();
                <$type>::from_le_bytes(bytes.expect("as many bytes as the type has"))
            }};
        }
        match self {
            Self::I8 => Value::from(i64::from(number!(i8))),
            Self::I16 => Value::from(i64::from(number!(i16))),
            Self::I32 => Value::from(i64::from(number!(i32))),
            Self::I64 => Value::from(number!(i64)),
            Self::U8 => Value::from(u64::from(number!(u8))),
            Self::U16 => Value::from(u64::from(number!(u16))),
            Self::U32 => Value::from(u64::from(number!(u32))),
            Self::U64 => Value::from(number!(u64)),
            Self::F32 => Value::Float(f64::from(number!(f32))),
            Self::F64 => Value::Float(number!(f64)),
        }
    }
}

fn whole(value: &Packed) -> Result<i128, CallError> {
    match value.unpack() {
        Value::Bool(flag) => Ok(i128::from(flag)),
        // None of the kinds has more than 64 bits, so what does not fit 128 fits none.
        Value::Int(int) => Ok(Integer::as_i128(&int).unwrap_or(i128::MAX)),
        other => Err(wanted("a whole number", &other)),
    }
}

#[expect(clippy::cast_precision_loss, reason = "the nearest number is meant")]
fn float(value: &Packed) -> Result<f64, CallError> {
    match value.unpack() {
        Value::Float(float) => Ok(float),
        Value::Bool(_) | Value::Int(_) => Ok(whole(value)? as f64),
        other => Err(wanted("a number", &other)),
    }
}

#[derive(Debug, Default)]
pub(crate) struct Array {
    numbers: Numbers,
    /// The numbers, little-endian, one after the other.
    bytes: Vec<u8>,
}

impl Array {
    pub(super) fn make(mut args: Args, cx: &Cx<'_>) -> Result<Self, CallError> {
        let numbers = Numbers::named(&args.text()?)?;
        let start = args.value()?;
        args.end()?;
        let judge = |items: u64| {
            let bytes = items.saturating_mul(numbers.size() as u64);
            cx.limits.judge(Extent::default(), Extent { items, bytes })
        };
        let mut bytes = Vec::new();
        if let Value::Int(length) = start.unpack() {
            let length = length.as_i64().and_then(|length| u64::try_from(length).ok());
            let length = length.ok_or_else(|| wanted("a length", &start.unpack()))?;
            judge(length)?;
            let length = usize::try_from(length).expect("a length within the bounds");
            bytes.resize(length * numbers.size(), 0);
        } else {
            let items = super::args::items_of(&start)?;
            judge(items.len() as u64)?;
            bytes.reserve_exact(items.len() * numbers.size());
            for item in &items {
                numbers.encode(item, &mut bytes)?;
            }
        }
        Ok(Self { numbers, bytes })
    }

    fn len(&self) -> usize {
        self.bytes.len() / self.numbers.size()
    }

    fn number(&self, index: usize) -> Value {
        self.numbers.decode(&self.bytes[index * self.numbers.size()..])
    }

    /// Writes encoded numbers over those from `index` on, which are as many.
    fn write(&mut self, index: usize, numbers: &[u8]) {
        let at = index * self.numbers.size();
        self.bytes[at..at + numbers.len()].copy_from_slice(numbers);
    }
}

impl Callable for Array {
    fn call(&mut self, method: &str, mut args: Args, cx: &mut Cx<'_>) -> Result<Reply, CallError> {
        let length = self.len();
        match method {
            "get" => {
                let index = args.index(length)?;
                args.end()?;
                Ok(Reply::Value(pack(&self.number(index))?))
            }
            "set" => {
                let (index, value) = (args.index(length)?, args.value()?);
                args.end()?;
                let mut number = Vec::with_capacity(self.numbers.size());
                self.numbers.encode(&value, &mut number)?;
                self.write(index, &number);
                cx.changed = true;
                Ok(Reply::None)
            }
            "slice" => {
                let (start, stop) = (args.place_or(0, length)?, args.place_or(length, length)?);
                args.end()?;
                let count = stop.saturating_sub(start);
                // No number is longer than its tag and eight bytes, or nine of a varint and more.
                judge_answer(count.saturating_mul(11))?;
                let numbers = (start..start + count).map(|index| self.number(index)).collect();
                Ok(Reply::Value(pack(&Value::List(numbers))?))
            }
            "set_slice" => {
                let (start, items) = (args.place(length)?, args.items()?);
                args.end()?;
                if items.len() > length - start {
                    let index = i64::try_from(start + items.len() - 1).unwrap_or(i64::MAX);
                    return Err(CallError::Index { index, length: length as u64 });
                }
                let mut numbers = Vec::with_capacity(items.len() * self.numbers.size());
                for item in &items {
                    self.numbers.encode(item, &mut numbers)?;
                }
                self.write(start, &numbers);
                cx.changed = !items.is_empty();
                Ok(Reply::None)
            }
            "fill" => {
                let value = args.value()?;
                args.end()?;
                let mut number = Vec::with_capacity(self.numbers.size());
                self.numbers.encode(&value, &mut number)?;
                for at in self.bytes.chunks_exact_mut(number.len()) {
                    at.copy_from_slice(&number);
                }
                cx.changed = true;
                Ok(Reply::None)
            }
            "kind" => {
                args.end()?;
                Ok(Reply::Value(Packed::from(self.numbers.name())))
            }
            "len" => {
                args.end()?;
                Ok(Reply::Value(Packed::from(length as u64)))
            }
            _ => Err(no_method(TYPEID, method)),
        }
    }

    fn extent(&self) -> Extent {
        Extent { items: self.len() as u64, bytes: self.bytes.len() as u64 }
    }

    fn savepoint(&self, method: &str, args: &Args, _owner: Owner) -> Option<Savepoint> {
        if method != "set" {
            return None;
        }
        let index = args.clone().index(self.len()).ok()?;
        let size = self.numbers.size();
        Savepoint::of((index, self.bytes[index * size..(index + 1) * size].to_vec()))
    }

    fn go_back(&mut self, to: Savepoint) {
        if let Some((index, number)) = to.state::<(usize, Vec<u8>)>() {
            self.write(index, &number);
        }
    }
}

impl Kind for Array {
    fn typeid(&self) -> &'static str {
        TYPEID
    }

    fn parts(&self, tell: &mut dyn FnMut(Bytes)) {
        tell(part_of(&(self.numbers, Packed::from(&[][..]))));
        for part in self.bytes.chunks(PART_BYTES) {
            tell(part_of(&(self.numbers, Packed::from(part))));
        }
    }

    fn take(&mut self, part: &[u8]) {
        if let Some((numbers, part)) = part_to::<(Numbers, Packed)>(part)
            && let Value::Bytes(part) = part.unpack()
        {
            self.numbers = numbers;
            self.bytes.extend_from_slice(&part);
        }
    }
}
