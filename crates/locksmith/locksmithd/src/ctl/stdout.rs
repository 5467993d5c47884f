//! Standard output, written so that a reader that went away is no panic.

use std::io::{self, Write as _};

use super::failure::Failure;

pub fn say(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}
