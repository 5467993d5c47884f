//! What a machine is once it is up.

use std::time::Duration;

use machines::cluster::BackendKind::{Nspawn, Qemu};

use crate::failure::{Failure, expect};
use crate::scenario::{Scenario, Stage};

const HELLO_USER_DATA: &str = include_str!("../user-data/hello.yaml");

pub const BOOTS: Scenario = Scenario {
    name: "boots",
    about: "a machine comes up with nothing failed, /usr read-only erofs, and ssh and sudo working",
    nodes: 1,
    on: &[Nspawn, Qemu],
    long: false,
    user_data: None,
    run: boots,
};

fn boots(stage: &Stage<'_>) -> Result<(), Failure> {
    stage.boot()?;
    let machine = stage.machine(1);
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
    expect(user.split_ascii_whitespace().eq(["core", "root"]), "core, and root by sudo", &user)
}

pub const HELLO: Scenario = Scenario {
    name: "hello",
    about: "the tutorials' hello.service runs a container, and its lines are in the journal",
    nodes: 1,
    on: &[Nspawn, Qemu],
    long: false,
    user_data: Some(HELLO_USER_DATA),
    run: hello,
};

fn hello(stage: &Stage<'_>) -> Result<(), Failure> {
    stage.boot()?;
    let machine = stage.machine(1);
    machine.wait_for_unit("hello.service", Duration::from_secs(120))?;
    let said = "sudo journalctl --no-pager -u hello.service | grep -c 'Hello World' | grep -v '^0$'";
    machine.wait_until_succeeds(said, Duration::from_secs(60))?;
    let failed = machine.succeed("systemctl --failed --no-legend --plain")?;
    expect(failed.trim().is_empty(), "no failed unit", &failed)
}
