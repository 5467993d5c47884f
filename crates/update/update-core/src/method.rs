//! Selects the payload: full, or a delta to the running version.

use release::{Delta, Digest, Payload, Release, SEGMENTS};

/// Maximum size of a delta, in percent of the full payload.
const MAX_DELTA_PERCENT: u64 = 60;
/// Failed attempts with a delta after which the full payload is used.
pub const DELTA_ATTEMPTS: u32 = 3;

/// The payload to fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method<'a> {
    /// Requires nothing from the machine.
    Full(&'a Payload),
    /// Reads the running slot. The full payload replaces damaged parts of that.
    Delta(&'a Delta),
}

/// Selects by the signed sizes. `failed` is the number of failed delta attempts with this release.
#[must_use]
pub fn choose(release: &Release, running_root: Digest, failed: u32) -> Method<'_> {
    let is_usable = |delta: &&Delta| {
        delta.from_root_hash == running_root
            && delta.payload.algo == SEGMENTS
            && delta.payload.blob.size <= release.full.blob.size / 100 * MAX_DELTA_PERCENT
    };
    match release.deltas.iter().find(is_usable) {
        Some(delta) if failed < DELTA_ATTEMPTS => Method::Delta(delta),
        _ => Method::Full(&release.full),
    }
}

impl<'a> Method<'a> {
    /// What to fetch, whatever the method.
    #[must_use]
    pub fn payload(self) -> &'a Payload {
        match self {
            Self::Full(payload) => payload,
            Self::Delta(delta) => &delta.payload,
        }
    }
}

#[cfg(test)]
mod tests {
    use release::{Digest, Version};

    use super::*;
    use crate::trust::tests::release;

    #[test]
    fn only_a_small_delta_to_the_running_version_is_chosen() {
        let mut release = release();
        release.full.blob.size = 1000;
        let running = Digest([9; 32]);
        assert_eq!(choose(&release, running, 0), Method::Full(&release.full));
        let mut payload = release.full.clone();
        payload.blob.size = 600;
        release.deltas.push(Delta {
            from_version: Version::new(1, 0, 0),
            from_sha256: Digest([8; 32]),
            from_root_hash: running,
            payload,
        });
        let is_delta =
            |release: &Release, running, failed| matches!(choose(release, running, failed), Method::Delta(_));
        assert!(is_delta(&release, running, 0));
        assert!(is_delta(&release, running, DELTA_ATTEMPTS - 1));
        assert!(!is_delta(&release, running, DELTA_ATTEMPTS));
        assert!(!is_delta(&release, Digest([8; 32]), 0));
        release.deltas[0].payload.blob.size = 601;
        assert!(!is_delta(&release, running, 0));
        release.deltas[0].payload.blob.size = 1;
        release.deltas[0].payload.algo = "another".into();
        assert!(!is_delta(&release, running, 0));
    }
}
