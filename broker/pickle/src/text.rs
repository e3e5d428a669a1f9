//! Python's strings as bytes, and the escapes of the oldest opcodes.
//!
//! Not opcodes. A Python string may have halves of surrogate pairs in it, which UTF-8 has not; here
//! they are three bytes each, as with the error handler `surrogatepass`.

/// Whether `bytes` are UTF-8 but for surrogates.
pub(crate) fn is_text(mut bytes: &[u8]) -> bool {
    loop {
        let Err(error) = str::from_utf8(bytes) else { return true };
        match bytes[error.valid_up_to()..] {
            [0xed, 0xa0..=0xbf, 0x80..=0xbf, ref rest @ ..] => bytes = rest,
            _ => return false,
        }
    }
}

/// The characters of text that may have surrogates in it, as their numbers.
pub(crate) fn code_points(bytes: &[u8]) -> impl Iterator<Item = u32> + '_ {
    let mut rest = bytes;
    core::iter::from_fn(move || {
        let (&first, after) = rest.split_first()?;
        let more = match first {
            0..0x80 => 0,
            0x80..0xe0 => 1,
            0xe0..0xf0 => 2,
            0xf0.. => 3,
        };
        // The bits of the first byte that count: 7, 5, 4 or 3.
        let bits = u32::from(first) & if more == 0 { 0x7f } else { 0x3f >> more };
        let more = more.min(after.len());
        rest = &after[more..];
        Some(after[..more].iter().fold(bits, |number, byte| number << 6 | u32::from(byte & 0x3f)))
    })
}

/// Appends a code point; `None` if there is none of that number.
fn push(point: u32, out: &mut Vec<u8>) -> Option<()> {
    match char::from_u32(point) {
        Some(char) => out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes()),
        None if point < 0x1_0000 => {
            let [_, _, high, low] = point.to_be_bytes();
            out.extend([0xe0 | high >> 4, 0x80 | high << 2 & 0x3c | low >> 6, 0x80 | low & 0x3f]);
        }
        None => return None,
    }
    Some(())
}

fn digits(bytes: &[u8], count: usize) -> Option<u32> {
    let digits = str::from_utf8(bytes.get(..count)?).ok()?;
    let plain = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    u32::from_str_radix(digits, 16).ok().filter(|_| plain)
}

/// What `raw-unicode-escape` means: Latin-1 with `\uXXXX` and `\UXXXXXXXX`.
pub(crate) fn unescaped(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(bytes.len());
    while let Some((&first, rest)) = bytes.split_first() {
        let (point, size) = match (first, rest.first()) {
            (b'\\', Some(b'u')) => (digits(&rest[1..], 4)?, 6),
            (b'\\', Some(b'U')) => (digits(&rest[1..], 8)?, 10),
            (b'\\', Some(&other)) => {
                // A pair that means itself, also if the other is a backslash.
                out.push(b'\\');
                (other.into(), 2)
            }
            _ => (first.into(), 1),
        };
        push(point, &mut out)?;
        bytes = &bytes[size..];
    }
    Some(out)
}

/// What a byte string in quotes means, as `repr` in Python 2 wrote them. Only ASCII.
pub(crate) fn unquoted(bytes: &[u8]) -> Option<Vec<u8>> {
    let [quote @ (b'\'' | b'"'), inside @ .., last] = bytes else { return None };
    let mut inside = if quote == last { inside } else { return None };
    let mut out = Vec::with_capacity(inside.len());
    while let Some((&first, rest)) = inside.split_first() {
        let (byte, size) = match (first, rest.first()) {
            (b'\\', Some(&escape)) => match escape {
                b'\\' | b'\'' | b'"' => (escape, 2),
                b'n' => (b'\n', 2),
                b'r' => (b'\r', 2),
                b't' => (b'\t', 2),
                b'x' => (u8::try_from(digits(&rest[1..], 2)?).ok()?, 4),
                _ => return None,
            },
            (b'\\', None) => return None,
            _ => (first, 1),
        };
        out.push(byte);
        inside = &inside[size..];
    }
    out.is_ascii().then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn surrogates_pass_alone_and_in_pairs_and_nothing_else_does() {
        for text in
            [&b""[..], b"a", "ä€😀".as_bytes(), b"\xed\xa0\x80", b"x\xed\xa0\xbd\xed\xb8\x80y"]
        {
            assert!(is_text(text), "{text:?}");
        }
        for bytes in
            [&b"\xff"[..], b"\xed\xa0", b"\xc0\x80", b"\xed\xa0\x80\x80", b"\xf8\x88\x80\x80\x80"]
        {
            assert!(!is_text(bytes), "{bytes:?}");
        }
    }

    #[test]
    fn code_points_are_those_of_the_text() {
        let points: Vec<u32> = code_points("aä€😀".as_bytes()).collect();
        assert_eq!(points, [0x61, 0xe4, 0x20ac, 0x1_f600]);
        assert_eq!(code_points(b"\xed\xa0\x80").collect::<Vec<_>>(), [0xd800]);
    }

    #[test]
    fn escapes_mean_what_they_mean_in_python() {
        let text = |bytes: &[u8]| unescaped(bytes);
        assert_eq!(text(b"a\xe4\\u20ac").unwrap(), "aä€".as_bytes());
        assert_eq!(text(b"\\U0001f600").unwrap(), "😀".as_bytes());
        assert_eq!(text(b"\\ud800").unwrap(), b"\xed\xa0\x80");
        assert_eq!(text(b"\\\\u0041\\n").unwrap(), b"\\\\u0041\\n");
        assert_eq!((text(b"\\u12"), text(b"\\U00110000"), text(b"\\u+123")), (None, None, None));
        assert_eq!(unquoted(b"'a\\n\\x41\\''").unwrap(), b"a\nA'");
        assert_eq!((unquoted(b"'a"), unquoted(b"'\\xe4'"), unquoted(b"'")), (None, None, None));
    }
}
