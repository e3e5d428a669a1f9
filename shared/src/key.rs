//! The shared secret: its text form and what is derived from it.
//!
//! Not where it is kept: programs read and write key files.

use core::fmt;
use core::str::FromStr;

use zeroize::Zeroize;

/// 32 random bytes that prove that a peer belongs to this broker.
///
/// Written as `gk1_` and 64 hex digits. Passphrases are refused: either tag of the handshake lets
/// a listener try guesses at leisure. Debug prints nothing of it, and dropping it clears it.
#[derive(Clone, PartialEq, Eq)]
pub struct Key([u8; 32]);

/// Which of a broker's keys: eight bytes that say nothing about it.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub struct KeyId(pub [u8; 8]);

/// The text is not a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a key: expected gk1_ and 64 hex digits, as ganger-broker writes into its key file")]
pub struct ParseKeyError;

/// The text names no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no id of a key: expected 16 hex digits, as a broker writes into its log when it starts")]
pub struct ParseKeyIdError;

impl Key {
    const PREFIX: &'static str = "gk1_";

    /// A key from the operating system's random numbers.
    ///
    /// # Errors
    /// Where the operating system has none to give.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// The text form, for a key file.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = Self::PREFIX.to_owned();
        for byte in self.0 {
            text.push_str(&format!("{byte:02x}"));
        }
        text
    }

    /// The keys of a key file: one per line, blank lines and lines that start with `#` passed over.
    /// The first is the one that clients use; a broker takes them all, so that keys can be changed
    /// without a stop.
    ///
    /// # Errors
    /// The number of the first line, from 1, that is no key; 0 if there is none at all.
    pub fn parse_file(text: &str) -> Result<Vec<Self>, usize> {
        let mut keys = Vec::new();
        for (number, line) in (1_usize..).zip(text.lines()) {
            let line = line.trim();
            if !line.is_empty() && !line.starts_with('#') {
                keys.push(line.parse::<Self>().map_err(|ParseKeyError| number)?);
            }
        }
        if keys.is_empty() { Err(0) } else { Ok(keys) }
    }

    /// Which key this is.
    #[must_use]
    pub fn id(&self) -> KeyId {
        let derived = self.derive("ganger v1 key id");
        KeyId(*derived.first_chunk().expect("eight of thirty-two bytes"))
    }

    /// The key for one purpose; purposes cannot be turned into each other.
    #[must_use]
    pub fn derive(&self, purpose: &str) -> [u8; 32] {
        blake3::derive_key(purpose, &self.0)
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for KeyId {
    type Err = ParseKeyIdError;

    fn from_str(text: &str) -> Result<Self, ParseKeyIdError> {
        bytes_of(text).map(Self).ok_or(ParseKeyIdError)
    }
}

impl FromStr for Key {
    type Err = ParseKeyError;

    fn from_str(text: &str) -> Result<Self, ParseKeyError> {
        text.strip_prefix(Self::PREFIX).and_then(bytes_of).map(Self).ok_or(ParseKeyError)
    }
}

/// So many bytes, each of two hex digits.
fn bytes_of<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |c: u8| char::from(c).to_digit(16);
        *byte = u8::try_from(digit(pair[0])? << 4 | digit(pair[1])?).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_survives_its_text_and_debug_hides_it() {
        let key = Key::generate().unwrap();
        let text = key.to_text();
        assert_eq!(text.parse(), Ok(key.clone()));
        assert!(!format!("{key:?}").contains(&text[4..12]));
    }

    #[test]
    fn key_file_takes_comments_and_names_the_line_at_fault() {
        let key = Key([7; 32]).to_text();
        assert_eq!(Key::parse_file(&format!("# mine\n\n{key}\n")), Ok(vec![Key([7; 32])]));
        assert_eq!(Key::parse_file(&format!("{key}\nsecret\n")), Err(2));
        assert_eq!(Key::parse_file("# nothing\n"), Err(0));
    }
}
