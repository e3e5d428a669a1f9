//! What is asked of the manager itself rather than of an object: to make one, and to keep it.

use ganger_pickle::Known;
use ganger_shared::{Request, Value};

use super::PythonDoor;
use super::arguments::Arguments;
use super::inside::Inside;
use super::kind::{Kind, Named, Shared};
use super::methods;
use super::raise::{Answer, Raised};

/// Answers one request that names no object.
pub(crate) async fn answer(
    door: &PythonDoor,
    inside: &mut Inside,
    method: &str,
    args: Arguments<'_>,
) -> Result<Answer, Raised> {
    match method {
        // A client's first one, to see whether it gets an answer.
        "dummy" => Ok(Answer::NONE),
        "create" => create(door, inside, args).await,
        "incref" => {
            let shared = ident(door, &args)?;
            door.judge_there(&shared)?;
            door.references.add(&shared);
            Ok(Answer::NONE)
        }
        "decref" => {
            let shared = ident(door, &args)?;
            if door.references.drop_one(&shared) {
                match shared.kind {
                    Kind::Iterator => door.iterators.end(&shared),
                    _ => door.door.engine.let_go(&shared.object),
                }
            }
            Ok(Answer::NONE)
        }
        "get_methods" => {
            let token = args.one("token")?;
            let Some(Known::Token(token)) = args.graph().known(token) else {
                return Err(Raised::Remote("get_methods takes the token of an object".to_owned()));
            };
            let shared = door.shared(&token.ident)?;
            Ok(Answer::Names(door.exposed(&shared)))
        }
        "number_of_objects" => {
            let count = door.references.counted().len() as u64;
            Ok(Answer::Value(count.into()))
        }
        "debug_info" => {
            let counted = door.references.counted();
            let lines = counted.into_iter().map(|(shared, count)| {
                let count = count.map_or_else(|| "unknown".to_owned(), |count| count.to_string());
                format!("  {shared}:       refcount={count}")
            });
            let lines: Vec<String> = lines.collect();
            Ok(Answer::Text(lines.join("\n")))
        }
        "shutdown" => Err(Raised::Remote(
            "this broker is stopped by its operator, not by a client; leave shutdown() out"
                .to_owned(),
        )),
        other => {
            Err(Raised::Remote(format!("{other:?} unrecognized: a manager has no such function")))
        }
    }
}

/// The object that the only argument names.
fn ident(door: &PythonDoor, args: &Arguments<'_>) -> Result<Shared, Raised> {
    let ident = args.one("ident")?;
    let text = args.graph().text(ident);
    door.shared(text.ok_or_else(|| Raised::Remote("an ident is a text".to_owned()))?)
}

/// `create(typeid, …)`: what `manager.TYPEID(…)` begins with.
async fn create(
    door: &PythonDoor,
    inside: &mut Inside,
    args: Arguments<'_>,
) -> Result<Answer, Raised> {
    let (typeid, args) = args.after_first("typeid")?;
    let shared = match door.names.get(typeid) {
        Some(Named::Shared(shared)) => {
            exists(door, inside, shared).await?;
            shared.clone()
        }
        Some(Named::New(typeid)) => {
            let object = inside.make(typeid, &args.values()?, None).await?;
            Shared { kind: Kind::of(typeid), object }
        }
        None => {
            // The two are the same here.
            let word = if typeid == "JoinableQueue" { "Queue" } else { typeid };
            let kind = Kind::named(word).filter(|kind| kind.is_made());
            let kind = kind.ok_or_else(|| unknown_typeid(door, typeid))?;
            methods::make(door, inside, kind, args).await?
        }
    };
    door.references.add(&shared);
    let exposed = door.exposed(&shared);
    Ok(Answer::Created(shared, exposed))
}

/// An object of a name is made by its first use.
async fn exists(door: &PythonDoor, inside: &mut Inside, shared: &Shared) -> Result<(), Raised> {
    let typeid = door.typeid(shared)?.parse().map_err(|_| Raised::Gone)?;
    let object = shared.object.clone();
    let used = inside.ask(|request| Request::Use {
        request,
        object: Some(object),
        typeid,
        schema: None,
        args: bytes::Bytes::new(),
        durability: None,
    });
    used.await?;
    Ok(())
}

fn unknown_typeid(door: &PythonDoor, typeid: &str) -> Raised {
    let names: Vec<&str> = door.names.keys().map(String::as_str).collect();
    let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let typeid = super::repr(&Value::from(typeid));
    Raised::Remote(format!(
        "this broker runs no classes of its clients; registered under [python.names]: {names}\n\
         KeyError: {typeid}"
    ))
}
