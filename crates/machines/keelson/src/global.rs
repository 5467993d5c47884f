//! The flags that every verb has, and how values are read that several verbs take.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use machines::cluster::BackendKind;
use machines::ready::Limit;
use machines::site::Site;

/// What starting the units of a user-data may take, downloads of theirs included.
const LONGEST_STEP: Duration = Duration::from_secs(1800);

/// The set of machines that is meant where none is named.
pub const DEFAULT_CLUSTER: &str = "default";

#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Set of machines that the verb is about
    #[arg(long, global = true, value_name = "NAME", default_value = DEFAULT_CLUSTER, env = "KEELSON_CLUSTER")]
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

impl Global {
    /// How this program is called for the same cluster: with the flags that are not at their defaults.
    #[must_use]
    pub fn command(&self) -> String {
        let mut command = match std::env::var_os("CARGO") {
            Some(_) => "cargo keelson".to_owned(),
            None => "keelson".to_owned(),
        };
        if let Some(folder) = &self.state_dir {
            command += &format!(" --state-dir {}", folder.display());
        }
        if self.cluster != DEFAULT_CLUSTER {
            command += &format!(" --cluster {}", self.cluster);
        }
        command
    }
}

/// How long machines are waited for.
#[derive(Debug, Clone, Copy, Args)]
pub struct Waiting {
    /// Seconds that machines may take to get ready, in all [default: as long as something changes on them]
    #[arg(long, value_name = "S")]
    timeout: Option<u64>,
}

impl Waiting {
    pub fn limit(self, site: &Site) -> Limit {
        self.timeout
            .map_or_else(|| site.default_limit(), |seconds| Limit::Total(Duration::from_secs(seconds)))
    }

    /// Of one step on a machine that is up.
    pub fn of_step(self) -> Duration {
        self.timeout.map_or(LONGEST_STEP, Duration::from_secs)
    }
}

/// `--on qemu|nspawn`.
pub fn backend(text: &str) -> Result<BackendKind, String> {
    text.parse()
}
