//! Properties of a machine after its boot.

use std::time::Duration;

use machines::cluster::BackendKind::Nspawn;
use machines::cluster::BackendKind::Qemu;
use machines::machine::Machine;
use machines::process::Process;

use crate::failure::{Failure, expect};
use crate::scenario::{Context, DEFAULTS, Scenario};

/// Starting a container takes seconds; on an emulated machine of a busy host it takes minutes.
const SOON: Duration = Duration::from_secs(300);

const HELLO_USER_DATA: &str = include_str!("../user-data/hello.yaml");

pub const BOOTS: Scenario = Scenario {
    name: "boots",
    about: "a machine comes up with nothing failed, /usr read-only erofs, ssh and sudo working, and knows where to ask for updates",
    run: boots,
    ..DEFAULTS
};

fn boots(context: &Context<'_>) -> Result<(), Failure> {
    let server = "http://host.keelson:8041/v1/update/";
    context.site.set_update_server(server, Some(REGISTRATION_TOKEN))?;
    context.boot()?;
    let machine = context.machine(1);
    let failed = machine.succeed("systemctl --failed --no-legend --plain")?;
    expect(failed.trim().is_empty(), "no failed unit", &failed)?;
    let usr = machine.succeed("findmnt -no FSTYPE,OPTIONS /usr")?;
    let options = usr.split_ascii_whitespace().nth(1).unwrap_or_default();
    expect(usr.starts_with("erofs"), "erofs at /usr", &usr)?;
    expect(options.split(',').any(|option| option == "ro"), "a read-only /usr", &usr)?;
    machine.fail("sudo touch /usr/x")?;
    let name = machine.succeed("hostname")?;
    expect(name.trim() == machine.name(), machine.name(), &name)?;
    let user = machine.succeed("id -un; sudo id -un")?;
    expect(user.split_ascii_whitespace().eq(["core", "root"]), "core, and root by sudo", &user)?;
    let config = machine.read("/run/coreos/update.conf")?;
    expect(config.lines().any(|line| line == format!("SERVER={server}")), server, &config)?;
    machine.succeed(SCANNERS)?;
    if context.backend == Qemu {
        verified(&machine)?;
        prepared(&machine)?;
        registered(&machine)?;
        confined(context)?;
    }
    waits_for_nothing_slow(&machine)?;
    // By its power button, or as nspawn requests it.
    machine.shut_down().map_err(Failure::from)
}

const REGISTRATION_TOKEN: &str = "a token of 24 characters";

/// Checks that the machine has the registration token of its update server, and only root can read it.
fn registered(machine: &Machine<'_>) -> Result<(), Failure> {
    let file = "/run/coreos/registration.token";
    machine.fail(&format!("cat {file}"))?;
    let token = machine.succeed(&format!("sudo cat {file}"))?;
    expect(token == REGISTRATION_TOKEN, REGISTRATION_TOKEN, &token)
}

/// Scanners find the packages that the bill of materials lists.
const SCANNERS: &str = "test $(grep -c '^Status: install ok installed$' /var/lib/dpkg/status) = \
    $(grep -o 'pkg:deb/' /usr/share/keelson/sbom.spdx.json | wc -l) && grep -q '^Package: libc6$' /var/lib/dpkg/status";

/// Checks that dm-verity verifies `/usr` against the root hash of the boot image.
fn verified(machine: &Machine<'_>) -> Result<(), Failure> {
    let source = machine.succeed("findmnt -no SOURCE /usr")?;
    expect(source.trim() == "/dev/mapper/usr", "/dev/mapper/usr", &source)?;
    let uuid = machine.succeed("cat /sys/block/$(basename $(readlink -f /dev/mapper/usr))/dm/uuid")?;
    expect(uuid.starts_with("CRYPT-VERITY-"), "a verity device", &uuid)?;
    // The UUIDs of the partitions are the two halves of the root hash.
    let halves = "hash=$(grep -oE 'usrhash=[0-9a-f]{64}' /proc/cmdline | cut -d= -f2); \
        lsblk -no PARTUUID | tr -d - | xargs | grep -e ${hash:0:32}.*${hash:32}";
    machine.succeed(halves)?;
    // dm-verity keeps the driver of SHA-256 that it finds when /usr is opened.
    let fast = "! grep --quiet --word-regexp ssse3 /proc/cpuinfo || \
        sudo journalctl -k -b -o cat | grep -E 'verity: sha256 using .*sha256-(ssse3|avx2?|ni)'";
    machine.succeed(fast)?;
    // The initrd runs without systemd (crates/node/initrd).
    machine.fail("systemd-analyze time | grep --fixed-strings '(initrd)'")?;
    Ok(())
}

/// Checks what spares a first boot programs and writes: file systems that the initrd mounts with the options of their
/// units, modules that are loaded before nft requests them, and inode tables that are not zeroed yet.
fn prepared(machine: &Machine<'_>) -> Result<(), Failure> {
    machine.succeed("findmnt -no OPTIONS / | tr , '\\n' | grep -x noinit_itable")?;
    let mounted = "log=$(sudo journalctl -b -o cat -t systemd); \
        for path in /dev/hugepages /dev/mqueue /sys/kernel/debug; do \
            unit=$(systemd-escape --path --suffix=mount $path); \
            case $log in *\"Mounting $unit\"*) echo $path: mounted by its unit; exit 1 ;; esac; \
            for option in $(sed -n 's/^Options=//p' /usr/lib/systemd/system/$unit | tr , ' '); do \
                findmnt -no OPTIONS $path | tr , '\\n' | grep -qx $option || { echo $path: no $option; exit 1; }; \
            done; \
        done";
    machine.succeed(mounted)?;
    let loaded = "log=$(sudo journalctl -b -o cat --grep 'Inserted module'); \
        for module in /sys/module/nft_* /sys/module/nf_log_syslog; do \
            [ -n \"$(ls $module/holders)\" ] && continue; \
            case $log in *\"'${module##*/}'\"*) ;; *) echo $module: requested by nft; exit 1 ;; esac; \
        done";
    machine.succeed(loaded)?;
    Ok(())
}

