//! The choice of an image from an index.

use crate::manifest::{Index, IndexEntry};
use crate::platform::Platform;

/// Why an index offers no image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the image is not available for {wanted}; available: {available}")]
pub struct NoImageError {
    wanted: String,
    available: String,
}

/// Chooses the manifest of an index for `platform`. An index with one manifest for no platform in particular offers that.
///
/// # Errors
/// There is none. The error lists the available platforms.
pub fn choose<'a>(index: &'a Index, platform: &Platform) -> Result<&'a IndexEntry, NoImageError> {
    let preference = |entry: &&IndexEntry| entry.platform.as_ref().and_then(|one| platform.preference(one));
    let fitting = index.manifests.iter().filter(|entry| preference(entry).is_some());
    if let Some(entry) = fitting.min_by_key(preference) {
        return Ok(entry);
    }
    match index.manifests.as_slice() {
        [only] if only.platform.is_none() => Ok(only),
        all => {
            let platforms = all.iter().map(|entry| match &entry.platform {
                Some(platform) => platform.to_string(),
                None => "unspecified".to_owned(),
            });
            // Attestations have this one.
            let mut platforms: Vec<_> = platforms.filter(|name| !name.starts_with("unknown")).collect();
            platforms.sort();
            platforms.dedup();
            let available = if platforms.is_empty() { "none".to_owned() } else { platforms.join(", ") };
            Err(NoImageError { wanted: platform.to_string(), available })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::manifest::Blob;

    /// `offered`: `OS/ARCHITECTURE[/VARIANT]`, or empty for no platform. `expected`: an index, or an excerpt of the error.
    fn check(offered: &[&str], platform: &Platform, expected: Result<usize, &str>) {
        let manifests = offered.iter().map(|text| {
            let mut parts = text.split('/');
            let mut part = || parts.next().unwrap_or_default();
            let platform = (!text.is_empty()).then(|| Platform::new(part(), part(), part()));
            IndexEntry { blob: Blob { digest: Digest::of(text.as_bytes()), size: 1 }, platform, name: None }
        });
        let index = Index { manifests: manifests.collect() };
        match (choose(&index, platform), expected) {
            (Ok(entry), Ok(number)) => assert_eq!(entry, &index.manifests[number], "{offered:?}"),
            (Err(error), Err(text)) => assert!(error.to_string().ends_with(text), "{offered:?}: {error}"),
            (other, _) => panic!("{offered:?}: {other:?}"),
        }
    }

    #[test]
    fn the_machines_platform_is_chosen() {
        let amd64 = Platform::linux("x86_64");
        check(&["linux/arm64/v8", "linux/amd64"], &amd64, Ok(1));
        check(&["linux/amd64", "linux/amd64"], &amd64, Ok(0));
        check(&["linux/amd64/v3", "linux/amd64/v1"], &amd64, Ok(1));
        check(&[""], &amd64, Ok(0));
        check(&["unknown/unknown", "linux/amd64"], &amd64, Ok(1));
        check(
            &["linux/arm64", "windows/amd64", "unknown/unknown"],
            &amd64,
            Err("linux/amd64; available: linux/arm64, windows/amd64"),
        );
        check(&["", ""], &amd64, Err("available: unspecified"));
        check(&["linux/amd64/v3"], &amd64, Err("available: linux/amd64/v3"));
        check(&[], &amd64, Err("available: none"));
        check(&["linux/arm/v7", "linux/arm64/v8"], &Platform::linux("aarch64"), Ok(1));
        check(&["linux/arm/v5", "linux/arm/v6"], &Platform::new("linux", "arm", ""), Ok(1));
    }
}
