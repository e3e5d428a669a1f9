//! A command with places for the payload.
//!
//! | place | stands for | of `img/a.b.png` |
//! | --- | --- | --- |
//! | `{}` | the payload | `img/a.b.png` |
//! | `{/}` | what follows its last slash | `a.b.png` |
//! | `{.}` | without its extension | `img/a.b` |
//! | `{/.}` | both | `a.b` |
//!
//! No payload can become code: in a shell's script a place becomes the use of a variable, quoted as
//! the place requires, and the payload is that variable's value, which no shell reads as code.

use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::process::Command;

use crate::error::Error;
use crate::handler::JobError;

/// Longest payload that can stand in a command: 128,000 bytes. Linux takes 131,072 in one argument or
/// variable.
const ARGUMENT_BYTES_MAX: usize = 128_000;

/// A command with places for the payload; see [`Exec`](super::Exec).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Kind);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    /// A script for `sh -c`, in which places have become variables.
    Shell { script: String, parts: Vec<Part> },
    /// A program and its arguments.
    Words { program: String, words: Vec<Vec<Piece>> },
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Part(Part),
}

/// What a place stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Whole,
    Name,
    NoExtension,
    Stem,
}

impl Part {
    /// The part whose place `text` begins with, and the length of the place.
    fn at(text: &str) -> Option<(Self, usize)> {
        let all = [
            ("{}", Self::Whole),
            ("{/}", Self::Name),
            ("{.}", Self::NoExtension),
            ("{/.}", Self::Stem),
        ];
        all.into_iter().find(|(place, _)| text.starts_with(place)).map(|(p, part)| (part, p.len()))
    }

    const fn variable(self) -> &'static str {
        match self {
            Self::Whole => "GANGER_PAYLOAD",
            Self::Name => "GANGER_PAYLOAD_NAME",
            Self::NoExtension => "GANGER_PAYLOAD_NO_EXTENSION",
            Self::Stem => "GANGER_PAYLOAD_STEM",
        }
    }

    fn of(self, payload: &[u8]) -> &[u8] {
        match self {
            Self::Whole => payload,
            Self::Name => name(payload),
            Self::NoExtension => without_extension(payload),
            Self::Stem => without_extension(name(payload)),
        }
    }
}

fn name(path: &[u8]) -> &[u8] {
    path.rsplit(|&b| b == b'/').next().unwrap_or(path)
}

fn without_extension(path: &[u8]) -> &[u8] {
    match path.iter().rposition(|&b| b == b'.' || b == b'/') {
        // A name that only begins with a dot has no extension.
        Some(dot) if path[dot] == b'.' && dot > 0 && path[dot - 1] != b'/' => &path[..dot],
        Some(_) | None => path,
    }
}

impl Template {
    /// A script for `sh -c`.
    ///
    /// A place is one word there, whatever it stands for and whether or not it stands in quotes. A
    /// backslash before it, `\{}`, leaves it alone. A payload that begins with a dash is still an
    /// option to many commands: write `rm -- {}`.
    #[must_use]
    pub fn shell(script: &str) -> Self {
        let mut scanner = Scanner { out: String::new(), parts: Vec::new(), open: Vec::new() };
        scanner.scan(script);
        Self(Kind::Shell { script: scanner.out, parts: scanner.parts })
    }

    /// A program and its arguments, separated by spaces, with quotes as in a shell; no shell is
    /// started.
    ///
    /// # Errors
    /// [`Error::Invalid`] for nothing at all, a quote that is not closed, and a place where the
    /// program should be named.
    pub fn words(command: &str) -> Result<Self, Error> {
        let invalid = |what: &str| Error::Invalid(format!("the command `{command}` {what}"));
        let words =
            shlex::split(command).ok_or_else(|| invalid("has a quote that is not closed"))?;
        let Some((program, words)) = words.split_first() else {
            return Err(invalid("is empty"));
        };
        if pieces(program).iter().any(|piece| matches!(piece, Piece::Part(_))) {
            return Err(invalid("lets the payload choose the program; name one first"));
        }
        let words = words.iter().map(|word| pieces(word)).collect();
        Ok(Self(Kind::Words { program: program.clone(), words }))
    }

