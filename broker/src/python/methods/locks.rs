//! What callers wait for: events, locks, semaphores, conditions and barriers.

use std::time::Duration;

use ganger_pickle::write::Exception;
use ganger_shared::{CallError, Packed, Value};

use super::queue::patience;
use super::{Call, number};
use crate::python::inside::Failure;
use crate::python::kind::Kind;
use crate::python::raise::{Answer, Raised};

pub(super) async fn call(cx: &mut Call<'_>) -> Result<Option<Answer>, Raised> {
    match cx.shared.kind {
        Kind::Event => event(cx).await,
        Kind::RLock | Kind::Condition => owned(cx).await,
        Kind::Barrier => barrier(cx).await,
        _ => ownerless(cx).await,
    }
}

async fn event(cx: &mut Call<'_>) -> Result<Option<Answer>, Raised> {
    let answer = match cx.method {
        "is_set" => {
            cx.args.none()?;
            Answer::Value(cx.told("is_set", &[]).await?)
        }
        "set" | "clear" => {
            cx.args.none()?;
            let method = cx.method;
            cx.ask(method, &[]).await?;
            Answer::NONE
        }
        "wait" => {
            let [timeout] = cx.args.bind(["timeout"], 0)?;
            let wait = cx.args.timeout(timeout)?;
            Answer::Value(cx.wait("wait", &[], wait).await?.unpack())
        }
        _ => return Ok(None),
    };
    Ok(Some(answer))
}

/// A lock or a semaphore that anybody may release: its units are the items of a queue.
async fn ownerless(cx: &mut Call<'_>) -> Result<Option<Answer>, Raised> {
    let answer = match cx.method {
        "acquire" | "__enter__" => {
            let [blocking, timeout] = cx.args.bind(["blocking", "timeout"], 0)?;
            let wait = patience(cx, blocking, timeout)?;
            match cx.wait("get", &[], wait).await {
                Err(Failure::Call(CallError::Empty)) => false.into(),
                taken => {
                    taken?;
                    true.into()
                }
            }
        }
        "release" => {
            let [count] = cx.args.bind(["n"], 0)?;
            let count = count.map_or(Ok(1), |count| cx.args.int(count))?;
            for _ in 0..count.clamp(1, RELEASED_MAX) {
                match cx.ask("put_nowait", &[Packed::none()]).await {
                    Err(Failure::Call(CallError::Full { .. })) => return Err(not_acquired(cx)),
                    done => done?,
                };
            }
            Answer::NONE
        }
        "locked" => {
            cx.args.none()?;
            Answer::Value(cx.told("empty", &[]).await?)
        }
        _ => return Ok(None),
    };
    Ok(Some(answer))
}

/// Units that one call may release.
const RELEASED_MAX: i64 = 1_000;

fn not_acquired(cx: &Call<'_>) -> Raised {
    match cx.shared.kind {
        Kind::Lock => Raised::new(Exception::RuntimeError, "release unlocked lock"),
        _ => Raised::new(Exception::ValueError, "Semaphore released too many times"),
    }
}

/// A lock that is held by a connection, and perhaps waits to be notified.
async fn owned(cx: &mut Call<'_>) -> Result<Option<Answer>, Raised> {
    let answer = match (cx.shared.kind, cx.method) {
        (_, "acquire" | "__enter__") => {
            let [blocking, timeout] = cx.args.bind(["blocking", "timeout"], 0)?;
            let wait = patience(cx, blocking, timeout)?;
            (!cx.wait("acquire", &[], wait).await?.is_none()).into()
        }
        (_, "release") => {
            cx.args.none()?;
            let done = cx.ask("release", &[]).await;
            done.map_err(|e| not_held(e, "cannot release un-acquired lock"))?;
            Answer::NONE
        }
        (_, "locked") => {
            cx.args.none()?;
            Answer::Value(cx.told("is_locked", &[]).await?)
        }
        (Kind::Condition, "wait") => {
            let [timeout] = cx.args.bind(["timeout"], 0)?;
            let wait = cx.args.timeout(timeout)?;
            let told = cx.wait("wait", &[], wait).await;
            Answer::Value(
                told.map_err(|e| not_held(e, "cannot wait on un-acquired lock"))?.unpack(),
            )
        }
        (Kind::Condition, "notify") => {
            let [count] = cx.args.bind(["n"], 0)?;
            let count = count.map_or(Ok(1), |count| cx.args.int(count))?;
            let count = number(usize::try_from(count).unwrap_or(0));
            let told = cx.ask("notify", &[count]).await;
            told.map_err(|e| not_held(e, "cannot notify on un-acquired lock"))?;
            Answer::NONE
        }
        (Kind::Condition, "notify_all") => {
            cx.args.none()?;
            let told = cx.ask("notify_all", &[]).await;
            told.map_err(|e| not_held(e, "cannot notify on un-acquired lock"))?;
            Answer::NONE
        }
        _ => return Ok(None),
    };
    Ok(Some(answer))
}

fn not_held(failure: Failure, words: &str) -> Raised {
    match failure {
        Failure::Call(CallError::NotHeld(_) | CallError::StaleToken { .. }) => {
            Raised::new(Exception::RuntimeError, words)
        }
        other => other.into(),
    }
}

async fn barrier(cx: &mut Call<'_>) -> Result<Option<Answer>, Raised> {
    let answer = match cx.method {
        "wait" => {
            let [timeout] = cx.args.bind(["timeout"], 0)?;
            let mut wait = cx.args.timeout(timeout)?;
            if wait.is_none()
                && let Value::Int(timeout) = cx.told("timeout", &[]).await?
            {
                wait = timeout.as_u64().map(Duration::from_millis);
            }
            Answer::Value(cx.wait("wait", &[], wait).await?.unpack())
        }
        "reset" | "abort" => {
            cx.args.none()?;
            let method = cx.method;
            cx.ask(method, &[]).await?;
            Answer::NONE
        }
        "__getattribute__" => {
            let name = cx.args.one("name")?;
            let method = match cx.args.graph().text(name) {
                Some("parties") => "parties",
                Some("n_waiting") => "waiting",
                Some("broken") => "is_broken",
                other => {
                    let name = other.unwrap_or_default();
                    let why = format!("'Barrier' object has no attribute '{name}'");
                    return Err(Raised::new(Exception::AttributeError, why));
                }
            };
            Answer::Value(cx.told(method, &[]).await?)
        }
        _ => return Ok(None),
    };
    Ok(Some(answer))
}
