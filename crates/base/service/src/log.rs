//! The log: to the journal with structured fields where systemd reads us, to stderr elsewhere.
//!
//! What is logged can be changed while the service runs.

use std::os::unix::fs::MetadataExt;

use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{Layer, Registry, reload};

#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("the journal's socket")]
    Journal(#[source] std::io::Error),
    #[error("the log")]
    Init(#[from] TryInitError),
}

/// Changes what is logged.
#[derive(Clone)]
pub struct Filter(reload::Handle<Targets, Registry>);

impl Filter {
    /// False where nothing is logged any more: the process ends.
    pub fn set(&self, targets: Targets) -> bool {
        self.0.reload(targets).is_ok()
    }
}

/// Sets the log up, once in a process. `identifier` is what the journal calls the service.
pub fn start(identifier: &str, targets: Targets) -> Result<Filter, LogError> {
    let (filter, handle) = reload::Layer::new(targets);
    let to_journal = read_by_journal().then(tracing_journald::layer).transpose();
    let layer: Box<dyn Layer<Registry> + Send + Sync> = match to_journal.map_err(LogError::Journal)? {
        Some(journal) => Box::new(journal.with_syslog_identifier(identifier.to_owned())),
        None => Box::new(tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false)),
    };
    tracing_subscriber::registry().with(layer.with_filter(filter)).try_init()?;
    Ok(Filter(handle))
}

/// Whether stderr is the stream that systemd names in `JOURNAL_STREAM` (device:inode).
fn read_by_journal() -> bool {
    let named = std::env::var("JOURNAL_STREAM").unwrap_or_default();
    let stderr = std::fs::metadata("/proc/self/fd/2");
    stderr.is_ok_and(|data| named == format!("{}:{}", data.dev(), data.ino()))
}
