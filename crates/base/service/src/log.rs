//! Logging: to the journal with structured fields if stderr is connected to it, otherwise to stderr.
//!
//! The filter can be changed at run time.

use std::os::unix::fs::MetadataExt;

use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{Layer, Registry, reload};

/// Why logging was not initialized.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum LogError {
    #[error("cannot connect to the journal")]
    Journal(#[source] std::io::Error),
    #[error("cannot initialize logging")]
    Init(#[from] TryInitError),
}

/// Changes the filter of the running process, as on a reload.
#[derive(Clone)]
pub struct Filter(reload::Handle<Targets, Registry>);

impl Filter {
    /// Returns false if logging has ended because the process exits.
    pub fn set(&self, targets: Targets) -> bool {
        self.0.reload(targets).is_ok()
    }
}

/// Initializes logging; must be called once. `identifier` is the syslog identifier.
pub fn start(identifier: &str, targets: Targets) -> Result<Filter, LogError> {
    let (filter, handle) = reload::Layer::new(targets);
    let to_journal = is_journal_stream().then(tracing_journald::layer).transpose();
    let layer: Box<dyn Layer<Registry> + Send + Sync> = match to_journal.map_err(LogError::Journal)? {
        Some(journal) => Box::new(journal.with_syslog_identifier(identifier.to_owned())),
        None => Box::new(tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false)),
    };
    tracing_subscriber::registry().with(layer.with_filter(filter)).try_init()?;
    Ok(Filter(handle))
}

/// Whether stderr is the stream in `JOURNAL_STREAM` (device:inode), which systemd sets.
fn is_journal_stream() -> bool {
    let journal_stream = std::env::var("JOURNAL_STREAM").unwrap_or_default();
    let stderr = std::fs::metadata("/proc/self/fd/2");
    stderr.is_ok_and(|data| journal_stream == format!("{}:{}", data.dev(), data.ino()))
}
