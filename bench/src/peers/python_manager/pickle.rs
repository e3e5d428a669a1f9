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

/// The strings and byte strings of a reply, in order, whatever lists and tuples they are in.
///
/// # Errors
///
/// There is something else in it.
pub(super) fn atoms(mut pickle: &[u8]) -> Result<Vec<&[u8]>> {
    let mut atoms = Vec::new();
    loop {
        let (&code, rest) = pickle.split_first().context("a pickle without an end")?;
        pickle = rest;
        let len = match code {
            // Which protocol it is, and how long a part of it is.
            b'\x80' => skip(&mut pickle, 1).map(|()| 0)?,
            b'\x95' => skip(&mut pickle, 8).map(|()| 0)?,
            // Marks, lists, tuples, None, and what is remembered for later.
            b'(' | b']' | b'a' | b'e' | b'N' | b')' | b't' | b'\x85'..=b'\x87' | b'\x94' => 0,
            b'\x8c' | b'C' => number(&mut pickle, 1)?,
            b'X' | b'B' => number(&mut pickle, 4)?,
            b'.' => return Ok(atoms),
            other => bail!("a reply has the opcode {other:#04x}"),
        };
        if matches!(code, b'\x8c' | b'C' | b'X' | b'B') {
            let (atom, rest) = pickle.split_at_checked(len).context("a pickle that is cut off")?;
            atoms.push(atom);
            pickle = rest;
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
    Ok(digits.iter().rev().fold(0, |number, &digit| number << 8 | usize::from(digit)))
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
        assert!(atoms(b"\x80\x04cos\nsystem\n.").unwrap_err().to_string().contains("0x63"));
    }
}