/// Checks that the kernel filters system calls of QEMU, beyond those of a container that this test runs in.
fn confined(context: &Context<'_>) -> Result<(), Failure> {
    let filters = |process: &str| {
        let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
        let count = status.lines().find_map(|line| line.strip_prefix("Seccomp_filters:"));
        count.and_then(|count| count.trim().parse::<u32>().ok())
    };
    let cluster = context.site.cluster();
    let supervisor = cluster.nodes.first().and_then(|node| node.process).map(|process| process.pid);
    let of_supervisor = supervisor.map(children).unwrap_or_default();
    // The kernel cuts names after 15 bytes.
    let qemu = of_supervisor.into_iter().find(|pid| runs(*pid, "qemu-system-x86"));
    let (own, of_qemu) = (filters("self"), qemu.and_then(|pid| filters(&pid.to_string())));
    expect(of_qemu > own, "a system call filter of QEMU", &format!("{of_qemu:?} filters, here {own:?}"))
}

/// Units that wait for a network, a registry or other machines.
const SLOW: [&str; 6] =
    ["network-online.target", "docker.service", "cloudinit", "user-config", "etcd", "fleet.service"];

/// Checks that no unit of [`SLOW`] is in the boot's critical chain: the login prompt waits for this machine only.
fn waits_for_nothing_slow(machine: &Machine<'_>) -> Result<(), Failure> {
    let chain = machine.succeed("systemd-analyze critical-chain --no-pager multi-user.target")?;
    eprintln!("{chain}");
    let slow = SLOW.iter().find(|unit| chain.contains(**unit));
    expect(slow.is_none(), "a critical chain without units that wait for others", &chain)?;
    expect(chain.contains("multi-user.target @"), "a critical chain", &chain)
}

pub const HELLO: Scenario = Scenario {
    name: "hello",
    about: "the tutorials' hello.service runs a container, and its lines are in the journal",
    user_data: Some(HELLO_USER_DATA),
    long_on: &[Qemu],
    run: hello,
    ..DEFAULTS
};

fn hello(context: &Context<'_>) -> Result<(), Failure> {
    context.boot()?;
    let machine = context.machine(1);
    machine.wait_for_unit("hello.service", SOON)?;
    let has_output = "sudo journalctl --no-pager -u hello.service | grep -c 'Hello World' | grep -v '^0$'";
    machine.wait_until_succeeds(has_output, SOON)?;
    let failed = machine.succeed("systemctl --failed --no-legend --plain")?;
    expect(failed.trim().is_empty(), "no failed unit", &failed)
}

pub const APART: Scenario = Scenario {
    name: "apart",
    about: "each container has a control group of its own on the host, and leaves none behind",
    nodes: 2,
    on: &[Nspawn],
    run: apart,
    ..DEFAULTS
};

fn apart(context: &Context<'_>) -> Result<(), Failure> {
    context.boot()?;
    let cluster = context.site.cluster();
    for node in &cluster.nodes {
        // A prefix for the folder of the cluster's state precedes this suffix.
        let own = format!("-{}-{}", cluster.name, node.name);
        let keeper = node.process.map(|process| process.pid);
        // nspawn is a child of the supervisor, and the container's first process a child of nspawn.
        let nspawn =
            keeper.and_then(|keeper| children(keeper).into_iter().find(|pid| runs(*pid, "systemd-nspawn")));
        let first = nspawn.and_then(|nspawn| children(nspawn).first().copied());
        let groups = first.map(groups).unwrap_or_default();
        let inside = groups.lines().filter(|line| line.starts_with("0::") || line.contains(":name=systemd:"));
        let places: Vec<_> = inside.collect();
        let is_own = |path: &&str| path.split('/').any(|part| is_group(part) && part.ends_with(&own));
        let apart = !places.is_empty() && places.iter().all(is_own);
        expect(apart, &format!("{} to be below keelson-MARK{own}", node.name), &groups)?;
    }
    context.site.down()?;
    let left = groups_of(&format!("-{}-", cluster.name));
    expect(left.is_empty(), "no control group left", &left.join(" "))
}

/// Children of all threads of a process: a container is started by a separate thread.
fn children(pid: i32) -> Vec<i32> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    let all = lists.flat_map(|list| {
        let numbers = list.split_ascii_whitespace().filter_map(|word| word.parse().ok());
        numbers.collect::<Vec<i32>>()
    });
    all.filter(|pid| Process::of(*pid).is_some()).collect()
}

fn runs(pid: i32, program: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == program)
}

fn is_group(name: &str) -> bool {
    name.starts_with("keelson-")
}

fn groups(pid: i32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default()
}

/// Control groups of the host's unified hierarchy whose name contains `part`.
fn groups_of(part: &str) -> Vec<String> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let unified = mounts.lines().filter(|line| line.split(' ').nth(2) == Some("cgroup2"));
    unified
        .filter_map(|line| std::fs::read_dir(line.split(' ').nth(1)?).ok())
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| is_group(name) && name.contains(part))
        .collect()
}
