//! Kernel arguments of the installed system, for `--karg`.

use std::fs;

use anyhow::{Result, bail};
use disk_install::{Architecture, addon as program};

use crate::boot_entry::EFI_VARIABLES;
use crate::destination::Destination;
use crate::job::Job;

/// UEFI specification, 3.3: four bytes of attributes, and 1 if the firmware enforces Secure Boot.
const SECURE_BOOT: &str = "SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";
const ENFORCED: u8 = 1;

/// The addon of the flags' arguments; `None` without any.
pub fn addon(job: &Job<'_>, destination: &Destination) -> Result<Option<Vec<u8>>> {
    let arguments = &job.flags.karg;
    if arguments.is_empty() {
        return Ok(None);
    }
    if !destination.is_file() && enforces_secure_boot(job) {
        bail!(
            "--karg: the firmware enforces Secure Boot, and would refuse to load an addon that is not signed: the system \
             would boot without {}. Sign one (ukify build --cmdline=... --secureboot-private-key=...), and copy it to \
             /boot/loader/addons/NAME.addon.efi of the installed system, or turn Secure Boot off",
            arguments.join(" ")
        );
    }
    let is_arm64 = job.settings.board.starts_with("arm64");
    let architecture = if is_arm64 { Architecture::Arm64 } else { Architecture::Amd64 };
    Ok(Some(program(arguments, architecture)?))
}

/// Whether this machine's firmware does.
fn enforces_secure_boot(job: &Job<'_>) -> bool {
    let value = fs::read(job.root.join(EFI_VARIABLES).join(SECURE_BOOT)).unwrap_or_default();
    value.get(4) == Some(&ENFORCED)
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use disk_install::check::{DiskFacts, Kind, SECTOR};

    use super::*;
    use crate::flags::Flags;
    use crate::settings::Running;

    #[test]
    fn an_unsigned_addon_is_refused_where_the_firmware_would_not_load_it() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join(EFI_VARIABLES);
        fs::create_dir_all(&folder).unwrap();
        let flags = Flags::parse_from(["coreos-install", "--karg", "quiet"]).install;
        let (running, server) = (Running::default(), || bail!("none"));
        let job = Job::new("test", &flags, (root.path(), &running), &server, &|_| {});
        let disk = |kind| {
            let (path, name) = ("/dev/sda".into(), "sda".to_owned());
            let bytes = 1 << 40;
            let uses = Vec::new();
            Destination::Disk(DiskFacts {
                path,
                name,
                kind,
                bytes,
                sector: SECTOR,
                major: 8,
                read_only: false,
                runs_system: false,
                uses,
            })
        };
        let check = |kind, is_added: bool| {
            let found = addon(&job, &disk(kind)).map(|addon| addon.is_some());
            assert_eq!(found.as_ref().is_ok_and(|added| *added), is_added, "{found:?}");
            found.err().map(|error| error.to_string()).unwrap_or_default()
        };
        check(Kind::Disk, true);
        fs::write(folder.join(SECURE_BOOT), [6, 0, 0, 0, 0]).unwrap();
        check(Kind::Disk, true);
        fs::write(folder.join(SECURE_BOOT), [6, 0, 0, 0, 1]).unwrap();
        let refused = check(Kind::Disk, false);
        assert!(refused.contains("the system would boot without quiet"), "{refused}");
        // Another machine boots from it.
        check(Kind::File, true);
    }
}
