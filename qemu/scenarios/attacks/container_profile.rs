//! A container tries what its capabilities and seccomp filter allow, and the AppArmor profile `docker-default` does not.

use machines::cluster::BackendKind::Qemu;
use machines::machine::Machine;

use crate::failure::{Failure, expect};
use crate::scenario::{Context, DEFAULTS, Scenario};

pub const CONTAINER_PROFILE: Scenario = Scenario {
    name: "attack-container-profile",
    about: "a container that shares the machine's PIDs or may mount does not take over the machine",
    // The profile is loaded into the kernel: an nspawn machine has the host's.
    on: &[Qemu],
    long_on: &[Qemu],
    run: container_profile,
    ..DEFAULTS
};

/// A process of the machine.
const VICTIM: &str = "sudo systemd-run --quiet --uid=core --unit=victim sleep infinity";
const VICTIM_PID: &str = "$(systemctl show --property=MainPID --value victim.service)";
const LABEL: &str = "cat /proc/self/attr/current";
const CONFINED: &str = "docker-default (enforce)\n";
/// Of an operator, with what Debian's profiles include.
const OWN_PROFILE: &str = "include <tunables/global>\nprofile own flags=(attach_disconnected) {\n  \
    include <abstractions/base>\n  file,\n  capability,\n  network,\n}\n";
/// The kernel runs the named program as root of the machine.
const SET_CORE_PATTERN: &str =
    "mount -o remount,bind,rw proc /proc/sys && echo '|/tmp/owned' >/proc/sys/kernel/core_pattern";

fn container_profile(context: &Context<'_>) -> Result<(), Failure> {
    context.boot()?;
    let machine = context.machine(1);
    // Its socket serves before the images of the node are loaded.
    machine.succeed("sudo systemctl start docker.service")?;
    machine.succeed(VICTIM)?;
    let attacks = [
        ("--pid=host", format!("kill -STOP {VICTIM_PID}")),
        // The machine's files, Docker's socket among them, instead of the container's.
        ("--pid=host --user=$(id -u):$(id -g)", format!("cat /proc/{VICTIM_PID}/root/etc/machine-id")),
        ("--cap-add=SYS_ADMIN", SET_CORE_PATTERN.to_owned()),
    ];
    for (options, attack) in &attacks {
        let attack = format!("sh -c \"{attack} || echo denied\"");
        // Nothing but the profile denies it.
        let unconfined = container(&format!("{options} --security-opt=apparmor=unconfined"), &attack);
        let output = machine.succeed(&unconfined)?;
        expect(!output.contains("denied"), &format!("success of {unconfined}"), &output)?;
        let confined = container(options, &attack);
        let output = machine.succeed(&confined)?;
        expect(output == "denied\n", &format!("no success of {confined}"), &output)?;
    }
    let label = machine.succeed(&container("", LABEL))?;
    expect(label == CONFINED, "the profile of a container", &label)?;
    let options = machine.succeed("docker info --format '{{.SecurityOptions}}'")?;
    expect(options.contains("name=apparmor"), "Docker with AppArmor", &options)?;
    let denials =
        "journalctl -k -g 'apparmor=\"DENIED\" operation=\"(signal|ptrace)\".*profile=\"docker-default\"'";
    machine.succeed(denials)?;
    machine.succeed("sudo aa-status | grep --word-regexp docker-default")?;
    still_allowed(&machine)
}

/// What containers do with the profile, and what the operator may allow.
fn still_allowed(machine: &Machine<'_>) -> Result<(), Failure> {
    machine.write("/tmp/own", OWN_PROFILE.as_bytes())?;
    machine.succeed("sudo apparmor_parser --replace /tmp/own")?;
    let label = machine.succeed(&container("--security-opt=apparmor=own", LABEL))?;
    expect(label == "own (enforce)\n", "the operator's profile", &label)?;
    let privileged = container("--privileged", &format!("sh -c '{LABEL} && mount -t tmpfs none /tmp'"));
    let label = machine.succeed(&privileged)?;
    expect(label == "unconfined\n", "the profile of a privileged container", &label)?;
    machine.succeed(&container("", "sh -c 'sleep 600 & ls /proc/$!/root && kill $!'"))?;
    machine.succeed("docker run --detach --init --name=stopped busybox sleep 600")?;
    let label = machine.succeed(&format!("docker exec stopped {LABEL}"))?;
    expect(label == CONFINED, "the profile of a command in a container", &label)?;
    let status =
        machine.succeed("docker stop stopped && docker inspect --format '{{.State.ExitCode}}' stopped")?;
    expect(status == "stopped\n143\n", "a container stopped by SIGTERM", &status)
}

fn container(options: &str, command: &str) -> String {
    format!("docker run --rm {options} busybox {command}")
}
