//! Reports whether the channel's timestamp is recent.

use std::time::{Duration, Instant};

use update_engine::{Failure, Kind, now};

use super::Engine;

/// Interval of errors in the journal about an outdated channel.
const LOG_OUTDATED_EVERY: Duration = Duration::from_secs(86_400);

impl Engine {
    /// Logs and publishes whether the channel's timestamp is recent. Only after a response: a machine that was off for a
    /// week, or has no network, is not at fault.
    pub(super) fn report_freshness(&mut self, confirmed: &Result<(), Failure>) {
        let freshness = self.updater.state.freshness();
        let channel = &freshness.channel;
        let outdated = freshness.outdated(now()).map(|age| {
            format!(
                "channel {channel} has had no new timestamp for {} days: its server may hide newer releases",
                age / 86_400
            )
        });
        if let Err(failure) = confirmed {
            tracing::warn!(
                code = failure.code.0,
                "the timestamp of channel {channel} is not verified: {failure}"
            );
            if failure.kind == Kind::Rejected {
                self.file(|file| {
                    file.last_error = Some(format!("timestamp of channel {channel}: {failure}"));
                    file.last_error_time = Some(now());
                });
            }
        }
        match &outdated {
            Some(text) if self.logged_outdated.is_none_or(|at| at.elapsed() >= LOG_OUTDATED_EVERY) => {
                tracing::error!("{text}");
                self.logged_outdated = Some(Instant::now());
            }
            Some(_) => {}
            None => self.logged_outdated = None,
        }
        self.file(|file| {
            file.channel_version = freshness.version.as_ref().map(ToString::to_string);
            file.channel_issued = freshness.issued;
            file.outdated = outdated;
        });
    }
}
