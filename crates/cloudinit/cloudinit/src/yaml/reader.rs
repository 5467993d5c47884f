//! Builds the tree from events: resolves anchors, merge keys and duplicate keys, and enforces limits against
//! alias bombs.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::event::{Event, ParseError, Parser, Position, ScalarEvent};
use super::lines::Lines;
use super::node::{Entry, Item, Location, Mapping, Node, Value, Weight};
use super::scalar::{Scalar, ScalarType, Tag};
use crate::limits::{
    MAX_ALIASED_BYTES, MAX_EXPANSION, MAX_FINDINGS, MAX_YAML_DEPTH, MAX_YAML_NODES, MIN_EXPANDED_NODES,
};

/// The reason why a text is not a valid document. `Display` has the parser's message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {}: {message}", location.line)]
pub struct ReadError {
    pub location: Location,
    pub message: String,
}

/// A deviation between the text and how it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    pub location: Location,
    pub message: String,
}

#[derive(Debug)]
pub struct Document {
    /// `None` for an empty document.
    pub root: Option<Arc<Node>>,
    pub notes: Vec<Note>,
}

/// Reads the first document of `text`.
///
/// # Errors
/// The first location where `text` is not valid YAML, or exceeds a limit.
pub fn read(text: &[u8]) -> Result<Document, ReadError> {
    Reader::new(text, false).document()
}

/// Reads `text` up to its first error: open collections are closed there, and a key without value is dropped.
/// Returns `None` if the error precedes the root.
pub fn read_until_error(text: &[u8]) -> Option<Arc<Node>> {
    Reader::new(text, true).document().ok()?.root
}

struct Reader<'text> {
    parser: Parser<'text>,
    text: &'text [u8],
    lines: Lines<'text>,
    /// `None` while the anchored value is being read.
    anchors: HashMap<String, Option<Arc<Node>>>,
    notes: Vec<Note>,
    /// Values in the text.
    written_nodes: u64,
    /// Values with aliases expanded.
    expanded_nodes: u64,
    aliased_bytes: u64,
    /// Whether an error closes the open collections instead of discarding them.
    keep_partial: bool,
    stopped: Option<ReadError>,
}

impl<'text> Reader<'text> {
    fn new(text: &'text [u8], keep_partial: bool) -> Self {
        Self {
            parser: Parser::new(text),
            text,
            lines: Lines::new(text),
            anchors: HashMap::new(),
            notes: Vec::new(),
            written_nodes: 0,
            expanded_nodes: 0,
            aliased_bytes: 0,
            keep_partial,
            stopped: None,
        }
    }

    fn document(mut self) -> Result<Document, ReadError> {
        let root = loop {
            match self.next()? {
                (Event::DocumentStart, _) => {
                    let (event, position) = self.next()?;
                    break Some(self.node(event, position, 1)?);
                }
                (Event::StreamEnd, _) => break None,
                _ => {}
            }
        };
        if root.is_some() && self.stopped.is_none() {
            self.after_document().or_else(|error| self.stop(error))?;
        }
        Ok(Document { root, notes: self.notes })
    }

    /// Content after the first document is ignored, with a note.
    fn after_document(&mut self) -> Result<(), ReadError> {
        loop {
            match self.next()? {
                (Event::DocumentStart, position) => {
                    self.note(location(position), "only the first YAML document is used".to_owned());
                    return Ok(());
                }
                (Event::StreamEnd, _) => return Ok(()),
                _ => {}
            }
        }
    }

    /// Must not call the parser again after an error.
    fn next(&mut self) -> Result<(Event, Position), ReadError> {
        if let Some(error) = &self.stopped {
            return Err(error.clone());
        }
        self.parser.next().map_err(|problem| read_error(self.text, problem))
    }

    /// Returns `error` unless the partial collection is kept.
    fn stop(&mut self, error: ReadError) -> Result<(), ReadError> {
        if !self.keep_partial {
            return Err(error);
        }
        self.stopped = Some(error);
        Ok(())
    }

