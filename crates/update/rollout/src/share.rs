//! Which part of all machines a machine belongs to, for one version.

use sha2::{Digest as _, Sha256};

const WHOLE: u64 = 10_000;

/// Whether the machine is among the first `percent` of all that get `version`. The same machine is early with one
/// version and late with another; more percent never leave one out that was in.
pub fn is_among(machine: &str, version: &str, percent: u8) -> bool {
    place(machine, version) < u64::from(percent) * (WHOLE / 100)
}

/// 0 to 9999.
fn place(machine: &str, version: &str) -> u64 {
    let mut hash = Sha256::new();
    hash.update(machine.as_bytes());
    hash.update(b"\n");
    hash.update(version.as_bytes());
    let start = hash.finalize().first_chunk().copied().unwrap_or_default();
    u64::from_be_bytes(start) % WHOLE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_about_as_large_as_it_says_and_another_for_each_version() {
        let count = |version: &str, percent| {
            (0..10_000).filter(|number| is_among(&format!("machine-{number}"), version, percent)).count()
        };
        assert_eq!((count("2.0.0", 0), count("2.0.0", 100)), (0, 10_000));
        assert!((900..1100).contains(&count("2.0.0", 10)), "{}", count("2.0.0", 10));
        let both = |number: &usize| {
            let machine = format!("machine-{number}");
            is_among(&machine, "2.0.0", 10) && is_among(&machine, "3.0.0", 10)
        };
        let both = (0..10_000).filter(both).count();
        assert!((50..200).contains(&both), "{both}");
    }

    /// It decides on running fleets: it must never change.
    #[test]
    fn the_place_of_a_machine_stays() {
        assert_eq!(place("b2f1aa0c5d1d4f43b1e5b3f0c2a9d801", "2.0.0"), 1410);
    }
}
