//! Arrays: numbers of one kind.

use ganger_shared::{CallError, Value};

use super::{Args, Fallible, Outcome, wrong_type, wrong_value};

#[derive(Clone, Debug)]
pub(crate) struct Array {
    kind: String,
    numbers: Vec<Value>,
}

impl Array {
    pub(super) fn made(args: &[Value]) -> Self {
        let [Value::Text(kind), Value::List(numbers)] = args else { panic!("{args:?}") };
        Self { kind: kind.clone(), numbers: numbers.clone() }
    }

    /// The number as an array of this kind holds it.
    #[expect(clippy::cast_possible_truncation, reason = "that is what an array of f32 does")]
    fn fitting(&self, value: &Value) -> Fallible<Value> {
        let wide = match value {
            Value::Float(float) if self.kind.starts_with('f') => *float,
            Value::Bool(_) | Value::Int(_) if self.kind.starts_with('f') => self.float(value),
            Value::Bool(_) | Value::Int(_) => return self.whole(value),
            _ => return wrong_type(),
        };
        if self.kind == "f64" {
            return Ok(Value::Float(wide));
        }
        let narrow = wide as f32;
        if narrow.is_infinite() && wide.is_finite() {
            return wrong_value();
        }
        Ok(Value::Float(f64::from(narrow)))
    }

    #[expect(clippy::cast_precision_loss, reason = "the nearest number is meant")]
    fn float(&self, value: &Value) -> f64 {
        match value {
            Value::Bool(flag) => f64::from(u8::from(*flag)),
            _ => value.as_int().unwrap().as_i128().unwrap() as f64,
        }
    }

    fn whole(&self, value: &Value) -> Fallible<Value> {
        let number = match value {
            Value::Bool(flag) => i128::from(*flag),
            _ => value.as_int().unwrap().as_i128().unwrap(),
        };
        let (lowest, highest) = match self.kind.as_str() {
            "i8" => (i128::from(i8::MIN), i128::from(i8::MAX)),
            "u16" => (0, i128::from(u16::MAX)),
            "i64" => (i128::from(i64::MIN), i128::from(i64::MAX)),
            "u64" => (0, i128::from(u64::MAX)),
            kind => panic!("{kind}"),
        };
        if (lowest..=highest).contains(&number) {
            return Ok(Value::from(number));
        }
        wrong_value()
    }

    pub(super) fn call(&mut self, method: &str, mut args: Args<'_>) -> Outcome {
        let length = self.numbers.len();
        match method {
            "get" => {
                let at = args.index(length)?;
                args.end()?;
                Ok(self.numbers[at].clone())
            }
            "set" => {
                let (at, value) = (args.index(length)?, args.value()?);
                args.end()?;
                self.numbers[at] = self.fitting(value)?;
                Ok(Value::None)
            }
            "slice" => {
                let (start, stop) = (args.place_or(0, length)?, args.place_or(length, length)?);
                args.end()?;
                Ok(Value::List(self.numbers[start..stop.max(start)].to_vec()))
            }
            "set_slice" => {
                let (start, items) = (args.place(length)?, args.items()?);
                args.end()?;
                if start + items.len() > length {
                    let index = i64::try_from(start + items.len() - 1).unwrap();
                    return Err(CallError::Index { index, length: length as u64 });
                }
                let new: Fallible<Vec<Value>> = items.iter().map(|v| self.fitting(v)).collect();
                self.numbers.splice(start..start + items.len(), new?);
                Ok(Value::None)
            }
            "fill" => {
                let value = args.value()?;
                args.end()?;
                let value = self.fitting(value)?;
                self.numbers.fill(value);
                Ok(Value::None)
            }
            "kind" | "len" => {
                args.end()?;
                let kind = Value::from(self.kind.as_str());
                Ok(if method == "len" { Value::from(length) } else { kind })
            }
            _ => panic!("{method}"),
        }
    }
}
