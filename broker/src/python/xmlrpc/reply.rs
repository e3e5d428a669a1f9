//! Answers as XML-RPC.
//!
//! Not requests.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ganger_shared::Value;
use ganger_shared::limits::DEPTH_MAX;
use ganger_shared::value::Integer;
use quick_xml::escape::partial_escape;

use super::XmlError;
use super::scanner::check_characters;

/// Writes an answer as `_xml_dumps((kind, value))` does, for `_xml_loads` of Python 3.6 to 3.13.
///
/// The client gets an array and takes the two out of it; inside, tuples and sets are lists for it,
/// and bytes are an `xmlrpc.client.Binary`. Integers beyond 32 bits are an `i8`, beyond 64 bits a
/// `biginteger`: every client reads them, though none of them, nor CPython's server, writes any.
///
/// Two of the kinds are of no use, as on CPython's server. `#ERROR` would have to carry an
/// exception, which XML-RPC has as a struct of its attributes: the client gets `{}`, and what it
/// raises is `TypeError: exceptions must derive from BaseException`. What an object raises is
/// better sent as `#TRACEBACK` and a text, which becomes a `RemoteError` with it. And `#PROXY`
/// would have to carry a `Token`, which XML-RPC does not have at all: CPython's server answers
/// `#UNSERIALIZABLE` and a traceback in its place, and does so for whatever else it cannot write.
///
/// # Errors
/// [`XmlError::Character`] (of `kind`, too), [`XmlError::TooDeep`], [`XmlError::NoForm`],
/// [`XmlError::KeyNotText`] and [`XmlError::IntegerTooLong`]: the answer is `#UNSERIALIZABLE` with
/// the error as its text.
pub(crate) fn reply(kind: &str, value: &Value) -> Result<Vec<u8>, XmlError> {
    let mut out = "<params>\n<param>\n<value><array><data>\n".to_owned();
    put_text(kind, &mut out)?;
    put_value(value, 0, &mut out)?;
    out.push_str("</data></array></value>\n</param>\n</params>\n");
    Ok(out.into_bytes())
}

/// Calls itself for what is inside, which is not deeper than [`DEPTH_MAX`].
fn put_value(value: &Value, depth: usize, out: &mut String) -> Result<(), XmlError> {
    match value {
        Value::None => out.push_str("<value><nil/></value>"),
        Value::Bool(bool) => put_element("boolean", if *bool { "1" } else { "0" }, out),
        Value::Int(number) => put_int(number, out)?,
        // Python reads all that Rust writes: 1e300, inf, NaN.
        Value::Float(float) => put_element("double", &format!("{float:?}"), out),
        Value::Text(text) => put_text(text, out)?,
        Value::Bytes(bytes) => put_bytes(bytes, out),
        Value::List(items) | Value::Tuple(items) | Value::Set(items) => {
            let depth = deeper(depth)?;
            out.push_str("<value><array><data>\n");
            for item in items {
                put_value(item, depth, out)?;
            }
            out.push_str("</data></array></value>\n");
        }
        Value::Map(entries) => {
            let depth = deeper(depth)?;
            out.push_str("<value><struct>\n");
            for (key, value) in entries {
                let Value::Text(key) = key else {
                    return Err(XmlError::KeyNotText { kind: key.kind() });
                };
                out.push_str("<member>\n<name>");
                put_escaped(key, out)?;
                out.push_str("</name>\n");
                put_value(value, depth, out)?;
                out.push_str("</member>\n");
            }
            out.push_str("</struct></value>\n");
        }
        Value::Opaque { .. } | Value::Ref(_) => {
            return Err(XmlError::NoForm { kind: value.kind() });
        }
    }
    Ok(())
}

const fn deeper(depth: usize) -> Result<usize, XmlError> {
    if depth == DEPTH_MAX { Err(XmlError::TooDeep) } else { Ok(depth + 1) }
}

/// An element of a simple type with a text that needs no escapes.
fn put_element(element: &str, text: &str, out: &mut String) {
    for part in ["<value><", element, ">", text, "</", element, "></value>\n"] {
        out.push_str(part);
    }
}

fn put_int(number: &Integer, out: &mut String) -> Result<(), XmlError> {
    let digits = number.to_string();
    let element = match number.as_i64() {
        Some(small) if i32::try_from(small).is_ok() => "int",
        Some(_) => "i8",
        // What is too long is shown in hexadecimal.
        None if digits.contains('x') => return Err(XmlError::IntegerTooLong),
        None => "biginteger",
    };
    put_element(element, &digits, out);
    Ok(())
}

fn put_text(text: &str, out: &mut String) -> Result<(), XmlError> {
    out.push_str("<value><string>");
    put_escaped(text, out)?;
    out.push_str("</string></value>\n");
    Ok(())
}

/// Carriage returns are escaped too, which Python does not do: a reader of XML takes them for line
/// ends, and the client would get line feeds.
fn put_escaped(text: &str, out: &mut String) -> Result<(), XmlError> {
    check_characters(text)?;
    out.push_str(&partial_escape(text));
    Ok(())
}

/// In lines of 76 characters, as Python writes them.
fn put_bytes(bytes: &[u8], out: &mut String) {
    out.push_str("<value><base64>\n");
    for line in bytes.chunks(76 / 4 * 3) {
        STANDARD.encode_string(line, out);
        out.push('\n');
    }
    out.push_str("</base64></value>\n");
}
