//! How both files are read: strictly, and with the place of what is wrong.

use serde::{Deserialize, Serialize};

/// The number that both files carry. A field that an older reader cannot know comes with another number: nothing
/// unknown is skipped in what is signed.
pub const SCHEMA: u32 = 1;
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    #[error("{file} has {bytes} bytes; {limit} are the most")]
    TooLong { file: &'static str, bytes: usize, limit: usize },
    #[error("{file}, line {line}, column {column}: {why}")]
    Syntax { file: &'static str, line: usize, column: usize, why: String },
    #[error("{file} is of schema {found}, this machine reads {SCHEMA}")]
    Schema { file: &'static str, found: u64 },
    #[error("{file}: {why}")]
    Meaning { file: &'static str, why: String },
}

/// Only the number, so that a file of tomorrow is told from a broken one.
#[derive(Deserialize)]
struct SchemaOnly {
    schema: u64,
}

pub fn read<T: for<'de> Deserialize<'de>>(
    file: &'static str,
    bytes: &[u8],
    limit: usize,
) -> Result<T, MetadataError> {
    if bytes.len() > limit {
        return Err(MetadataError::TooLong { file, bytes: bytes.len(), limit });
    }
    if let Ok(SchemaOnly { schema }) = serde_json::from_slice(bytes)
        && schema != u64::from(SCHEMA)
    {
        return Err(MetadataError::Schema { file, found: schema });
    }
    serde_json::from_slice(bytes).map_err(|error| MetadataError::Syntax {
        file,
        line: error.line(),
        column: error.column(),
        why: without_place(&error.to_string()),
    })
}

/// serde's words end with the place, which stands in front in ours.
fn without_place(text: &str) -> String {
    text.rsplit_once(" at line ").map_or(text, |(words, _)| words).to_owned()
}

pub fn write<T: Serialize>(
    file: &'static str,
    value: &T,
    read_back: impl Fn(&[u8]) -> Result<T, MetadataError>,
) -> Result<Vec<u8>, MetadataError> {
    let mut bytes = serde_json::to_vec_pretty(value)
        .map_err(|error| MetadataError::Meaning { file, why: error.to_string() })?;
    bytes.push(b'\n');
    read_back(&bytes)?;
    Ok(bytes)
}
