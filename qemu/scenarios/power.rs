//! Power cuts and reboots: written data is kept, and the next boot completes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use machines::cluster::BackendKind::Qemu;
use machines::cluster::NodeState;
use machines::site::SiteError;

use crate::failure::{Failure, expect};
use crate::scenario::{Context, DEFAULTS, Scenario};

/// Interval of polling a machine that changes.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// Limit until killed processes are gone.
const EXIT_LIMIT: Duration = Duration::from_secs(10);
/// Limit until started processes run.
const START_LIMIT: Duration = Duration::from_secs(10);

pub const CRASH_KEEPS_DATA: Scenario = Scenario {
    name: "crash",
    about: "a machine whose plug was pulled comes back with its data and its identity",
    run: crash_keeps_data,
    ..DEFAULTS
};

fn crash_keeps_data(context: &Context<'_>) -> Result<(), Failure> {
    context.boot()?;
    let machine = context.machine(1);
    let identity = "cat /etc/machine-id; sudo sha256sum /etc/ssh/ssh_host_*_key.pub";
    let before = machine.succeed(identity)?;
    machine.write("/var/lib/kept", b"still here\n")?;
    machine.crash()?;
    machine.start()?;
    let kept = machine.read("/var/lib/kept")?;
    expect(kept == "still here\n", "the file that was written", &kept)?;
    let after = machine.succeed(identity)?;
    expect(before == after, &before, &after)?;
    if context.backend == Qemu {
        // A first boot does neither (crates/node/initrd).
        machine.succeed("sudo journalctl -b -o cat -t keelson-initrd | grep '^ROOT: '")?;
        machine.fail("findmnt -no OPTIONS / | grep noinit_itable")?;
    }
    let failed = machine.succeed("systemctl --failed --no-legend --plain")?;
    expect(failed.trim().is_empty(), "no failed unit", &failed)
}

pub const REBOOTS: Scenario = Scenario {
    name: "reboot",
    about: "a machine that is told to reboot is not ready, and then ready again, in another boot",
    long_on: &[Qemu],
    by_name_on: &[Qemu],
    run: reboots,
    ..DEFAULTS
};

fn reboots(context: &Context<'_>) -> Result<(), Failure> {
    context.boot()?;
    let machine = context.machine(1);
    let boots = "sudo journalctl --list-boots --no-pager | wc -l";
    let before = machine.succeed(boots)?;
    let (done, starting) = (AtomicBool::new(false), AtomicBool::new(false));
    let rebooted = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                if context.site.status().iter().any(|node| node.state == NodeState::Starting) {
                    starting.store(true, Ordering::Relaxed);
                }
                std::thread::sleep(POLL_INTERVAL);
            }
        });
        let rebooted = machine.reboot();
        done.store(true, Ordering::Relaxed);
        rebooted
    });
    rebooted?;
    expect(starting.into_inner(), "a status that says starting", "it said ready all the time")?;
    let after = machine.succeed(boots)?;
    let count = |text: &str| text.trim().parse::<u32>().unwrap_or(0);
    expect(count(&after) == count(&before) + 1, "one boot more in the journal", &format!("{before}{after}"))
}

pub const KILLED: Scenario = Scenario {
    name: "killed",
    about: "a machine whose process on the host is killed is off with all that it ran, and comes back",
    long_on: &[Qemu],
    by_name_on: &[Qemu],
    run: killed,
    ..DEFAULTS
};

/// End of a command line that is unique on the host.
const ORPHAN: &str = "sleep 7654321";

fn killed(context: &Context<'_>) -> Result<(), Failure> {
    context.boot()?;
    let machine = context.machine(1);
    machine.succeed(&format!("sudo systemd-run --unit=left {ORPHAN}"))?;
    let on_host = || running_on_host(ORPHAN);
    // systemd-run does not wait until the program runs.
    let started = std::time::Instant::now() + START_LIMIT;
    while context.backend != Qemu && on_host() == 0 {
        expect(std::time::Instant::now() < started, "a container's process on the host", "none")?;
        std::thread::sleep(POLL_INTERVAL);
    }
    let process = machine.node()?.process;
    let killed = process.map(machines::process::Process::kill).transpose().map_err(SiteError::from)?;
    expect(killed.is_some(), "a process of the machine", "none")?;
    let deadline = std::time::Instant::now() + EXIT_LIMIT;
    while on_host() > 0 {
        expect(std::time::Instant::now() < deadline, "an end of all that it ran", "it runs on")?;
        std::thread::sleep(POLL_INTERVAL);
    }
    let state = context.site.status().into_iter().map(|node| node.state.to_string()).collect::<String>();
    expect(state == "stopped", "stopped", &state)?;
    machine.crash()?;
    machine.start()?;
    machine.fail("systemctl is-active left.service")?;
    Ok(())
}

/// Number of processes on this host whose command line ends with this.
fn running_on_host(line: &str) -> usize {
    let wanted: Vec<u8> = line.bytes().map(|byte| if byte == b' ' { 0 } else { byte }).chain([0]).collect();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter(|entry| std::fs::read(entry.path().join("cmdline")).is_ok_and(|line| line.ends_with(&wanted)))
        .count()
}

