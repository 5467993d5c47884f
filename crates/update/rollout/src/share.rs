//! Selects the share of machines that get a version first.

use sha2::{Digest as _, Sha256};

const BUCKETS: u64 = 10_000;

/// Whether the machine is among the first `percent` of the machines for `version`. The selection differs per version.
/// A higher percentage always includes a lower one.
pub fn is_in_share(machine: &str, version: &str, percent: u8) -> bool {
    bucket(machine, version) < u64::from(percent) * (BUCKETS / 100)
}

/// 0 to 9999.
fn bucket(machine: &str, version: &str) -> u64 {
    let mut hash = Sha256::new();
    hash.update(machine.as_bytes());
    hash.update(b"\n");
    hash.update(version.as_bytes());
    let start = hash.finalize().first_chunk().copied().unwrap_or_default();
    u64::from_be_bytes(start) % BUCKETS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_match_their_percentage_and_differ_per_version() {
        let count = |version: &str, percent| {
            (0..10_000).filter(|number| is_in_share(&format!("machine-{number}"), version, percent)).count()
        };
        assert_eq!((count("2.0.0", 0), count("2.0.0", 100)), (0, 10_000));
        assert!((900..1100).contains(&count("2.0.0", 10)), "{}", count("2.0.0", 10));
        let both = |number: &usize| {
            let machine = format!("machine-{number}");
            is_in_share(&machine, "2.0.0", 10) && is_in_share(&machine, "3.0.0", 10)
        };
        let both = (0..10_000).filter(both).count();
        assert!((50..200).contains(&both), "{both}");
    }

    /// Running rollouts depend on it: it must never change.
    #[test]
    fn buckets_are_stable() {
        assert_eq!(bucket("b2f1aa0c5d1d4f43b1e5b3f0c2a9d801", "2.0.0"), 1410);
    }
}
