//! Messages of clients that asked for `serializer='xmlrpclib'`: a request becomes the pickle that
//! the default serializer would have sent, an answer becomes XML-RPC.
//!
//! Not what a request asks for: whoever reads pickles finds that out, and refuses there what fits
//! no request. Nor the framing and the handshake, which both serializers share.
//!
//! ```text
//!   in a request                                          in the pickle
//!   nil                                                   None
//!   boolean                                               bool
//!   int, i1, i2, i4, i8, biginteger                       int, of any size
//!   double, float                                         float
//!   string, a value without a type                        str
//!   base64                                                bytes
//!   dateTime.iso8601                                      str: the text it holds
//!   array                                                 list; the request and its args: tuple
//!   struct                                                dict
//! ```
//!
//! Only what `_xml_dumps` writes is read: elements without attributes, text, the five predefined
//! entities and references to characters. There is no document type to declare others in, hence
//! nothing that grows when it is expanded, and a pickle is never longer than its request.

mod pickle;
mod reply;
mod scanner;
#[cfg(test)]
mod tests;

use base64::engine::general_purpose::STANDARD;
use base64::{DecodeError, Engine};
use ganger_shared::limits::{DEPTH_MAX, INTEGER_DIGITS_MAX};

use self::pickle::{Kind, Pickle};
pub(crate) use self::reply::reply;
use self::scanner::{Scanner, Tag, check_characters};

/// Most bytes of a message, whatever the caller allows: sizes in its pickle have four bytes.
const MESSAGE_BYTES_MAX: usize = i32::MAX as usize;

/// Containers around what a caller passes: the request, and args or kwds.
const REQUEST_DEPTH: usize = 2;

/// Why there is no pickle of a request, or no XML-RPC of an answer.
///
/// The variants up to [`NotARequest`](Self::NotARequest) blame the peer's message; those after it
/// say what XML-RPC has no way to write, for which CPython's server answers `#UNSERIALIZABLE`.
/// [`Character`](Self::Character) and [`TooDeep`](Self::TooDeep) are of both.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum XmlError {
    /// More bytes than the caller wants to read.
    #[error("message of {size_bytes} bytes where at most {max_bytes} are read")]
    TooLarge {
        /// As many as there are.
        size_bytes: usize,
        /// As many as there may be.
        max_bytes: usize,
    },
    /// The message is no text.
    #[error("message is not UTF-8 from byte {position} on")]
    NotUtf8 {
        /// Where the first wrong byte is.
        position: usize,
    },
    /// XML has this character neither as it is nor by its number.
    #[error("character U+{:04X} is none that XML can have", u32::from(*.0))]
    Character(char),
    /// More containers around something than any part of a value has.
    #[error("more than {DEPTH_MAX} arrays and structs are around one value")]
    TooDeep,
    /// The message is not well-formed.
    // The words of the library's error, not the error: those may be as long as the message.
    #[error("message is not XML at byte {position}: {problem}")]
    NotXml {
        /// Where the reader noticed.
        position: u64,
        /// What it noticed.
        problem: String,
    },
    /// XML that messages do not need, and that is not read so that nobody can hide something in it.
    #[error("{kind} before byte {position}, where a message has elements and text only")]
    Markup {
        /// What it is.
        kind: &'static str,
        /// Where it ends.
        position: u64,
    },
    /// An element that XML-RPC of Python does not have, or not with attributes.
    #[error("element {0:?} is unknown")]
    UnknownElement(String),
    /// An entity that would have to be declared, or the number of no character.
    #[error("reference {0:?} is neither predefined nor the number of a character")]
    UnknownReference(String),
    /// A known element, its end or the end of the message in the wrong place.
    #[error("{found} before byte {position}, where {expected} is expected")]
    Misplaced {
        /// What is there.
        found: String,
        /// What can be there.
        expected: &'static str,
        /// Where it ends.
        position: u64,
    },
    /// Text around elements.
    #[error("text {0:?} stands between elements")]
    StrayText(String),
    /// The text in the element is not one of its type.
    #[error("{element} holds {text:?}, which is none")]
    NotOfType {
        /// The element.
        element: &'static str,
        /// What is in it.
        text: String,
    },
    /// The text in a base64 element is no base64.
    #[error("base64 element cannot be decoded")]
    Base64(#[from] DecodeError),
    /// The message is XML-RPC, but not what a proxy sends.
    #[error("{found} where a request has {expected}")]
    NotARequest {
        /// What is there.
        found: String,
        /// What should be.
        expected: &'static str,
    },
    /// XML-RPC has nothing for this kind of value.
    #[error("value of kind {kind} has no form in XML-RPC")]
    NoForm {
        /// The word for it.
        kind: &'static str,
    },
    /// Keys of a struct are texts.
    #[error("key of kind {kind} where XML-RPC has only texts")]
    KeyNotText {
        /// The word for it.
        kind: &'static str,
    },
    /// More digits than clients of Python read by themselves.
    #[error("integer has more than {INTEGER_DIGITS_MAX} decimal digits")]
    IntegerTooLong,
}

