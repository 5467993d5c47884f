//! `-listen-metrics-urls`.

use std::io;
use std::sync::Arc;

use etcd_config::Url;
use etcd_http::MetricsPort;
use etcd_http::limits::MAX_METRICS_CONNECTIONS;
use etcd_http::server::{Handler, Listener, Running, serve};

/// The sockets, open since before the bootstrap like those of clients, and the URLs for the log.
pub struct MetricsListeners<'a> {
    pub urls: &'a [Url],
    pub listeners: Vec<Listener>,
}

impl MetricsListeners<'_> {
    pub fn serve<H: Handler>(self, front: &Arc<H>) -> io::Result<Running> {
        for url in self.urls {
            tracing::info!("listening for metrics on {url}");
        }
        serve(self.listeners, Arc::new(MetricsPort(Arc::clone(front))), MAX_METRICS_CONNECTIONS)
    }
}
