//! The names of a test's own world: whoever serves DNS on its loopback is the machine's resolver.

use std::fs;

use super::network::shell;
use crate::failure::Failure;

/// Only inside of `in_own_namespaces`: loopback is up, and names are asked for at 127.0.0.1, by this process and by
/// those that it starts.
pub fn resolve_on_loopback() -> Result<(), Failure> {
    let folder = tempfile::tempdir().map_err(Failure::io("make a folder"))?;
    let files = [
        ("resolv.conf", "nameserver 127.0.0.1\noptions timeout:2 attempts:2\n"),
        // Not whom a host asks beside DNS: such a one answers over a socket, which no network namespace hides.
        ("nsswitch.conf", "hosts: files dns\n"),
    ];
    shell("ip link set lo up")?;
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::write(&path, text).map_err(Failure::io("write a setting"))?;
        shell(&format!("test ! -e /etc/{name} || mount --bind {} /etc/{name}", path.display()))?;
    }
    let now = fs::read_to_string("/etc/resolv.conf").map_err(Failure::io("read /etc/resolv.conf"))?;
    if now == files[0].1 { Ok(()) } else { Err(Failure::differs("/etc/resolv.conf cannot be replaced")) }
}