    /// The command for one payload.
    pub(super) fn command(&self, payload: &[u8]) -> Result<Command, JobError> {
        match &self.0 {
            Kind::Shell { script, parts } => {
                let mut command = Command::new("sh");
                command.arg("-c").arg(script);
                for part in parts {
                    check(payload)?;
                    command.env(part.variable(), OsStr::from_bytes(part.of(payload)));
                }
                Ok(command)
            }
            Kind::Words { program, words } => {
                let mut command = Command::new(program);
                for word in words {
                    let mut argument = Vec::new();
                    for piece in word {
                        match piece {
                            Piece::Text(text) => argument.extend_from_slice(text.as_bytes()),
                            Piece::Part(part) => {
                                check(payload)?;
                                argument.extend_from_slice(part.of(payload));
                            }
                        }
                    }
                    command.arg(std::ffi::OsString::from_vec(argument));
                }
                Ok(command)
            }
        }
    }
}

/// Whether a payload can stand in a command at all.
fn check(payload: &[u8]) -> Result<(), JobError> {
    let advice = "take it from standard input instead";
    if payload.contains(&0) {
        let message = format!("a payload with a zero byte cannot stand in a command; {advice}");
        return Err(JobError::dead("bad-payload", &message));
    }
    if payload.len() > ARGUMENT_BYTES_MAX {
        let size = payload.len();
        let message = format!("a payload of {size} bytes cannot stand in a command; {advice}");
        return Err(JobError::dead("bad-payload", &message));
    }
    Ok(())
}

fn pieces(word: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut text = String::new();
    let mut rest = word;
    while let Some(next) = rest.chars().next() {
        if let Some((part, len)) = Part::at(rest) {
            if !text.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut text)));
            }
            pieces.push(Piece::Part(part));
            rest = &rest[len..];
        } else {
            text.push(next);
            rest = &rest[next.len_utf8()..];
        }
    }
    if !text.is_empty() {
        pieces.push(Piece::Text(text));
    }
    pieces
}

/// What a character of a script stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Open {
    Single,
    Double,
    /// `$(`, with the parentheses open inside it.
    Substitution(u32),
    Backtick,
}

/// Puts variables in the place of places.
///
/// It follows quotes only to keep a payload in one word. Where it is mistaken about them, as in a
/// here-document, the payload may come out in several words or with quotes around it. It is still the
/// value of a variable, which the shell does not read as code.
struct Scanner {
    out: String,
    parts: Vec<Part>,
    open: Vec<Open>,
}

impl Scanner {
    fn scan(&mut self, script: &str) {
        let mut rest = script;
        let mut before = ' ';
        while let Some(next) = rest.chars().next() {
            let inside = self.open.last().copied();
            let taken = if let Some((part, len)) = Part::at(rest) {
                self.place(part, inside);
                len
            } else {
                let len = self.text(rest, next, before, inside);
                self.out.push_str(&rest[..len]);
                len
            };
            before = rest[..taken].chars().next_back().unwrap_or(next);
            rest = &rest[taken..];
        }
    }

    fn place(&mut self, part: Part, inside: Option<Open>) {
        if !self.parts.contains(&part) {
            self.parts.push(part);
        }
        let variable = part.variable();
        self.out.push_str(&match inside {
            Some(Open::Double) => format!("${{{variable}}}"),
            Some(Open::Single) => format!("'\"${{{variable}}}\"'"),
            None | Some(Open::Substitution(_) | Open::Backtick) => format!("\"${{{variable}}}\""),
        });
    }

    /// Notes what opens and closes, and returns how many bytes to pass on.
    fn text(&mut self, rest: &str, next: char, before: char, inside: Option<Open>) -> usize {
        let one = next.len_utf8();
        match (inside, next) {
            (Some(Open::Single), '\'') | (Some(Open::Double), '"') => {
                self.open.pop();
            }
            (Some(Open::Single), _) => {}
            (_, '\\') => return one + rest[one..].chars().next().map_or(0, char::len_utf8),
            (_, '$') if rest[one..].starts_with('(') => {
                self.open.push(Open::Substitution(0));
                return 2;
            }
            (Some(Open::Backtick), '`') => {
                self.open.pop();
            }
            (_, '`') => self.open.push(Open::Backtick),
            (Some(Open::Double), _) => {}
            (_, '\'') => self.open.push(Open::Single),
            (_, '"') => self.open.push(Open::Double),
            (_, '#') if before.is_whitespace() => return rest.find('\n').unwrap_or(rest.len()),
            (Some(Open::Substitution(depth)), '(') => {
                self.open.pop();
                self.open.push(Open::Substitution(depth + 1));
            }
            (Some(Open::Substitution(depth)), ')') => {
                self.open.pop();
                if let Some(depth) = depth.checked_sub(1) {
                    self.open.push(Open::Substitution(depth));
                }
            }
            (None | Some(Open::Substitution(_) | Open::Backtick), _) => {}
        }
        one
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parts_of_a_path_are_those_of_the_table() {
        let parts = [Part::Whole, Part::Name, Part::NoExtension, Part::Stem];
        let of = |path: &'static str| {
            parts.map(|part| str::from_utf8(part.of(path.as_bytes())).unwrap())
        };
        assert_eq!(of("img/a.b.png"), ["img/a.b.png", "a.b.png", "img/a.b", "a.b"]);
        assert_eq!(of("plain"), ["plain", "plain", "plain", "plain"]);
        assert_eq!(of("a.d/b"), ["a.d/b", "b", "a.d/b", "b"]);
        assert_eq!(of("d/.rc"), ["d/.rc", ".rc", "d/.rc", ".rc"]);
        assert_eq!(of("d/"), ["d/", "", "d/", ""]);
        assert_eq!(of(""), ["", "", "", ""]);
    }

