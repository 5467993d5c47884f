//! Reports that the apps have started.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::Context as _;
use nix::fcntl::OFlag;

/// The FIFO in the pod's folder that reports it. Absent if `rkt run` does not need to know.
pub const STARTED: &str = "apps-started";

pub fn report(path: &Path) -> anyhow::Result<()> {
    let fifo = path.join(STARTED);
    let opened = OpenOptions::new().write(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(&fifo);
    let written = match opened {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        opened => opened.and_then(|mut started| started.write_all(b"1")),
    };
    written
        .and_then(|()| std::fs::remove_file(&fifo))
        .with_context(|| format!("cannot use {}", fifo.display()))
}
