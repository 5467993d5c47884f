//! Names of App Container images (rkt's own): `coreos.com/etcd,version=v2.0.10`. No registry has such images any more; the
//! well-known ones exist as OCI images under another name.

use std::fmt;
use std::str::FromStr;

use crate::name_error::NameError;
use crate::reference::Reference;

/// The domain whose images rkt users know.
const KNOWN_DOMAIN: &str = "coreos.com/";
/// App Container names, and repositories with the same versions as tags.
const KNOWN: [(&str, &str); 3] = [
    ("coreos.com/etcd", "quay.io/coreos/etcd"),
    ("coreos.com/flannel", "quay.io/coreos/flannel"),
    ("coreos.com/hyperkube", "quay.io/coreos/hyperkube"),
];

/// A name with labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppName {
    /// The identifier: `coreos.com/etcd`.
    pub name: String,
    /// In their order, each name once.
    pub labels: Vec<(String, String)>,
}

impl AppName {
    /// The value of a label.
    #[must_use]
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(label, _)| label == name).map(|(_, value)| value.as_str())
    }

    /// The OCI image of a well-known name.
    #[must_use]
    pub fn known_image(&self) -> Option<Reference> {
        let (_, repository) = KNOWN.iter().find(|(name, _)| *name == self.name)?;
        let tag = self.label("version").unwrap_or("latest");
        format!("{repository}:{tag}").parse().ok()
    }
}

/// Whether a name without a scheme is an App Container name.
pub(crate) fn is_app_name(text: &str) -> bool {
    text.contains(',') || text.starts_with(KNOWN_DOMAIN)
}

impl FromStr for AppName {
    type Err = NameError;

    /// `NAME,LABEL=VALUE...`, or `NAME:VERSION`.
    fn from_str(text: &str) -> Result<Self, NameError> {
        let refused = |reason| NameError::App { name: text.to_owned(), reason };
        let mut parts = text.split(',');
        let first = parts.next().unwrap_or_default();
        let (name, version) = first.split_once(':').map_or((first, None), |(name, tag)| (name, Some(tag)));
        if !is_identifier(name) {
            return Err(refused("invalid identifier"));
        }
        let mut labels: Vec<(String, String)> = Vec::new();
        let version = version.map(|version| Some(("version", version)));
        for label in version.into_iter().chain(parts.map(|part| part.split_once('='))) {
            let (label, value) = label.ok_or_else(|| refused("a label without a value"))?;
            if !is_identifier(label) || value.is_empty() || value.chars().any(char::is_control) {
                return Err(refused("an invalid label"));
            }
            if labels.iter().any(|(present, _)| present == label) {
                return Err(refused("a label that is set twice"));
            }
            labels.push((label.to_owned(), value.to_owned()));
        }
        Ok(Self { name: name.to_owned(), labels })
    }
}

/// The specification's AC Identifier: lower-case letters and digits, joined by single separators.
fn is_identifier(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let allowed = text.bytes().all(|byte| inner(byte) || b"-._~/".contains(&byte));
    let bounds = text.bytes().next().zip(text.bytes().next_back());
    allowed && bounds.is_some_and(|(first, last)| inner(first) && inner(last)) && !text.contains("..")
}

impl fmt::Display for AppName {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(&self.name)?;
        self.labels.iter().try_for_each(|(label, value)| write!(to, ",{label}={value}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn well_known_names_have_images() {
        let check = |text: &str, expected: Option<&str>| {
            let image = text.parse::<AppName>().unwrap().known_image().map(|image| image.to_string());
            assert_eq!(image.as_deref(), expected, "{text}");
        };
        check("coreos.com/etcd,version=v2.0.10", Some("quay.io/coreos/etcd:v2.0.10"));
        check("coreos.com/etcd:v3.1.0", Some("quay.io/coreos/etcd:v3.1.0"));
        check("coreos.com/flannel", Some("quay.io/coreos/flannel:latest"));
        check("coreos.com/etcd,version=a b", None);
        check("example.com/etcd,version=1", None);
    }
}
