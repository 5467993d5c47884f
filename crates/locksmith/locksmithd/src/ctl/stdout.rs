//! Standard output without panics on a closed pipe.

use std::io::{self, Write as _};

use super::failure::Failure;

pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}
