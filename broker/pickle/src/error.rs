//! What can be wrong with a pickle.

/// A pickle that is not read, or a value that has none. Whoever made it is at fault, unless a limit
/// is named: that may be the operator's to change.
///
/// Places are bytes from the beginning of the pickle.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PickleError {
    /// More bytes than are read.
    #[error("pickle has {size} bytes where {max} are read")]
    TooLong {
        /// Of the pickle, in bytes.
        size: usize,
        /// See [`crate::Limits::size_bytes`].
        max: usize,
    },
    /// It does not begin with a protocol.
    #[error("message is no pickle of protocol 3, 4 or 5: it does not begin with one")]
    NoProtocol,
    /// Another protocol. Those before 3 are Python 2's, where names mean something else.
    #[error("pickle has protocol {found} where 3, 4 and 5 are read")]
    Protocol {
        /// As it says.
        found: i64,
    },
    /// It ends before it should.
    #[error("pickle at byte {at} needs {wanted} bytes more where {left} are left")]
    Truncated {
        /// Where the missing bytes should begin.
        at: usize,
        /// How many it needs from there.
        wanted: u64,
        /// How many there are.
        left: usize,
    },
    /// Bytes after its end.
    #[error("pickle ends at byte {at} and has {extra} bytes after that")]
    Trailing {
        /// Its size in bytes.
        at: usize,
        /// How many too many.
        extra: usize,
    },
    /// A byte that begins nothing.
    #[error("byte {byte:#04x} at {at} is no opcode")]
    UnknownOpcode {
        /// As it was found.
        byte: u8,
        /// Where.
        at: usize,
    },
    /// An opcode that asks for something outside of the pickle, or of a Python before 3.
    #[error("opcode {opcode} at byte {at} is not read")]
    Refused {
        /// Its name in Python.
        opcode: &'static str,
        /// Where.
        at: usize,
    },
    /// An opcode where it does not belong.
    #[error("opcode {opcode} at byte {at} does not belong there")]
    Misplaced {
        /// Its name in Python.
        opcode: &'static str,
        /// Where.
        at: usize,
    },
    /// What stands behind an opcode is not what it should be.
    #[error("argument of {opcode} at byte {at} is not what it should be")]
    BadArgument {
        /// Its name in Python.
        opcode: &'static str,
        /// Where.
        at: usize,
    },
    /// A text is not UTF-8, in which Python allows halves of pairs.
    #[error("text at byte {at} is not UTF-8")]
    NotText {
        /// Where its bytes begin.
        at: usize,
    },
    /// Fewer values than an opcode takes.
    #[error("{opcode} at byte {at} takes more values than there are")]
    NoValue {
        /// Its name in Python.
        opcode: &'static str,
        /// Where.
        at: usize,
    },
    /// No mark where an opcode takes what follows one.
    #[error("{opcode} at byte {at} finds no mark")]
    NoMark {
        /// Its name in Python.
        opcode: &'static str,
        /// Where.
        at: usize,
    },
    /// An opcode takes another kind of value.
    #[error("{opcode} at byte {at} does not take {found}")]
    Mismatch {
        /// Its name in Python.
        opcode: &'static str,
        /// Where.
        at: usize,
        /// The kind of value.
        found: &'static str,
    },
    /// More than one value, or none, is left at the end.
    #[error("pickle leaves {left} values where it should leave one")]
    NotOne {
        /// As many as there are, and marks.
        left: usize,
    },
    /// Nothing was remembered there.
    #[error("memo slot {slot} at byte {at} has nothing in it")]
    EmptySlot {
        /// As it says.
        slot: u64,
        /// Where the opcode is.
        at: usize,
    },
    /// A slot far beyond those that are in use.
    #[error("memo slot {slot} at byte {at} is far beyond the {used} in use")]
    FarSlot {
        /// As it says.
        slot: u64,
        /// Where the opcode is.
        at: usize,
        /// Slots that have something in them.
        used: usize,
    },
    /// More of something than is allowed.
    #[error("pickle has more than {max} {what}")]
    TooMany {
        /// Of what there are too many.
        what: &'static str,
        /// See [`crate::Limits`].
        max: usize,
    },
    /// Containers and objects in each other, deeper than is allowed.
    #[error("value is nested more than {max} deep")]
    TooDeep {
        /// See [`crate::Limits::depth`].
        max: usize,
    },
    /// The same large part was taken out of a pickle many times.
    #[error("values of one pickle take more than {max} bytes when each is taken out of it")]
    TooMuchWork {
        /// As [`crate::Limits::work_bytes`] has it for a pickle of this size, or less.
        max: usize,
    },
    /// A class or function that may not pass.
    #[error("{name} is not among the classes that may pass")]
    Forbidden {
        /// Module and name.
        name: String,
    },
    /// A pickle that is no request.
    #[error("request is not (ident, method, arguments, keywords): {what} is {found}")]
    NotARequest {
        /// Which part.
        what: &'static str,
        /// The kind of value that it is.
        found: &'static str,
    },
    /// A value that Python does not understand.
    #[error("value has the format {format:?}, which Python does not read")]
    ForeignFormat {
        /// As it says.
        format: String,
    },
    /// An object that whoever writes has no way to name.
    #[error("object {id} cannot be named to a Python client")]
    NoProxy {
        /// Which.
        id: u64,
    },
}
