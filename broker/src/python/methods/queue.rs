//! `queue.Queue` and `queue.JoinableQueue`: the items of a queue, whose jobs workers of any language
//! may do.

use std::time::Duration;

use ganger_pickle::NodeId;
use ganger_pickle::write::Exception;
use ganger_shared::{CallError, Packed};

use super::Call;
use crate::python::inside::Failure;
use crate::python::raise::{Answer, Raised};

pub(super) async fn call(cx: &mut Call<'_>) -> Result<Option<Answer>, Raised> {
    let answer = match cx.method {
        "put" => {
            let [item, block, timeout] = cx.args.bind(["item", "block", "timeout"], 1)?;
            let item = cx.args.packed(item.expect("bound"))?;
            let wait = patience(cx, block, timeout)?;
            put(cx, item, wait).await?
        }
        "put_nowait" => {
            let item = cx.args.one("item")?;
            let item = cx.args.packed(item)?;
            put(cx, item, Some(Duration::ZERO)).await?
        }
        "get" => {
            let [block, timeout] = cx.args.bind(["block", "timeout"], 0)?;
            let wait = patience(cx, block, timeout)?;
            Answer::Value(cx.wait("get", &[], wait).await?.unpack())
        }
        "get_nowait" => {
            cx.args.none()?;
            Answer::Value(cx.told("get_nowait", &[]).await?)
        }
        "task_done" => {
            cx.args.none()?;
            match cx.ask("task_done", &[]).await {
                Err(Failure::Call(CallError::Value(_))) => {
                    let why = "task_done() called too many times";
                    return Err(Raised::new(Exception::ValueError, why));
                }
                done => done?,
            };
            Answer::NONE
        }
        "join" => {
            cx.args.none()?;
            cx.wait("join", &[], None).await?;
            Answer::NONE
        }
        "qsize" | "__len__" => {
            cx.args.none()?;
            Answer::Value(cx.told("len", &[]).await?)
        }
        "empty" | "full" => {
            cx.args.none()?;
            let method = cx.method;
            Answer::Value(cx.told(method, &[]).await?)
        }
        "shutdown" => {
            let [immediate] = cx.args.bind(["immediate"], 0)?;
            let immediate = Packed::from(cx.args.is_true(immediate, false));
            cx.ask("shutdown", &[immediate]).await?;
            Answer::NONE
        }
        _ => return Ok(None),
    };
    Ok(Some(answer))
}

/// How long `block` and `timeout` let a call wait.
pub(super) fn patience(
    cx: &Call<'_>,
    block: Option<NodeId>,
    timeout: Option<NodeId>,
) -> Result<Option<Duration>, Raised> {
    if !cx.args.is_true(block, true) {
        return Ok(Some(Duration::ZERO));
    }
    cx.args.timeout(timeout)
}

async fn put(cx: &mut Call<'_>, item: Packed, wait: Option<Duration>) -> Result<Answer, Raised> {
    match cx.wait("put", &[item], wait).await {
        Err(Failure::Call(CallError::Full { .. })) => Err(Raised::bare(Exception::Full)),
        done => {
            done?;
            Ok(Answer::NONE)
        }
    }
}
