//! What all steps of an installation need.

use std::path::Path;

use anyhow::Result;
use disk_install::{Fetcher, Key};

use crate::channel::ChannelServer;
use crate::flags::InstallFlags;
use crate::settings::{Running, Settings};

/// An installation from its flags.
pub struct Job<'a> {
    pub(crate) flags: &'a InstallFlags,
    /// The root of the running system.
    pub(crate) root: &'a Path,
    pub(crate) settings: Settings,
    pub(crate) fetcher: Fetcher,
    /// Returns the channel server, or why there is none.
    pub(crate) server: &'a dyn Fn() -> Result<ChannelServer>,
    /// Receives a line for the user.
    lines: &'a dyn Fn(&str),
    /// Whether progress is not shown.
    pub quiet: bool,
}

impl<'a> Job<'a> {
    /// `name` is the program's, `running` are facts about the system below `root`. `server` is called if an image of a channel
    /// server is wanted, `lines` receives what is being done.
    pub fn new(
        name: &str,
        flags: &'a InstallFlags,
        (root, running): (&'a Path, &Running),
        server: &'a dyn Fn() -> Result<ChannelServer>,
        lines: &'a dyn Fn(&str),
    ) -> Self {
        let fetcher = Fetcher::new(&format!("{name}/{}", env!("CARGO_PKG_VERSION")), flags.fetch_retries);
        Self {
            flags,
            root,
            settings: Settings::resolve(flags, running),
            fetcher,
            server,
            lines,
            quiet: false,
        }
    }

    pub(crate) fn report(&self, line: &str) {
        (self.lines)(line);
    }

    /// `-v`.
    pub(crate) fn verbose(&self, text: &str) {
        if self.flags.verbose {
            eprintln!("+ {text}");
        }
    }

    pub(crate) fn key(&self) -> Result<Option<Key>> {
        Ok(self.flags.key.as_deref().map(disk_install::key).transpose()?)
    }
}
