//! The files of a journal, and changes of them.
//!
//! A second implementation of the frame's outside, after docs/journal.md and not after the code: so
//! it can do what only the owner of the key can, and change a frame so that its tag is right.

use std::collections::BTreeMap;

use crate::script::Script;

const BLOCK: usize = 4096;
const HEADER: usize = 96;

/// Files grow to this at most.
const FILE_MAX: usize = 256 << 10;

/// Changes in one input, at most.
const CHANGES_MAX: usize = 48;

/// A journal of format 1 that the repository keeps: two segments, a compaction, an unproven tail.
const GOLDEN: [(&str, &[u8]); 3] = [
    ("FORMAT", include_bytes!("../../../tests/golden/journal-1/FORMAT")),
    ("seg-0000000003", include_bytes!("../../../tests/golden/journal-1/seg-0000000003")),
    ("seg-0000000005", include_bytes!("../../../tests/golden/journal-1/seg-0000000005")),
];

/// Fields of a header: where, and how many bytes.
const FIELDS: [(usize, usize); 10] = [
    (0, 4),   // magic
    (4, 4),   // kind
    (8, 4),   // bytes of the body
    (12, 4),  // count of records
    (16, 8),  // number
    (24, 8),  // durable
    (32, 8),  // first
    (40, 8),  // start
    (48, 8),  // block
    (56, 16), // tag of the frame before
];

/// Names and contents.
#[derive(Clone, Debug)]
pub(super) struct Image {
    pub(super) files: BTreeMap<String, Vec<u8>>,
}

/// Of one segment.
struct Key {
    key: [u8; 32],
    whitening: Vec<u8>,
}

impl Key {
    /// Seals the frame: check, then tag.
    fn seal(&self, frame: &mut [u8]) {
        let check = blake3::keyed_hash(&self.key, &frame[..72]);
        frame[72..80].copy_from_slice(&check.as_bytes()[..8]);
        frame[80..96].fill(0);
        let tag = blake3::keyed_hash(&self.key, frame);
        frame[80..96].copy_from_slice(&tag.as_bytes()[..16]);
    }

    /// Whitens, and the other way round.
    fn whiten(&self, frame: &mut [u8]) {
        for (at, byte) in frame.iter_mut().enumerate().skip(HEADER) {
            *byte ^= self.whitening[at % BLOCK];
        }
    }
}

fn name(segment: u64) -> String {
    format!("seg-{segment:010}")
}

