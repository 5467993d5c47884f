//! Row A3 of the tutorials with a real Vagrant: `vagrant up` of three machines, on libvirt with emulated machines.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::packages;
use super::result::{State, judge};
use crate::command::{require_success, show, show_and_read, target_folder};
use crate::keelson;
use crate::root_access::RootAccess;
use crate::workspace::Workspace;

const SCRIPT: &str = include_str!("vagrant.sh");
/// Programs, each with its package, in the order of their installation.
const PROGRAMS: [(&str, &str); 8] = [
    ("/usr/bin/unshare", "util-linux"),
    ("/usr/bin/vagrant", "vagrant"),
    ("/usr/share/rubygems-integration/all/specifications/vagrant-libvirt-*.gemspec", "vagrant-libvirt"),
    ("/usr/sbin/libvirtd", "libvirt-daemon-system"),
    ("/usr/bin/qemu-system-x86_64", "qemu-system-x86"),
    ("/usr/share/ovmf/OVMF.fd", "ovmf"),
    ("/usr/sbin/dnsmasq", "dnsmasq-base"),
    ("/usr/bin/rsync", "rsync"),
];
