//! What `manager.list(…)` and its like make: an object without a name of its own.

use ganger_pickle::write::Exception;
use ganger_shared::{Packed, Value};

use super::Call;
use crate::python::PythonDoor;
use crate::python::arguments::Arguments;
use crate::python::inside::Inside;
use crate::python::kind::{Kind, Shared};
use crate::python::raise::Raised;

/// Units that a semaphore may be made with.
const UNITS_MAX: i64 = 100_000;

/// Makes an object. Its proxies count as references, and without any it goes after a while.
pub(crate) async fn make(
    door: &PythonDoor,
    inside: &mut Inside,
    kind: Kind,
    mut args: Arguments<'_>,
) -> Result<Shared, Raised> {
    let mut units = 0;
    let mut durability = None;
    let (mut made_with, mut then) = (Vec::new(), None);
    match kind {
        Kind::Queue => {
            let [maxsize] = args.bind(["maxsize"], 0)?;
            let maxsize = maxsize.map_or(Ok(0), |id| args.int(id))?;
            made_with.push(Value::from(maxsize.max(0)));
        }
        Kind::List => {
            let [items] = args.bind(["iterable"], 0)?;
            if let Some(items) = items {
                then = Some(("extend", packed_list(&args.items(items)?)?));
            }
        }
        Kind::Set => {
            let [items] = args.bind(["iterable"], 0)?;
            if let Some(items) = items {
                made_with.push(packed_list(&args.items(items)?)?.unpack());
            }
        }
        Kind::Dict => {
            // Filled by a call of its `update`, which has the same arguments.
        }
        Kind::Value => {
            let [_typecode, value, _lock] = args.bind(["typecode", "value", "lock"], 2)?;
            made_with.push(args.packed(value.expect("bound"))?.unpack());
        }
        Kind::Array => {
            let [typecode, items, _lock] = args.bind(["typecode", "sequence", "lock"], 2)?;
            let typecode = args.graph().text(typecode.expect("bound")).unwrap_or_default();
            made_with.push(Value::from(numbers_of(typecode)?));
            made_with.push(packed_list(&args.items(items.expect("bound"))?)?.unpack());
        }
        Kind::Namespace => {
            let mut entries = Vec::new();
            for (name, value) in args.keywords() {
                entries.push((Value::from(name.as_str()), args.packed(*value)?.unpack()));
            }
            made_with.push(Value::Map(entries));
        }
        Kind::Event | Kind::RLock => args.none()?,
        Kind::Condition => {
            let [lock] = args.bind(["lock"], 0)?;
            if lock.is_some_and(|lock| !args.is_none(lock)) {
                let why = "a broker makes conditions with a lock of their own; leave the lock out";
                return Err(Raised::new(Exception::NotImplementedError, why));
            }
        }
        Kind::Lock => {
            args.none()?;
            (units, durability) = (1, Some(door.locks));
            made_with.push(Value::from(1));
        }
        Kind::Semaphore | Kind::BoundedSemaphore => {
            let [value] = args.bind(["value"], 0)?;
            units = value.map_or(Ok(1), |id| args.int(id))?;
            if units < 0 {
                let why = "semaphore initial value must be >= 0";
                return Err(Raised::new(Exception::ValueError, why));
            }
            if units > UNITS_MAX {
                let why = format!("a semaphore of {units} units; a broker makes up to {UNITS_MAX}");
                return Err(Raised::new(Exception::ValueError, why));
            }
            durability = Some(door.locks);
            if kind == Kind::BoundedSemaphore {
                made_with.push(Value::from(units));
            }
        }
        // No program makes these.
        Kind::Iterator | Kind::Object => {}
        Kind::Barrier => {
            let [parties, action, timeout] = args.bind(["parties", "action", "timeout"], 1)?;
            if action.is_some_and(|action| !args.is_none(action)) {
                let why = "a broker calls no functions: Barrier(action=…) is not served";
                return Err(Raised::new(Exception::NotImplementedError, why));
            }
            made_with.push(Value::from(args.int(parties.expect("bound"))?));
            if let Some(timeout) = args.timeout(timeout)? {
                made_with.push(Value::from(ganger_shared::time::millis(timeout)));
            }
        }
    }
    let typeid = kind.typeid().unwrap_or_default();
    let object = inside.make(typeid, &made_with, durability).await?;
    let shared = Shared { kind, object };
    if let Some((method, argument)) = then {
        call(inside, &shared, method, &[argument]).await?;
    }
    if kind == Kind::Dict {
        let method = "update";
        Call { door, inside, shared: &shared, typeid, method, args }.run().await?;
        return Ok(shared);
    }
    for _ in 0..units {
        call(inside, &shared, "put_nowait", &[Packed::none()]).await?;
    }
    Ok(shared)
}

async fn call(
    inside: &mut Inside,
    shared: &Shared,
    method: &str,
    args: &[Packed],
) -> Result<(), Raised> {
    let now = Some(std::time::Duration::ZERO);
    let typeid = shared.kind.typeid().unwrap_or_default();
    inside.call(&shared.object, typeid, method, args, now).await?;
    Ok(())
}

fn packed_list(items: &[Packed]) -> Result<Packed, Raised> {
    Packed::list(items).map_err(|error| Raised::new(Exception::ValueError, error.to_string()))
}

/// The numbers of a typecode of Python's `array`, as they are on the machines that it runs on.
fn numbers_of(typecode: &str) -> Result<&'static str, Raised> {
    Ok(match typecode {
        "b" => "i8",
        "B" => "u8",
        "h" => "i16",
        "H" => "u16",
        "i" => "i32",
        "I" => "u32",
        "l" | "q" => "i64",
        "L" | "Q" => "u64",
        "f" => "f32",
        "d" => "f64",
        other => {
            let why =
                format!("bad typecode {other:?} (must be b, B, h, H, i, I, l, L, q, Q, f or d)");
            return Err(Raised::new(Exception::ValueError, why));
        }
    })
}
