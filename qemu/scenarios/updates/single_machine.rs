//! Updates of one machine: to a good version, and back from each kind of bad version.

use std::time::{Duration, Instant};

use machines::cluster::BackendKind::Qemu;
use machines::machine::Machine;
use machines::ready::Limit;
use update_core::slots::PlanError;

use super::super::docker;
use super::super::kv::expect_output;
use super::versions::{Fault, Keys, release};
use super::{APPLIED, FELL_BACK, FOLDER, apply, begin, guest_path, last_try, proven, runs, trust, verified};
use crate::failure::{Failure, expect};
use crate::scenario::{Context, DEFAULTS, Scenario};

pub const UPDATE: Scenario = Scenario {
    name: "update",
    about: "a machine whose plug is pulled in the middle goes to the next version all the same, and falls back from one that does not boot",
    on: &[Qemu],
    shared: &[FOLDER],
    long_on: &[Qemu],
    run: update,
    ..DEFAULTS
};

pub const UPDATE_BROKEN: Scenario = Scenario {
    name: "update-broken",
    about: "a machine leaves a version that boots and is unhealthy, and one that panics a minute after its start",
    run: broken,
    ..UPDATE
};

pub const UPDATE_HANGS: Scenario = Scenario {
    name: "update-hangs",
    about: "a machine leaves a version that hangs in the initrd, one that hangs before any service, and one whose update agent ends at each start",
    // The limit is 10 minutes in the initrd, and 15 after it.
    qemu_arguments: &[
        "-smbios",
        "type=11,value=io.systemd.credential:systemd.unit-dropin.keelson-boot-limit.timer=[Timer]\nOnStartupSec=\nOnStartupSec=120\n",
    ],
    run: hangs,
    ..UPDATE
};

pub const DAMAGED_SLOT: Scenario = Scenario {
    name: "damaged-slot",
    about: "a good version whose slot was damaged gives way to the other one, and may be installed again",
    run: damaged,
    ..UPDATE
};

const SECOND: &str = "9999.2.0";
const BROKEN: &str = "9999.3.0";
const STUCK: &str = "9999.4.0";