pub const RESETS: Scenario = Scenario {
    name: "reset",
    about: "keelson-reset makes the machine what it was before its first boot, with --oem also the OEM partition",
    on: &[Qemu],
    run: resets,
    ..DEFAULTS
};

fn resets(context: &Context<'_>) -> Result<(), Failure> {
    context.boot()?;
    let machine = context.machine(1);
    // Not the machine id, which systemd derives from a virtual machine's hardware.
    let identity = "sudo sha256sum /etc/ssh/ssh_host_*_key.pub";
    // As an intruder who is root would, to be root again after a reset.
    machine.write("/tmp/oem", b"#cloud-config\nwrite_files: [{path: /run/from-oem, content: yes}]\n")?;
    machine.succeed(
        "sudo sh -ec 'mount -o remount,rw /usr/share/oem; cp /tmp/oem /usr/share/oem/cloud-config.yml; \
         mount -o remount,ro /usr/share/oem'",
    )?;
    for (flag, keeps_oem) in [("", true), ("--oem", false)] {
        let before = machine.succeed(identity)?;
        machine.write("/etc/left-behind", b"gone soon\n")?;
        machine.write("/var/lib/left-behind", b"gone soon\n")?;
        let output = machine.succeed(&format!("sudo keelson-reset --yes --no-reboot {flag} 2>&1"))?;
        let kept = "kept on the OEM partition (--oem erases it): cloud-config.yml, update.conf\n";
        expect(output.contains(kept) == keeps_oem, "what is kept", &output)?;
        machine.reboot()?;
        machine.succeed("systemd-analyze time | grep --fixed-strings '(initrd)'")?;
        let after = machine.succeed(identity)?;
        expect(before.lines().all(|line| !after.contains(line)), "new host keys", &after)?;
        machine.fail("test -e /etc/left-behind || test -e /var/lib/left-behind")?;
        let from_oem = machine.execute("test -e /run/from-oem")?.code == 0;
        expect(from_oem == keeps_oem, "the OEM partition's cloud-config only where it is kept", flag)?;
    }
    machine.succeed(
        "sudo sh -ec 'mount -o remount,rw /usr/share/oem; test \"$(ls /usr/share/oem)\" = lost+found; \
         touch /usr/share/oem/left-behind'",
    )?;
    // As a power cut leaves the disk in the middle of a reset.
    machine.succeed(
        "for label in OEM ROOT; do device=$(basename \"$(readlink -f /dev/disk/by-partlabel/$label)\"); \
         sudo sfdisk --quiet --force --no-reread --delete \"/dev/$(lsblk -ndo PKNAME \"/dev/$device\")\" \
         \"$(cat \"/sys/class/block/$device/partition\")\" || exit; done; sync",
    )?;
    machine.crash()?;
    machine.start()?;
    // In the boot that creates it the kernel does not know its name, so that it is mounted at the next one.
    machine.succeed(
        "sudo sh -ec 'mount /dev/disk/by-partlabel/OEM /mnt; test \"$(ls /mnt)\" = lost+found; umount /mnt'",
    )?;
    let failed = machine.succeed("systemctl --failed --no-legend --plain")?;
    expect(failed.trim().is_empty(), "no failed unit", &failed)
}

pub const CUT_IN_FIRST_BOOT: Scenario = Scenario {
    name: "power-cut",
    about: "whenever the first boot is cut off, the next one completes",
    nodes: 2,
    on: &[Qemu],
    long_on: &[Qemu],
    run: cut_in_first_boot,
    ..DEFAULTS
};

/// Moments of power cuts, as fractions of a whole first boot.
const MOMENTS: [f64; 5] = [0.25, 0.4, 0.55, 0.7, 0.85];

fn cut_in_first_boot(context: &Context<'_>) -> Result<(), Failure> {
    // The first machine measures a first boot on this host; the second one's disk is copied during its own.
    let began = std::time::Instant::now();
    context.machine(1).start()?;
    let whole = began.elapsed();
    context.machine(1).crash()?;
    let machine = context.machine(2);
    machine.power_on()?;
    let (began, mut frozen) = (std::time::Instant::now(), Duration::ZERO);
    let mut cuts = Vec::new();
    for moment in MOMENTS {
        // Not a wait: the moment itself is what is tested.
        std::thread::sleep((whole.mul_f64(moment) + frozen).saturating_sub(began.elapsed()));
        let before = std::time::Instant::now();
        let folder = context.site.layout().root().join(format!("cut-{}", cuts.len()));
        machine.snapshot_disk(&folder)?;
        cuts.push((moment, folder));
        frozen += before.elapsed();
    }
    for (moment, folder) in cuts {
        machine.replace_disk(&folder)?;
        machine.start()?;
        let failed = machine.succeed("systemctl --failed --no-legend --plain")?;
        let actual = format!("after a cut at {moment} of a boot: {failed}");
        expect(failed.trim().is_empty(), "no failed unit", &actual)?;
        machine
            .succeed("findmnt -no FSTYPE /usr | grep -qx erofs && sudo touch /var/lib/works /etc/works")?;
    }
    Ok(())
}
