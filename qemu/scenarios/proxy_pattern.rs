//! Row B10 to the letter: haproxy in front of services that register with etcd by sidekick units.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use machines::cluster::BackendKind::Qemu;
use machines::machine::Machine;

use super::fleet::cluster::{FLEETCTL, form_with, impatient, member_of, put};
use super::kv::{NODES, SOON};
use crate::failure::{Failure, expect};
use crate::scenario::{Context, DEFAULTS, Scenario};

pub const HAPROXY: Scenario = Scenario {
    name: "haproxy",
    about: "haproxy follows services that come, move and die, without a restart or an edit, and loses no request that a \
            retry would not have saved (B10)",
    nodes: NODES,
    shared: &[FOLDER],
    long_on: &[Qemu],
    by_name_on: &[Qemu],
    run: haproxy,
    ..DEFAULTS
};

/// Folder with Debian's haproxy and busybox, and the libraries of haproxy; `cargo verify` downloads them and sets this.
const VARIABLE: &str = "KEELSON_HAPROXY";
/// Guest path of the folder with the programs.
const FOLDER: &str = "/home/core/proxy";
/// Libraries that only fit the loader of the same glibc: the machine's are used.
const OF_GLIBC: [&str; 6] = ["ld-linux-x86-64", "libc", "libdl", "libm", "libpthread", "librt"];
const SCRIPTS: [(&str, &str); 3] = [
    ("configure", include_str!("../proxy-pattern/configure")),
    ("haproxy.cfg", include_str!("../proxy-pattern/haproxy.cfg")),
    ("load", include_str!("../proxy-pattern/load")),
];
const UNITS: [(&str, &str); 4] = [
    ("app@.service", include_str!("../proxy-pattern/app@.service")),
    ("app-discovery@.service", include_str!("../proxy-pattern/app-discovery@.service")),
    ("proxy.service", include_str!("../proxy-pattern/proxy.service")),
    ("proxy-watch.service", include_str!("../proxy-pattern/proxy-watch.service")),
];

/// Prints the distinct answers through the proxy.
const SEEN: &str = "for request in $(seq 20); do curl -sf http://127.0.0.1:8080/; done | sort -u";
/// Prints the answers of the web servers that run, by fleet.
const RUNNING: &str = "fleetctl list-units --full --no-legend --fields=unit,machine,active | \
    sed -n 's#^app@\\(.\\).service\t*\\([0-9a-f]*\\)/.*\tactive$#app\\1 on \\2#p' | sort";

fn haproxy(context: &Context<'_>) -> Result<(), Failure> {
    install(&context.shared(1))?;
    let members = form_with(context, &impatient(context))?;
    // Its machine survives, as that of the proxy.
    let client = &members[0].machine;
    for (name, text) in UNITS {
        put(client, name, text)?;
    }
    start(client, "proxy proxy-watch")?;
    let proxy = &member_of(client, &members, "proxy.service")?.machine;
    start(client, "app@1 app-discovery@1 app@2 app-discovery@2")?;
    answer(proxy, 2)?;
    let process = "systemctl show --property=MainPID,NRestarts proxy.service";
    let before = proxy.succeed(process)?;
    proxy.succeed(&format!("sudo systemd-run --unit=load {FOLDER}/load"))?;

    start(client, "app@3 app-discovery@3")?;
    answer(proxy, 3)?;
    client.succeed("fleetctl destroy app-discovery@3 app@3")?;
    answer(proxy, 2)?;
    // systemd stops the sidekick of a process that died, which deregisters it.
    let first = member_of(client, &members, "app@1.service")?;
    first.machine.succeed("sudo systemctl kill --signal=KILL app@1.service")?;
    answer(proxy, 1)?;
    client.succeed("fleetctl stop app-discovery@1 app@1")?;
    start(client, "app@1 app-discovery@1")?;
    answer(proxy, 2)?;
    // Both units of a machine that dies move, and register their new address.
    let lost = members.iter().find(|member| ![proxy.name(), client.name()].contains(&member.machine.name()));
    let lost = lost.ok_or_else(|| Failure::Expected("a machine that may die".to_owned()))?;
    let served = proxy.succeed(SEEN)?;
    expect(served.contains(&lost.id), "a web server on the machine that will die", &served)?;
    lost.machine.crash()?;
    proxy.wait_until_succeeds(&format!("{SEEN} >/tmp/seen; ! grep -q {} /tmp/seen", lost.id), SOON)?;
    answer(proxy, 2)?;
    let served = proxy.succeed(SEEN)?;
    expect(!served.contains(&lost.id), "no answer of the machine that died", &served)?;

    let after = proxy.succeed(process)?;
    expect(after == before, "the haproxy that was started, without a restart", &after)?;
    proxy.succeed("sudo systemctl stop load.service")?;
    let results = "journalctl --unit=load.service --output=cat --no-pager | grep -E '^([1-3] app|lost)'";
    let results = proxy.succeed(results)?;
    let (all, retried) =
        (results.lines().count(), results.lines().filter(|line| !line.starts_with("1 ")).count());
    eprintln!("{all} requests, {retried} of them retried");
    expect(all > 100, "more than 100 requests", &all.to_string())?;
    expect(!results.contains("lost"), "no lost request", &results)
}

