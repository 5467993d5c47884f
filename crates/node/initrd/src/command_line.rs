//! The kernel command line, as far as the initrd implements it.

use release::Digest;

/// In every image (`os/cmdline`): the node's own root file system.
const EXPECTED_OPTIONS: [&str; 5] = [
    "root=PARTLABEL=ROOT",
    "rootfstype=ext4",
    "rootflags=x-systemd.growfs",
    "mount.usrfstype=erofs",
    "mount.usrflags=ro",
];
/// Options of systemd's initrd, by prefix.
const SYSTEMD_OPTIONS: [&str; 14] = [
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
    #[error("unexpected kernel command line option {0}")]
    Option(String),
}

/// The root hash of `/usr`, unless an option asks for more than the ordinary boot.
pub fn root_hash(command_line: &str) -> Result<Digest, CommandLineError> {
    let mut root_hash = None;
    for argument in command_line.split_ascii_whitespace() {
        if let Some(hash) = argument.strip_prefix("usrhash=") {
            root_hash = hash.parse().ok();
        } else if !EXPECTED_OPTIONS.contains(&argument)
            && SYSTEMD_OPTIONS.iter().any(|option| argument.starts_with(option))
        {
            return Err(CommandLineError::Option(argument.to_owned()));
        }
    }
    root_hash.ok_or(CommandLineError::NoRootHash)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "usrhash=2172ea758f492c2858d62d314f746d4db57c1438b02a433483407a8d6f823d7d";

    /// `os/cmdline`, joined to one line as the build does.
    fn image_command_line() -> String {
        let arguments = include_str!("../../../../os/cmdline").lines().filter(|line| !line.starts_with('#'));
        arguments.map(|argument| format!("{argument} ")).collect::<String>() + HASH
    }

    #[test]
    fn images_command_line_is_supported() {
        assert_eq!(format!("usrhash={}", root_hash(&image_command_line()).unwrap()), HASH);
        root_hash(&(image_command_line() + " systemd.default_device_timeout_sec=180 keelson.autologin"))
            .unwrap();
    }

    #[test]
    fn other_options_are_left_to_systemd() {
        for argument in
            ["rd.systemd.unit=basic.target", "root=/dev/sdb1", "fsck.mode=force", "init=/bin/sh", "rootwait"]
        {
            let error = CommandLineError::Option(argument.to_owned());
            assert_eq!(root_hash(&format!("{} {argument}", image_command_line())), Err(error));
        }
        let without = image_command_line().replace(HASH, "usrhash=beef");
        assert_eq!(root_hash(&without), Err(CommandLineError::NoRootHash));
    }
}
