//! The settings files.

use machines::machine::Machine;

use super::super::kv::expect_output;
use super::setup::{PATH, SMALL, configure, nothing_left, refused};
use crate::failure::Failure;

/// A file that another user can write does not run.
pub fn unsafe_files(machine: &Machine<'_>) -> Result<(), Failure> {
    let executed = "test ! -e /tmp/executed";
    for (change, cause) in [
        ("chmod 664 ~/.toolboxrc", "its group or others may write it (mode 664)"),
        ("chmod 646 ~/.toolboxrc", "its group or others may write it (mode 646)"),
        ("sudo chown nobody ~/.toolboxrc", "/home/core/.toolboxrc: user 65534 owns it"),
        (
            "sudo cp ~/.toolboxrc /tmp/rc && sudo chown nobody /tmp/rc && ln -sf /tmp/rc ~/.toolboxrc",
            "user 65534 owns it",
        ),
    ] {
        configure(machine, "touch /tmp/executed")?;
        machine.succeed(change)?;
        refused(machine, "toolbox true", 1, cause)?;
        machine.succeed(executed)?;
    }
    machine.succeed(
        "echo 'touch /tmp/executed' | sudo tee /etc/default/toolbox && sudo chmod 666 /etc/default/toolbox",
    )?;
    refused(machine, "toolbox true", 1, "/etc/default/toolbox: its group or others")?;
    machine.succeed(&format!("{executed} && sudo rm /etc/default/toolbox"))?;
    // Root's own file is one that the caller may have.
    configure(machine, &format!("TOOLBOX_DOCKER_ARCHIVE={SMALL}"))?;
    machine.succeed("sudo chown root ~/.toolboxrc && toolbox true && toolbox --rm")?;
    nothing_left(machine)?;
    for (name, cause) in [("..", "begins with a dot"), (".x", "begins with a dot")] {
        configure(machine, &format!("TOOLBOX_NAME={name}"))?;
        refused(machine, "toolbox --rm", 1, cause)?;
    }
    configure(machine, "TOOLBOX_DIRECTORY=relative")?;
    refused(machine, "toolbox true", 1, "is not absolute")
}

/// Directory, name, binds and environment of the user's choice.
pub fn other_toolbox(machine: &Machine<'_>) -> Result<(), Failure> {
    machine.succeed("mkdir -p ~/data && echo from-data >~/data/file")?;
    configure(
        machine,
        &format!(
            "TOOLBOX_DOCKER_ARCHIVE={SMALL}\nTOOLBOX_DIRECTORY=/var/lib/other\nTOOLBOX_NAME=a/b\n\
             TOOLBOX_BIND=\"$TOOLBOX_BIND --bind=/home/core/data:/data --bind=/usr:/of-the-machine\"\n\
             TOOLBOX_ENV=\"--setenv=GREETING=hello --setenv=OTHER=*\"\n[ -e /absent ] && false"
        ),
    )?;
    let command = "toolbox -c 'echo \"$GREETING $OTHER\"; cat /data/file; ls /of-the-machine/bin/toolbox'";
    let output = "hello *\nfrom-data\n/of-the-machine/bin/toolbox\n";
    expect_output(machine, command, output)?;
    machine.succeed(&format!("test -d /var/lib/other/a_b && test ! -e {PATH}"))?;
    machine.succeed("toolbox --rm && test ! -e /var/lib/other/a_b && sudo rmdir /var/lib/other")?;
    // The environment does not count.
    configure(machine, &format!("TOOLBOX_DOCKER_ARCHIVE={SMALL}"))?;
    machine.succeed(&format!("TOOLBOX_NAME=other toolbox true && test -d {PATH} && toolbox --rm"))?;
    nothing_left(machine)
}

/// `/etc/default/toolbox` is read first, by root, too.
pub fn of_the_machine(machine: &Machine<'_>) -> Result<(), Failure> {
    machine.succeed(&format!("echo TOOLBOX_DOCKER_ARCHIVE={SMALL} | sudo tee /etc/default/toolbox"))?;
    configure(machine, "TOOLBOX_DOCKER_TAG=13")?;
    machine.succeed("toolbox true && sudo toolbox true")?;
    let listed = "sudo ls /var/lib/toolbox";
    expect_output(machine, listed, "core-debian-13\nroot-debian-trixie\n")?;
    machine.succeed("toolbox --rm && sudo toolbox --rm && sudo rm /etc/default/toolbox")?;
    nothing_left(machine)
}
