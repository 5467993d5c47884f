//! The entry of an applet: a name, a link and a function that takes the command line.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;

pub const EXIT_FAILURE: u8 = 1;
pub const EXIT_USAGE: u8 = 2;

pub struct Applet {
    pub name: &'static str,
    /// The folder of the link, relative to the image's root.
    pub link: &'static str,
    pub run: fn(Vec<OsString>) -> Result<ExitCode>,
}
