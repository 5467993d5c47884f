//! The endpoints with a fixed path. Those of keys, members, users and roles have paths of their own.

use hyper::Method;

/// What an endpoint serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resource {
    Version,
    Health,
    Metrics,
    Variables,
    LogLevel,
    OwnStatistics,
    LeaderStatistics,
    StoreStatistics,
    Leader,
    Machines,
}

/// A path, its methods and its resource. `docs/reference/api/etcd.yaml` describes each.
#[derive(Debug)]
pub struct FixedPath {
    pub path: &'static str,
    /// The value of `Allow`. Empty: any method.
    pub allow: &'static str,
    pub(crate) resource: Resource,
}

const fn fixed(path: &'static str, allow: &'static str, resource: Resource) -> FixedPath {
    FixedPath { path, allow, resource }
}

const GET: &str = "GET";
const WITH_HEAD: &str = "GET,HEAD";

pub static FIXED_PATHS: [FixedPath; 17] = [
    fixed("/version", GET, Resource::Version),
    fixed("/health", GET, Resource::Health),
    // Scrapers may use any method.
    fixed("/metrics", "", Resource::Metrics),
    fixed("/debug/vars", GET, Resource::Variables),
    fixed("/config/local/log", "PUT", Resource::LogLevel),
    fixed("/v2/stats/self", GET, Resource::OwnStatistics),
    fixed("/v2/stats/leader", GET, Resource::LeaderStatistics),
    fixed("/v2/stats/store", GET, Resource::StoreStatistics),
    fixed("/v2/leader", WITH_HEAD, Resource::Leader),
    fixed("/v2/machines", WITH_HEAD, Resource::Machines),
    fixed("/v2/peers", WITH_HEAD, Resource::Machines),
    fixed("/v1/stats/self", GET, Resource::OwnStatistics),
    fixed("/v1/stats/leader", GET, Resource::LeaderStatistics),
    fixed("/v1/stats/store", GET, Resource::StoreStatistics),
    fixed("/v1/leader", WITH_HEAD, Resource::Leader),
    fixed("/v1/machines", WITH_HEAD, Resource::Machines),
    fixed("/v1/peers", WITH_HEAD, Resource::Machines),
];

impl FixedPath {
    pub(crate) fn find(path: &[u8]) -> Option<&'static FixedPath> {
        FIXED_PATHS.iter().find(|fixed| fixed.path.as_bytes() == path)
    }

    pub(crate) fn allows(&self, method: &Method) -> bool {
        self.allow.is_empty() || self.allow.split(',').any(|allowed| allowed == method.as_str())
    }
}
