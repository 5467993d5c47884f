//! What a unified kernel image says about the `/usr` that it wants.

use object::read::pe::PeFile64;
use object::read::{ReadCache, ReadCacheOps};
use object::{Object, ObjectSection};
use release::Digest;

/// The word of the kernel's command line that names it.
const WORD: &str = "usrhash=";

/// The root hash in a boot image's own command line; None where it is damaged, or another kind of image.
pub fn root_hash_of<R: ReadCacheOps>(image: R) -> Option<Digest> {
    let cache = ReadCache::new(image);
    let file = PeFile64::parse(&cache).ok()?;
    let section = file.section_by_name(".cmdline")?.data().ok()?;
    let line = std::str::from_utf8(section).ok()?.trim_end_matches('\0');
    line.split_ascii_whitespace().find_map(|word| word.strip_prefix(WORD))?.parse().ok()
}
