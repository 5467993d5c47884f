//! A machine from the scheduler's view.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

pub use fleet_api::additions::Cordon;

use crate::limits::SHORT_ID_LENGTH;

/// The machine's `/etc/machine-id`. Ordered by bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MachineId(Arc<str>);

impl MachineId {
    pub fn new(id: &str) -> Self {
        Self(id.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `MachineID=pattern` means this machine: the whole id, or exactly its first eight characters.
    pub fn matches_id(&self, pattern: &str) -> bool {
        *self.0 == *pattern || self.0.get(..SHORT_ID_LENGTH) == Some(pattern)
    }
}

impl fmt::Display for MachineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for MachineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl Borrow<str> for MachineId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// The machine's published capacity. `None` means unlimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capacity {
    pub units: Option<u64>,
    /// Bytes.
    pub memory: Option<u64>,
    /// Thousandths of a processor.
    pub cpu: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    pub id: MachineId,
    pub metadata: BTreeMap<String, String>,
    pub capacity: Capacity,
    pub cordon: Cordon,
    /// Its presence has expired, but it is not considered failed yet: it keeps its units and gets no new ones.
    pub unreachable: bool,
}

impl Machine {
    /// A present machine without metadata and limits.
    pub fn new(id: &str) -> Self {
        Self {
            id: MachineId::new(id),
            metadata: BTreeMap::new(),
            capacity: Capacity::default(),
            cordon: Cordon::Open,
            unreachable: false,
        }
    }
}
