//! What Prometheus reads.

use std::collections::BTreeMap;

use prometheus::core::Collector;
use prometheus::{Encoder, IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder};
use rollout::Fleet;

use crate::key_sets::KeySets;

/// Labels with more values than this are told as `other`: machines say what they like.
const VERSIONS: usize = 64;

#[derive(Clone)]
pub struct Metrics {
    /// By what came of them.
    pub checks: IntCounterVec,
    pub events: IntCounterVec,
    pub malformed: IntCounter,
    pub sent_bytes: IntCounter,
}

impl Metrics {
    /// # Errors
    /// Never in practice: the names are fit for Prometheus.
    pub fn new() -> prometheus::Result<Self> {
        let many = |name: &str, help: &str, label: &str| IntCounterVec::new(Opts::new(name, help), &[label]);
        Ok(Self {
            checks: many("keelson_updates_checks_total", "Update checks by what came of them", "answer")?,
            events: many("keelson_updates_events_total", "Events of machines by what they tell", "event")?,
            malformed: IntCounter::new("keelson_updates_malformed_total", "Requests that were no Omaha")?,
            sent_bytes: IntCounter::new("keelson_updates_file_bytes_total", "Bytes of release files sent")?,
        })
    }

    /// # Errors
    /// Never in practice: each name is registered once.
    pub fn text(&self, fleet: &Fleet, sets: &KeySets) -> prometheus::Result<Vec<u8>> {
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
        let failed =
            gauge("keelson_updates_failed", "Machines that failed in this rollout", &["app", "group"])?;
        let paused = gauge("keelson_updates_paused", "1 where a group is paused", &["app", "group"])?;
        let set_ends = gauge(
            "keelson_updates_key_set_expiry_timestamp_seconds",
            "When the newest set of keys ends",
            &["app"],
        )?;
        for (key, app) in fleet.apps() {
            let name = app.app.product_id.as_ref().unwrap_or(&app.app.name);
            if let Some(set) = sets.newest(key) {
                set_ends.with_label_values(&[name]).set(i64::try_from(set.expires).unwrap_or(i64::MAX));
            }
            for (track, state) in &app.groups {
                let group = track.to_string();
                let mut counted: BTreeMap<&str, usize> = BTreeMap::new();
                for (version, count) in &state.counts.versions {
                    let is_new = counted.len() >= VERSIONS && !counted.contains_key(version.as_str());
                    *counted.entry(if is_new { "other" } else { version }).or_default() += count;
                }
                for (version, count) in counted {
                    versions.with_label_values(&[name, &group, version]).set(number(count));
                }
                for (status, count) in &state.counts.statuses {
                    statuses.with_label_values(&[name, group.as_str(), status.word()]).set(number(*count));
                }
                let rollout = state.group.rollout.as_ref();
                failed
                    .with_label_values(&[name, &group])
                    .set(rollout.map_or(0, |rollout| rollout.failed.into()));
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
