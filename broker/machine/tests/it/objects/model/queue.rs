//! A queue of items that nobody waits for.

use ganger_shared::{CallError, Value};

use super::{Args, Outcome, wrong_value};

/// Items in one that was made without a number: the broker's default, which no history comes to.
const MAXSIZE: usize = 10_000_000;

#[derive(Clone, Debug)]
pub(crate) struct Queue {
    maxsize: usize,
    items: Vec<Value>,
    taken: u64,
    is_shut_down: bool,
}

impl Queue {
    pub(crate) fn made(args: &[Value]) -> Self {
        let maxsize = Args(args).count_or(0).unwrap();
        let maxsize = if maxsize == 0 { MAXSIZE } else { maxsize };
        Self { maxsize, items: Vec::new(), taken: 0, is_shut_down: false }
    }

    pub(crate) fn call(&mut self, method: &str, mut args: Args<'_>) -> Outcome {
        let unfinished = self.items.len() as u64 + self.taken;
        if let "put" | "put_nowait" = method {
            let item = args.value()?;
            args.end()?;
            if self.is_shut_down {
                return Err(CallError::ShutDown);
            }
            super::judge(self.items.len(), 1, self.maxsize)?;
            self.items.push(item.clone());
            return Ok(Value::None);
        }
        let is_immediate = method == "shutdown" && args.flag()?;
        args.end()?;
        Ok(match method {
            "get" | "get_nowait" if self.items.is_empty() => {
                return Err(if self.is_shut_down { CallError::ShutDown } else { CallError::Empty });
            }
            "get" | "get_nowait" => {
                self.taken += 1;
                self.items.remove(0)
            }
            "task_done" if self.taken == 0 => return wrong_value(),
            "task_done" => {
                self.taken -= 1;
                Value::None
            }
            "join" => Value::Bool(unfinished == 0),
            "shutdown" => {
                self.is_shut_down = true;
                if is_immediate {
                    self.items.clear();
                }
                Value::None
            }
            "len" => Value::from(self.items.len()),
            "empty" => Value::Bool(self.items.is_empty()),
            "full" => Value::Bool(self.items.len() >= self.maxsize),
            "maxsize" => Value::from(self.maxsize),
            "unfinished" => Value::from(unfinished),
            "is_shut_down" => Value::Bool(self.is_shut_down),
            _ => panic!("{method}"),
        })
    }
}
