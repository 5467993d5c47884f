//! XML parsing with accessors for the protocol's attributes.

use std::str::FromStr;

use roxmltree::{Document, Node, ParsingOptions};

use crate::digest::Sha256;
use crate::error::{Position, ReadError};
use crate::limits::NODES;

/// Characters of an invalid value in an error.
const EXCERPT: usize = 80;

/// Parses a document and passes its root element to `read`.
pub(crate) fn document<T>(
    text: &[u8],
    limit: usize,
    root: &'static str,
    read: impl FnOnce(Element<'_, '_>) -> Result<T, ReadError>,
) -> Result<T, ReadError> {
    if text.len() > limit {
        return Err(ReadError::Large { bytes: text.len(), limit });
    }
    let text =
        std::str::from_utf8(text).map_err(|error| ReadError::NotUtf8 { valid: error.valid_up_to() })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim().is_empty() {
        return Err(ReadError::Empty);
    }
    // Disabled by default; explicit because security depends on it.
    let options = ParsingOptions { allow_dtd: false, nodes_limit: NODES, ..ParsingOptions::default() };
    let document = Document::parse_with_options(text, options).map_err(|error| {
        let position = Position { line: error.pos().row, column: error.pos().col };
        ReadError::Xml { position, why: excerpt(&error.to_string()) }
    })?;
    let element = Element { node: document.root_element() };
    if element.name() != root {
        let (position, found) = (element.position(), excerpt(element.name()));
        return Err(ReadError::Root { position, expected: root, found });
    }
    read(element)
}

fn excerpt(text: &str) -> String {
    text.chars().take(EXCERPT).collect()
}

#[derive(Clone, Copy)]
pub(crate) struct Element<'a, 'input> {
    node: Node<'a, 'input>,
}

impl<'a, 'input: 'a> Element<'a, 'input> {
    pub fn name(self) -> &'a str {
        self.node.tag_name().name()
    }

    pub fn position(self) -> Position {
        let at = self.node.document().text_pos_at(self.node.range().start);
        Position { line: at.row, column: at.col }
    }

    pub fn children(self, name: &'static str) -> impl Iterator<Item = Element<'a, 'input>> {
        let all =
            self.node.children().filter(move |node| node.is_element() && node.tag_name().name() == name);
        all.map(|node| Element { node })
    }

    pub fn child(self, name: &'static str) -> Option<Element<'a, 'input>> {
        self.children(name).next()
    }

    /// All children with this name, at most `limit`.
    pub fn list<T>(
        self,
        name: &'static str,
        limit: usize,
        read: impl Fn(Element<'a, 'input>) -> Result<T, ReadError>,
    ) -> Result<Vec<T>, ReadError> {
        if let Some(excess) = self.children(name).nth(limit) {
            return Err(ReadError::Many { position: excess.position(), element: name, limit });
        }
        self.children(name).map(read).collect()
    }

    pub fn attribute_text(self, attribute: &'static str) -> Option<&'a str> {
        self.node.attribute(attribute)
    }

    /// Empty if the attribute is missing.
    pub fn text(self, attribute: &'static str) -> String {
        self.attribute_text(attribute).unwrap_or_default().to_owned()
    }

    pub fn number<T: FromStr>(self, attribute: &'static str) -> Result<Option<T>, ReadError> {
        self.value(attribute, "not a number in range", |text| text.trim().parse().ok())
    }

    pub fn digest(self, attribute: &'static str) -> Result<Option<Sha256>, ReadError> {
        let why = "expected 64 hexadecimal digits or 44 characters of base64";
        self.value(attribute, why, |text| text.trim().parse().ok())
    }

    /// Only `true` is true, as in update_engine.
    pub fn is_true(self, attribute: &'static str) -> bool {
        self.attribute_text(attribute) == Some("true")
    }

    /// `None` if the attribute is missing or empty.
    pub fn value<T>(
        self,
        attribute: &'static str,
        why: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, ReadError> {
        let Some(text) = self.attribute_text(attribute).filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        match read(text) {
            Some(value) => Ok(Some(value)),
            None => {
                let (position, element) = (self.position(), self.name().to_owned());
                Err(ReadError::Attribute { position, element, attribute, text: excerpt(text), why })
            }
        }
    }

    pub fn missing(self, attribute: &'static str) -> ReadError {
        ReadError::Missing { position: self.position(), element: self.name().to_owned(), attribute }
    }
}
