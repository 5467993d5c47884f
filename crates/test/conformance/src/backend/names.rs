//! Name resolution of a test in separate namespaces, by a DNS server on its loopback.

use std::fs;

use super::network::shell;
use crate::failure::Failure;

/// Only within `in_own_namespaces`: brings up the loopback interface, and makes this process and its children
/// resolve names at 127.0.0.1.
pub fn resolve_on_loopback() -> Result<(), Failure> {
    let folder = tempfile::tempdir().map_err(Failure::io("make a folder"))?;
    let files = [
        ("resolv.conf", "nameserver 127.0.0.1\noptions timeout:2 attempts:2\n"),
        // Excludes other NSS services: a resolver behind a socket is reachable across network namespaces.
        ("nsswitch.conf", "hosts: files dns\n"),
    ];
    shell("ip link set lo up")?;
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::write(&path, text).map_err(Failure::io("write a setting"))?;
        shell(&format!("test ! -e /etc/{name} || mount --bind {} /etc/{name}", path.display()))?;
    }
    let lookup = fs::read_to_string("/etc/resolv.conf").map_err(Failure::io("read /etc/resolv.conf"))?;
    if lookup == files[0].1 { Ok(()) } else { Err(Failure::differs("/etc/resolv.conf cannot be replaced")) }
}
