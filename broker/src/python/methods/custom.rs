//! Objects of any other type: those of the program that the broker runs in.

use ganger_pickle::write::Exception;
use ganger_shared::{CallError, Packed};

use super::Call;
use crate::python::inside::Failure;
use crate::python::raise::{Answer, Raised};

/// Every method is one of the object's own, with the same arguments.
pub(super) async fn call(cx: &mut Call<'_>) -> Result<Option<Answer>, Raised> {
    if let Some((name, _)) = cx.args.keywords().first() {
        let method = cx.method;
        let why =
            format!("{method}() takes no argument by name, such as {name:?}; give it by place");
        return Err(Raised::new(Exception::TypeError, why));
    }
    let given = cx.args.given();
    let args: Vec<Packed> = given.iter().map(|id| cx.args.packed(*id)).collect::<Result<_, _>>()?;
    let method = cx.method;
    match cx.ask(method, &args).await {
        Ok(result) => Ok(Some(Answer::Value(result.unpack()))),
        Err(Failure::Rejected(ganger_shared::Rejection::NoMethod { .. })) => Ok(None),
        Err(Failure::Call(CallError::Empty)) if method == "__next__" => {
            Err(Raised::bare(Exception::StopIteration))
        }
        Err(failure) => Err(failure.into()),
    }
}
