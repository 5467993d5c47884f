//! Prometheus metrics.

use prometheus::core::Collector;
use prometheus::{Encoder, IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder};
use rollout::{Rollout, UpdateState};

use crate::repository::Repositories;

#[derive(Clone)]
pub struct Metrics {
    /// By outcome.
    pub checks: IntCounterVec,
    pub events: IntCounterVec,
    pub malformed: IntCounter,
    pub sent_bytes: IntCounter,
}

impl Metrics {
    /// # Errors
    /// None in practice: the names are valid.
    pub fn new() -> prometheus::Result<Self> {
        let counter_vec =
            |name: &str, help: &str, label: &str| IntCounterVec::new(Opts::new(name, help), &[label]);
        Ok(Self {
            checks: counter_vec("keelson_updates_checks_total", "Update checks by result", "answer")?,
            events: counter_vec(
                "keelson_updates_events_total",
                "Events of machines by type and result",
                "event",
            )?,
            malformed: IntCounter::new(
                "keelson_updates_malformed_total",
                "Requests that were not valid Omaha",
            )?,
            sent_bytes: IntCounter::new("keelson_updates_file_bytes_total", "Bytes of release files sent")?,
        })
    }

    /// # Errors
    /// None in practice: each name is registered once.
    pub fn text(&self, state: &UpdateState, repositories: &Repositories) -> prometheus::Result<Vec<u8>> {
        let registry = Registry::new();
        let counters: [Box<dyn Collector>; 4] = [
            Box::new(self.checks.clone()),
            Box::new(self.events.clone()),
            Box::new(self.malformed.clone()),
            Box::new(self.sent_bytes.clone()),
        ];
        for counter in counters {
            registry.register(counter)?;
        }
        let gauge = |name: &str, help: &str, labels: &[&str]| {
            let gauge = IntGaugeVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let versions =
            gauge("keelson_updates_machines", "Machines by version", &["app", "group", "version"])?;
        let statuses = gauge("keelson_updates_instances", "Machines by status", &["app", "group", "status"])?;
        let per_group = |name: &str, help: &str| gauge(name, help, &["app", "group"]);
        let attempted = per_group(
            "keelson_updates_attempted",
            "Machines, except newcomers, that attempted this rollout's version",
        )?;
        let succeeded = per_group("keelson_updates_succeeded", "Machines that run this rollout's version")?;
        let failed = per_group("keelson_updates_failed", "Machines that failed since the last resume")?;
        let timed_out =
            per_group("keelson_updates_timed_out", "Machines that timed out since the last resume")?;
        let in_progress = per_group("keelson_updates_in_progress", "Machines with a version granted")?;
        let paused = gauge("keelson_updates_paused", "1 if the group is paused", &["app", "group"])?;
        let root_expiry = gauge(
            "keelson_updates_root_expiry_timestamp_seconds",
            "Expiry of the newest root metadata, in seconds since the epoch",
            &["app"],
        )?;
        for (key, app) in state.apps() {
            let name = app.app.product_id.as_ref().unwrap_or(&app.app.name);
            if let Some(root) = repositories.roots.newest(key) {
                root_expiry.with_label_values(&[name]).set(root.header.expires.unix());
            }
            for (track, state) in &app.groups {
                let group = track.to_string();
                for (version, count) in state.counts.common_versions() {
                    versions.with_label_values(&[name, &group, &version]).set(number(count));
                }
                for (status, count) in &state.counts.statuses {
                    statuses.with_label_values(&[name, group.as_str(), status.as_str()]).set(number(*count));
                }
                let rollout = state.group.rollout.as_ref();
                let of = |count: fn(&Rollout) -> u32| rollout.map_or(0, |rollout| i64::from(count(rollout)));
                for (gauge, count) in [
                    (&attempted, of(|rollout| rollout.attempted)),
                    (&succeeded, of(|rollout| rollout.succeeded)),
                    (&failed, of(|rollout| rollout.failed)),
                    (&timed_out, of(|rollout| rollout.timed_out)),
                ] {
                    gauge.with_label_values(&[name, &group]).set(count);
                }
                in_progress.with_label_values(&[name, &group]).set(number(state.counts.in_progress()));
                paused.with_label_values(&[name, &group]).set(state.group.paused.is_some().into());
            }
        }
        let mut text = Vec::new();
        TextEncoder::new().encode(&registry.gather(), &mut text)?;
        Ok(text)
    }
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
