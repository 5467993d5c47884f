//! `.ci/may-not-run.toml`: parts that a strict run may skip, and why. Any other skipped part fails the run.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::result::Skip;

pub const FILE: &str = ".ci/may-not-run.toml";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Allowed {
    #[serde(default)]
    part: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// `STEP/PART`; a trailing `*` is a wildcard.
    name: String,
    /// Substring of the skip's reason, so that another reason is still a failure.
    because: String,
    /// Why this is acceptable, for readers of the file.
    reason: String,
}

impl Allowed {
    pub fn read(root: &Path) -> Result<Self> {
        let path = root.join(FILE);
        if !path.exists() {
            return Ok(Self { part: Vec::new() });
        }
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("{FILE} is malformed"))
    }

    fn parse(text: &str) -> Result<Self> {
        let allowed: Self = toml::from_str(text)?;
        for entry in &allowed.part {
            anyhow::ensure!(!entry.reason.trim().is_empty(), "{} has no reason", entry.name);
            anyhow::ensure!(!entry.because.trim().is_empty(), "{} has an empty `because`", entry.name);
        }
        Ok(allowed)
    }

    pub fn allows(&self, skip: &Skip) -> bool {
        self.part.iter().any(|entry| {
            let fits = match entry.name.strip_suffix('*') {
                Some(prefix) => skip.part.starts_with(prefix),
                None => skip.part == entry.name,
            };
            fits && skip.reason.contains(&entry.because)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(part: &str, reason: &str, expect: bool) {
        let allowed = Allowed::parse(
            "[[part]]\nname = \"scenarios-nspawn/fleet-reference\"\nbecause = \"no fleetctl\"\nreason = \"r\"\n\
             [[part]]\nname = \"soaks/*\"\nbecause = \"no time\"\nreason = \"r\"\n",
        )
        .unwrap();
        let skip = Skip { part: part.into(), reason: reason.into() };
        assert_eq!(allowed.allows(&skip), expect, "{part}: {reason}");
    }

    #[test]
    fn only_a_listed_part_with_its_reason_is_allowed() {
        check("scenarios-nspawn/fleet-reference", "there is no fleetctl of the original", true);
        check("scenarios-nspawn/fleet-reference", "needs root", false);
        check("scenarios-nspawn/fleet", "no fleetctl", false);
        check("soaks/killed", "no time left", true);
    }

    #[test]
    fn an_entry_needs_its_reasons() {
        assert!(Allowed::parse("[[part]]\nname = \"a\"\nbecause = \"b\"\nreason = \" \"").is_err());
        assert!(Allowed::parse("[[part]]\nname = \"a\"\nbecause = \"\"\nreason = \"b\"").is_err());
        assert!(Allowed::parse("[[part]]\nname = \"a\"").is_err());
    }

    #[test]
    fn the_checked_in_list_is_valid() {
        Allowed::read(&crate::workspace::root()).unwrap();
    }
}
