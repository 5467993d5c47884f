//! The name of a node: a clean absolute path of bytes.

use std::borrow::Borrow;
use std::fmt;

use bytes::Bytes;

use crate::limits::{MAX_KEY_BYTES, MAX_KEY_LEVELS};

/// A clean absolute path: it starts with `/`, has no empty, `.` or `..` segment and no trailing `/`; the
/// root is `/`. Bytes, because any byte is allowed in names; cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Bytes);

/// A path that is no key here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("key of {bytes} bytes is longer than {MAX_KEY_BYTES}")]
    TooLong { bytes: usize },
    #[error("key of {levels} levels is deeper than {MAX_KEY_LEVELS}")]
    TooDeep { levels: usize },
}

impl Key {
    pub const fn root() -> Self {
        Self(Bytes::from_static(b"/"))
    }

    /// Cleans any decoded path: `a//b/../c/` becomes `/a/c`.
    pub fn parse(path: impl AsRef<[u8]>) -> Result<Self, KeyError> {
        let path = path.as_ref();
        if path.len() > MAX_KEY_BYTES {
            return Err(KeyError::TooLong { bytes: path.len() });
        }
        let mut segments: Vec<&[u8]> = Vec::new();
        for segment in path.split(|byte| *byte == b'/') {
            match segment {
                b"" | b"." => {}
                b".." => drop(segments.pop()),
                name => segments.push(name),
            }
        }
        if segments.len() > MAX_KEY_LEVELS {
            return Err(KeyError::TooDeep { levels: segments.len() });
        }
        let mut clean = Vec::with_capacity(path.len() + 1);
        for segment in segments {
            clean.push(b'/');
            clean.extend_from_slice(segment);
        }
        if clean.is_empty() { Ok(Self::root()) } else { Ok(Self(clean.into())) }
    }

    /// Takes bytes that are a clean path already, as an earlier key's were; refuses others.
    pub fn from_clean(path: Bytes) -> Option<Self> {
        let clean = path.as_ref() == b"/"
            || (path.first() == Some(&b'/')
                && path[1..].split(|byte| *byte == b'/').all(|name| !matches!(name, b"" | b"." | b"..")));
        clean.then_some(Self(path))
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub fn is_root(&self) -> bool {
        self.0.len() == 1
    }

    /// The names from below the root downward; none for the root.
    pub fn segments(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.0[1..].split(|byte| *byte == b'/').filter(|name| !name.is_empty())
    }

    /// The last segment; empty for the root.
    pub fn name(&self) -> &[u8] {
        let start = self.0.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
        &self.0[start..]
    }

    /// The key of a child. `name` is one segment.
    pub fn child(&self, name: &[u8]) -> Self {
        let mut path = Vec::with_capacity(self.0.len() + 1 + name.len());
        if !self.is_root() {
            path.extend_from_slice(&self.0);
        }
        path.push(b'/');
        path.extend_from_slice(name);
        Self(path.into())
    }

    /// The key of the directory that holds this one; `None` for the root.
    pub fn parent(&self) -> Option<Self> {
        if self.is_root() {
            return None;
        }
        let slash = self.0.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
        Some(if slash == 0 { Self::root() } else { Self(self.0.slice(..slash)) })
    }

    /// Whether this key is `other`'s descendant, however deep. No key is below itself.
    pub fn is_below(&self, other: &Self) -> bool {
        if other.is_root() {
            return !self.is_root();
        }
        self.0.len() > other.0.len() && self.0.starts_with(&other.0) && self.0[other.0.len()] == b'/'
    }
}

/// Keys order, compare and hash as their bytes do.
impl Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Key({self})")
    }
}

impl fmt::Display for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&String::from_utf8_lossy(&self.0))
    }
}
