//! The version of fleetctl, and the warning about newer fleetds.

/// The version of fleet whose behaviour this is; daemons and scripts compare it.
pub const VERSION: &str = "1.0.0";

/// As Go's flags print it.
pub const VERSION_LINE: &str = "fleetctl version 1.0.0\n";

/// Warns if a fleetd is newer than this program.
pub fn warn_of_newer(versions: &[String]) {
    let ours = parts(VERSION);
    let newest = versions.iter().max_by_key(|version| parts(version));
    let Some(newest) = newest.filter(|newest| parts(newest) > ours) else { return };
    let bar = "#".repeat(68);
    eprintln!(
        "{bar}\nWARNING: fleetctl ({VERSION}) is older than the latest registered\n\
         version of fleet found in the cluster ({newest}). You are strongly\n\
         recommended to upgrade fleetctl to prevent incompatibility issues.\n{bar}"
    );
}

/// The numeric components, without suffixes such as `-rc1` and `+git`.
fn parts(version: &str) -> Vec<u64> {
    let numbers = version.split(['-', '+']).next().unwrap_or_default();
    numbers.split('.').map(|number| number.parse().unwrap_or(0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_in_order() {
        for (older, newer) in [("0.11.8", "1.0.0"), ("1.0.0", "1.0.1"), ("0.9.0", "0.11.0"), ("", "0.1.0")] {
            assert!(parts(older) < parts(newer), "{older} {newer}");
        }
        assert_eq!(parts("1.0.0+git"), parts(VERSION));
    }
}
