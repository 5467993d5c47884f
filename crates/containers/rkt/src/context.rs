//! Flags of the program, and what they select.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use command_line::{Flag, ParsedArgs, ValueKind};
use oci_store::{Decompression, Store};
use pod::InsecureOptions;

use crate::pods::Pods;

pub const FLAGS: &[Flag] = &[
    Flag::new("dir", ValueKind::Directory, "directory of images and pods").default("/var/lib/rkt"),
    Flag::new("local-config", ValueKind::Directory, "directory of this machine's configuration")
        .default("/etc/rkt"),
    Flag::new("system-config", ValueKind::Directory, "directory of the vendor's configuration")
        .default("/usr/lib/rkt"),
    Flag::new("user-config", ValueKind::Directory, "accepted for compatibility").hidden(),
    Flag::new(
        "insecure-options",
        ValueKind::Text,
        "checks that are off: none, image, tls, http, capabilities, paths, seccomp, all-fetch, all-run, all",
    )
    .default("none"),
    Flag::switch("debug", "more messages on standard error"),
    Flag::switch("trust-keys-from-https", "accepted for compatibility: keys are never downloaded").hidden(),
];

pub struct Context {
    pub dir: PathBuf,
    pub local_config: PathBuf,
    pub system_config: PathBuf,
    pub insecure: InsecureOptions,
    pub debug: bool,
}

impl Context {
    pub fn new(flags: &ParsedArgs) -> anyhow::Result<Self> {
        let path = |name: &str| {
            std::path::absolute(flags.text_or_default(name)).with_context(|| format!("--{name}"))
        };
        let dir = path("dir")?;
        // Separators of overlay's options.
        let text = dir.to_string_lossy();
        if text.contains([':', ',', '\\']) {
            anyhow::bail!("--dir {text:?} contains `:`, `,` or `\\`, which mount options cannot have");
        }
        Ok(Self {
            dir,
            local_config: path("local-config")?,
            system_config: path("system-config")?,
            insecure: flags.text_or_default("insecure-options").parse()?,
            debug: flags.is_set("debug"),
        })
    }

    pub fn store(&self) -> anyhow::Result<Store> {
        Ok(Store::open(&self.dir)?.with_decompression(Decompression::own_program()))
    }

    pub fn pods(&self) -> anyhow::Result<Pods> {
        Pods::open(&self.dir.join("pods"))
    }

    pub fn debug(&self, message: impl FnOnce() -> String) {
        if self.debug {
            eprintln!("rkt: {}", message());
        }
    }

    /// The local directory precedes the vendor's.
    pub fn configs(&self) -> [&Path; 2] {
        [&self.local_config, &self.system_config]
    }
}
