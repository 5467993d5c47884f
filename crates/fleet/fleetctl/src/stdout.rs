//! Writes to standard output without panicking on a closed pipe.

use std::io::{self, Write as _};

use crate::failure::Failure;

/// Flushes, for the readers of a watch.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

/// Writes bytes that need not be UTF-8.
pub fn print_bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()?;
    Ok(())
}
