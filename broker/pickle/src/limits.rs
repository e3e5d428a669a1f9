//! Bounds on what one pickle may ask for, each with its reason.
//!
//! Not what a value may be: that is `ganger_shared::limits`.

use std::collections::BTreeSet;

use crate::{PickleError, known};

/// How large a pickle may be, and which classes may pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes of a pickle: 64 MiB unless told, as of a frame.
    pub size_bytes: usize,
    /// Most containers and objects around one part of a value: 10,000 unless told.
    ///
    /// Nothing here calls itself, so this protects whoever reads the value in Python, where
    /// comparing, copying and showing it do. Python itself writes about 500 unless it is told to.
    pub depth: usize,
    /// Most things that a pickle may remember in order to refer to them: 1,048,576 unless told. Each
    /// takes four bytes.
    pub memo_slots: usize,
    /// Most parts of a value: 4,194,304 unless told. Each takes up to 40 bytes, of which a pickle may
    /// need one.
    pub nodes: usize,
    /// Most bytes that are written for one pickle when its values are taken out of it, beyond eight
    /// times its size: 64 MiB unless told. Parts that they share are written for each of them.
    pub work_bytes: usize,
    /// The classes and functions that may be named, as `module.name`; all of them if there is no
    /// such list. What this package understands ([`crate::Known`]) may always be named.
    ///
    /// The broker calls none of them in any case. This protects whoever unpickles what others have
    /// put there.
    pub allowed: Option<BTreeSet<String>>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            size_bytes: ganger_shared::limits::FRAME_BYTES_MAX,
            depth: 10_000,
            memo_slots: 1 << 20,
            nodes: 1 << 22,
            work_bytes: ganger_shared::limits::FRAME_BYTES_MAX,
            allowed: None,
        }
    }
}

impl Limits {
    /// Whether a pickle may name `module.name`.
    pub(crate) fn check(&self, module: &[u8], name: &[u8]) -> Result<(), PickleError> {
        let Some(allowed) = &self.allowed else { return Ok(()) };
        if known::is_understood(module, name) {
            return Ok(());
        }
        let name = [module, b".", name].concat();
        match String::from_utf8(name) {
            Ok(name) if allowed.contains(&name) => Ok(()),
            Ok(name) => Err(PickleError::Forbidden { name }),
            Err(error) => {
                let name = String::from_utf8_lossy(error.as_bytes()).into_owned();
                Err(PickleError::Forbidden { name })
            }
        }
    }
}
