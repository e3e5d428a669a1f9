//! The spare: the next segment, allocated and filled with zeros before it is needed.
//!
//! Not a segment yet: that it becomes with a head and a name, which the writer gives it.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use super::Fill;
use super::files::{File, Files};

pub(super) const NAME: &str = "spare";

/// Zeros in one write.
const STEP_BYTES: u64 = 1 << 20;

/// An open file of zeros under [`NAME`].
#[derive(Debug)]
pub(super) struct Spare {
    file: Arc<dyn File>,
    size_bytes: u64,
    filling: Option<Filling>,
}

#[derive(Debug)]
struct Filling {
    thread: JoinHandle<io::Result<()>>,
    stop: Arc<AtomicBool>,
}

impl Spare {
    /// Allocates one of `size_bytes` and begins to fill it; `None` where there is no space for it.
    pub(super) fn begin(
        files: &dyn Files,
        size_bytes: u64,
        fill: Fill,
    ) -> io::Result<Option<Self>> {
        let file = match files.make(NAME) {
            Ok(file) => file,
            // Not even an entry of the directory.
            Err(error) if is_full(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        match file.allocate(size_bytes) {
            Ok(()) => {}
            Err(error) if is_full(&error) => {
                drop(file);
                files.remove(NAME)?;
                return Ok(None);
            }
            Err(error) => return Err(error),
        }
        let filling = match fill {
            Fill::AtOnce => {
                zero(&*file, 0, size_bytes, &AtomicBool::new(false))?;
                None
            }
            Fill::OnAThread => {
                let stop = Arc::new(AtomicBool::new(false));
                let (file, stopped) = (Arc::clone(&file), Arc::clone(&stop));
                let thread =
                    ganger_rt::thread("spare", move || zero(&*file, 0, size_bytes, &stopped))?;
                Some(Filling { thread, stop })
            }
        };
        Ok(Some(Self { file, size_bytes, filling }))
    }

    /// Its size, whether it is filled already or not.
    pub(super) const fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Waits until it is all zeros and durable, at least `size_bytes` of them. Returns it and its
    /// size.
    pub(super) fn finish(mut self, size_bytes: u64) -> io::Result<(Arc<dyn File>, u64)> {
        if let Some(filling) = self.filling.take() {
            filling.thread.join().map_err(|_| io::Error::other("the thread panicked"))??;
        }
        if size_bytes > self.size_bytes {
            self.file.allocate(size_bytes)?;
            zero(&*self.file, self.size_bytes, size_bytes, &AtomicBool::new(false))?;
            self.size_bytes = size_bytes;
        }
        Ok((Arc::clone(&self.file), self.size_bytes))
    }
}

impl Drop for Spare {
    /// The next start makes another one.
    fn drop(&mut self) {
        if let Some(filling) = self.filling.take() {
            filling.stop.store(true, Ordering::Relaxed);
            let _ = filling.thread.join();
        }
    }
}

fn zero(file: &dyn File, from: u64, to: u64, stop: &AtomicBool) -> io::Result<()> {
    let zeros = vec![0; usize::try_from(STEP_BYTES.min(to - from)).map_err(io::Error::other)?];
    let mut at = from;
    while at < to && !stop.load(Ordering::Relaxed) {
        let step = STEP_BYTES.min(to - at);
        file.write_all_at(&zeros[..usize::try_from(step).map_err(io::Error::other)?], at)?;
        at += step;
    }
    file.sync()
}

/// Whether an error says that there is no space.
fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}
