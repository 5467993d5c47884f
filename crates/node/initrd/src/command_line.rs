//! What the kernel command line says about the initrd's work.

use release::Digest;

/// What every image has (`os/cmdline`): the node's own root file system.
const ORDINARY: [&str; 5] = [
    "root=PARTLABEL=ROOT",
    "rootfstype=ext4",
    "rootflags=x-systemd.growfs",
    "mount.usrfstype=erofs",
    "mount.usrflags=ro",
];
/// Options of systemd's initrd, by their beginnings.
const OF_SYSTEMD: [&str; 14] = [
    "fsck.",
    "init=",
    "luks",
    "mount.usr",
    "rd.",
    "rescue",
    "resume",
    "root",
    "systemd.factory_reset",
    "systemd.gpt_auto",
    "systemd.import_credentials",
    "systemd.repart",
    "systemd.verity",
    "systemd.volatile",
];

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandLineError {
    #[error("the kernel command line has no usrhash=")]
    NoRootHash,
    #[error("the kernel command line has {0}")]
    Option(String),
}

/// The root hash of `/usr`, where nothing but the ordinary boot is asked for.
pub fn root_hash(command_line: &str) -> Result<Digest, CommandLineError> {
    let mut root_hash = None;
    for word in command_line.split_ascii_whitespace() {
        if let Some(hash) = word.strip_prefix("usrhash=") {
            root_hash = hash.parse().ok();
        } else if !ORDINARY.contains(&word) && OF_SYSTEMD.iter().any(|option| word.starts_with(option)) {
            return Err(CommandLineError::Option(word.to_owned()));
        }
    }
    root_hash.ok_or(CommandLineError::NoRootHash)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "usrhash=2172ea758f492c2858d62d314f746d4db57c1438b02a433483407a8d6f823d7d";

    /// `os/cmdline` as the build makes one line of it.
    fn of_images() -> String {
        let words = include_str!("../../../../os/cmdline").lines().filter(|line| !line.starts_with('#'));
        words.map(|word| format!("{word} ")).collect::<String>() + HASH
    }

    #[test]
    fn the_images_command_line_is_an_ordinary_boot() {
        assert_eq!(format!("usrhash={}", root_hash(&of_images()).unwrap()), HASH);
        root_hash(&(of_images() + " systemd.default_device_timeout_sec=180 keelson.autologin")).unwrap();
    }

    #[test]
    fn other_options_are_left_to_systemd() {
        for word in
            ["rd.systemd.unit=basic.target", "root=/dev/sdb1", "fsck.mode=force", "init=/bin/sh", "rootwait"]
        {
            let error = CommandLineError::Option(word.to_owned());
            assert_eq!(root_hash(&format!("{} {word}", of_images())), Err(error));
        }
        let without = of_images().replace(HASH, "usrhash=beef");
        assert_eq!(root_hash(&without), Err(CommandLineError::NoRootHash));
    }
}
