//! An object without a broker: a call is encoded, carried out on the spot, and its answer decoded.
#![expect(clippy::disallowed_types, reason = "proxies are shared between threads, and so is this")]

use std::sync::{Arc, Mutex};

use ganger_shared::object::Takes;
use ganger_shared::object::custom::{Arguments, SharedObject};
use ganger_shared::object::proxy::{CallFailure, Caller, Invocation};
use ganger_shared::value::ConvertError;
use ganger_shared::{CallError, Packed};

pub(crate) struct Local<T> {
    object: Arc<Mutex<T>>,
}

impl<T> Clone for Local<T> {
    fn clone(&self) -> Self {
        Self { object: Arc::clone(&self.object) }
    }
}

impl<T: SharedObject> Local<T> {
    /// One that is made with these encoded arguments.
    pub(crate) fn made(args: bytes::Bytes) -> Result<Self, CallError> {
        let made = T::make(&mut Arguments::new(args)?)?;
        Ok(Self { object: Arc::new(Mutex::new(made)) })
    }
}

#[derive(Debug, PartialEq)]
pub(crate) enum Failure {
    Convert(String),
    Call(CallError),
}

impl From<ConvertError> for Failure {
    fn from(error: ConvertError) -> Self {
        Self::Convert(error.to_string())
    }
}

impl CallFailure for Failure {
    fn into_user(self) -> Result<Packed, Self> {
        match self {
            Self::Call(CallError::User { value, .. }) => Ok(value),
            other => Err(other),
        }
    }
}

impl<T: SharedObject> Caller for Local<T> {
    type Error = Failure;

    async fn call(&self, call: Invocation) -> Result<Packed, Failure> {
        let known = T::METHODS.iter().find(|known| known.name == call.method);
        assert_eq!(known.map(|known| known.takes), Some(call.takes), "{}", call.method);
        let mut args = Arguments::new(call.args).map_err(Failure::Call)?;
        let answer = self.object.lock().unwrap().call(call.method, &mut args);
        Ok(answer.map_err(Failure::Call)?.pack().unwrap())
    }

    async fn call_many(
        &self,
        method: &'static str,
        takes: Takes,
        args: Vec<bytes::Bytes>,
    ) -> Result<Vec<Packed>, Failure> {
        let mut answers = Vec::new();
        for args in args {
            answers.push(self.call(Invocation::new(method, takes, args)).await?);
        }
        Ok(answers)
    }

    fn send(&self, call: Invocation) {
        let _answer = futures_lite::future::block_on(self.call(call));
    }
}
