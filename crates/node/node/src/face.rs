//! What each of the programs is to `main`: a name and a function that takes its command line.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;

pub const FAILED: u8 = 1;
pub const WRONG_USE: u8 = 2;

pub struct Face {
    pub name: &'static str,
    /// Folder of the link, below the image's root.
    pub link: &'static str,
    pub run: fn(Vec<OsString>) -> Result<ExitCode>,
}
