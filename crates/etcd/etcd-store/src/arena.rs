//! An arena for many small values, in pages, so that growing moves nothing. Each slot records whether it was modified
//! since the last call of `take_changed`.

/// Slots per page.
const PAGE_SLOTS: usize = 4_096;

/// An index into an arena. Reused after its value was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot(u32);

#[derive(Debug)]
pub struct Arena<T> {
    pages: Vec<Vec<Entry<T>>>,
    free: Vec<Slot>,
    /// Marked slots, each once.
    marked: Vec<Slot>,
}

#[derive(Debug)]
struct Entry<T> {
    value: Option<T>,
    marked: bool,
}

impl<T> Arena<T> {
    pub fn new() -> Self {
        Self { pages: Vec::new(), free: Vec::new(), marked: Vec::new() }
    }

    /// Adds a value, which may contain its own slot, and marks it.
    pub fn add_with(&mut self, make: impl FnOnce(Slot) -> T) -> Slot {
        let slot = self.free.pop().unwrap_or_else(|| self.append());
        let value = make(slot);
        self.entry_mut(slot).value = Some(value);
        self.mark(slot);
        slot
    }

    fn append(&mut self) -> Slot {
        if self.pages.last().is_none_or(|page| page.len() == PAGE_SLOTS) {
            // The first page starts small, since most stores are.
            let capacity = if self.pages.is_empty() { 0 } else { PAGE_SLOTS };
            self.pages.push(Vec::with_capacity(capacity));
        }
        let last = self.pages.len() - 1;
        let page = &mut self.pages[last];
        page.push(Entry { value: None, marked: false });
        let number = last * PAGE_SLOTS + page.len() - 1;
        // invariant: memory ends long before four thousand million nodes of a hundred bytes do.
        #[expect(clippy::expect_used)]
        Slot(u32::try_from(number).expect("fewer than 2^32 nodes"))
    }

    pub fn get(&self, slot: Slot) -> &T {
        let entry = &self.pages[slot.0 as usize / PAGE_SLOTS][slot.0 as usize % PAGE_SLOTS];
        Self::present(entry.value.as_ref())
    }

    /// For modifications of the value: marks it.
    pub fn get_mut(&mut self, slot: Slot) -> &mut T {
        self.mark(slot);
        self.get_unmarked(slot)
    }

    /// For modifications that are not part of a checkpoint.
    pub fn get_unmarked(&mut self, slot: Slot) -> &mut T {
        Self::present(self.entry_mut(slot).value.as_mut())
    }

    pub fn remove(&mut self, slot: Slot) -> T {
        let value = Self::present(self.entry_mut(slot).value.take());
        self.free.push(slot);
        value
    }

    /// The existing slots that were added or modified since the last call, in no particular order.
    pub fn take_marked(&mut self) -> Vec<Slot> {
        let mut marked = std::mem::take(&mut self.marked);
        for slot in &marked {
            self.entry_mut(*slot).marked = false;
        }
        marked.retain(|slot| self.entry(*slot).value.is_some());
        marked
    }

    /// All slots with a value.
    pub fn slots(&self) -> impl Iterator<Item = Slot> {
        let used: usize = self.pages.iter().map(Vec::len).sum();
        (0..used)
            .filter_map(|number| Some(Slot(u32::try_from(number).ok()?)))
            .filter(|slot| self.entry(*slot).value.is_some())
    }

    fn mark(&mut self, slot: Slot) {
        let entry = self.entry_mut(slot);
        if !entry.marked {
            entry.marked = true;
            self.marked.push(slot);
        }
    }

    fn entry(&self, slot: Slot) -> &Entry<T> {
        &self.pages[slot.0 as usize / PAGE_SLOTS][slot.0 as usize % PAGE_SLOTS]
    }

    fn entry_mut(&mut self, slot: Slot) -> &mut Entry<T> {
        &mut self.pages[slot.0 as usize / PAGE_SLOTS][slot.0 as usize % PAGE_SLOTS]
    }

    fn present<V>(value: Option<V>) -> V {
        // invariant: the tree names a slot only from its node's adding to its removal.
        #[expect(clippy::expect_used)]
        value.expect("a slot in use")
    }
}
