//! The command line: letters of the original, with long names.

use std::path::PathBuf;

use clap::{Args, Parser};
use disk_install::Retries;

use crate::number_range::NumberRange;

/// Install Keelson to a disk
///
/// Without -f, -V, -C and -b a live system installs itself, without a network. Otherwise, without -f and -b, the image is one
/// of the system's channel server, verified by its signed metadata. All checks come before the first write. The partition
/// table is written last: a disk whose installation was interrupted does not boot.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "coreos-install",
    version,
    disable_version_flag = true,
    args_override_self = true,
    after_help = "Exit status is 0 if the system was installed, and for -h and -y; otherwise 1.\n\n\
                  Examples:\n  coreos-install -d /dev/sda -c cloud-config.yml\n  \
                  coreos-install -d /dev/sda -C stable\n  \
                  coreos-install -s -e 7 -f keelson-2.0.0-stable.raw.zst\n  \
                  coreos-install -d /dev/sda -b https://mirror.example/stable -k release.pub"
)]
#[allow(clippy::struct_excessive_bools, reason = "a command line")]
pub struct Flags {
    /// Install to this disk. A regular file works, too
    #[arg(short = 'd', long, value_name = "DEVICE")]
    pub device: Option<PathBuf>,
    /// Install to the smallest unused disk of more than 10 GB
    #[arg(short = 's', long, conflicts_with = "device")]
    pub smallest: bool,
    /// With -s: only disks with these major numbers, separated by commas
    #[arg(short = 'I', long, value_name = "MAJORS", value_delimiter = ',')]
    pub include: Vec<u32>,
    /// With -s: no disks with these major numbers (7: loop devices)
    #[arg(short = 'e', long, value_name = "MAJORS", value_delimiter = ',')]
    pub exclude: Vec<u32>,
    /// Install although the disk is part of RAID arrays or LVM: they are stopped if nothing uses them
    #[arg(long)]
    pub force: bool,
    #[expect(missing_docs, reason = "clap would show it as help")]
    #[command(flatten)]
    pub install: InstallFlags,
    /// Download the image to the current directory, and install nothing
    #[arg(short = 'D', long)]
    pub download_only: bool,
    /// Ignored, for compatibility
    #[arg(short = 't', long, value_name = "DIR", hide = true)]
    pub tmpdir: Option<PathBuf>,
    /// The root of the running system
    #[arg(long, hide = true, default_value = "/")]
    pub root: PathBuf,
}

/// What to install, and with which configuration: for any destination.
#[derive(Debug, Clone, Args)]
#[allow(clippy::struct_excessive_bools, reason = "a command line")]
pub struct InstallFlags {
    /// Version to install, or `current`; a channel's name is its current version [default: the running version]
    #[arg(short = 'V', long = "os-version", value_name = "VERSION")]
    pub version: Option<String>,
    /// Channel to install from; without -V its current version [default: GROUP in update.conf]
    #[arg(short = 'C', long, value_name = "CHANNEL")]
    pub channel: Option<String>,
    /// Board to install for [default: the running system's]
    #[arg(short = 'B', long, value_name = "BOARD")]
    pub board: Option<String>,
    /// Platform whose image is downloaded; '' for none [default: ID in oem-release]
    #[arg(short = 'o', long, value_name = "OEM")]
    pub oem: Option<String>,
    /// cloud-config for the installed system: a file, or an http or https URL
    #[arg(short = 'c', long, value_name = "FILE|URL")]
    pub cloud_config: Option<String>,
    /// Digest of the cloud-config: sha256- and 64 hexadecimal digits
    #[arg(long, value_name = "DIGEST", requires = "cloud_config")]
    pub config_hash: Option<String>,
    /// Ignition config, which is copied to the OEM partition as config.ign
    #[arg(short = 'i', long, value_name = "FILE")]
    pub ignition: Option<PathBuf>,
    /// Copy the network units in /run/systemd/network
    #[arg(short = 'n', long)]
    pub copy_network: bool,
    /// Download from this mirror, which replaces server, channel and board in URLs
    #[arg(short = 'b', long, value_name = "URL")]
    pub base_url: Option<String>,
    /// Install this image file, whatever -V, -C and -b are: raw, or compressed with gzip, zstd or bzip2
    #[arg(short = 'f', long, value_name = "IMAGE")]
    pub image: Option<PathBuf>,
    /// minisign public key of the image's signature, IMAGE.minisig or IMAGE.sig
    #[arg(short = 'k', long, value_name = "KEYFILE")]
    pub key: Option<PathBuf>,
    /// Install an image that nothing verifies
    #[arg(long)]
    pub insecure: bool,
    /// Keep the disk's partitions with these labels: patterns with `*` and `?`, separated by commas
    #[arg(long, value_name = "GLOB", value_delimiter = ',')]
    pub save_partlabel: Vec<String>,
    /// Keep the disk's partitions with these numbers: N, N-M, N- or -M, separated by commas
    #[arg(long, value_name = "RANGE", value_delimiter = ',', allow_hyphen_values = true)]
    pub save_partindex: Vec<NumberRange>,
    /// Append a kernel argument to those of the installed system, also after updates; may be repeated. Not under Secure Boot
    #[arg(long, alias = "append-karg", value_name = "WORD", allow_hyphen_values = true)]
    pub karg: Vec<String>,
    /// Attempts to repeat a transfer without progress: a number, or `infinite`
    #[arg(long, value_name = "N", default_value = "10")]
    pub fetch_retries: Retries,
    /// Add a boot entry to the firmware's, which starts the installed disk first
    #[arg(short = 'u', long)]
    pub uefi_entry: bool,
    /// Check everything that is local, print the settings and change nothing
    #[arg(short = 'y', long)]
    pub dry_run: bool,
    /// Print every step
    #[arg(short = 'v', long)]
    pub verbose: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Flags, String> {
        Flags::try_parse_from(std::iter::once("coreos-install").chain(line.split_ascii_whitespace()))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn letters_are_combined_as_getopts_does() {
        let flags = parse("-d/dev/sda -nvy -V 1.2.3 -C beta -t /tmp -e 7,11").unwrap();
        assert_eq!(flags.device.as_deref(), Some("/dev/sda".as_ref()));
        let install = &flags.install;
        assert!(install.copy_network && install.verbose && install.dry_run);
        assert_eq!((&*flags.exclude, install.fetch_retries), (&[7, 11][..], Retries::Limited(10)));
        // The last one wins.
        assert_eq!(parse("-d a -d b").unwrap().device.as_deref(), Some("b".as_ref()));
        assert_eq!(parse("--fetch-retries infinite").unwrap().install.fetch_retries, Retries::Infinite);
    }

    #[test]
    fn contradictions_are_errors() {
        for line in ["-d a -s", "-x", "-d", "--config-hash sha256-00", "stray"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