fn number(name: &str) -> u64 {
    name.strip_prefix("seg-").and_then(|number| number.parse().ok()).unwrap_or(0)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(*bytes[at..].first_chunk().expect("a header has its fields"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(*bytes[at..].first_chunk().expect("a header has its fields"))
}

/// Where a frame is: its file, and from where to where in it.
type Place = (String, usize, usize);

impl Image {
    /// What the bytes make of the golden journal.
    pub(super) fn new(bytes: &[u8]) -> Self {
        let files = GOLDEN.map(|(name, bytes)| (name.to_owned(), bytes.to_vec()));
        let mut image = Self { files: BTreeMap::from(files) };
        let mut script = Script::new(bytes);
        if script.byte() % 2 == 1 {
            image.raw(&mut script);
        }
        for _ in 0..CHANGES_MAX {
            if script.is_empty() {
                break;
            }
            image.change(&mut script);
        }
        image
    }

    pub(super) fn bytes(&self) -> usize {
        self.files.values().map(Vec::len).sum()
    }

    /// Files that hold what the bytes say.
    fn raw(&mut self, script: &mut Script<'_>) {
        self.files.retain(|name, _| name == "FORMAT");
        for _ in 0..script.choice(4) {
            let file = match script.choice(8) {
                0 => "FORMAT".to_owned(),
                1 => "spare".to_owned(),
                2 => "FORMAT.new".to_owned(),
                3 => name(script.long()),
                4 => format!("seg-{}", script.byte()),
                other => name(other as u64 - 4),
            };
            self.files.insert(file, script.bytes().to_vec());
        }
    }

    fn file(&self, script: &mut Script<'_>) -> Option<String> {
        self.files.keys().nth(script.choice(self.files.len())).cloned()
    }

    /// All that begins like a frame, with as many blocks as its header says and the file has.
    fn frames(&self) -> Vec<Place> {
        let mut frames = Vec::new();
        for (name, bytes) in self.files.iter().filter(|(name, _)| number(name) > 0) {
            for at in (0..bytes.len() / BLOCK).map(|block| block * BLOCK) {
                if bytes[at..].starts_with(b"GJF1") {
                    let len = (HEADER + u32_at(&bytes[at..], 8) as usize).next_multiple_of(BLOCK);
                    let end = at.saturating_add(len).min(bytes.len() / BLOCK * BLOCK);
                    frames.push((name.clone(), at, end));
                }
            }
        }
        frames
    }

    fn frame(&self, script: &mut Script<'_>) -> Option<Place> {
        let frames = self.frames();
        frames.get(script.choice(frames.len())).cloned()
    }

    fn key(&self, segment: u64) -> Key {
        let mut store = [0; 32];
        if let Some(found) = self.files.get("FORMAT").and_then(|format| format.get(56..88)) {
            store.copy_from_slice(found);
        }
        let mut hasher = blake3::Hasher::new_derive_key("ganger journal 1: segment");
        let key = *hasher.update(&store).update(&segment.to_le_bytes()).finalize().as_bytes();
        let mut whitening = vec![0; BLOCK];
        blake3::Hasher::new_keyed(&key).update(b"whitening").finalize_xof().fill(&mut whitening);
        Key { key, whitening }
    }

    /// Lets `edit` change a frame whose body is plain, and seals it.
    fn sealed(&mut self, (file, from, to): &Place, edit: impl FnOnce(&mut [u8])) {
        let key = self.key(number(file));
        let Some(bytes) = self.files.get_mut(file) else { return };
        let frame = &mut bytes[*from..*to];
        key.whiten(frame);
        edit(frame);
        key.whiten(frame);
        key.seal(frame);
    }

    fn change(&mut self, script: &mut Script<'_>) {
        match script.choice(12) {
            0 => self.fill(script),
            1 => self.set_field(script),
            2 => self.set_body(script),
            3 => self.resize(script),
            4 => self.copy_block(script),
            5 => self.rename(script),
            6 => drop(self.file(script).and_then(|file| self.files.remove(&file))),
            7 => self.append(script),
            8 => self.chain(),
            9 => self.sum(script),
            10 => self.set_format(script),
            _ => {
                let name = ["spare", "FORMAT.new", "LOCK", "seg-1", "seg-0000000006", "x"];
                let name = name[script.choice(name.len())].to_owned();
                self.files.insert(name, script.bytes().to_vec());
            }
        }
    }

    fn fill(&mut self, script: &mut Script<'_>) {
        let Some(file) = self.file(script) else { return };
        let (at, len, byte) = (script.short() * 8, script.short(), script.byte());
        let Some(bytes) = self.files.get_mut(&file) else { return };
        let at = at.min(bytes.len());
        let end = (at + len).min(bytes.len());
        bytes[at..end].fill(byte);
    }

    fn set_field(&mut self, script: &mut Script<'_>) {
        let Some(place) = self.frame(script) else { return };
        let (at, len) = FIELDS[script.choice(FIELDS.len())];
        let how = script.byte();
        let value = if how % 4 == 3 { script.long() } else { u64::from(script.byte()) };
        self.sealed(&place, |frame| {
            let was = if len == 4 { u64::from(u32_at(frame, at)) } else { u64_at(frame, at) };
            let value = match how % 4 {
                0 => was.wrapping_add(value),
                1 => was.wrapping_sub(value),
                _ => value,
            };
            let len = len.min(8);
            frame[at..at + len].copy_from_slice(&value.to_le_bytes()[..len]);
        });
    }

    fn set_body(&mut self, script: &mut Script<'_>) {
        let Some(place) = self.frame(script) else { return };
        let at = script.short();
        let value = script.bytes();
        self.sealed(&place, |frame| {
            let at = (HEADER + at).min(frame.len());
            let end = (at + value.len()).min(frame.len());
            frame[at..end].copy_from_slice(&value[..end - at]);
        });
    }

    fn resize(&mut self, script: &mut Script<'_>) {
        let Some(file) = self.file(script) else { return };
        let len = script.choice(FILE_MAX / BLOCK) * BLOCK + script.short() % BLOCK;
        if let Some(bytes) = self.files.get_mut(&file) {
            bytes.resize(len, 0);
        }
    }

    fn copy_block(&mut self, script: &mut Script<'_>) {
        let (Some(from), Some(to)) = (self.file(script), self.file(script)) else { return };
        let (a, b) = (script.choice(16) * BLOCK, script.choice(16) * BLOCK);
        let block = self.files[&from].get(a..a + BLOCK).map(<[u8]>::to_vec);
        let target = self.files.get_mut(&to).and_then(|bytes| bytes.get_mut(b..b + BLOCK));
        if let (Some(block), Some(target)) = (block, target) {
            target.copy_from_slice(&block);
        }
    }

    /// Gives a segment another number, and has it be made for that if the script says so.
    fn rename(&mut self, script: &mut Script<'_>) {
        let Some(file) = self.file(script).filter(|file| number(file) > 0) else { return };
        let segment = if script.byte().is_multiple_of(4) {
            script.long()
        } else {
            u64::from(script.byte() % 8)
        };
        let (old, new) = (self.key(number(&file)), self.key(segment));
        let frames = self.frames();
        let Some(mut bytes) = self.files.remove(&file) else { return };
        if script.byte().is_multiple_of(2) {
            for (_, from, to) in frames.iter().filter(|(name, _, _)| *name == file) {
                let frame = &mut bytes[*from..*to];
                old.whiten(frame);
                if *from == 0 {
                    frame[HEADER..HEADER + 8].copy_from_slice(&segment.to_le_bytes());
                }
                new.whiten(frame);
                new.seal(frame);
            }
        }
        self.files.insert(name(segment), bytes);
    }

    /// Adds a frame that follows on from the last one of the last segment.
    fn append(&mut self, script: &mut Script<'_>) {
        let frames = self.frames();
        let Some((file, from, to)) = frames.last().cloned() else { return };
        let key = self.key(number(&file));
        let Some(bytes) = self.files.get_mut(&file) else { return };
        let last = bytes[from..from + HEADER].to_vec();
        let count = u64_at(&last, 32).wrapping_add(u64::from(u32_at(&last, 12)));
        let (records, size) = (script.choice(5), script.short() % (3 * BLOCK));
        let mut body = Vec::new();
        for index in 0..records as u64 {
            let record = vec![script.byte(); size];
            let len = u32::try_from(size).expect("it is less than three blocks");
            let crc = crc32c::crc32c(&count.wrapping_add(index).to_le_bytes());
            body.extend_from_slice(&len.to_le_bytes());
            body.extend_from_slice(&crc32c::crc32c_append(crc, &record).to_le_bytes());
            body.extend_from_slice(&record);
        }
        let mut frame = vec![0; (HEADER + body.len()).next_multiple_of(BLOCK)];
        let body_bytes = u32::try_from(body.len()).expect("four records are less than 4 GiB");
        let number = u64_at(&last, 16).wrapping_add(1);
        let durable = number.wrapping_sub(1 + u64::from(script.byte() % 4));
        let start = u64_at(&last, 40).wrapping_add(u64::from(script.byte() % 4));
        frame[..4].copy_from_slice(b"GJF1");
        frame[4] = 2;
        frame[8..12].copy_from_slice(&body_bytes.to_le_bytes());
        frame[12] = u8::try_from(records).expect("there are four at most");
        for (at, value) in [(16, number), (24, durable), (32, count), (40, start)] {
            frame[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        frame[48..56].copy_from_slice(&((to / BLOCK) as u64).to_le_bytes());
        frame[56..72].copy_from_slice(&last[80..96]);
        frame[HEADER..HEADER + body.len()].copy_from_slice(&body);
        key.whiten(&mut frame);
        key.seal(&mut frame);
        if to + frame.len() <= bytes.len().max(FILE_MAX) {
            bytes.resize(bytes.len().max(to + frame.len()), 0);
            bytes[to..to + frame.len()].copy_from_slice(&frame);
        }
    }

    /// Has every frame name the tag of the one before it, in all segments.
    fn chain(&mut self) {
        let mut before: Option<Vec<u8>> = None;
        for (file, from, to) in self.frames() {
            let place = (file, from, to);
            if let Some(before) = &before {
                self.sealed(&place, |frame| frame[56..72].copy_from_slice(before));
            }
            before = Some(self.files[&place.0][from + 80..from + 96].to_vec());
        }
    }

    /// Has every record of a frame have the right checksum.
    fn sum(&mut self, script: &mut Script<'_>) {
        let Some(place) = self.frame(script) else { return };
        self.sealed(&place, |frame| {
            let first = u64_at(frame, 32);
            let mut at = HEADER;
            for index in 0..u64::from(u32_at(frame, 12)) {
                if at + 8 > frame.len() {
                    return;
                }
                let end = (at + 8).saturating_add(u32_at(frame, at) as usize);
                let Some(body) = frame.get(at + 8..end) else { return };
                let crc = crc32c::crc32c(&first.wrapping_add(index).to_le_bytes());
                let crc = crc32c::crc32c_append(crc, body);
                frame[at + 4..at + 8].copy_from_slice(&crc.to_le_bytes());
                at = end;
            }
        });
    }

    /// Changes a byte in the file FORMAT, in one or both copies, with the right hash.
    fn set_format(&mut self, script: &mut Script<'_>) {
        let (at, byte, copies) = (script.short() % (BLOCK - 32), script.byte(), script.byte());
        let Some(bytes) = self.files.get_mut("FORMAT") else { return };
        for (index, copy) in bytes.chunks_exact_mut(BLOCK).take(2).enumerate() {
            if copies >> index & 1 == 0 {
                copy[at] ^= byte;
                let hash = blake3::hash(&copy[..BLOCK - 32]);
                copy[BLOCK - 32..].copy_from_slice(hash.as_bytes());
            }
        }
    }
}