    fn node(&mut self, event: Event, position: Position, depth: usize) -> Result<Arc<Node>, ReadError> {
        if depth > MAX_YAML_DEPTH {
            return Err(error(position, format!("document is nested deeper than {MAX_YAML_DEPTH} levels")));
        }
        self.count(position)?;
        let (anchor, node) = match event {
            Event::Alias(anchor) => return self.alias(&anchor, position),
            Event::Scalar(scalar) => (scalar.anchor.clone(), scalar_node(scalar, position)?),
            Event::SequenceStart { anchor } => {
                self.open(anchor.as_ref());
                (anchor, self.list(position, depth)?)
            }
            Event::MappingStart { anchor } => {
                self.open(anchor.as_ref());
                (anchor, self.mapping(position, depth)?)
            }
            other => return Err(error(position, format!("unexpected {other:?}"))),
        };
        let node = Arc::new(node);
        if let Some(anchor) = anchor {
            self.anchors.insert(anchor, Some(node.clone()));
        }
        Ok(node)
    }

    fn count(&mut self, position: Position) -> Result<(), ReadError> {
        self.written_nodes += 1;
        self.expanded_nodes += 1;
        if self.written_nodes > MAX_YAML_NODES {
            return Err(error(position, format!("document has more than {MAX_YAML_NODES} values")));
        }
        Ok(())
    }

    fn open(&mut self, anchor: Option<&String>) {
        if let Some(anchor) = anchor {
            self.anchors.insert(anchor.clone(), None);
        }
    }

    fn alias(&mut self, anchor: &str, position: Position) -> Result<Arc<Node>, ReadError> {
        let node = match self.anchors.get(anchor) {
            None => return Err(error(position, format!("Unknown anchor '{anchor}' referenced"))),
            Some(None) => return Err(error(position, format!("Anchor '{anchor}' value contains itself"))),
            Some(Some(node)) => node.clone(),
        };
        self.expanded_nodes = self.expanded_nodes.saturating_add(node.weight.nodes);
        self.aliased_bytes = self.aliased_bytes.saturating_add(node.weight.bytes);
        let allowed = MIN_EXPANDED_NODES.max(self.written_nodes * MAX_EXPANSION);
        if self.expanded_nodes > allowed || self.aliased_bytes > MAX_ALIASED_BYTES {
            return Err(error(position, "document contains excessive aliasing".to_owned()));
        }
        Ok(node)
    }

    fn list(&mut self, position: Position, depth: usize) -> Result<Node, ReadError> {
        let mut list = Vec::new();
        let mut weight = Weight { nodes: 1, bytes: 0 };
        loop {
            match self.item(position, depth) {
                Ok(Some(item)) => {
                    weight = weight.plus(item.node.weight);
                    list.push(item);
                }
                Ok(None) => break,
                Err(error) => {
                    self.stop(error)?;
                    break;
                }
            }
        }
        Ok(Node { location: location(position), value: Value::List(list), weight })
    }

    fn item(&mut self, list: Position, depth: usize) -> Result<Option<Item>, ReadError> {
        let (event, at) = self.next()?;
        if matches!(event, Event::SequenceEnd) {
            return Ok(None);
        }
        let node = self.node(event, at, depth + 1)?;
        Ok(Some(Item { location: location(self.lines.dash(list, at)), node }))
    }

