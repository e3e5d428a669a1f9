//! The elements of a message, one after the other.
//!
//! Not what they mean.

use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesRef, Event};

use super::{XmlError, shortened};

/// The tags of a message, with the text before each.
pub(super) struct Scanner<'a> {
    reader: Reader<&'a [u8]>,
    /// What stands between the last two tags, references resolved.
    pub(super) text: String,
}

/// Where an element begins or ends, or the message does.
#[derive(Clone, Copy)]
pub(super) enum Tag {
    Open(&'static str),
    Close(&'static str),
    End,
}

/// Those of structure and those of a type.
const ELEMENTS: &str = "value data member name param params array struct string int boolean nil \
    double base64 i1 i2 i4 i8 biginteger float dateTime.iso8601";

impl<'a> Scanner<'a> {
    pub(super) fn new(message: &'a str) -> Self {
        let mut reader = Reader::from_str(message);
        reader.config_mut().expand_empty_elements = true;
        Self { reader, text: String::new() }
    }

    /// The next tag. Text is only in front of a closing one.
    pub(super) fn tag(&mut self) -> Result<Tag, XmlError> {
        self.text.clear();
        let tag = loop {
            let event = self.reader.read_event().map_err(|error| XmlError::NotXml {
                position: self.reader.error_position(),
                problem: shortened(&error.to_string()),
            })?;
            let kind = match event {
                Event::Text(text) => {
                    self.text.push_str(&text.xml10_content());
                    continue;
                }
                Event::GeneralRef(reference) => {
                    self.text.push_str(character(&reference)?.encode_utf8(&mut [0; 4]));
                    continue;
                }
                // Its attributes are a part of it, and nothing known has any.
                Event::Start(start) => break Tag::Open(known(start.trim_ascii_end())?),
                Event::End(end) => return Ok(Tag::Close(known(end.trim_ascii_end())?)),
                Event::Eof => break Tag::End,
                Event::Empty(_) => "an empty element",
                Event::CData(_) => "a CDATA section",
                Event::Comment(_) => "a comment",
                Event::Decl(_) => "an XML declaration",
                Event::PI(_) => "a processing instruction",
                Event::DocType(_) => "a document type",
            };
            return Err(XmlError::Markup { kind, position: self.reader.buffer_position() });
        };
        self.check_blank()?;
        Ok(tag)
    }

    fn check_blank(&self) -> Result<(), XmlError> {
        match self.text.trim_ascii() {
            "" => Ok(()),
            stray => Err(XmlError::StrayText(shortened(stray))),
        }
    }

    pub(super) fn open(&mut self, element: &'static str) -> Result<(), XmlError> {
        match self.tag()? {
            Tag::Open(found) if found == element => Ok(()),
            tag => self.misplaced(tag, element),
        }
    }

    /// The end of an element that has no text after its last child.
    pub(super) fn close(&mut self, element: &'static str) -> Result<(), XmlError> {
        self.text_of(element)?;
        self.check_blank()
    }

    /// The text up to the end of an element.
    pub(super) fn text_of(&mut self, element: &'static str) -> Result<&str, XmlError> {
        match self.tag()? {
            Tag::Close(found) if found == element => Ok(&self.text),
            tag => self.misplaced(tag, "the end of the element"),
        }
    }

    pub(super) fn end(&mut self) -> Result<(), XmlError> {
        match self.tag()? {
            Tag::End => Ok(()),
            tag => self.misplaced(tag, "the end of the message"),
        }
    }

    pub(super) fn misplaced<T>(&self, tag: Tag, expected: &'static str) -> Result<T, XmlError> {
        let found = match tag {
            Tag::Open(element) => format!("<{element}>"),
            Tag::Close(element) => format!("</{element}>"),
            Tag::End => "the end of the message".to_owned(),
        };
        let position = self.reader.buffer_position();
        Err(XmlError::Misplaced { found, expected, position })
    }
}

/// The element of this name.
pub(super) fn known(name: &str) -> Result<&'static str, XmlError> {
    let known = ELEMENTS.split(' ').find(|element| *element == name);
    known.ok_or_else(|| XmlError::UnknownElement(shortened(name)))
}

/// What a reference stands for: one of the five predefined entities is one character too.
fn character(reference: &BytesRef<'_>) -> Result<char, XmlError> {
    let unknown = || XmlError::UnknownReference(shortened(reference));
    let character = match reference.resolve_char_ref().map_err(|_| unknown())? {
        Some(character) => Some(character),
        None => resolve_predefined_entity(reference).and_then(|text| text.chars().next()),
    };
    let character = character.ok_or_else(unknown)?;
    if is_in_xml(character) { Ok(character) } else { Err(XmlError::Character(character)) }
}

/// Production 2 of XML 1.0, which the library does not check.
const fn is_in_xml(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..)
}

pub(super) fn check_characters(text: &str) -> Result<(), XmlError> {
    text.chars().find(|c| !is_in_xml(*c)).map_or(Ok(()), |c| Err(XmlError::Character(c)))
}
