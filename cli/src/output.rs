//! How everything is written: data to standard output in one of four formats, talk to standard
//! error.
//!
//! Not what is written: each noun says its columns and its JSON.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};

use anstyle::{AnsiColor, Style};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytesize::ByteSize;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use ganger_shared::Time;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::args::{Format, Show};
use crate::exit::{Failure, Result};
use crate::values;

/// The version of every JSON shape; told as `"v"` in each document and each line.
pub(crate) const VERSION: u32 = 1;

const BOLD: Style = Style::new().bold();
const RED: Style = AnsiColor::Red.on_default().bold();
const YELLOW: Style = AnsiColor::Yellow.on_default();
const DIM: Style = Style::new().dimmed();

/// One value of a table.
#[derive(Clone, Debug)]
pub(crate) enum Cell {
    /// For people and programs alike.
    Text(String),
    Number(u64),
    /// `1.5 GiB`, or the number of bytes.
    Bytes(u64),
    /// `3 s ago`, or RFC 3339.
    Time(Time),
    /// `1m 30s`, or milliseconds.
    Millis(u64),
    Nothing,
}

impl Cell {
    pub(crate) fn text(text: impl ToString) -> Self {
        Self::Text(text.to_string())
    }

    pub(crate) fn time(time: Option<Time>) -> Self {
        time.map_or(Self::Nothing, Self::Time)
    }

    /// Words with commas between.
    pub(crate) fn list(words: &[String]) -> Self {
        if words.is_empty() { Self::Nothing } else { Self::Text(words.join(",")) }
    }

    fn for_people(&self, now: Time) -> String {
        match self {
            Self::Text(text) => printable(text),
            Self::Number(number) => grouped(*number),
            Self::Bytes(bytes) => ByteSize(*bytes).to_string(),
            Self::Time(time) if *time > now => format!("in {}", span(time.since(now).as_millis())),
            Self::Time(time) => format!("{} ago", span(now.since(*time).as_millis())),
            Self::Millis(millis) => span(u128::from(*millis)),
            Self::Nothing => "-".to_owned(),
        }
    }

    fn for_programs(&self) -> String {
        match self {
            Self::Text(text) => escaped(text),
            Self::Number(number) | Self::Bytes(number) | Self::Millis(number) => number.to_string(),
            Self::Time(time) => rfc3339(*time).unwrap_or_default(),
            Self::Nothing => String::new(),
        }
    }

    const fn alignment(&self) -> CellAlignment {
        match self {
            Self::Number(_) | Self::Bytes(_) | Self::Millis(_) => CellAlignment::Right,
            Self::Text(_) | Self::Time(_) | Self::Nothing => CellAlignment::Left,
        }
    }
}

/// How a row looks to people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    /// Something a person may want to look at.
    Warn,
    /// Something went wrong.
    Bad,
    /// Not of interest.
    Faint,
}

/// A column of a table: its head, and the cell it makes of an item.
pub(crate) struct Column<T: ?Sized> {
    pub(crate) head: &'static str,
    pub(crate) cell: fn(&T) -> Cell,
}

/// Where a command writes its data.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) format: Format,
}

impl Output {
    pub(crate) fn new(show: &Show) -> Self {
        let terminal = io::stdout().is_terminal();
        let automatic = if terminal { Format::Table } else { Format::Plain };
        Self { format: show.output.unwrap_or(automatic) }
    }

    /// Whether programs read it and not people.
    pub(crate) fn is_json(&self) -> bool {
        matches!(self.format, Format::Json | Format::Ndjson)
    }

    /// Items of one kind. `key` names them in a JSON document; `tone` colours them for people.
    pub(crate) fn list<T>(
        &self,
        key: &str,
        items: &[T],
        columns: &[Column<T>],
        json: impl Fn(&T) -> Value,
        tone: impl Fn(&T) -> Tone,
    ) -> Result {
        match self.format {
            Format::Table => print(&table(items, columns, tone)),
            Format::Plain => {
                let mut text = String::new();
                for item in items {
                    let cells = columns.iter().map(|column| (column.cell)(item).for_programs());
                    text.push_str(&cells.collect::<Vec<_>>().join("\t"));
                    text.push('\n');
                }
                print(&text)
            }
            Format::Json => {
                let items: Vec<Value> = items.iter().map(json).collect();
                self.document(&[(key, Value::Array(items))])
            }
            Format::Ndjson => {
                let mut text = String::new();
                for item in items {
                    let _ = writeln!(text, "{}", versioned(json(item)));
                }
                print(&text)
            }
        }
    }