/// Starts units and their sidekicks with this machine's fleetctl.
fn start(client: &Machine<'_>, units: &str) -> Result<(), Failure> {
    client.succeed(&format!("{FLEETCTL} start {units}"))?;
    Ok(())
}

/// Waits until exactly the web servers that run answer, and checks their number.
fn answer(proxy: &Machine<'_>, number: usize) -> Result<(), Failure> {
    let check = format!(
        "{SEEN} >/tmp/seen; {RUNNING} >/tmp/running; cmp /tmp/seen /tmp/running && test $(wc -l </tmp/seen) = {number}"
    );
    proxy.wait_until_succeeds(&check, SOON)?;
    Ok(())
}

/// Copies programs, libraries and scripts into the shared folder.
fn install(folder: &Path) -> Result<(), Failure> {
    let packages = packages()?;
    let program = packages.join("usr/sbin/haproxy");
    copy(&program, &folder.join("haproxy"))?;
    let busybox = ["usr/bin/busybox", "bin/busybox"].map(|path| packages.join(path));
    let busybox = busybox.into_iter().find(|path| path.is_file());
    copy(&busybox.ok_or_else(|| unavailable(&packages, "busybox"))?, &folder.join("busybox"))?;
    for (name, text) in SCRIPTS {
        let path = folder.join(name);
        let written = std::fs::write(&path, text)
            .and_then(|()| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)));
        written.map_err(|source| Failure::Disk { path, source })?;
    }
    let libraries = folder.join("libraries");
    std::fs::create_dir(&libraries).map_err(|source| Failure::Disk { path: libraries.clone(), source })?;
    for library in libraries_of(&program, &packages)? {
        let name = library.file_name().unwrap_or_default();
        copy(&library, &libraries.join(name))?;
    }
    Ok(())
}

fn packages() -> Result<PathBuf, Failure> {
    let folder = std::env::var_os(VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
    match folder {
        Some(folder) if folder.join("usr/sbin/haproxy").is_file() => Ok(folder),
        Some(folder) => Err(unavailable(&folder, "usr/sbin/haproxy")),
        None => Err(Failure::Unavailable(format!(
            "{VARIABLE} names no folder of Debian's haproxy: run cargo verify scenarios-nspawn/{}",
            HAPROXY.name
        ))),
    }
}

fn unavailable(folder: &Path, what: &str) -> Failure {
    Failure::Unavailable(format!("{VARIABLE}: {} has no {what}", folder.display()))
}

fn copy(from: &Path, to: &Path) -> Result<(), Failure> {
    match std::fs::copy(from, to) {
        Ok(_) => Ok(()),
        Err(source) => Err(Failure::Disk { path: from.to_owned(), source }),
    }
}

/// The shared libraries that a program loads, without glibc's.
fn libraries_of(program: &Path, packages: &Path) -> Result<Vec<PathBuf>, Failure> {
    let unpacked = packages.join("usr/lib").join(format!("{}-linux-gnu", std::env::consts::ARCH));
    let listed = Command::new("ldd")
        .arg(program)
        .env("LD_LIBRARY_PATH", unpacked)
        .output()
        .map_err(|source| Failure::Disk { path: "ldd".into(), source })?;
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    if let Some(line) = listed.lines().find(|line| line.ends_with("not found")) {
        return Err(unavailable(packages, line.trim()));
    }
    let paths = listed.lines().filter_map(|line| line.split_whitespace().nth(2)).map(PathBuf::from);
    let is_glibcs = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        OF_GLIBC.iter().any(|library| name.split('.').next() == Some(library))
    };
    Ok(paths.filter(|path| !is_glibcs(path)).collect())
}
