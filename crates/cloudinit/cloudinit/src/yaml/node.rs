//! The tree of a document: values with locations, and normalized keys.
//!
//! Independent of cloud-config. Nodes are shared, so that aliases need no copy.

use std::collections::HashMap;
use std::sync::Arc;

use super::scalar::{Scalar, ScalarType};

/// Mappings with more entries are indexed.
const INDEX_THRESHOLD: usize = 8;

/// A location in the text; line and column start at 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    pub line: u32,
    pub column: u32,
}

impl Location {
    pub const START: Self = Self { line: 1, column: 1 };
}

/// The size of a node with all aliases expanded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Weight {
    pub nodes: u64,
    pub bytes: u64,
}

#[derive(Debug, Clone)]
pub struct Node {
    pub location: Location,
    pub value: Value,
    pub(super) weight: Weight,
}

#[derive(Debug, Clone)]
pub enum Value {
    Scalar(Scalar),
    List(Vec<Item>),
    Mapping(Mapping),
}

/// A list item, located at its dash, or at its value in a flow list.
#[derive(Debug, Clone)]
pub struct Item {
    pub location: Location,
    pub node: Arc<Node>,
}

#[derive(Debug, Clone)]
pub struct Entry {
    /// With `_` for each `-`.
    pub key: Arc<str>,
    /// The key as written: some keys are names.
    pub raw_key: Arc<str>,
    /// The location of the key.
    pub location: Location,
    pub node: Arc<Node>,
}

#[derive(Debug, Clone, Default)]
pub struct Mapping {
    entries: Vec<Entry>,
    index: Option<HashMap<Arc<str>, usize>>,
}

impl Mapping {
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.position(key).map(|at| &self.entries[at])
    }

    fn position(&self, key: &str) -> Option<usize> {
        match &self.index {
            Some(index) => index.get(key).copied(),
            None => self.entries.iter().position(|entry| &*entry.key == key),
        }
    }

    /// Adds an entry. Duplicate keys are merged (contract 1.3): mappings by key, lists by appending, and the
    /// last value of other types wins. Returns the location of the first entry.
    pub(super) fn add(&mut self, entry: Entry) -> Option<Location> {
        if let Some(at) = self.position(&entry.key) {
            let first = &mut self.entries[at];
            let location = first.location;
            merge(first, entry);
            return Some(location);
        }
        if let Some(index) = &mut self.index {
            index.insert(entry.key.clone(), self.entries.len());
        }
        self.entries.push(entry);
        if self.index.is_none() && self.entries.len() > INDEX_THRESHOLD {
            self.index =
                Some(self.entries.iter().enumerate().map(|(at, entry)| (entry.key.clone(), at)).collect());
        }
        None
    }
}

fn merge(first: &mut Entry, second: Entry) {
    match (&first.node.value, &second.node.value) {
        (Value::Mapping(_), Value::Mapping(more)) => {
            if let Value::Mapping(mapping) = &mut Arc::make_mut(&mut first.node).value {
                for entry in more.entries() {
                    mapping.add(entry.clone());
                }
            }
        }
        (Value::List(_), Value::List(more)) => {
            if let Value::List(list) = &mut Arc::make_mut(&mut first.node).value {
                list.extend(more.iter().cloned());
            }
        }
        _ => *first = second,
    }
}

impl Node {
    pub fn mapping(&self) -> Option<&Mapping> {
        match &self.value {
            Value::Mapping(mapping) => Some(mapping),
            _ => None,
        }
    }

    pub fn list(&self) -> Option<&[Item]> {
        match &self.value {
            Value::List(list) => Some(list),
            _ => None,
        }
    }

    pub fn scalar(&self) -> Option<&Scalar> {
        match &self.value {
            Value::Scalar(scalar) => Some(scalar),
            _ => None,
        }
    }

    pub fn is_null(&self) -> bool {
        self.scalar().is_some_and(|scalar| scalar.resolve() == ScalarType::Null)
    }
}
