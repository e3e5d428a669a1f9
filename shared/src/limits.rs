//! Bounds that both ends know, each with its reason. Those an operator may change are in the broker's configuration.

/// Largest frame, its four length bytes not counted: 64 MiB.
///
/// One frame is decoded as a whole, so this bounds what one peer can make the other hold. A broker
/// may be configured to take less; it says so when a session opens.
pub const FRAME_BYTES_MAX: usize = 64 << 20;

/// Largest frame before the handshake is through: 512 bytes.
///
/// A stranger cannot make the broker hold more than this.
pub const HANDSHAKE_FRAME_BYTES_MAX: usize = 512;

/// Largest payload of one job or item of a list unless the broker is configured otherwise: 16 MiB.
pub const PAYLOAD_BYTES_MAX: usize = 16 << 20;

/// Most jobs in one Submit, items in one Append, leases in one Assign: 65,536.
///
/// Bounds the work that one frame can ask for while others wait.
pub const RUN_COUNT_MAX: u32 = 1 << 16;

/// Longest name: 200 bytes, so that a name with a suffix still fits a file name.
pub const NAME_BYTES_MAX: usize = 200;

/// Longest text of an error that is kept with a job: 4 KiB; longer ones are cut.
pub const ERROR_BYTES_MAX: usize = 4 << 10;

/// Longest kind of an error: 64 bytes.
pub const ERROR_KIND_BYTES_MAX: usize = 64;

/// Longest text that people attach to something, cut there: the name of a client, the note of a
/// progress, the reason of a pause. 200 bytes.
pub const NOTE_BYTES_MAX: usize = 200;

/// Most error kinds in a queue's list of kinds that are never retried.
pub const DEAD_ON_MAX: usize = 64;

/// Most settlements in one Settle, and held leases named in one Open.
pub const SETTLEMENTS_MAX: usize = 1 << 16;

/// Most containers around one part of a value: 100.
///
/// Values are read, compared and shown by functions that call themselves, and a stack is finite.
/// What people nest by hand stays far below.
pub const DEPTH_MAX: usize = 100;

/// Most decimal digits of an integer that are shown or read: 4,300, as in Python.
///
/// The work of changing the base grows with the square of the length; longer integers are written
/// in hexadecimal.
pub const INTEGER_DIGITS_MAX: usize = 4_300;

/// Most effects of one job's end: 1,024, which bounds what has to be taken back if the last one fails.
pub const EFFECTS_MAX: usize = 1 << 10;

/// Longest name of an object's method: 64 bytes.
pub const METHOD_BYTES_MAX: usize = 64;

/// Most prerequisites that jobs wait for: 16. A counter stands for many.
pub const PREREQUISITES_MAX: usize = 16;

/// Most ranges of jobs in one prerequisite: 1,024. Jobs that were submitted together are one range.
pub const PREREQUISITE_RANGES_MAX: usize = 1 << 10;
