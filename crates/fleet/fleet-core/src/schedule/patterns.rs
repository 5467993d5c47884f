//! An index of patterns by literal prefix, to find those that match a name.

use std::collections::{BTreeMap, HashMap};

use unit_file::Glob;

/// Identifies a pattern while it is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PatternId(usize);

#[derive(Debug, Clone)]
struct Entry {
    glob: Glob,
    /// Reference count.
    uses: usize,
}

#[derive(Debug, Clone, Default)]
pub struct Patterns {
    entries: Vec<Option<Entry>>,
    free: Vec<usize>,
    id_of: HashMap<Glob, PatternId>,
    by_prefix: HashMap<String, Vec<PatternId>>,
    /// Number of patterns by prefix length.
    lengths: BTreeMap<usize, usize>,
}

impl Patterns {
    /// The id of `glob`, and whether it is new. Increments the reference count.
    pub fn declare(&mut self, glob: &Glob) -> (PatternId, bool) {
        if let Some(id) = self.id_of.get(glob) {
            if let Some(entry) = &mut self.entries[id.0] {
                entry.uses += 1;
            }
            return (*id, false);
        }
        let index = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            self.entries.len() - 1
        });
        let id = PatternId(index);
        self.entries[index] = Some(Entry { glob: glob.clone(), uses: 1 });
        self.id_of.insert(glob.clone(), id);
        self.by_prefix.entry(glob.literal_prefix().to_owned()).or_default().push(id);
        *self.lengths.entry(glob.literal_prefix().len()).or_default() += 1;
        (id, true)
    }

    /// Decrements the reference count. Returns the pattern after the last use; its id is invalid then.
    pub fn release(&mut self, id: PatternId) -> Option<Glob> {
        let entry = self.entries[id.0].as_mut()?;
        entry.uses -= 1;
        if entry.uses > 0 {
            return None;
        }
        let glob = self.entries[id.0].take()?.glob;
        self.free.push(id.0);
        self.id_of.remove(&glob);
        let prefix = glob.literal_prefix();
        if let Some(ids) = self.by_prefix.get_mut(prefix) {
            ids.retain(|known| *known != id);
            if ids.is_empty() {
                self.by_prefix.remove(prefix);
            }
        }
        if let Some(count) = self.lengths.get_mut(&prefix.len()) {
            *count -= 1;
            if *count == 0 {
                self.lengths.remove(&prefix.len());
            }
        }
        Some(glob)
    }

    /// The pattern of a valid id.
    pub fn glob(&self, id: PatternId) -> Option<&Glob> {
        self.entries.get(id.0)?.as_ref().map(|entry| &entry.glob)
    }

    /// All patterns that match `name`, sorted.
    pub fn matching(&self, name: &str) -> Vec<PatternId> {
        let mut found: Vec<_> = self
            .lengths
            .keys()
            .filter_map(|length| self.by_prefix.get(name.get(..*length)?))
            .flatten()
            .copied()
            .filter(|id| self.glob(*id).is_some_and(|glob| glob.matches(name)))
            .collect();
        found.sort_unstable();
        found
    }
}
