//! dpkg's status: paragraphs of `Field: value`, separated by empty lines (deb822(5)).

use std::collections::HashMap;

/// An installed package and the source package that it was built from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// Name of the binary package.
    pub package: String,
    /// Its version.
    pub version: String,
    /// Name of the source package.
    pub source: String,
    /// Its version, which differs after a rebuild without changes (`+b1`).
    pub source_version: String,
}

/// A malformed `Source` field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the source of {package} is malformed: expected NAME or NAME (VERSION)")]
pub struct SourceError {
    package: String,
}

/// A malformed status.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// A line is neither a field nor its continuation.
    #[error("line {line}: expected `Field: value`")]
    Line {
        /// Counted from 1.
        line: usize,
    },
    /// A paragraph lacks a field.
    #[error("the package in line {line} has no {field}")]
    Field {
        /// First line of the paragraph, counted from 1.
        line: usize,
        /// The missing field.
        field: &'static str,
    },
    /// A package or version is malformed.
    #[error("the package in line {line} has an invalid {field}")]
    Invalid {
        /// First line of the paragraph, counted from 1.
        line: usize,
        /// The field.
        field: &'static str,
    },
    /// A `Source` field is malformed.
    #[error("line {line}")]
    Source {
        /// First line of the paragraph, counted from 1.
        line: usize,
        /// What is wrong.
        source: SourceError,
    },
}

impl Installed {
    /// `source`: value of the package's `Source` field, `NAME` or `NAME (VERSION)`; without it, the source package has
    /// the same name and version.
    ///
    /// # Errors
    /// If `source` is malformed.
    pub fn new(package: &str, version: &str, source: Option<&str>) -> Result<Self, SourceError> {
        let malformed = || SourceError { package: package.to_owned() };
        let (source, source_version) = match source
            .map(|source| source.split_once(' ').unwrap_or((source, "")))
        {
            None => (package, version),
            Some((name, "")) => (name, version),
            Some((name, version)) => {
                let inner = version.trim().strip_prefix('(').and_then(|version| version.strip_suffix(')'));
                (name, inner.ok_or_else(malformed)?)
            }
        };
        if !is_package(source) || !is_version(source_version) {
            return Err(malformed());
        }
        let owned = str::to_owned;
        Ok(Self {
            package: owned(package),
            version: owned(version),
            source: owned(source),
            source_version: owned(source_version),
        })
    }
}

/// The installed packages of dpkg's status, in its order.
///
/// # Errors
/// If a paragraph is malformed.
pub fn read_status(text: &str) -> Result<Vec<Installed>, StatusError> {
    let mut installed = Vec::new();
    let mut fields = HashMap::new();
    let mut first = 1;
    for (index, line) in text.lines().chain([""]).enumerate() {
        if line.is_empty() {
            if !fields.is_empty() {
                installed.extend(package(&fields, first)?);
            }
            fields.clear();
            first = index + 2;
        } else if line.starts_with([' ', '\t']) {
            // A continuation. No field that matters has one.
            if fields.is_empty() {
                return Err(StatusError::Line { line: index + 1 });
            }
        } else {
            let (name, value) = line.split_once(':').ok_or(StatusError::Line { line: index + 1 })?;
            fields.insert(name, value.trim());
        }
    }
    Ok(installed)
}

/// The package of a paragraph; `None` if only its configuration is left.
fn package(fields: &HashMap<&str, &str>, line: usize) -> Result<Option<Installed>, StatusError> {
    let field =
        |name: &'static str| fields.get(name).copied().ok_or(StatusError::Field { line, field: name });
    let package = field("Package")?;
    if !field("Status")?.split(' ').any(|word| word == "installed") {
        return Ok(None);
    }
    let version = field("Version")?;
    if !is_package(package) {
        return Err(StatusError::Invalid { line, field: "Package" });
    }
    if !is_version(version) {
        return Err(StatusError::Invalid { line, field: "Version" });
    }
    let installed = Installed::new(package, version, fields.get("Source").copied());
    installed.map(Some).map_err(|source| StatusError::Source { line, source })
}

/// Characters of package names, in any order.
fn is_package(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

fn is_version(version: &str) -> bool {
    !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn installed_packages_have_their_source() {
        let text = "Package: bash\nStatus: install ok installed\nVersion: 5.2-2+b1\nSource: bash (5.2-2)\n\
            Description: a shell\n Version: 9\n .\n\n\nPackage: old\nStatus: deinstall ok config-files\n\n\
            Package: libc6\nStatus: hold ok installed\nSource: glibc\nVersion: 2.41-1\n\n\
            Package: dash\nStatus: install ok installed\nVersion: 1:0.5-1\n";
        let found = read_status(text).unwrap();
        let sources: Vec<_> = found
            .iter()
            .map(|one| (&*one.package, &*one.version, &*one.source, &*one.source_version))
            .collect();
        let expect = [
            ("bash", "5.2-2+b1", "bash", "5.2-2"),
            ("libc6", "2.41-1", "glibc", "2.41-1"),
            ("dash", "1:0.5-1", "dash", "1:0.5-1"),
        ];
        assert_eq!(sources, expect);
        assert!(read_status("").unwrap().is_empty());
    }

    #[test]
    fn a_malformed_paragraph_is_an_error_with_its_line() {
        let check = |text: &str, expect: &str| {
            let error = read_status(text).unwrap_err();
            let cause =
                std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            assert_eq!(format!("{error}{cause}"), expect, "{text:?}");
        };
        check("Package: a\nnothing\n", "line 2: expected `Field: value`");
        check(" Package: a\n", "line 1: expected `Field: value`");
        check("\n\nPackage: a\n", "the package in line 3 has no Status");
        check("Status: install ok installed\n", "the package in line 1 has no Package");
        check("Package: a\nStatus: x installed\n", "the package in line 1 has no Version");
        let with = |package: &str, rest: &str| format!("Package: {package}\nStatus: a b installed\n{rest}\n");
        check(&with("a\u{1b}", "Version: 1"), "the package in line 1 has an invalid Package");
        check(&with("a", "Version: 1 2"), "the package in line 1 has an invalid Version");
        let malformed = "line 1: the source of a is malformed: expected NAME or NAME (VERSION)";
        for source in ["b (1", "b 1", "", "b ()", "b/c", "b (1 2)"] {
            check(&with("a", &format!("Version: 1\nSource: {source}")), malformed);
        }
    }
}
