//! Keys: clean absolute byte paths.

use std::borrow::Borrow;
use std::fmt;

use bytes::Bytes;

use crate::clean_path::{join, segments};
use crate::json_text::to_text;
use crate::limits::{MAX_KEY_BYTES, MAX_KEY_LEVELS};

/// A clean absolute path: starts with `/`, has no empty, `.` or `..` segment and no trailing `/`; the root is `/`.
/// Names may contain any byte. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Bytes);

/// An invalid key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum KeyError {
    #[error("key of {bytes} bytes is longer than {MAX_KEY_BYTES}")]
    TooLong { bytes: usize },
    #[error("key of {levels} levels is deeper than {MAX_KEY_LEVELS}")]
    TooDeep { levels: usize },
}

impl Key {
    /// The key `/`.
    pub const fn root() -> Self {
        Self(Bytes::from_static(b"/"))
    }

    /// Cleans a decoded path: `a//b/../c/` becomes `/a/c`.
    pub fn parse(path: impl AsRef<[u8]>) -> Result<Self, KeyError> {
        let path = path.as_ref();
        if path.len() > MAX_KEY_BYTES {
            return Err(KeyError::TooLong { bytes: path.len() });
        }
        let segments = segments(path);
        if segments.len() > MAX_KEY_LEVELS {
            return Err(KeyError::TooDeep { levels: segments.len() });
        }
        let clean = join(&segments);
        if clean.is_empty() { Ok(Self::root()) } else { Ok(Self(clean.into())) }
    }

    /// Takes a path that is already clean; fails otherwise.
    pub fn from_clean(path: Bytes) -> Option<Self> {
        if path.as_ref() == b"/" {
            return Some(Self(path));
        }
        let mut names = path.strip_prefix(b"/")?.split(|byte| *byte == b'/');
        let clean = names.all(|name| !matches!(name, b"" | b"." | b".."));
        Some(Self(path)).filter(|key| clean && key.check_limits().is_ok())
    }

    fn check_limits(&self) -> Result<(), KeyError> {
        let bytes = self.0.len();
        if bytes > MAX_KEY_BYTES {
            return Err(KeyError::TooLong { bytes });
        }
        let levels = self.segments().count();
        if levels > MAX_KEY_LEVELS { Err(KeyError::TooDeep { levels }) } else { Ok(()) }
    }

    /// The path, with a leading slash and without a trailing one. Not necessarily UTF-8.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether this is `/`.
    pub fn is_root(&self) -> bool {
        self.0.len() == 1
    }

    /// The names from the root downward; none for the root.
    pub fn segments(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.0[1..].split(|byte| *byte == b'/').filter(|name| !name.is_empty())
    }

    /// The last segment; empty for the root.
    pub fn name(&self) -> &[u8] {
        let start = self.0.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
        &self.0[start..]
    }

    /// The key of a child. `name` is a single segment.
    pub fn child(&self, name: &[u8]) -> Self {
        self.descendant([name])
    }

    /// The key of a child, if it is within the limits of keys.
    pub fn checked_child(&self, name: &[u8]) -> Result<Self, KeyError> {
        let child = self.child(name);
        child.check_limits().map(|()| child)
    }

    /// The key of a descendant; each of `names` is a single segment.
    pub fn descendant<'a>(&self, names: impl IntoIterator<Item = &'a [u8], IntoIter: Clone>) -> Self {
        let names = names.into_iter();
        let own = if self.is_root() { &[][..] } else { &self.0 };
        let length = own.len() + names.clone().map(|name| 1 + name.len()).sum::<usize>();
        let mut path = Vec::with_capacity(length.max(1));
        path.extend_from_slice(own);
        for name in names {
            path.push(b'/');
            path.extend_from_slice(name);
        }
        if path.is_empty() { Self::root() } else { Self(path.into()) }
    }

    /// The key of the parent directory; `None` for the root.
    pub fn parent(&self) -> Option<Self> {
        if self.is_root() {
            return None;
        }
        let slash = self.0.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
        Some(if slash == 0 { Self::root() } else { Self(self.0.slice(..slash)) })
    }

    /// Whether this key is a descendant of `other`. A key is not below itself.
    pub fn is_below(&self, other: &Self) -> bool {
        if other.is_root() {
            return !self.is_root();
        }
        self.0.len() > other.0.len() && self.0.starts_with(&other.0) && self.0[other.0.len()] == b'/'
    }
}

/// Keys are ordered, compared and hashed by their bytes.
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
        out.write_str(&to_text(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(path: &str) -> Key {
        Key::parse(path).unwrap()
    }

    #[test]
    fn paths_are_cleaned() {
        for (path, clean) in [
            ("", "/"),
            ("/", "/"),
            ("//", "/"),
            ("foo", "/foo"),
            ("/foo/", "/foo"),
            ("/a//b/./c/../d", "/a/b/d"),
            ("/../a", "/a"),
            ("/a\n b/%25", "/a\n b/%25"),
        ] {
            assert_eq!(key(path).as_bytes(), clean.as_bytes(), "{path:?}");
            assert_eq!(Key::from_clean(key(path).0), Some(key(path)));
        }
        for unclean in ["", "a", "//", "/a/", "/a//b", "/./a", "/.."] {
            assert_eq!(Key::from_clean(Bytes::from_static(unclean.as_bytes())), None, "{unclean:?}");
        }
    }

    #[test]
    fn limits_hold() {
        let long = vec![b'a'; MAX_KEY_BYTES];
        assert!(Key::parse(&long).is_ok());
        assert_eq!(
            Key::parse([&long[..], b"a"].concat()),
            Err(KeyError::TooLong { bytes: MAX_KEY_BYTES + 1 })
        );
        let deep = "/a".repeat(MAX_KEY_LEVELS);
        assert!(Key::parse(&deep).is_ok());
        let too_deep = KeyError::TooDeep { levels: MAX_KEY_LEVELS + 1 };
        assert_eq!(Key::parse(format!("{deep}/b")), Err(too_deep));
        assert_eq!(Key::parse(&deep).unwrap().checked_child(b"b"), Err(too_deep));
        assert_eq!(Key::from_clean(Bytes::from(format!("{deep}/b"))), None);
        assert_eq!(key("/a").checked_child(b"b"), Ok(key("/a/b")));
    }

    #[test]
    fn parents_children_and_descendants() {
        let below = key("/a/b");
        assert_eq!((below.name(), below.parent()), (&b"b"[..], Some(key("/a"))));
        assert_eq!((key("/a").parent(), Key::root().parent()), (Some(Key::root()), None));
        assert_eq!(Key::root().name(), b"");
        assert_eq!(below.segments().collect::<Vec<_>>(), [b"a", b"b"]);
        assert_eq!(Key::root().segments().count(), 0);
        assert_eq!((key("/a").child(b"b"), Key::root().child(b"a")), (below.clone(), key("/a")));
        assert!(below.is_below(&key("/a")) && below.is_below(&Key::root()));
        assert!(
            !below.is_below(&below)
                && !key("/ab").is_below(&key("/a"))
                && !Key::root().is_below(&Key::root())
        );
    }
}
