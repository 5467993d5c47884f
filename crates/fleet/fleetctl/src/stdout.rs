//! Standard output, written so that a reader that went away is no panic.

use std::io::{self, Write as _};

use crate::failure::Failure;

/// Writes at once: what a watch prints is waited for.
pub fn say(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

/// Bytes that may be no text.
pub fn say_bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()?;
    Ok(())
}
