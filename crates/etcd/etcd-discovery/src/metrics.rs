//! Prometheus metrics.

use prometheus::{Encoder, IntCounter, IntGauge, Registry, TextEncoder};

pub struct Metrics {
    registry: Registry,
    pub requests: IntCounter,
    pub tokens_created: IntCounter,
    pub rate_limited: IntCounter,
    pub errors: IntCounter,
}

impl Metrics {
    /// # Errors
    /// None in practice: the names are valid, and each is registered once.
    pub fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        Ok(Self {
            requests: counter("etcd_discovery_requests_total", "Requests.")?,
            tokens_created: counter("etcd_discovery_tokens_made_total", "Tokens handed out.")?,
            rate_limited: counter("etcd_discovery_refused_by_rate_total", "Requests above the rate.")?,
            errors: counter("etcd_discovery_failed_total", "Requests that failed here.")?,
            registry,
        })
    }

    /// `own`: the numbers of tokens and open watches, if they are stored here.
    ///
    /// # Errors
    /// None in practice, as for [`Metrics::new`].
    pub fn text(&self, own: Option<(usize, usize)>) -> prometheus::Result<Vec<u8>> {
        let own_registry = Registry::new();
        let gauge = |name: &str, help: &str, value: usize| {
            let gauge = IntGauge::new(name, help)?;
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
            own_registry.register(Box::new(gauge))
        };
        if let Some((tokens, watches)) = own {
            gauge("etcd_discovery_tokens", "Stored tokens.", tokens)?;
            gauge("etcd_discovery_watches", "Open watches.", watches)?;
        }
        let mut families = self.registry.gather();
        families.extend(own_registry.gather());
        let mut page = Vec::new();
        TextEncoder::new().encode(&families, &mut page)?;
        Ok(page)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_has_all_metrics() {
        let metrics = Metrics::new().unwrap();
        metrics.requests.inc_by(3);
        metrics.errors.inc();
        let text = |own| String::from_utf8(metrics.text(own).unwrap()).unwrap();
        let shared = "# HELP etcd_discovery_failed_total Requests that failed here.
# TYPE etcd_discovery_failed_total counter
etcd_discovery_failed_total 1
# HELP etcd_discovery_refused_by_rate_total Requests above the rate.
# TYPE etcd_discovery_refused_by_rate_total counter
etcd_discovery_refused_by_rate_total 0
# HELP etcd_discovery_requests_total Requests.
# TYPE etcd_discovery_requests_total counter
etcd_discovery_requests_total 3
# HELP etcd_discovery_tokens_made_total Tokens handed out.
# TYPE etcd_discovery_tokens_made_total counter
etcd_discovery_tokens_made_total 0
";
        let own = "# HELP etcd_discovery_tokens Stored tokens.
# TYPE etcd_discovery_tokens gauge
etcd_discovery_tokens 2
# HELP etcd_discovery_watches Open watches.
# TYPE etcd_discovery_watches gauge
etcd_discovery_watches 1
";
        assert_eq!(text(None), shared);
        assert_eq!(text(Some((2, 1))), format!("{shared}{own}"));
    }
}
