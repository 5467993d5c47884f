//! The flags that every verb has, and how values are read that several verbs take.

use std::path::PathBuf;

use clap::Args;
use machines::cluster::BackendKind;

#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Set of machines that the verb is about
    #[arg(long, global = true, value_name = "NAME", default_value = "default", env = "KEELSON_CLUSTER")]
    pub cluster: String,
    /// Folder of the clusters' files [default: $XDG_STATE_HOME/keelson]
    #[arg(long, global = true, value_name = "DIR", env = "KEELSON_STATE_DIR")]
    pub state_dir: Option<PathBuf>,
    /// Print one JSON document on stdout, and nothing else there
    #[arg(long, global = true)]
    pub json: bool,
    /// Show no progress
    #[arg(long, short, global = true)]
    pub quiet: bool,
}

/// `--on qemu|nspawn`.
pub fn backend(text: &str) -> Result<BackendKind, String> {
    text.parse()
}
