//! Global flags, and parsers of values that several verbs share.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use machines::cluster::BackendKind;
use machines::ready::Limit;
use machines::site::Site;

/// Default limit of one provisioning step, including downloads of its units.
const STEP_LIMIT: Duration = Duration::from_secs(1800);

pub const DEFAULT_CLUSTER: &str = "default";

#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Name of the cluster
    #[arg(long, global = true, value_name = "NAME", default_value = DEFAULT_CLUSTER, env = "KEELSON_CLUSTER")]
    pub cluster: String,
    /// Folder of the clusters' files [default: $XDG_STATE_HOME/keelson]
    #[arg(long, global = true, value_name = "DIR", env = "KEELSON_STATE_DIR")]
    pub state_dir: Option<PathBuf>,
    /// Print one JSON document to stdout, and nothing else
    #[arg(long, global = true)]
    pub json: bool,
    /// Show no progress
    #[arg(long, short, global = true)]
    pub quiet: bool,
}

impl Global {
    /// The command line prefix for the same cluster: the program with its non-default global flags.
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
pub struct WaitFlags {
    /// Seconds until all machines must be ready [default: no limit while their boot makes progress]
    #[arg(long, value_name = "S")]
    timeout: Option<u64>,
}

impl WaitFlags {
    pub fn limit(self, site: &Site) -> Limit {
        self.timeout
            .map_or_else(|| site.default_limit(), |seconds| Limit::Total(Duration::from_secs(seconds)))
    }

    /// Limit of one step on a running machine.
    pub fn step_limit(self) -> Duration {
        self.timeout.map_or(STEP_LIMIT, Duration::from_secs)
    }
}

pub fn backend(text: &str) -> Result<BackendKind, String> {
    text.parse()
}
