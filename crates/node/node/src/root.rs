//! The folder that a program takes for the machine: `/`, or one that a test made.

use std::convert::Infallible;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root(PathBuf);

impl Root {
    /// Where the machine's absolute `path` stands; `..` does not lead out.
    pub fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        let mut place = self.0.clone();
        place.extend(path.as_ref().components().filter(|part| matches!(part, Component::Normal(_))));
        place
    }

    /// Whether this is the machine itself.
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
    fn paths_stay_below() {
        let root = Root::from(Path::new("/tmp/x"));
        assert_eq!(root.at("/etc/hosts"), Path::new("/tmp/x/etc/hosts"));
        assert_eq!(root.at("../../etc/./hosts"), Path::new("/tmp/x/etc/hosts"));
        assert_eq!(Root::from(Path::new("/")).at("/etc"), Path::new("/etc"));
    }
}
