//! Counters, in Prometheus' text format.

use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Default)]
pub struct Metrics {
    pub requests: AtomicU64,
    pub tokens_created: AtomicU64,
    pub rate_limited: AtomicU64,
    pub errors: AtomicU64,
}

impl Metrics {
    pub fn count(of: &AtomicU64) {
        of.fetch_add(1, Ordering::Relaxed);
    }

    /// `own`: the numbers of tokens and open watches, if they are stored here.
    pub fn text(&self, own: Option<(usize, usize)>) -> String {
        let counters = [
            ("etcd_discovery_requests_total", "Requests.", &self.requests),
            ("etcd_discovery_tokens_made_total", "Tokens handed out.", &self.tokens_created),
            ("etcd_discovery_refused_by_rate_total", "Requests above the rate.", &self.rate_limited),
            ("etcd_discovery_failed_total", "Requests that failed here.", &self.errors),
        ];
        let mut out = String::new();
        for (name, help, value) in counters {
            let value = value.load(Ordering::Relaxed);
            out.push_str(&format!("# HELP {name} {help}\n# TYPE {name} counter\n{name} {value}\n"));
        }
        let Some((tokens, watches)) = own else { return out };
        for (name, help, value) in [
            ("etcd_discovery_tokens", "Stored tokens.", tokens),
            ("etcd_discovery_watches", "Open watches.", watches),
        ] {
            out.push_str(&format!("# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}\n"));
        }
        out
    }
}
