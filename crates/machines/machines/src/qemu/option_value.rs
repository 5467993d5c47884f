//! Values of QEMU's options.

use std::path::Path;

/// A path as the value of an option: QEMU escapes a comma by doubling it.
pub fn value(path: &Path) -> String {
    path.to_string_lossy().replace(',', ",,")
}
