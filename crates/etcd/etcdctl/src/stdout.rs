//! Standard output; a closed pipe is an error, not a panic.

use std::io::{self, Write as _};

use crate::failure::Failure;

/// Writes and flushes: readers wait for the output of a watch.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}
