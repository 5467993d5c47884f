//! The receiving member's clock, as it stands in expirations and `ttl`s.

use std::time::SystemTime;

use etcd_api::Timestamp;

pub(crate) fn now() -> Timestamp {
    Timestamp::from(SystemTime::now())
}
