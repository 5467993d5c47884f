//! XML as tree, with what a reader of the protocol asks of it.

use std::str::FromStr;

use roxmltree::{Document, Node, ParsingOptions};

use crate::digest::Sha256;
use crate::error::{Place, ReadError};
use crate::limits::NODES;

/// How much of a value that is no good is told.
const TOLD: usize = 80;

/// Parses it, and gives its outermost element to `read`.
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
    // No DTD is the default; said here because everything hangs on it.
    let options = ParsingOptions { allow_dtd: false, nodes_limit: NODES, ..ParsingOptions::default() };
    let document = Document::parse_with_options(text, options).map_err(|error| {
        let place = Place { line: error.pos().row, column: error.pos().col };
        ReadError::Xml { place, why: short(&error.to_string()) }
    })?;
    let element = Element { node: document.root_element() };
    if element.name() != root {
        let (place, found) = (element.place(), short(element.name()));
        return Err(ReadError::Root { place, expected: root, found });
    }
    read(element)
}

fn short(text: &str) -> String {
    text.chars().take(TOLD).collect()
}

#[derive(Clone, Copy)]
pub(crate) struct Element<'a, 'input> {
    node: Node<'a, 'input>,
}

impl<'a, 'input: 'a> Element<'a, 'input> {
    pub fn name(self) -> &'a str {
        self.node.tag_name().name()
    }

    pub fn place(self) -> Place {
        let at = self.node.document().text_pos_at(self.node.range().start);
        Place { line: at.row, column: at.col }
    }

    pub fn children(self, name: &'static str) -> impl Iterator<Item = Element<'a, 'input>> {
        let all =
            self.node.children().filter(move |node| node.is_element() && node.tag_name().name() == name);
        all.map(|node| Element { node })
    }

    pub fn child(self, name: &'static str) -> Option<Element<'a, 'input>> {
        self.children(name).next()
    }

    /// All children of that name, if there are no more than `limit`.
    pub fn list<T>(
        self,
        name: &'static str,
        limit: usize,
        read: impl Fn(Element<'a, 'input>) -> Result<T, ReadError>,
    ) -> Result<Vec<T>, ReadError> {
        if let Some(one_too_many) = self.children(name).nth(limit) {
            return Err(ReadError::Many { place: one_too_many.place(), element: name, limit });
        }
        self.children(name).map(read).collect()
    }

    pub fn given(self, attribute: &'static str) -> Option<&'a str> {
        self.node.attribute(attribute)
    }

    /// Empty where it is not there.
    pub fn text(self, attribute: &'static str) -> String {
        self.given(attribute).unwrap_or_default().to_owned()
    }

    pub fn number<T: FromStr>(self, attribute: &'static str) -> Result<Option<T>, ReadError> {
        self.value(attribute, "it is no such number", |text| text.trim().parse().ok())
    }

    pub fn digest(self, attribute: &'static str) -> Result<Option<Sha256>, ReadError> {
        let why = "it is neither 64 hexadecimal digits nor 44 characters of base64";
        self.value(attribute, why, |text| text.trim().parse().ok())
    }

    /// Only `true` is true, as update_engine reads it.
    pub fn is_true(self, attribute: &'static str) -> bool {
        self.given(attribute) == Some("true")
    }

    /// An empty one counts as not there.
    pub fn value<T>(
        self,
        attribute: &'static str,
        why: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, ReadError> {
        let Some(text) = self.given(attribute).filter(|text| !text.is_empty()) else { return Ok(None) };
        match read(text) {
            Some(value) => Ok(Some(value)),
            None => {
                let (place, element) = (self.place(), self.name().to_owned());
                Err(ReadError::Attribute { place, element, attribute, text: short(text), why })
            }
        }
    }

    pub fn missing(self, attribute: &'static str) -> ReadError {
        ReadError::Missing { place: self.place(), element: self.name().to_owned(), attribute }
    }
}
