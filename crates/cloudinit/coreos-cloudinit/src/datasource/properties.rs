//! Reads the keys of a source that responds to one at a time.

use cloudinit::provider::PropertyLookup;

use super::error::DatasourceError;

/// Applies `read` to the keys that `query` returns; fails if any query failed.
pub(super) fn read_keys<T>(
    mut query: impl FnMut(&str) -> Result<Option<String>, DatasourceError>,
    read: impl FnOnce(&mut PropertyLookup<'_>) -> T,
) -> Result<T, DatasourceError> {
    let mut failure = None;
    let result = read(&mut |key| {
        if failure.is_some() {
            return None;
        }
        query(key).unwrap_or_else(|error| {
            failure = Some(error);
            None
        })
    });
    failure.map_or(Ok(result), Err)
}