    fn mapping(&mut self, position: Position, depth: usize) -> Result<Node, ReadError> {
        let mut mapping = Mapping::default();
        let mut merges = Vec::new();
        let mut weight = Weight { nodes: 1, bytes: 0 };
        loop {
            match self.pair(depth) {
                Ok(Some(pair)) => {
                    weight = weight.plus(pair.key.weight).plus(pair.node.weight);
                    if pair.is_merge {
                        merges.push((pair.node, pair.at));
                    } else {
                        self.add(&mut mapping, pair);
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    self.stop(error)?;
                    break;
                }
            }
        }
        for (source, at) in merges {
            merge_into(&mut mapping, &source, at).or_else(|error| self.stop(error))?;
        }
        Ok(Node { location: location(position), value: Value::Mapping(mapping), weight })
    }

    fn pair(&mut self, depth: usize) -> Result<Option<Pair>, ReadError> {
        let (event, at) = self.next()?;
        if matches!(event, Event::MappingEnd) {
            return Ok(None);
        }
        let is_merge = matches!(&event, Event::Scalar(key) if key.plain && key.text == "<<");
        let key = self.node(event, at, depth + 1)?;
        let (event, value_at) = self.next()?;
        let node = self.node(event, value_at, depth + 1)?;
        Ok(Some(Pair { key, is_merge, at, node }))
    }

    fn add(&mut self, mapping: &mut Mapping, pair: Pair) {
        let Some(key) = pair.key.scalar() else {
            self.note(location(pair.at), "a key must be plain text; this entry is ignored".to_owned());
            return;
        };
        let text: Arc<str> = key.text.replace('-', "_").into();
        let raw_key = key.text.clone();
        let entry = Entry { key: text.clone(), raw_key, location: location(pair.at), node: pair.node };
        if let Some(first) = mapping.add(entry) {
            let message = format!("duplicate key \"{text}\" (first at line {})", first.line);
            self.note(location(pair.at), message);
        }
    }

    fn note(&mut self, location: Location, message: String) {
        if self.notes.len() < MAX_FINDINGS {
            self.notes.push(Note { location, message });
        }
    }
}

/// An entry of a mapping, before keys are normalized.
struct Pair {
    key: Arc<Node>,
    is_merge: bool,
    at: Position,
    node: Arc<Node>,
}

impl Weight {
    fn plus(self, other: Self) -> Self {
        Self { nodes: self.nodes.saturating_add(other.nodes), bytes: self.bytes.saturating_add(other.bytes) }
    }
}

/// Merges `<<`: the mapping's own entries win, then earlier sources.
fn merge_into(mapping: &mut Mapping, source: &Node, at: Position) -> Result<(), ReadError> {
    match &source.value {
        Value::Mapping(more) => {
            for entry in more.entries() {
                if mapping.get(&entry.key).is_none() {
                    mapping.add(entry.clone());
                }
            }
            Ok(())
        }
        Value::List(list) if list.iter().all(|item| item.node.mapping().is_some()) => {
            list.iter().try_for_each(|item| merge_into(mapping, &item.node, at))
        }
        _ => Err(error(at, "map merge requires map or sequence of maps as the value".to_owned())),
    }
}

fn scalar_node(event: ScalarEvent, position: Position) -> Result<Node, ReadError> {
    let tag = event.tag.as_deref().and_then(Tag::parse);
    let binary = if tag == Some(Tag::Binary) {
        let text: String = event.text.split_ascii_whitespace().collect();
        let bytes = STANDARD
            .decode(text)
            .map_err(|_| error(position, "!!binary value contains invalid base64 data".to_owned()))?;
        Some(Arc::from(bytes))
    } else {
        None
    };
    let weight = Weight { nodes: 1, bytes: event.text.len() as u64 };
    let scalar = Scalar { text: event.text.into(), binary, plain: event.plain, tag };
    debug_assert!(tag.is_some() || scalar.plain || scalar.resolve() == ScalarType::Text);
    Ok(Node { location: location(position), value: Value::Scalar(scalar), weight })
}

fn location(position: Position) -> Location {
    let one_based = |number: usize| u32::try_from(number.saturating_add(1)).unwrap_or(u32::MAX);
    Location { line: one_based(position.line), column: one_based(position.column) }
}

fn error(position: Position, message: String) -> ReadError {
    ReadError { location: location(position), message }
}

/// Restricts the position to the text, and explains tabs in the indentation.
fn read_error(text: &[u8], problem: ParseError) -> ReadError {
    let mut position = problem.position.unwrap_or_else(|| position_of(text, problem.offset));
    let last = text.iter().filter(|byte| **byte == b'\n').count();
    let lines = last + usize::from(text.last().is_some_and(|byte| *byte != b'\n'));
    if position.line >= lines.max(1) {
        position = Position { line: lines.max(1) - 1, column: 0 };
    }
    let line = text.split(|byte| *byte == b'\n').nth(position.line).unwrap_or_default();
    let indentation: Vec<u8> = line.iter().copied().take_while(|byte| matches!(byte, b' ' | b'\t')).collect();
    let mut message = problem.message;
    if let Some(column) = indentation.iter().position(|byte| *byte == b'\t') {
        message.push_str(" (tabs cannot be used for indentation)");
        position.column = column;
    }
    error(position, message)
}

fn position_of(text: &[u8], offset: usize) -> Position {
    let before = &text[..offset.min(text.len())];
    let line = before.iter().filter(|byte| **byte == b'\n').count();
    let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    Position { line, column: String::from_utf8_lossy(&before[start..]).chars().count() }
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
