//! Strict JSON parsing, with positions in errors.

use serde::{Deserialize, Serialize};

/// Schema of all files. New fields require a new number: unknown fields in signed data are never ignored.
pub const SCHEMA: u32 = 1;
/// Why a file is rejected, apart from its signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum MetadataError {
    #[error("{file} has {bytes} bytes; the maximum is {limit}")]
    TooLong { file: &'static str, bytes: usize, limit: usize },
    #[error("{file}, line {line}, column {column}: {why}")]
    Syntax { file: &'static str, line: usize, column: usize, why: String },
    #[error("{file} has schema {found}, supported is {SCHEMA}")]
    Schema { file: &'static str, found: u64 },
    #[error("{file}: {why}")]
    Invalid { file: &'static str, why: String },
}

/// Distinguishes a newer schema from a damaged file.
#[derive(Deserialize)]
struct SchemaHeader {
    schema: u64,
}

pub fn parse_strict<T: for<'de> Deserialize<'de>>(
    file: &'static str,
    bytes: &[u8],
    limit: usize,
) -> Result<T, MetadataError> {
    if bytes.len() > limit {
        return Err(MetadataError::TooLong { file, bytes: bytes.len(), limit });
    }
    if let Ok(SchemaHeader { schema }) = serde_json::from_slice(bytes)
        && schema != u64::from(SCHEMA)
    {
        return Err(MetadataError::Schema { file, found: schema });
    }
    serde_json::from_slice(bytes).map_err(|error| MetadataError::Syntax {
        file,
        line: error.line(),
        column: error.column(),
        why: without_position(&error.to_string()),
    })
}

/// Removes serde's position, which precedes the message in our errors.
fn without_position(text: &str) -> String {
    text.rsplit_once(" at line ").map_or(text, |(words, _)| words).to_owned()
}

pub fn to_canonical<T: Serialize>(
    file: &'static str,
    value: &T,
    read_back: impl Fn(&[u8]) -> Result<T, MetadataError>,
) -> Result<Vec<u8>, MetadataError> {
    let mut bytes = serde_json::to_vec_pretty(value)
        .map_err(|error| MetadataError::Invalid { file, why: error.to_string() })?;
    bytes.push(b'\n');
    read_back(&bytes)?;
    Ok(bytes)
}
