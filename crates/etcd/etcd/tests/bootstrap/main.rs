//! Bootstrap and certificates of `etcd` processes, each test in its own network namespace.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at what it did not expect")]

mod auto_tls;
mod discovery_proxy;
mod metrics_urls;
mod process;
mod srv;
#[allow(dead_code, reason = "the lookups' own tests use all of it")]
#[path = "../../../srv-lookup/tests/kit/zone.rs"]
mod zone;
