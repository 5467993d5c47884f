//! Names of boot images. systemd-boot counts boot attempts in them: `keelson_9999.1.0+2-1.efi` has two tries left and
//! one done, `keelson_9999.1.0.efi` is good (systemd, Automatic Boot Assessment).

use std::fmt;

use release::Version;

/// Boot attempts of a new version before the boot loader selects the other one. The initrd renames a good version
/// that fails to `+2-2` (`image/initrd/usr/lib/keelson/boot-failed`): a sum above this.
pub const TRIES: u32 = 3;
const ENDING: &str = ".efi";

/// The name of one of our boot images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryName {
    /// `keelson`: the `id` of os-release.
    pub id: String,
    /// The version that the image boots.
    pub version: Version,
    /// `None`: the version is good.
    pub tries: Option<Tries>,
}

/// The boot loader's counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tries {
    /// Attempts until the loader selects another version.
    pub left: u32,
    /// Attempts so far.
    pub done: u32,
}

impl EntryName {
    /// Parses a file name. `None` if it is not a boot image of `id`: never touch such a file.
    #[must_use]
    pub fn parse(id: &str, file: &str) -> Option<Self> {
        let rest = file.strip_suffix(ENDING)?.strip_prefix(id)?.strip_prefix('_')?;
        // A version may contain a `+`: `1.2.3+dirty+3-0`.
        let (version, tries) = match rest.rsplit_once('+') {
            Some((version, counter)) if counter.starts_with(|first: char| first.is_ascii_digit()) => {
                (version, Some(Tries::parse(counter)?))
            }
            _ => (rest, None),
        };
        Some(Self { id: id.to_owned(), version: version.parse().ok()?, tries })
    }

    /// A new version, with all tries left.
    #[must_use]
    pub fn new(id: &str, version: &Version) -> Self {
        Self { id: id.to_owned(), version: version.clone(), tries: Some(Tries { left: TRIES, done: 0 }) }
    }

    /// The same image without tries left: booted only if there is no other.
    #[must_use]
    pub fn marked_bad(&self) -> Self {
        let done = self.tries.map_or(0, |tries| tries.done);
        Self { tries: Some(Tries { left: 0, done }), ..self.clone() }
    }

    /// Reverts [`EntryName::marked_bad`]: good if it was good, else with its remaining tries.
    #[must_use]
    pub fn unmarked_bad(&self) -> Self {
        let tries = self.tries.filter(|tries| tries.done > 0);
        let retried = |Tries { done, .. }| Tries { left: TRIES.saturating_sub(done).max(1), done };
        Self { tries: tries.map(retried), ..self.clone() }
    }

    /// Whether the loader boots it only if there is no other.
    #[must_use]
    pub fn is_bad(&self) -> bool {
        self.tries.is_some_and(|tries| tries.left == 0)
    }

    /// Whether it was good when an operator rolled back from it.
    #[must_use]
    pub fn is_rolled_back(&self) -> bool {
        self.tries == Some(Tries { left: 0, done: 0 })
    }

    /// Whether it was good and has failed in the initrd since: its slot may be damaged.
    #[must_use]
    pub fn has_failed_after_good(&self) -> bool {
        self.tries.is_some_and(|tries| tries.left + tries.done > TRIES)
    }

    /// Whether it has booted successfully.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.tries.is_none()
    }
}

impl fmt::Display for EntryName {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{}_{}", self.id, self.version)?;
        if let Some(Tries { left, done }) = self.tries {
            write!(to, "+{left}-{done}")?;
        }
        to.write_str(ENDING)
    }
}

impl Tries {
    /// Parses `LEFT` or `LEFT-DONE`.
    fn parse(text: &str) -> Option<Self> {
        let (left, done) = text.split_once('-').unwrap_or((text, "0"));
        let number =
            |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
        Some(Self { left: number(left)?, done: number(done)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        let check = |file: &str, version: &str, tries: Option<(u32, u32)>| {
            let name = EntryName::parse("keelson", file).unwrap();
            assert_eq!(name.version.to_string(), version, "{file}");
            assert_eq!(name.tries.map(|tries| (tries.left, tries.done)), tries, "{file}");
            if file.contains('-') || tries.is_none() {
                assert_eq!(name.to_string(), file);
            }
        };
        check("keelson_9999.1.0.efi", "9999.1.0", None);
        check("keelson_9999.1.0+3-0.efi", "9999.1.0", Some((3, 0)));
        check("keelson_9999.1.0+0-3.efi", "9999.1.0", Some((0, 3)));
        check("keelson_9999.1.0+3.efi", "9999.1.0", Some((3, 0)));
        check("keelson_9999.1.0+relocked.efi", "9999.1.0+relocked", None);
        check("keelson_9999.1.0+relocked+2-1.efi", "9999.1.0+relocked", Some((2, 1)));
    }

    #[test]
    fn foreign_files_are_ignored() {
        for foreign in [
            "keelson_9999.1.0.EFI",
            "keelson_9999.1.efi",
            "keelson-9999.1.0.efi",
            "other_9999.1.0.efi",
            "keelson_9999.1.0+3-x.efi",
            ".keelson_9999.1.0.efi",
            "keelson_.efi",
            "",
        ] {
            assert_eq!(EntryName::parse("keelson", foreign), None, "{foreign}");
        }
    }

    #[test]
    fn the_counter_of_the_initrd_marks_a_version_that_was_good() {
        let retried = |file: &str| EntryName::parse("k", file).unwrap().has_failed_after_good();
        for (file, expected) in [
            ("k_1.0.0.efi", false),
            ("k_1.0.0+3-0.efi", false),
            ("k_1.0.0+0-3.efi", false),
            ("k_1.0.0+0-0.efi", false),
            ("k_1.0.0+2-2.efi", true),
            ("k_1.0.0+0-4.efi", true),
        ] {
            assert_eq!(retried(file), expected, "{file}");
        }
        let script = include_str!("../../../../image/initrd/usr/lib/keelson/boot-failed");
        let ending = script.lines().find_map(|line| line.trim().strip_prefix("tried=${image%.efi}")).unwrap();
        assert!(retried(&format!("k_1.0.0{ending}")), "{ending}");
    }

    #[test]
    fn marking_bad_keeps_the_count_of_tries() {
        let name = EntryName::parse("k", "k_1.0.0+2-1.efi").unwrap();
        assert!(!name.is_bad() && !name.is_good());
        assert_eq!(name.marked_bad().to_string(), "k_1.0.0+0-1.efi");
        assert!(name.marked_bad().is_bad());
        assert_eq!(name.marked_bad().unmarked_bad(), name);
        let good = EntryName::parse("k", "k_1.0.0.efi").unwrap();
        assert_eq!(good.marked_bad().to_string(), "k_1.0.0+0-0.efi");
        assert_eq!(good.marked_bad().unmarked_bad(), good);
    }
}
