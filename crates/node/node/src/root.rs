//! The root folder of the machine: `/`, or a test's folder.

use std::convert::Infallible;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root(PathBuf);

impl Root {
    /// The machine's absolute `path` below the root; `..` is ignored.
    pub fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        let mut joined = self.0.clone();
        joined
            .extend(path.as_ref().components().filter(|component| matches!(component, Component::Normal(_))));
        joined
    }

    /// The running machine's.
    pub fn machine() -> Self {
        Self(PathBuf::from("/"))
    }

    /// Whether the machine runs a live image: the initrd has mounted one.
    pub fn is_live(&self) -> bool {
        self.at("/run/keelson/live").exists()
    }

    /// Whether this is the running machine.
    pub fn is_machine(&self) -> bool {
        self.0 == Path::new("/")
    }
}

impl FromStr for Root {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(PathBuf::from(text)))
    }
}

impl From<&Path> for Root {
    fn from(path: &Path) -> Self {
        Self(path.to_path_buf())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_below_the_root() {
        let root = Root::from(Path::new("/tmp/x"));
        assert_eq!(root.at("/etc/hosts"), Path::new("/tmp/x/etc/hosts"));
        assert_eq!(root.at("../../etc/./hosts"), Path::new("/tmp/x/etc/hosts"));
        assert_eq!(Root::from(Path::new("/")).at("/etc"), Path::new("/etc"));
    }
}
