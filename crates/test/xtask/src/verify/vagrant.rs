//! Row A3 of the tutorials with a real Vagrant: three machines on libvirt, emulated, with boxes of a channel server.
//! `vagrant.sh` types the commands.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};

use super::packages;
use super::result::{State, judge};
use super::run::Run;
use crate::command::{require_success, show, target_folder};
use crate::root_access::RootAccess;
use crate::{cargo_build, interrupt, keelson};

const SCRIPT: &str = "crates/test/xtask/src/verify/vagrant.sh";
/// Files, each with the package that contains it.
const FILES: [(&str, &str); 10] = [
    ("/usr/bin/unshare", "util-linux"),
    ("/usr/bin/vagrant", "vagrant"),
    (packages::VAGRANT_LIBVIRT, "vagrant-libvirt"),
    ("/usr/sbin/libvirtd", "libvirt-daemon-system"),
    ("/usr/bin/virsh", "libvirt-clients"),
    ("/usr/sbin/iptables", "iptables"),
    ("/usr/bin/qemu-system-x86_64", "qemu-system-x86"),
    ("/usr/share/ovmf/OVMF.fd", "ovmf"),
    ("/usr/sbin/dnsmasq", "dnsmasq-base"),
    ("/usr/bin/rsync", "rsync"),
];
/// Not that of the samples.
const CHANNEL: &str = "beta";
/// The version that the machines start with, and the one of `vagrant box update`.
const VERSIONS: [&str; 2] = ["9999.1.1", "9999.1.2"];
/// Programs as the tests compile them.
const PROFILE: &str = "quick";
const PAUSE: Duration = Duration::from_millis(200);

pub fn run(run: &Run<'_>) -> Result<State> {
    if run.installs {
        packages::install_missing(&[packages::VAGRANT])?;
    }
    let access = RootAccess::of_this_process();
    if let Some(why) = missing(access.is_available(), Path::exists) {
        return Ok(State::Skipped(why));
    }
    let root = &run.workspace.root;
    let folder = target_folder(root).join("verify/vagrant");
    let programs = build(root, &folder)?;
    let mut command = access.command(Path::new("/usr/bin/unshare"), &[]);
    // The namespaces end with unshare, which ends with the script.
    command.args(["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "bash"]);
    command.arg(root.join(SCRIPT)).args([root, &programs, &folder]).arg(CHANNEL).args(VERSIONS);
    let state = while_this_process_lives(&mut command)?;
    fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    Ok(state)
}

fn missing(root: bool, exists: impl Fn(&Path) -> bool) -> Option<String> {
    let root = if root { Ok(()) } else { Err("libvirt in namespaces of its own wants root") };
    packages::missing_file(&FILES, root, exists)
}

/// Builds a release with its box for each of [`VERSIONS`] and returns the folder of the programs.
fn build(root: &Path, folder: &Path) -> Result<PathBuf> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let [keys, images] = ["keys", "images"].map(|name| folder.join(name));
    let keelson = |arguments: &[&str], paths: &[(&str, &Path)]| -> Result<()> {
        let mut command = keelson::command(root)?;
        command.args(arguments);
        for (flag, path) in paths {
            command.arg(flag).arg(path);
        }
        require_success(show(&mut command)?).with_context(|| format!("keelson {}", arguments.join(" ")))?;
        Ok(())
    };
    keelson(&["--quiet", "keys", "--no-password"], &[("--out", &keys)])?;
    for version in VERSIONS {
        let image = ["--quiet", "image", "build", "--profile", PROFILE, "--format", "box-libvirt"];
        let of = ["--channel", CHANNEL, "--version", version];
        keelson(&[&image[..], &of].concat(), &[("--out", &images)])?;
        let record = images.join(format!("keelson-{version}-{CHANNEL}.json"));
        let release = ["--quiet", "release", "--profile", PROFILE, "--quick"];
        let of = ["--channels", CHANNEL, "--version", version];
        keelson(
            &[&release[..], &of].concat(),
            &[("--keys", &keys), ("--images", &record), ("--out", folder)],
        )?;
    }
    fs::remove_dir_all(&images).with_context(|| format!("cannot remove {}", images.display()))?;
    let discovery = cargo_build::build_with_features_of_tests(root, &["--bin", "etcd-discovery"])?;
    let discovery = cargo_build::named(&discovery, "etcd-discovery")?;
    Ok(discovery.parent().unwrap_or(root).to_owned())
}

/// Runs a command whose stdin ends when this process is interrupted or killed.
fn while_this_process_lives(command: &mut Command) -> Result<State> {
    let (reader, writer) = std::io::pipe().context("cannot create a pipe")?;
    let ended = Arc::new(AtomicBool::new(false));
    let closes = {
        let ended = Arc::clone(&ended);
        std::thread::spawn(move || {
            while !ended.load(Ordering::SeqCst) && !interrupt::received() {
                std::thread::sleep(PAUSE);
            }
            drop(writer);
        })
    };
    let state = show(command.stdin(reader)).map(|ended| judge(&ended));
    ended.store(true, Ordering::SeqCst);
    // invariant: the thread neither panics nor waits.
    closes.join().ok();
    state
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(missing(true, |_| true), None);
        assert!(missing(false, |_| true).unwrap().contains("root"));
        let why = missing(true, |path| !path.ends_with("libvirtd")).unwrap();
        assert!(why.contains("/usr/sbin/libvirtd") && why.contains("libvirt-daemon-system"), "{why}");
    }

    #[test]
    fn the_command_has_a_stdin_that_stays_open() {
        let mut command = Command::new("bash");
        // `read` times out on an open pipe: more than 128; at its end it fails with 1.
        command.args(["-c", "read -r -t 0.3; [ $? -gt 128 ]"]);
        assert_eq!(while_this_process_lives(&mut command).unwrap(), State::Passed(String::new()));
    }
}