fn update(context: &Context<'_>) -> Result<(), Failure> {
    let releases = context.shared(1);
    let keys = Keys::make(&context.site.layout().root().join("keys"))?;
    release(context.run, &keys, SECOND, Fault::None, &[], &releases)?;
    release(context.run, &keys, BROKEN, Fault::DoesNotBoot, &[SECOND], &releases)?;
    context.boot()?;
    let machine = context.machine(1);
    let first = context.run.image.version.as_str();
    let idle = "LAST_CHECKED_TIME=0\nPROGRESS=0.000000\nCURRENT_OP=UPDATE_STATUS_IDLE\nNEW_VERSION=0.0.0\nNEW_SIZE=0\n";
    let status = machine.succeed("update_engine_client -status 2>/dev/null")?;
    expect(status == idle, idle, &status)?;
    // A client waits for an agent that hangs, and reports it.
    machine.succeed(
        "sudo systemctl kill -s STOP update-engine.service; \
         (sleep 5; sudo systemctl kill -s CONT update-engine.service) & \
         update_engine_client -status 2>&1 | grep 'Waiting for update_engine to respond (at most 25 s)'",
    )?;
    // A release without a trusted signature is refused.
    let refused = machine.fail(&format!("sudo update-agent apply {} 2>&1", guest_path(SECOND)))?;
    expect(refused.contains("there is no trusted root"), "a refusal without a root", &refused)?;
    trust(&machine, &keys)?;
    proven(&machine, first)?;

    // The update succeeds after a power cut during its write.
    begin(&machine, SECOND)?;
    machine.wait_until_succeeds("sudo test -e /boot/EFI/Linux/.keelson-update.tmp", APPLIED)?;
    machine.crash()?;
    machine.start()?;
    runs(&machine, first)?;
    apply(&machine, SECOND)?;
    // The first attempt to mark the boot good fails.
    machine.succeed("sudo mkdir -p /etc/systemd/system/systemd-bless-boot.service.d")?;
    machine.write(
        "/etc/systemd/system/systemd-bless-boot.service.d/10-test.conf",
        b"[Service]\nExecStartPre=/usr/bin/sh -c 'test -e /run/tried || ! touch /run/tried'\n",
    )?;
    let status = machine.succeed("update_engine_client -status 2>/dev/null")?;
    expect(status.contains("UPDATED_NEED_REBOOT\nNEW_VERSION=9999.2.0\n"), "it waits for a reboot", &status)?;
    machine.succeed("echo kept | sudo tee /var/lib/kept")?;
    docker::start(&machine)?;
    machine.succeed("docker create -v /data --name store busybox true")?;
    machine.succeed("docker run --rm --volumes-from store busybox sh -c 'echo kept >/data/file'")?;
    machine.reboot()?;
    runs(&machine, SECOND)?;
    verified(&machine)?;
    proven(&machine, SECOND)?;
    machine.succeed("test -e /run/tried")?;
    let slots = machine.succeed("sudo update-agent slots")?;
    let rows: Vec<Vec<&str>> = slots.lines().map(|line| line.split_whitespace().collect()).collect();
    let wanted = [
        vec!["SLOT", "VERSION", "PRIORITY", "TRIES", "SUCCESSFUL", "RUNNING"],
        vec!["a", first, "1", "0", "1"],
        vec!["b", SECOND, "2", "0", "1", "yes"],
    ];
    expect(rows == wanted, &format!("{wanted:?}"), &slots)?;

    apply(&machine, BROKEN)?;
    last_try(&machine, BROKEN)?;
    reboot_into_failing(context, &machine)?;
    fell_back(&machine, BROKEN, SECOND)?;
    let kept = machine.read("/var/lib/kept")?;
    expect(kept == "kept\n", "kept", &kept)?;
    docker::start(&machine)?;
    expect_output(&machine, "docker run --rm --volumes-from store busybox cat /data/file", "kept\n")
}

/// Reboots into a version that never becomes ready, and waits for the fallback.
fn reboot_into_failing(context: &Context<'_>, machine: &Machine<'_>) -> Result<(), Failure> {
    let mark = machines::ready::mark(&context.site.layout().node(machine.name()).ready());
    // The machine may go down before it answers.
    drop(machine.execute("sudo systemctl --no-block reboot"));
    context.site.wait_ready(machine.name(), &mark, Limit::Total(FELL_BACK))?;
    Ok(())
}

/// Checks the machine's record of the version that it left.
fn fell_back(machine: &Machine<'_>, from: &str, to: &str) -> Result<(), Failure> {
    runs(machine, to)?;
    machine
        .wait_until_succeeds(&format!("sudo update-agent status | grep '{from}: failed to boot'"), APPLIED)?;
    let again = machine.fail(&format!("sudo update-agent apply {} 2>&1", guest_path(from)))?;
    expect(again.contains("is banned on this machine"), "a ban", &again)
}

fn broken(context: &Context<'_>) -> Result<(), Failure> {
    let releases = context.shared(1);
    let keys = Keys::make(&context.site.layout().root().join("keys"))?;
    release(context.run, &keys, SECOND, Fault::Unhealthy, &[], &releases)?;
    release(context.run, &keys, BROKEN, Fault::Panics, &[], &releases)?;
    context.boot()?;
    let machine = context.machine(1);
    let first = context.run.image.version.as_str();
    trust(&machine, &keys)?;
    // An unhealthy version gets a minute to recover. One that panics after a minute must not be good before: it
    // gets the default of two.
    machine.write(
        "/etc/systemd/system/keelson-health-check.service.d/10-test.conf",
        b"[Service]\nEnvironment=KEELSON_HEALTH_LIMIT=60\n",
    )?;
    proven(&machine, first)?;
    for version in [SECOND, BROKEN] {
        install_bad(&machine, version, first)?;
    }
    Ok(())
}

