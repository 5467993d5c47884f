//! The file of rules, and the user-data that it names.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use crate::limits::{RULES_BYTES, USER_DATA_BYTES};
use crate::query::Query;
use crate::rules::{Rules, RulesError};
use crate::user_data;

/// Why rules cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ReadRulesError {
    #[error("cannot read the rules in {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path}:{line}:{column}: {message}", line = .error.line, column = .error.column, message = .error.message)]
    Invalid { path: PathBuf, error: RulesError },
}

/// Reads rules, and warns of user-data that machines would reject.
///
/// # Errors
/// The file cannot be read, or has an error.
pub fn read_rules(path: &Path) -> Result<Rules, ReadRulesError> {
    let failed = |source| ReadRulesError::Read { path: path.to_owned(), source };
    let bytes = read_limited(path, RULES_BYTES).map_err(failed)?;
    let text = String::from_utf8(bytes).map_err(|error| failed(io::Error::other(error)))?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let rules = Rules::parse(&text, folder)
        .map_err(|error| ReadRulesError::Invalid { path: path.to_owned(), error })?;
    let files: BTreeSet<&PathBuf> = rules.iter().filter_map(|rule| rule.user_data.as_ref()).collect();
    for file in files {
        check_user_data(file);
    }
    Ok(rules)
}

/// It is served nevertheless: other systems may read it.
fn check_user_data(path: &Path) {
    let file = path.display();
    match read_limited(path, USER_DATA_BYTES) {
        Err(error) => tracing::warn!(%file, %error, "cannot read user-data"),
        Ok(text) => {
            let text = user_data::render(&text, &Query::sample(), "http://192.0.2.1");
            let errors = cloudinit::validate(&text).into_iter();
            for finding in errors.filter(|finding| finding.kind == cloudinit::Severity::Error) {
                tracing::warn!("{file}:{}:{}: {}", finding.line, finding.column, finding.message);
            }
        }
    }
}

/// A file of at most `limit` bytes.
pub fn read_limited(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit_and_one = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    File::open(path)?.take(limit_and_one).read_to_end(&mut bytes)?;
    if bytes.len() > limit {
        return Err(io::Error::other(format!("{} has more than {limit} bytes", path.display())));
    }
    Ok(bytes)
}
