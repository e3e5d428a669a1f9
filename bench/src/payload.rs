//! The bytes of a job and of its result: both carry the job's number, so that every result can be
//! checked.
//! Not how they travel: each peer frames them its own way.
//!
//! ```text
//! job     id: u64 le │ mark: u64 le │ filler, up to the payload's length
//! result  id: u64 le │ mark: u64 le
//! ```

use std::ops::Range;

use anyhow::{Result, bail, ensure};
use ganger_shared::Block;

/// The length of a result, and the least length of a job.
pub(crate) const RESULT_LEN: usize = 16;

/// The filler of a job longer than a result.
const FILLER: u8 = 0x5a;

/// A job's buffer that is refilled for one id after the other.
#[derive(Debug)]
pub(crate) struct Template {
    bytes: Vec<u8>,
}

impl Template {
    /// Prepares jobs of `len` bytes, at least [`RESULT_LEN`].
    pub(crate) fn new(len: usize) -> Self {
        assert!(len >= RESULT_LEN, "the command line accepts no payload under {RESULT_LEN} bytes");
        Self { bytes: vec![FILLER; len] }
    }

    /// The job number `id`.
    pub(crate) fn job(&mut self, id: u64) -> &[u8] {
        self.bytes[..8].copy_from_slice(&id.to_le_bytes());
        self.bytes[8..RESULT_LEN].copy_from_slice(&mark(id).to_le_bytes());
        &self.bytes
    }

    /// The jobs of these numbers, as a run.
    pub(crate) fn block(&mut self, ids: Range<u64>) -> Block {
        let mut payloads = Block::builder();
        payloads.reserve(self.bytes.len() * ids.clone().count());
        ids.for_each(|id| payloads.push(self.job(id)));
        payloads.finish()
    }
}

/// The work that a worker does: nothing but look whether the job is whole, and name it.
///
/// # Errors
///
/// The peer delivered something that no producer has sent.
pub(crate) fn run(job: &[u8], len: usize) -> Result<[u8; RESULT_LEN]> {
    ensure!(job.len() == len, "a job of {} bytes arrived, {len} were sent", job.len());
    let Some(result) = job.first_chunk::<RESULT_LEN>() else {
        bail!("a job of {} bytes arrived", job.len())
    };
    ensure!(id_of(result).is_some(), "a job arrived with bytes that nobody sent");
    Ok(*result)
}

/// The id that a result carries, or none if these bytes are no result.
pub(crate) fn id_of(result: &[u8]) -> Option<u64> {
    let bytes: &[u8; RESULT_LEN] = result.try_into().ok()?;
    let (id, rest) = bytes.split_first_chunk::<8>()?;
    let id = u64::from_le_bytes(*id);
    (rest == mark(id).to_le_bytes()).then_some(id)
}

/// A number that shows a torn or shifted payload.
fn mark(id: u64) -> u64 {
    !id.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_names_the_job() {
        let mut template = Template::new(1024);
        let result = run(template.job(77), 1024).unwrap();
        assert_eq!(id_of(&result), Some(77));
    }

    #[test]
    fn shifted_or_shortened_job_is_refused() {
        let mut template = Template::new(32);
        let job = template.job(1).to_vec();
        assert!(run(&job[1..], 31).is_err());
        assert!(run(&job[..31], 32).is_err());
    }
}