fn hangs(context: &Context<'_>) -> Result<(), Failure> {
    let releases = context.shared(1);
    let keys = Keys::make(&context.site.layout().root().join("keys"))?;
    release(context.run, &keys, SECOND, Fault::None, &[], &releases)?;
    release(context.run, &keys, BROKEN, Fault::None, &[], &releases)?;
    release(context.run, &keys, STUCK, Fault::HangsInInitrd, &[], &releases)?;
    context.boot()?;
    let machine = context.machine(1);
    let first = context.run.image.version.as_str();
    trust(&machine, &keys)?;
    // /etc is shared by all versions: a fault in it has to name its version.
    let units = "/etc/systemd/system";
    machine.succeed(&format!("sudo mkdir -p {units}/update-engine.service.d"))?;
    machine.write(
        &format!("{units}/hang.service"),
        format!(
            "[Unit]\nDefaultDependencies=no\nBefore=sysinit.target\nConditionOSRelease=VERSION_ID={SECOND}\n\
             [Service]\nType=oneshot\nExecStart=/usr/bin/sleep infinity\n[Install]\nRequiredBy=sysinit.target\n"
        )
        .as_bytes(),
    )?;
    machine.write(
        &format!("{units}/update-engine.service.d/10-test.conf"),
        format!("[Service]\nExecStartPre=/usr/bin/sh -c '! grep -q VERSION_ID={BROKEN} /etc/os-release'\n")
            .as_bytes(),
    )?;
    // Without it the version whose agent exits takes 10 minutes.
    machine.write(
        &format!("{units}/keelson-health-check.service.d/20-test.conf"),
        b"[Service]\nEnvironment=KEELSON_HEALTH_LIMIT=60\n",
    )?;
    machine.succeed("sudo systemctl enable hang.service")?;
    proven(&machine, first)?;
    for version in [SECOND, BROKEN, STUCK] {
        install_bad(&machine, version, first)?;
    }
    let ended = format!("restarting; the boot loader counts the tries of \\EFI\\Linux\\keelson_{STUCK}");
    expect(machine.console().contains(&ended), &ended, "the console does not say so")
}

fn damaged(context: &Context<'_>) -> Result<(), Failure> {
    let releases = context.shared(1);
    let keys = Keys::make(&context.site.layout().root().join("keys"))?;
    release(context.run, &keys, SECOND, Fault::None, &[], &releases)?;
    context.boot()?;
    let machine = context.machine(1);
    let first = context.run.image.version.as_str();
    trust(&machine, &keys)?;
    proven(&machine, first)?;
    // As if the next version added a user, on a machine with local users.
    machine.succeed("sudo useradd later && sudo sed -i '/^systemd-timesync:/d' /etc/passwd /etc/group")?;
    // The same for a certificate, on a machine with a local one.
    let certificates = own_certificate(&machine)?;
    // The path unit would regenerate the bundle at this moment.
    machine.succeed("sudo systemctl stop update-ca-certificates.path")?;
    machine.succeed(&format!("sudo sed -i '1,/^-----END/d' {BUNDLE}"))?;
    let fewer = machine.succeed(CERTIFICATES)?;
    expect(fewer != certificates, "a certificate less", &fewer)?;
    apply(&machine, SECOND)?;
    machine.reboot()?;
    runs(&machine, SECOND)?;
    let users = machine.succeed("getent passwd later systemd-timesync | wc -l")?;
    expect(users.trim() == "2", "users of the machine and of the version", &users)?;
    let trusted = machine.succeed(CERTIFICATES)?;
    expect(trusted == certificates, &format!("{certificates} certificates of both"), &trusted)?;
    proven(&machine, SECOND)?;
    // Overwrites the file system's first blocks: it cannot be mounted.
    machine.succeed("sudo dd if=/dev/zero of=/dev/disk/by-partlabel/USR-B bs=4096 count=16 conv=fsync")?;
    reboot_into_failing(context, &machine)?;
    runs(&machine, first)?;
    let told = format!("keelson_{SECOND}.efi is on trial again");
    expect(machine.console().contains(&told), &told, "the console does not say so")?;
    let slots = machine.succeed("sudo update-agent slots")?;
    let given_up = format!("b {SECOND} 1 0 0");
    let rows: Vec<String> =
        slots.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    expect(rows.contains(&given_up), &given_up, &slots)?;
    // An update overwrites the damaged slot.
    apply(&machine, SECOND)?;
    machine.reboot()?;
    runs(&machine, SECOND)?;
    verified(&machine)?;
    proven(&machine, SECOND)?;
    lost_clusters(&machine)
}

