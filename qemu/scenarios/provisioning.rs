//! User-data that is wrong: it is said where, and the rest of the machine works.

use machines::cluster::BackendKind::{Nspawn, Qemu};

use crate::failure::{Failure, expect};
use crate::scenario::{Scenario, Stage};

const BAD: &str = "#cloud-config\nhostname: bad\nwrite_files:\n\t- path: /etc/x\n";

pub const BAD_USER_DATA: Scenario = Scenario {
    name: "bad-user-data",
    about: "with user-data that is not YAML a machine boots, its ssh key works, and the journal names the line",
    nodes: 1,
    on: &[Nspawn, Qemu],
    long: false,
    user_data: Some(BAD),
    run: bad_user_data,
};

fn bad_user_data(stage: &Stage<'_>) -> Result<(), Failure> {
    stage.boot()?;
    let machine = stage.machine(1);
    // That this runs at all shows that the key of the config drive's metadata was taken.
    let journal = machine.succeed("sudo journalctl --no-pager -b | grep -i cloudinit")?;
    let named = journal.to_lowercase().lines().any(|line| line.contains("line 4"));
    expect(named, "the journal to name line 4 of the user-data", &journal)
}