    /// One thing: a line for each of its fields.
    pub(crate) fn one<T: ?Sized>(&self, item: &T, fields: &[Column<T>], json: &Value) -> Result {
        match self.format {
            Format::Table => {
                let now = values::now();
                let width = fields.iter().map(|field| field.head.len()).max().unwrap_or(0) + 2;
                let mut text = String::new();
                for field in fields {
                    let cell = (field.cell)(item);
                    if !matches!(cell, Cell::Nothing) {
                        let head = field.head;
                        let cell = cell.for_people(now);
                        let _ = writeln!(text, "{BOLD}{head:width$}{BOLD:#}{cell}");
                    }
                }
                print(&text)
            }
            Format::Plain => {
                let mut text = String::new();
                for field in fields {
                    let cell = (field.cell)(item).for_programs();
                    let head = field.head.to_lowercase().replace(' ', "_");
                    let _ = writeln!(text, "{head}\t{cell}");
                }
                print(&text)
            }
            Format::Json | Format::Ndjson => print(&format!("{}\n", versioned(json.clone()))),
        }
    }

    /// A JSON document of these parts.
    pub(crate) fn document(&self, parts: &[(&str, Value)]) -> Result {
        let object: Map<String, Value> =
            parts.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
        print(&format!("{}\n", versioned(Value::Object(object))))
    }

    /// What a verb that changes something has done: a sentence for people, a count for programs.
    pub(crate) fn done(&self, quiet: bool, sentence: &str, count: u64) -> Result {
        match self.format {
            Format::Table | Format::Plain => {
                if !quiet {
                    note(sentence);
                }
                Ok(())
            }
            Format::Json | Format::Ndjson => self.document(&[("count", count.into())]),
        }
    }
}

/// An aligned table with a header; nothing but the header where there are no items.
fn table<T>(items: &[T], columns: &[Column<T>], tone: impl Fn(&T) -> Tone) -> String {
    let now = values::now();
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(columns.iter().map(|column| column.head));
    for item in items {
        table.add_row(columns.iter().map(|column| (column.cell)(item).for_people(now)));
    }
    if let Some(first) = items.first() {
        for (column, shown) in columns.iter().zip(table.column_iter_mut()) {
            shown.set_cell_alignment((column.cell)(first).alignment());
            shown.set_padding((0, 2));
        }
    }
    let mut text = String::new();
    for (row, line) in table.lines().enumerate() {
        let line = line.trim_end();
        let style = match row.checked_sub(1).and_then(|row| items.get(row)).map(&tone) {
            None => BOLD,
            Some(Tone::Plain) => Style::new(),
            Some(Tone::Warn) => YELLOW,
            Some(Tone::Bad) => RED,
            Some(Tone::Faint) => DIM,
        };
        let _ = writeln!(text, "{style}{line}{style:#}");
    }
    text
}

/// `value` with the version of its shape in front.
pub(crate) fn versioned(value: Value) -> Value {
    let mut object = Map::new();
    object.insert("v".to_owned(), VERSION.into());
    match value {
        Value::Object(fields) => object.extend(fields),
        value => {
            object.insert("value".to_owned(), value);
        }
    }
    Value::Object(object)
}

/// Any of our shapes as JSON.
pub(crate) fn json(value: &impl Serialize) -> Value {
    serde_json::to_value(value).expect("our shapes have text keys and finite numbers")
}

