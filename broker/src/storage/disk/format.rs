//! The file FORMAT: what kind of journal a directory holds, and the key of its checks.
//!
//! Two copies of one block; docs/journal.md has the fields. Not the segments.

use std::io;

use crate::storage::StorageError;

use super::files::Files;
use super::frame::BLOCK_BYTES;
use super::{damaged, failed};

pub(super) const NAME: &str = "FORMAT";

/// Of a directory that is being made, or whose file is being written again.
pub(super) const NEW_NAME: &str = "FORMAT.new";

const MAGIC: [u8; 8] = *b"GANGERJ1";
const MAJOR: u16 = 1;
const MINOR: u16 = 0;
const HASH_AT: usize = BLOCK_BYTES - 32;

/// One journal's identity and key.
#[derive(Clone)]
pub(super) struct Store {
    pub(super) id: [u8; 16],
    pub(super) key: [u8; 32],
}

/// What the directory is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
}

/// What was found in a directory.
pub(super) enum Found {
    /// Both copies are sound.
    Sound(Store),
    /// One of them is not.
    OneCopy(Store),
    /// There is no such file.
    Nothing,
}

impl Store {
    pub(super) fn random() -> Result<Self, StorageError> {
        let mut store = Self { id: [0; 16], key: [0; 32] };
        let drawn = getrandom::fill(&mut store.id).and_then(|()| getrandom::fill(&mut store.key));
        drawn.map_err(|error| failed("draw a random key", io::Error::other(error)))?;
        Ok(store)
    }

    fn block(&self) -> [u8; BLOCK_BYTES] {
        let mut block = [0; BLOCK_BYTES];
        block[..8].copy_from_slice(&MAGIC);
        block[8..10].copy_from_slice(&MAJOR.to_le_bytes());
        block[10..12].copy_from_slice(&MINOR.to_le_bytes());
        // 16..40: this version has no feature bits.
        block[40..56].copy_from_slice(&self.id);
        block[56..88].copy_from_slice(&self.key);
        let hash = blake3::hash(&block[..HASH_AT]);
        block[HASH_AT..].copy_from_slice(hash.as_bytes());
        block
    }

    /// Writes the file under [`NEW_NAME`], durable.
    pub(super) fn write_new(&self, files: &dyn Files) -> Result<(), StorageError> {
        Self::clear_new(files, &super::names(files)?)?;
        self.write(files, NEW_NAME)
    }

    /// Writes the file under a name that there is none of, durable.
    pub(super) fn write(&self, files: &dyn Files, name: &str) -> Result<(), StorageError> {
        let doing = || format!("make {}", files.place(name));
        let block = self.block();
        files
            .make(name)
            .and_then(|file| {
                file.write_all_at(&[block, block].concat(), 0)?;
                file.sync()
            })
            .and_then(|()| files.sync())
            .map_err(|error| failed(doing(), error))
    }

    /// Removes what an interrupted writing of the file has left.
    pub(super) fn clear_new(files: &dyn Files, names: &[String]) -> Result<(), StorageError> {
        if names.iter().any(|name| name == NEW_NAME) {
            let removed = files.remove(NEW_NAME);
            removed.map_err(|error| failed(format!("remove {}", files.place(NEW_NAME)), error))?;
        }
        Ok(())
    }

    /// Gives the file that was written under [`NEW_NAME`] its name, durably.
    pub(super) fn publish(files: &dyn Files) -> Result<(), StorageError> {
        Self::publish_from(files, NEW_NAME)
    }

    /// Gives the file that was written under another name its own, durably.
    pub(super) fn publish_from(files: &dyn Files, name: &str) -> Result<(), StorageError> {
        files
            .rename(name, NAME)
            .and_then(|()| files.sync())
            .map_err(|error| failed(format!("replace {}", files.place(NAME)), error))
    }
}

/// Reads the file, if `names` has it.
pub(super) fn read(
    files: &dyn Files,
    names: &[String],
    access: Access,
) -> Result<Found, StorageError> {
    if !names.iter().any(|name| name == NAME) {
        return Ok(Found::Nothing);
    }
    let place = files.place(NAME);
    let bytes = files.open(NAME).and_then(|file| {
        let there = file.size_bytes()?.min(2 * BLOCK_BYTES as u64);
        let mut bytes = vec![0; usize::try_from(there).expect("two blocks fit")];
        file.read_all_at(&mut bytes, 0)?;
        Ok(bytes)
    });
    let mut bytes = bytes.map_err(|error| failed(format!("read {place}"), error))?;
    // A file that was cut short has a second copy that is not sound.
    bytes.resize(2 * BLOCK_BYTES, 0);
    let (first, second) = bytes.split_at(BLOCK_BYTES);
    match (is_sound(first), is_sound(second)) {
        (true, true) if first == second => decode(first, &place, access).map(Found::Sound),
        (true, true) => Err(damaged(place, "its two copies are sound and differ")),
        (true, false) => decode(first, &place, access).map(Found::OneCopy),
        (false, true) => decode(second, &place, access).map(Found::OneCopy),
        (false, false) => Err(damaged(place, "neither of its two copies is sound")),
    }
}

fn is_sound(block: &[u8]) -> bool {
    block.starts_with(&MAGIC) && blake3::hash(&block[..HASH_AT]) == block[HASH_AT..]
}

fn decode(block: &[u8], place: &str, access: Access) -> Result<Store, StorageError> {
    let unsupported =
        |reason: String| StorageError::Unsupported { place: place.to_owned(), reason };
    let major = u16::from_le_bytes([block[8], block[9]]);
    let minor = u16::from_le_bytes([block[10], block[11]]);
    if major != MAJOR {
        return Err(unsupported(format!("its format is {major}.{minor}, known is {MAJOR}")));
    }
    let bits = |at: usize| {
        u64::from_le_bytes(*block[at..].first_chunk().expect("a block is longer than its fields"))
    };
    let (incompatible, read_only) = (bits(16), bits(24));
    if incompatible != 0 {
        return Err(unsupported(format!("it has the unknown features {incompatible:#x}")));
    }
    if read_only != 0 && access == Access::Write {
        let reason = format!("it has the unknown features {read_only:#x} that forbid to write it");
        return Err(unsupported(reason));
    }
    let mut store = Store { id: [0; 16], key: [0; 32] };
    store.id.copy_from_slice(&block[40..56]);
    store.key.copy_from_slice(&block[56..88]);
    Ok(store)
}
