//! The pickles of requests that the roles make, and of the replies that they get.
//! Not a reader of any pickle: only of what `server.py` answers.

use anyhow::{Context as _, Result, bail};

/// A request: a call of `method` on the object `ident`, with its argument if it takes one.
pub(super) fn request(
    out: &mut Vec<u8>,
    ident: Option<&[u8]>,
    method: &str,
    argument: Argument<'_>,
) {
    out.extend_from_slice(b"\x80\x04(");
    match ident {
        Some(ident) => text(out, ident),
        None => out.push(b'N'),
    }
    text(out, method.as_bytes());
    match argument {
        Argument::None => out.push(b')'),
        Argument::Text(value) => {
            text(out, value.as_bytes());
            out.push(b'\x85');
        }
        Argument::Count(value) => {
            out.push(b'J');
            out.extend_from_slice(&value.to_le_bytes());
            out.push(b'\x85');
        }
        Argument::Bytes(value) => {
            bytes(out, value);
            out.push(b'\x85');
        }
        Argument::Entry(key, value) => {
            text(out, key.as_bytes());
            bytes(out, value);
            out.push(b'\x86');
        }
        Argument::List(values) => {
            out.extend_from_slice(b"](");
            values.iter().for_each(|value| bytes(out, value));
            out.extend_from_slice(b"e\x85");
        }
    }
    out.extend_from_slice(b"}t.");
}

/// What a method is given.
#[derive(Debug, Clone, Copy)]
pub(super) enum Argument<'a> {
    None,
    Text(&'a str),
    Count(i32),
    Bytes(&'a [u8]),
    /// Two arguments: a key, and its value.
    Entry(&'a str, &'a [u8]),
    List(&'a [Vec<u8>]),
}

fn text(out: &mut Vec<u8>, value: &[u8]) {
    let len = u8::try_from(value.len()).expect("names and idents are short");
    out.extend_from_slice(&[b'\x8c', len]);
    out.extend_from_slice(value);
}

fn bytes(out: &mut Vec<u8>, value: &[u8]) {
    let len = u32::try_from(value.len()).expect("the command line accepts 1 MiB at most");
    out.push(b'B');
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(value);
}

/// The strings, byte strings and numbers of a reply, in order, whatever lists, dicts and tuples they are
/// in. Of numbers the digits, for [`number_of`].
///
/// # Errors
///
/// There is something else in it.
pub(super) fn atoms(mut pickle: &[u8]) -> Result<Vec<&[u8]>> {
    let mut atoms = Vec::new();
    // What is remembered for later, in that order: of an atom itself, of all else none.
    let (mut memo, mut latest) = (Vec::new(), None);
    loop {
        let (&code, rest) = pickle.split_first().context("a pickle without an end")?;
        pickle = rest;
        let len = match code {
            b'.' => return Ok(atoms),
            b'\x94' => {
                memo.push(latest);
                continue;
            }
            // Something remembered, by its place.
            b'h' | b'j' => {
                let at = number(&mut pickle, if code == b'h' { 1 } else { 4 })?;
                atoms.extend(*memo.get(at).context("nothing is remembered there")?);
                continue;
            }
            // Which protocol it is, and how long a part of it is.
            b'\x80' => skip(&mut pickle, 1).map(|()| None)?,
            b'\x95' => skip(&mut pickle, 8).map(|()| None)?,
            // Marks, lists, dicts, tuples and None.
            b'(' | b']' | b'a' | b'e' | b'}' | b's' | b'u' => None,
            b'N' | b')' | b't' | b'\x85'..=b'\x87' => None,
            // Numbers of one, two and four bytes, and of as many as they say.
            b'K' => Some(1),
            b'M' => Some(2),
            b'J' => Some(4),
            b'\x8c' | b'C' | b'\x8a' => Some(number(&mut pickle, 1)?),
            b'X' | b'B' => Some(number(&mut pickle, 4)?),
            other => bail!("a reply has the opcode {other:#04x}"),
        };
        latest = None;
        if let Some(len) = len {
            let (atom, rest) = pickle.split_at_checked(len).context("a pickle that is cut off")?;
            atoms.push(atom);
            (pickle, latest) = (rest, Some(atom));
        }
    }
}

fn skip(pickle: &mut &[u8], count: usize) -> Result<()> {
    *pickle = pickle.get(count..).context("a pickle that is cut off")?;
    Ok(())
}

/// A length of so many bytes.
fn number(pickle: &mut &[u8], count: usize) -> Result<usize> {
    let (digits, rest) = pickle.split_at_checked(count).context("a pickle that is cut off")?;
    *pickle = rest;
    Ok(usize::try_from(number_of(digits))?)
}

/// The number of these digits, which is none below 0.
pub(super) fn number_of(digits: &[u8]) -> u64 {
    digits.iter().rev().fold(0, |number, &digit| number << 8 | u64::from(digit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_is_a_pickle_with_its_names_and_values_in_order() {
        let mut out = Vec::new();
        let items = [b"one".to_vec(), b"two".to_vec()];
        request(&mut out, Some(b"7f"), "put_many", Argument::List(&items));
        let end = out.len() - 3;
        // The keyword arguments are an empty dict, which no reply has.
        assert_eq!(&out[end..], b"}t.");
        out.remove(end);
        assert_eq!(atoms(&out).unwrap(), [&b"7f"[..], b"put_many", b"one", b"two"]);
    }

    #[test]
    fn reply_that_is_cut_off_or_strange_is_refused() {
        let reply = b"\x80\x04\x95\x0e\0\0\0\0\0\0\0\x8c\x07#RETURN\x94N\x86\x94.";
        assert_eq!(atoms(reply).unwrap(), [b"#RETURN"]);
        for end in 0..reply.len() {
            assert!(atoms(&reply[..end]).is_err());
        }
        let twice = b"\x80\x04]\x94(\x8c\x01a\x94\x8c\x01b\x94h\x01h\x00e.";
        assert_eq!(atoms(twice).unwrap(), [&b"a"[..], b"b", b"a"]);
        let number = b"\x80\x04\x8c\x07#RETURN\x94M\xe8\x03\x86\x94.";
        assert_eq!(number_of(atoms(number).unwrap()[1]), 1_000);
        assert!(atoms(b"\x80\x04cos\nsystem\n.").unwrap_err().to_string().contains("0x63"));
    }
}