    fn run(template: &Template, payload: &[u8]) -> Vec<u8> {
        let output = template.command(payload).unwrap().output().unwrap();
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// Text that means something to a shell.
    const NASTY: &[&str] = &[
        "$(touch pwned)",
        "`touch pwned`",
        "'; touch pwned; '",
        "\"; touch pwned; \"",
        "a b  c\n\n",
        "* ?",
        "-n",
        "${HOME}",
        "\\",
        "'",
        "\"",
        "$",
        "!!",
        "&& touch pwned",
        "| touch pwned",
        "\u{1F980}",
        "~",
        "{}",
        "{/}",
        "#",
        "\t",
        "",
        "\r\n",
        "$'\\x41'",
        "%s%n",
    ];

    #[test]
    fn nasty_payload_stays_one_word_in_every_kind_of_place() {
        let folder = tempfile::tempdir().unwrap();
        let scripts = [
            "printf '[%s]' {}",
            "printf '[%s]' \"{}\"",
            "printf '[%s]' '{}'",
            "printf '[%s]' a{}b",
            "printf '[%s]' \"$(printf '%s.' {})\"",
            "printf '[%s]' \"`printf '%s.' {}`\"",
            "f() { printf '[%s]' {}; }; f other # don't",
            "printf '[%s]' \"$(x() (printf %s. \"{}\"); x)\"",
        ];
        for script in scripts {
            for payload in NASTY {
                let mut command = Template::shell(script).command(payload.as_bytes()).unwrap();
                let output = command.current_dir(&folder).output().unwrap();
                let found = String::from_utf8(output.stdout).unwrap();
                let expected = match script {
                    s if s.contains("a{}b") => format!("[a{payload}b]"),
                    s if s.contains("%s.") => format!("[{payload}.]"),
                    _ => format!("[{payload}]"),
                };
                assert_eq!(found, expected, "{script}");
            }
        }
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0, "a payload became code");
    }

    #[test]
    fn escaped_place_is_left_to_the_shell() {
        assert_eq!(run(&Template::shell("printf %s \\{}"), b"payload"), b"{}");
    }

    #[test]
    fn words_go_to_the_program_as_they_are() {
        let template = Template::words("printf '[%s]' {} 'a b' x{/}y").unwrap();
        for payload in NASTY.iter().filter(|payload| !payload.contains('/')) {
            let expected = format!("[{payload}][a b][x{payload}y]");
            assert_eq!(run(&template, payload.as_bytes()), expected.as_bytes());
        }
    }

    #[test]
    fn command_that_cannot_be_split_is_refused() {
        for command in ["", "  ", "echo 'open", "{} now", "./{/}"] {
            assert!(matches!(Template::words(command), Err(Error::Invalid(_))), "{command}");
        }
    }

    #[test]
    fn payload_that_cannot_be_an_argument_is_a_dead_letter() {
        let long = vec![b'x'; ARGUMENT_BYTES_MAX + 1];
        for payload in [&b"a\0b"[..], &long] {
            let dead = Template::shell("true {}").command(payload);
            let Err(JobError::Dead { failure }) = dead else { panic!("{dead:?}") };
            assert_eq!(failure.kind, "bad-payload");
            assert!(Template::shell("cat").command(payload).is_ok());
        }
        let longest = vec![b'x'; ARGUMENT_BYTES_MAX];
        assert_eq!(run(&Template::shell("printf %s {}"), &longest), longest);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn any_bytes_come_back_exactly(payload in proptest::collection::vec(1_u8.., 0..64)) {
            prop_assert_eq!(&run(&Template::shell("printf %s {}"), &payload), &payload);
        }
    }
}
