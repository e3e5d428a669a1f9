//! Handlers for trying things out: `ganger-worker --handler echo`.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use ganger_shared::Name;

use crate::ctx::Ctx;
use crate::handler::{JobError, Router};

/// Their names, and what each does.
pub const ALL: [(&str, &str); 3] = [
    ("echo", "returns the payload"),
    ("sleep", "waits for as many seconds as the payload says, as in 1.5"),
    ("blake3", "returns the BLAKE3 hash of the file that the payload names"),
];

/// A router that runs every job by the built-in handler of this name; `None` if there is none.
#[must_use]
pub fn router(name: &Name) -> Option<Router> {
    match name.as_str() {
        "echo" => Some(Router::new().handle_any(echo)),
        "sleep" => Some(Router::new().handle_any(sleep)),
        "blake3" => Some(Router::new().handle_any(blake3)),
        _ => None,
    }
}

async fn echo(payload: Bytes, _: Ctx) -> Result<Bytes, JobError> {
    Ok(payload)
}

async fn sleep(payload: Bytes, ctx: Ctx) -> Result<Bytes, JobError> {
    let seconds = text(&payload)?.trim().parse::<f64>().ok();
    let wait = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let wait = wait.ok_or_else(|| bad("not a number of seconds, as in 1.5"))?;
    let waited = async {
        ganger_rt::sleep(wait).await;
        Ok(Bytes::new())
    };
    let stopped = async {
        ctx.cancelled().await;
        Err(JobError::release(Duration::ZERO))
    };
    futures_lite::future::or(waited, stopped).await
}

async fn blake3(payload: Bytes, _: Ctx) -> Result<Bytes, JobError> {
    let path = Path::new(text(&payload)?.trim_end_matches('\n')).to_owned();
    ganger_rt::unblock(move || {
        let failed = |error: std::io::Error| {
            JobError::retry("read", &format!("{} cannot be read: {error}", path.display()))
        };
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(File::open(&path).map_err(failed)?).map_err(failed)?;
        Ok(hasher.finalize().to_hex().as_str().to_owned().into())
    })
    .await
}

fn text(payload: &[u8]) -> Result<&str, JobError> {
    str::from_utf8(payload).map_err(|_| bad("no UTF-8 text"))
}

fn bad(what: &str) -> JobError {
    JobError::dead("bad-payload", &format!("the payload is {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(name: &str, payload: impl Into<Bytes>) -> Result<Bytes, JobError> {
        let router = router(&Name::new(name).unwrap()).unwrap();
        ganger_rt::block_on(router.run_once("any", payload))
    }

    #[test]
    fn every_handler_that_is_listed_exists() {
        for (name, _) in ALL {
            assert!(router(&Name::new(name).unwrap()).is_some(), "{name}");
        }
    }

    #[test]
    fn handlers_do_what_the_list_says() {
        assert_eq!(run("echo", "text").unwrap(), "text");
        assert_eq!(run("sleep", "0.001\n").unwrap(), "");
        assert!(matches!(run("sleep", "soon"), Err(JobError::Dead { .. })));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "content").unwrap();
        let hash = run("blake3", path.to_str().unwrap().to_owned()).unwrap();
        assert_eq!(hash, ::blake3::hash(b"content").to_hex().as_str());
        assert!(matches!(run("blake3", "/does/not/exist"), Err(JobError::Retry { .. })));
    }
}