/// Reads a request as `_xml_dumps((ident, methodname, args, kwds))` writes it, of at most
/// `max_bytes`, and writes it as a pickle of protocol 4, without frames and memo.
///
/// The four are not looked at, other than that args is an array and kwds a struct. Args may hold
/// values as deep as any value may be.
///
/// # Errors
/// The variants of [`XmlError`] up to [`NotARequest`](XmlError::NotARequest): the message is to be
/// answered with `#TRACEBACK`, as CPython's server does; the connection can go on.
pub(crate) fn request(message: &[u8], max_bytes: usize) -> Result<Vec<u8>, XmlError> {
    let max_bytes = max_bytes.min(MESSAGE_BYTES_MAX);
    if message.len() > max_bytes {
        return Err(XmlError::TooLarge { size_bytes: message.len(), max_bytes });
    }
    let message = str::from_utf8(message)
        .map_err(|error| XmlError::NotUtf8 { position: error.valid_up_to() })?;
    check_characters(message)?;
    let mut scanner = Scanner::new(message);
    let mut pickle = Pickle::new();
    scanner.open("params")?;
    scanner.open("param")?;
    scanner.open("value")?;
    loop {
        value(&mut scanner, &mut pickle)?;
        if !next_value(&mut scanner, &mut pickle)? {
            break;
        }
    }
    scanner.close("param")?;
    scanner.close("params")?;
    scanner.end()?;
    Ok(pickle.finish())
}

/// Reads one value after its opening tag: all of a scalar, of an array or a struct what stands
/// before its first item.
fn value(scanner: &mut Scanner<'_>, pickle: &mut Pickle) -> Result<(), XmlError> {
    let element = match scanner.tag()? {
        Tag::Close("value") => {
            pickle.check_place("string")?;
            pickle.text(&scanner.text);
            return Ok(());
        }
        Tag::Open(element) => element,
        tag @ (Tag::Close(_) | Tag::End) => return scanner.misplaced(tag, "a type"),
    };
    pickle.check_place(element)?;
    match element {
        "array" => {
            scanner.open("data")?;
            return pickle.begin(if pickle.is_tuple_next() { Kind::Tuple } else { Kind::List });
        }
        "struct" => return pickle.begin(Kind::Dict),
        "value" | "data" | "member" | "name" | "param" | "params" => {
            return scanner.misplaced(Tag::Open(element), "a type");
        }
        _ => {}
    }
    let text = scanner.text_of(element)?;
    scalar(element, text, pickle)?;
    scanner.close("value")
}

/// Writes what an element of a simple type holds.
fn scalar(element: &'static str, text: &str, pickle: &mut Pickle) -> Result<(), XmlError> {
    let wrong = || XmlError::NotOfType { element, text: shortened(text) };
    match element {
        "nil" if text.trim_ascii().is_empty() => pickle.put(b"N"),
        "boolean" if text == "0" => pickle.put(b"\x89"),
        "boolean" if text == "1" => pickle.put(b"\x88"),
        "nil" | "boolean" => return Err(wrong()),
        "double" | "float" => pickle.float(text.trim_ascii().parse().map_err(|_| wrong())?),
        "string" | "dateTime.iso8601" => pickle.text(text),
        "base64" => {
            let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
            pickle.bytes(&STANDARD.decode(digits)?);
        }
        _ => {
            let text = text.trim_ascii();
            let number = text.strip_prefix('+').unwrap_or(text);
            let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
            // `Integer` reads hexadecimal digits too.
            if !digits.bytes().all(|digit| digit.is_ascii_digit()) {
                return Err(wrong());
            }
            pickle.int(&number.parse().map_err(|_| wrong())?);
        }
    }
    Ok(())
}

/// Goes from the end of a value, or of what stands before a first item, to after the opening tag of
/// the next value. Whether there is one.
fn next_value(scanner: &mut Scanner<'_>, pickle: &mut Pickle) -> Result<bool, XmlError> {
    while let Some(container) = pickle.open.last() {
        match container.kind {
            Kind::Tuple | Kind::List => match scanner.tag()? {
                Tag::Open("value") => return pickle.count_item().map(|()| true),
                Tag::Close("data") => scanner.close("array")?,
                tag => return scanner.misplaced(tag, "<value> or </data>"),
            },
            Kind::Dict => {
                if container.count > 0 {
                    scanner.close("member")?;
                }
                match scanner.tag()? {
                    Tag::Open("member") => {
                        scanner.open("name")?;
                        pickle.text(scanner.text_of("name")?);
                        scanner.open("value")?;
                        return pickle.count_item().map(|()| true);
                    }
                    Tag::Close("struct") => {}
                    tag => return scanner.misplaced(tag, "<member> or </struct>"),
                }
            }
        }
        scanner.close("value")?;
        pickle.end()?;
    }
    Ok(false)
}

/// Enough of the peer's text to recognise it by.
fn shortened(text: &str) -> String {
    const SHOWN_BYTES: usize = 60;
    if text.len() <= SHOWN_BYTES {
        return text.to_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(SHOWN_BYTES)])
}
