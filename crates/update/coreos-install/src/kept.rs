//! Partitions of the disk that the flags keep.

use anyhow::{Context, Result, anyhow};
use disk_slots::Disk;
use disk_slots::gpt::{KeptPartitions, Partition};
use globset::{Glob, GlobMatcher};

use crate::flags::InstallFlags;
use crate::number_range::NumberRange;

/// Selects partitions.
pub struct Filter<'a> {
    labels: Vec<GlobMatcher>,
    numbers: &'a [NumberRange],
}

impl<'a> Filter<'a> {
    /// `None` if no partition can be selected.
    pub fn of(flags: &'a InstallFlags) -> Result<Option<Self>> {
        if flags.save_partlabel.is_empty() && flags.save_partindex.is_empty() {
            return Ok(None);
        }
        let glob = |glob: &String| {
            let parsed = Glob::new(glob).with_context(|| format!("--save-partlabel {glob}: invalid pattern"));
            parsed.map(|glob| glob.compile_matcher())
        };
        let labels = flags.save_partlabel.iter().map(glob).collect::<Result<_>>()?;
        Ok(Some(Self { labels, numbers: &flags.save_partindex }))
    }

    fn matches(&self, part: &Partition) -> bool {
        let in_range = |range: &NumberRange| range.contains(part.number);
        self.labels.iter().any(|glob| glob.is_match(&part.label)) || self.numbers.iter().any(in_range)
    }

    /// The partitions of a disk that match; `None` if none does.
    pub fn read(&self, disk: &impl Disk) -> Result<Option<KeptPartitions>> {
        KeptPartitions::read(disk, |part| self.matches(part)).map_err(refused)
    }
}

/// Adds the next step to an error of [`disk_slots::gpt::KeepError`].
pub fn refused(error: impl std::error::Error) -> anyhow::Error {
    let why = service::error::chain(&error);
    anyhow!(
        "{why}. Nothing was written. Change --save-partlabel or --save-partindex, or install to another disk"
    )
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::flags::Flags;

    #[test]
    fn partitions_are_selected_by_label_and_number() {
        let check = |line: &str, expected: &[u32]| {
            let words = std::iter::once("coreos-install").chain(line.split(' '));
            let flags = Flags::parse_from(words).install;
            let filter = Filter::of(&flags).unwrap().unwrap();
            let part = |(number, label): (u32, &str)| Partition {
                number,
                label: label.to_owned(),
                uuid: [0; 16],
                offset: 0,
                bytes: 0,
            };
            let parts = [(1, "boot"), (2, "data-1"), (3, "data-2"), (4, "logs"), (5, "a,b")];
            let found = parts.map(part).into_iter().filter(|part| filter.matches(part));
            assert_eq!(found.map(|part| part.number).collect::<Vec<_>>(), expected, "{line}");
        };
        check("--save-partlabel data-*", &[2, 3]);
        check("--save-partlabel data-?,logs --save-partindex 1", &[1, 2, 3, 4]);
        check("--save-partlabel boot --save-partlabel logs", &[1, 4]);
        check("--save-partindex 4-", &[4, 5]);
        check("--save-partindex -2,5", &[1, 2, 5]);
        check("--save-partindex 2-3", &[2, 3]);
        check("--save-partlabel Boot", &[]);
    }

    #[test]
    fn an_invalid_pattern_is_an_error() {
        let flags = Flags::parse_from(["coreos-install", "--save-partlabel", "[a"]).install;
        let error = Filter::of(&flags).map(drop).unwrap_err();
        assert_eq!(error.to_string(), "--save-partlabel [a: invalid pattern");
    }
}
