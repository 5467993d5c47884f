//! `toolbox` from images without a registry, without Docker, as user `core` and as root.

mod faults;
mod sessions;
mod settings;
mod setup;

use std::process::Command;

use machines::cluster::BackendKind::{Nspawn, Qemu};

use self::setup::{ARCHIVE, IMAGES, configure};
use crate::failure::{Failure, expect};
use crate::scenario::{Context, DEFAULTS, Scenario};

pub const TOOLBOX: Scenario = Scenario {
    name: "toolbox",
    about: "toolbox debugs a machine by the archive of `image toolbox`, without registry and Docker; its files persist, and \
            a half-made toolbox is never entered",
    shared: &[IMAGES],
    long_on: &[Qemu],
    run: toolbox,
    ..DEFAULTS
};

fn toolbox(context: &Context<'_>) -> Result<(), Failure> {
    build(context)?;
    context.boot()?;
    let machine = &context.machine(1);
    machine.succeed("sudo systemctl mask --now docker.socket docker.service containerd.service 2>&1")?;
    if context.backend == Nspawn {
        // In a user namespace nspawn cannot remount what it mounts of a file system that the host has mounted.
        machine
            .succeed("sudo mkdir -p /run/systemd/nspawn && sudo mount -t tmpfs tmpfs /run/systemd/nspawn")?;
    }
    faults::archives(machine)?;
    faults::killed(machine)?;
    faults::full(machine)?;
    settings::unsafe_files(machine)?;
    settings::other_toolbox(machine)?;
    settings::of_the_machine(machine)?;
    sessions::usage(machine)?;
    sessions::concurrent(machine)?;
    configure(machine, &format!("TOOLBOX_DOCKER_ARCHIVE={IMAGES}/{ARCHIVE}"))?;
    machine.succeed("toolbox --rm")?;
    sessions::of_the_machine(machine)?;
    sessions::persists(machine)?;
    sessions::statuses(machine)?;
    sessions::terminal(context, machine)
}

/// Builds the archive as its user would, into the shared folder.
fn build(context: &Context<'_>) -> Result<(), Failure> {
    let program = &context.run.background.program;
    let output = Command::new(program)
        .args(["image", "toolbox", "--output"])
        .arg(context.shared(1).join(ARCHIVE))
        .stdin(std::process::Stdio::null())
        .output()
        .map_err(|source| Failure::Disk { path: program.clone(), source })?;
    expect(output.status.success(), "an archive", &String::from_utf8_lossy(&output.stderr))
}
