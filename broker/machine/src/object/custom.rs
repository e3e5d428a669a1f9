//! Objects of types that a program brings along: see [`SharedObject`].
//!
//! A method that panics poisons its object, on a replay as it did when it was called. Nothing else is
//! touched: the state was the object's alone.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use ganger_shared::object::Takes;
use ganger_shared::object::custom::{Arguments, SharedObject};
use ganger_shared::value::{from_value, to_value};
use ganger_shared::{CallError, Packed};

use super::{Args, Callable, Cx, Extent, Kind, Owner, Reply, Savepoint, part_of, part_to};

pub(crate) struct Custom<T> {
    state: State<T>,
    extent: Extent,
}

enum State<T> {
    Sound(T),
    /// What the method said that panicked.
    Poisoned(String),
    /// To be put together from its part.
    Blank,
}

impl<T: SharedObject> core::fmt::Debug for Custom<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let state = match &self.state {
            State::Sound(_) => "sound",
            State::Poisoned(_) => "poisoned",
            State::Blank => "blank",
        };
        write!(f, "{} ({state})", T::TYPEID)
    }
}

impl<T: SharedObject> Custom<T> {
    pub(crate) const fn blank() -> Self {
        Self { state: State::Blank, extent: Extent { items: 0, bytes: 0 } }
    }

    pub(crate) fn make(args: Args) -> Result<Self, CallError> {
        let mut args = Arguments::new(args.into_rest())?;
        let made = caught(|| T::make(&mut args)).unwrap_or_else(|panic| {
            Err(CallError::Value(format!("{} panicked: {panic}", T::TYPEID)))
        });
        let mut made = Self { state: State::Sound(made?), extent: Extent::default() };
        made.measure();
        Ok(made)
    }

    /// The state as a value; none if it cannot be one.
    fn packed(&self) -> Option<Packed> {
        match &self.state {
            State::Sound(state) => to_value(state).ok()?.pack().ok(),
            State::Poisoned(_) | State::Blank => None,
        }
    }

    fn measure(&mut self) {
        let bytes = self.packed().map_or(0, |packed| packed.as_bytes().len() as u64);
        self.extent = Extent { items: 1, bytes };
    }

    fn restore(&mut self, packed: &Packed) {
        self.state = match from_value(packed.unpack()) {
            Ok(state) => State::Sound(state),
            // It was written by another version of the type.
            Err(error) => State::Poisoned(format!("its state cannot be read: {error}")),
        };
        self.measure();
    }
}

/// Runs what a program has brought along; a panic is an error that says what it said.
fn caught<R>(run: impl FnOnce() -> R) -> Result<R, String> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|panic| {
        let text = panic.downcast_ref::<&str>().copied().map(str::to_owned);
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        text.unwrap_or_else(|| "a method panicked".to_owned())
    })
}

impl<T: SharedObject> Callable for Custom<T> {
    fn call(&mut self, method: &str, args: Args, cx: &mut Cx<'_>) -> Result<Reply, CallError> {
        let mut args = Arguments::new(args.into_rest())?;
        let state = match &mut self.state {
            State::Sound(state) => state,
            State::Poisoned(why) => return Err(CallError::Poisoned(why.clone())),
            State::Blank => return Err(CallError::Poisoned("it has no state".to_owned())),
        };
        let known = T::METHODS.iter().find(|known| known.name == method);
        let changes = known.is_some_and(|known| known.takes != Takes::Nothing);
        let result = match caught(|| state.call(method, &mut args)) {
            // One that fails should have changed nothing; what it may have changed a replay has to change too.
            Ok(result) => result,
            Err(why) => {
                cx.changed = true;
                self.state = State::Poisoned(why.clone());
                self.measure();
                return Err(CallError::Poisoned(why));
            }
        };
        if changes {
            cx.changed = true;
            self.measure();
        }
        let packed = result?.pack().map_err(|error| CallError::Type(error.to_string()))?;
        Ok(if packed.is_none() { Reply::None } else { Reply::Value(packed) })
    }

    fn extent(&self) -> Extent {
        self.extent
    }

    fn savepoint(&self, _method: &str, _args: &Args, _owner: Owner) -> Option<Savepoint> {
        Savepoint::of(self.packed()?)
    }

    fn go_back(&mut self, to: Savepoint) {
        if let Some(packed) = to.state::<Packed>() {
            self.restore(&packed);
        }
    }
}

impl<T: SharedObject> Kind for Custom<T> {
    fn typeid(&self) -> &'static str {
        T::TYPEID
    }

    fn parts(&self, tell: &mut dyn FnMut(Bytes)) {
        let state = match &self.state {
            State::Poisoned(why) => Err(why.clone()),
            State::Sound(_) | State::Blank => {
                self.packed().ok_or_else(|| "its state could not be written".to_owned())
            }
        };
        tell(part_of(&state));
    }

    fn take(&mut self, part: &[u8]) {
        match part_to::<Result<Packed, String>>(part) {
            Some(Ok(packed)) => self.restore(&packed),
            Some(Err(why)) => self.state = State::Poisoned(why),
            None => {}
        }
    }
}