/// Bytes as JSON: text where they are, else base64 under a name that says so.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Shown<'a> {
    Result(&'a str),
    ResultBase64(String),
    Payload(&'a str),
    PayloadBase64(String),
}

impl<'a> Shown<'a> {
    pub(crate) fn result(bytes: &'a [u8]) -> Self {
        let base64 = |_| Self::ResultBase64(BASE64_STANDARD.encode(bytes));
        std::str::from_utf8(bytes).map_or_else(base64, Self::Result)
    }

    pub(crate) fn payload(bytes: &'a [u8]) -> Self {
        let base64 = |_| Self::PayloadBase64(BASE64_STANDARD.encode(bytes));
        std::str::from_utf8(bytes).map_or_else(base64, Self::Payload)
    }
}

/// Writes text that may have colours; they are left out where nobody would see them.
pub(crate) fn print(text: &str) -> Result {
    let mut out = anstream::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(|error| Failure::io("cannot write the output", &error))
}

/// A remark for people.
pub(crate) fn note(text: &str) {
    anstream::eprintln!("{}", printable(text));
}

/// A warning for people.
pub(crate) fn warn(text: &str) {
    anstream::eprintln!("{YELLOW}note:{YELLOW:#} {}", printable(text));
}

/// An error, and what to try next.
pub(crate) fn error(sentence: &str, advice: Option<&str>) {
    anstream::eprintln!("{RED}error:{RED:#} {}", printable(sentence));
    if let Some(advice) = advice {
        anstream::eprintln!("{BOLD}try:{BOLD:#} {}", printable(advice));
    }
}

/// Asks a person who can see the question and answer it; `None` where there is nobody.
pub(crate) fn ask(question: &str) -> Option<bool> {
    if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        return None;
    }
    anstream::eprint!("{} [y/N] ", printable(question));
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).ok()?;
    Some(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

/// Text that can be shown on a terminal: what strangers wrote cannot steer it.
pub(crate) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' | '\r' => shown.extend(c.escape_default()),
            c if c.is_control() => shown.extend(c.escape_default()),
            c => shown.push(c),
        }
    }
    shown
}

/// Text as one field of a tab-separated line.
fn escaped(text: &str) -> String {
    if !text.contains(['\t', '\n', '\r', '\\']) {
        return text.to_owned();
    }
    text.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n").replace('\r', "\\r")
}

/// Bytes as text for people, cut after `max` characters.
pub(crate) fn shown_bytes(bytes: &[u8], max: usize) -> String {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        // The start of a payload may end within a character.
        Err(error) if error.error_len().is_none() => {
            String::from_utf8_lossy(&bytes[..error.valid_up_to()]).into_owned()
        }
        Err(_) => format!("base64:{}", BASE64_STANDARD.encode(bytes)),
    };
    match text.char_indices().nth(max) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// `12,345`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `3.2 s`, `5m 20s`, `2d 3h`: the two largest units.
pub(crate) fn span(millis: u128) -> String {
    let seconds = millis / 1_000;
    match seconds {
        0 => format!("{millis} ms"),
        1..60 => format!("{seconds}.{} s", millis % 1_000 / 100),
        60..3_600 => format!("{}m {}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h {}m", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

/// A moment as programs read it, in UTC; none for one beyond the calendar.
pub(crate) fn rfc3339(time: Time) -> Option<String> {
    let millis = i64::try_from(time.as_millis()).ok()?;
    Some(Timestamp::from_millisecond(millis).ok()?.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_strangers_wrote_cannot_steer_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\nc"), "a\\u{1b}[2Jb\\nc");
        assert_eq!(printable("grün"), "grün");
    }

    #[test]
    fn field_of_a_line_has_no_tabs_and_can_be_read_back() {
        assert_eq!(escaped("a\tb\\t\n"), "a\\tb\\\\t\\n");
    }

    #[test]
    fn bytes_that_are_no_text_say_so_in_their_name() {
        assert_eq!(json(&Shown::result("grün".as_bytes())).to_string(), r#"{"result":"grün"}"#);
        assert_eq!(json(&Shown::payload(&[0xff, 0])).to_string(), r#"{"payload_base64":"/wA="}"#);
    }

    #[test]
    fn times_and_numbers_are_said_as_people_say_them() {
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(grouped(999), "999");
        assert_eq!(span(3_250), "3.2 s");
        assert_eq!(span(90_000), "1m 30s");
        assert_eq!(rfc3339(Time::from_millis(1_000)).unwrap(), "1970-01-01T00:00:01Z");
        assert_eq!(rfc3339(Time::NEVER), None);
    }

    #[test]
    fn table_aligns_numbers_right_and_ends_lines_clean() {
        let columns: [Column<(&str, u64)>; 2] = [
            Column { head: "NAME", cell: |item| Cell::text(item.0) },
            Column { head: "JOBS", cell: |item| Cell::Number(item.1) },
        ];
        let text = table(&[("mail", 5), ("thumbs", 12_000)], &columns, |_| Tone::Plain);
        let plain = anstream::adapter::strip_str(&text).to_string();
        assert_eq!(plain, "NAME      JOBS\nmail         5\nthumbs  12,000\n");
    }
}