/// Clusters that power cuts lost on the boot partition are freed by the fix in the error message of a full one.
fn lost_clusters(machine: &Machine<'_>) -> Result<(), Failure> {
    let free = "ls /boot >/dev/null; df --output=avail --block-size=1 /boot | tail --lines=1";
    let hint = PlanError::BootPartitionFull { free: 0, wanted: 0 }.to_string();
    let command = hint.rsplit("after: ").next().unwrap_or_default();
    let before = machine.succeed(&format!("sudo sh -c '{free}'"))?;
    // A file without its directory entry: its clusters stay allocated.
    machine.succeed(
        "sudo sh -c 'cp /usr/bin/bash /boot/KSLOST && umount /boot && cd /dev/disk/by-partlabel && \
         at=$(grep --text --byte-offset --only-matching --max-count=1 \"KSLOST     \" EFI-SYSTEM | cut -d : -f 1) && \
         printf \"\\345\" | dd of=EFI-SYSTEM bs=1 seek=$at conv=notrunc,fsync'",
    )?;
    let lost = machine.succeed(&format!("sudo sh -c '{free}'"))?;
    expect(lost != before, "less room", &lost)?;
    machine.succeed(&format!("sudo sh -c '{command}'"))?;
    let after = machine.succeed(&format!("sudo sh -c '{free}'"))?;
    expect(after == before, &before, &after)
}

const BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";
/// Counts the trusted certificates.
const CERTIFICATES: &str = "grep --count ^-----BEGIN /etc/ssl/certs/ca-certificates.crt";

/// Makes the machine trust a local certificate; returns the number of trusted ones.
fn own_certificate(machine: &Machine<'_>) -> Result<String, Failure> {
    let before = machine.succeed(CERTIFICATES)?;
    machine.succeed(
        "sudo openssl req -x509 -newkey ed25519 -nodes -subj /CN=own -keyout /root/own.key -out /etc/ca-certificates/own.crt",
    )?;
    let wanted = format!("{}\n", before.trim().parse::<u32>().unwrap_or(0) + 1);
    machine.wait_until_succeeds(&format!("test $({CERTIFICATES}) = {}", wanted.trim()), APPLIED)?;
    Ok(wanted)
}

/// Installs a bad version, and waits for the fallback.
fn install_bad(machine: &Machine<'_>, version: &str, first: &str) -> Result<(), Failure> {
    apply(machine, version)?;
    last_try(machine, version)?;
    // Some become ready before they fail.
    drop(machine.execute("sudo systemctl --no-block reboot"));
    let deadline = Instant::now() + FELL_BACK;
    while !has_fallen_back(machine, version) {
        expect(Instant::now() < deadline, "the version before", &format!("not within {FELL_BACK:?}"))?;
        std::thread::sleep(Duration::from_secs(2));
    }
    fell_back(machine, version, first)?;
    let boots = machine.succeed("sudo journalctl --list-boots --quiet --no-pager | wc -l")?;
    eprintln!("{version} was left; {} boots are in the journal", boots.trim());
    Ok(())
}

/// Whether the machine answers and has recorded that it left this version.
fn has_fallen_back(machine: &Machine<'_>, version: &str) -> bool {
    let noted = format!("{version}: failed to boot");
    machine.execute("sudo update-agent status").is_ok_and(|output| output.stdout.contains(&noted))
}
