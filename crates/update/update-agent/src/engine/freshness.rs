//! Reports whether the channel's timestamp is recent.

use std::time::{Duration, Instant};

use update_engine::{Failure, Kind, now};

use super::Engine;

/// Interval of errors in the journal about an outdated channel.
const LOG_OUTDATED_EVERY: Duration = Duration::from_secs(86_400);

impl Engine {
    /// Logs and publishes whether the channel's timestamp is recent. Called after a check, not at the start: a machine may
    /// have been off for a week. `confirmed` is `None` if the server did not respond.
    pub(super) fn report_freshness(&mut self, confirmed: Option<&Result<(), Failure>>) {
        let freshness = self.updater.state.freshness();
        let channel = &freshness.channel;
        let outdated = freshness.outdated(now()).map(|age| {
            format!(
                "channel {channel} has had no new timestamp for {} days: its server is out of reach, or hides newer \
                 releases",
                age / 86_400
            )
        });
        if let Some(Err(failure)) = confirmed {
            tracing::warn!(
                code = failure.code.0,
                "the metadata of channel {channel} is not verified: {failure}"
            );
            if failure.kind == Kind::Rejected {
                self.file(|file| {
                    // A failed update is more urgent.
                    if file.last_error.is_none() {
                        file.last_error = Some(format!("metadata of channel {channel}: {failure}"));
                        file.last_error_time = Some(now());
                    }
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
            file.channel_expires = freshness.expires;
            file.outdated = outdated;
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use folder_machine::Machine;
    use omaha::ErrorCode;
    use update_core::freshness::LIFETIME;
    use update_core::schedule::INTERVALS;
    use update_engine::Paths;

    use super::super::Shared;
    use super::*;

    #[test]
    fn an_outdated_channel_is_published_until_its_next_timestamp() {
        let machine = Machine::new();
        let shared = Arc::new(Shared::new(tokio::sync::mpsc::unbounded_channel().0));
        let mut engine = Engine::new(&Paths::new(machine.root()), machine.updater(), shared, INTERVALS);
        let state = &machine.updater().state;
        let status = || -> serde_json::Value {
            serde_json::from_slice(&std::fs::read(machine.path("run/update-engine/status.json")).unwrap())
                .unwrap()
        };
        let forged = || Failure::text(Kind::Rejected, ErrorCode::PAYLOAD_PUBLIC_KEY, "no key".to_owned());
        state.update_freshness(|freshness| freshness.follow("alpha", now() - 8 * 86_400)).unwrap();
        engine.report_freshness(None);
        let expect = "channel alpha has had no new timestamp for 8 days: its server is out of reach, or hides newer releases";
        assert_eq!(status()["outdated"], expect);
        assert_eq!(status()["last_error"], serde_json::Value::Null);
        assert!(engine.logged_outdated.is_some());
        engine.report_freshness(Some(&Err(forged())));
        assert_eq!(status()["last_error"], "metadata of channel alpha: no key");
        state.update_freshness(|freshness| freshness.expires = Some(now() + LIFETIME)).unwrap();
        engine.report_freshness(Some(&Ok(())));
        assert_eq!(status()["outdated"], serde_json::Value::Null);
        assert!(engine.logged_outdated.is_none());
        let metrics = std::fs::read_to_string(machine.path("run/update-engine/metrics.prom")).unwrap();
        assert!(metrics.contains("\nkeelson_update_channel_outdated 0\n"), "{metrics}");
    }
}
