//! Image names as users write them: references of registries, and names of the App Container specification.

use std::str::FromStr;

use crate::app_name::{self, AppName};
use crate::limits::MAX_NAME;
use crate::name_error::NameError;
use crate::reference::Reference;

const SCHEMES: [&str; 2] = ["docker://", "oci://"];

/// What a command's image argument names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageName {
    /// An image in a registry.
    Registry(Reference),
    /// A name of the App Container specification, as rkt had them.
    App(AppName),
}

impl FromStr for ImageName {
    type Err = NameError;

    /// A name with `docker://` is one of a registry. Without a scheme, a name with labels, and the well-known names of
    /// App Container images, are the latter.
    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.len() > MAX_NAME {
            return Err(NameError::Long(text.len()));
        }
        if let Some(name) = SCHEMES.iter().find_map(|scheme| text.strip_prefix(scheme)) {
            return Ok(Self::Registry(name.parse()?));
        }
        if let Some((scheme, _)) = text.split_once("://") {
            return Err(NameError::Scheme { name: text.to_owned(), scheme: scheme.to_owned() });
        }
        if app_name::is_app_name(text) {
            return Ok(Self::App(text.parse()?));
        }
        Ok(Self::Registry(text.parse()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    /// `expected`: the full name, or an excerpt of the error.
    fn check(text: &str, expected: Result<&str, &str>) {
        match (text.parse::<ImageName>(), expected) {
            (Ok(ImageName::Registry(reference)), Ok(full)) => {
                assert_eq!(reference.to_string(), full, "{text}");
                assert_eq!(full.parse::<Reference>().unwrap(), reference, "{text}");
            }
            (Ok(ImageName::App(name)), Ok(full)) => assert_eq!(format!("app {name}"), full, "{text}"),
            (Err(error), Err(excerpt)) => {
                assert!(error.to_string().contains(excerpt), "{text}: {error}");
            }
            (other, _) => panic!("{text}: {other:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn names_have_dockers_defaults() {
        check("busybox", Ok("docker.io/library/busybox:latest"));
        check("docker://busybox", Ok("docker.io/library/busybox:latest"));
        check("coreos/etcd:v3", Ok("docker.io/coreos/etcd:v3"));
        check("docker://quay.io/x/y:tag", Ok("quay.io/x/y:tag"));
        check("quay.io/coreos/etcd:v3.1.0", Ok("quay.io/coreos/etcd:v3.1.0"));
        check("localhost/a", Ok("localhost/a:latest"));
        check("localhost:5000/a/b", Ok("localhost:5000/a/b:latest"));
        check("127.0.0.1:5000/a", Ok("127.0.0.1:5000/a:latest"));
        check("index.docker.io/a", Ok("docker.io/library/a:latest"));
        check(&format!("a@{DIGEST}"), Ok(&format!("docker.io/library/a@{DIGEST}")));
        check(&format!("a:1@{DIGEST}"), Ok(&format!("docker.io/library/a:1@{DIGEST}")));
    }

    #[test]
    fn other_names_are_refused() {
        check("", Err("no image name"));
        check("Busybox", Err("no image name"));
        check("a/../b", Err("no image name"));
        check("a:tag:tag", Err("no image name"));
        check("a b", Err("no image name"));
        check("docker://", Err("no image name"));
        check("a:", Err("no image name"));
        check("/a", Err("no image name"));
        check("a\n", Err("no image name"));
        check("http://a/b.tar", Err("scheme \"http\" is not supported"));
        check(&format!("a@{}", DIGEST.to_uppercase().replace("SHA", "sha")), Err("image name"));
        check(&format!("a@sha512:{}", "0".repeat(128)), Err("image name"));
        check(&"a".repeat(MAX_NAME + 1), Err("at most"));
    }

    #[test]
    fn app_container_names_are_recognized() {
        check("coreos.com/etcd,version=v2.0.10", Ok("app coreos.com/etcd,version=v2.0.10"));
        check("coreos.com/etcd:v2.0.10", Ok("app coreos.com/etcd,version=v2.0.10"));
        check("coreos.com/etcd", Ok("app coreos.com/etcd"));
        check("example.com/a,os=linux,arch=amd64", Ok("app example.com/a,os=linux,arch=amd64"));
        check("example.com/a,os", Err("no App Container name"));
        check("example.com/a,os=", Err("no App Container name"));
        check("example.com/A,os=linux", Err("no App Container name"));
        check("example.com/a,os=linux,os=linux", Err("twice"));
    }
}
