//! Reads the root hash of `/usr` from a unified kernel image.

use object::read::pe::PeFile64;
use object::read::{ReadCache, ReadCacheOps};
use object::{Object, ObjectSection};
use release::Digest;

/// The kernel parameter.
const PARAMETER: &str = "usrhash=";

/// The root hash in a boot image's command line. `None` if the image is damaged or of another kind.
pub fn root_hash_of<R: ReadCacheOps>(image: R) -> Option<Digest> {
    let cache = ReadCache::new(image);
    let file = PeFile64::parse(&cache).ok()?;
    let section = file.section_by_name(".cmdline")?.data().ok()?;
    let line = std::str::from_utf8(section).ok()?.trim_end_matches('\0');
    line.split_ascii_whitespace().find_map(|word| word.strip_prefix(PARAMETER))?.parse().ok()
}
