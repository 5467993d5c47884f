//! fleetctl, and the ways in which it connects to a cluster.

use super::super::super::kv::shows;
use super::super::cluster::with_agent;
use super::ground::{ENDPOINT, Ground, UNITS};
use crate::failure::{Failure, expect};

/// The version that the daemon reports.
fn version(ground: &Ground<'_>) -> Result<String, Failure> {
    let said = ground.typed().succeed("fleetd --version")?;
    let version = said.trim_end().strip_prefix("fleetd version ");
    Ok(version.ok_or_else(|| Failure::Expected(format!("expected a version; seen: {said}")))?.to_owned())
}

pub fn client_version_flag(ground: &Ground<'_>) -> Result<(), Failure> {
    let line = format!("fleetctl version {}\n", version(ground)?);
    for word in ["version", "--version"] {
        shows(ground.typed(), &format!("fleetctl {word}"), &line)?;
    }
    Ok(())
}

pub fn client_version_help_output(ground: &Ground<'_>) -> Result<(), Failure> {
    let (version, page) = (version(ground)?, ground.fleetctl("help")?);
    let wanted = format!("VERSION:\n   {version}");
    expect(page.contains(&wanted), &format!("help with {wanted:?}"), &page)
}

pub fn client_help_flag(ground: &Ground<'_>) -> Result<(), Failure> {
    let page = ground.fleetctl("--help")?;
    expect(page.contains("list-machines"), "a page of help", &page)?;
    for words in ["-h", "help", ""] {
        shows(ground.typed(), &format!("fleetctl {words}"), &page)?;
    }
    Ok(())
}

pub fn fleetctl_with_env(ground: &Ground<'_>) -> Result<(), Failure> {
    let with = |endpoint: &str, words: &str| format!("FLEETCTL_ENDPOINT={endpoint} fleetctl {words}");
    let list = "list-machines --full --no-legend --fields=machine";
    let machines = ground.fleetctl(list)?;
    expect(machines.lines().count() == ground.members.len(), "all machines", &machines)?;
    shows(ground.typed(), &with(ENDPOINT, list), &machines)?;
    // A refused connection shows which endpoint was used; the flag precedes the variable.
    let nobody = "http://127.0.0.1:1";
    ground.typed().fail(&with(nobody, list))?;
    shows(ground.typed(), &with(nobody, &format!("--endpoint={ENDPOINT} {list}")), &machines)
}

pub fn known_hosts_verification(ground: &Ground<'_>) -> Result<(), Failure> {
    let (typed, other) = (ground.typed(), &ground.members[1]);
    let name = other.machine.name();
    typed.succeed("rm -f ~/known")?;
    let ssh = |answer: &str| {
        let words = "fleetctl --strict-host-key-checking=true --known-hosts-file=$HOME/known ssh";
        with_agent(&format!("echo {answer} | {words} {} hostname 2>&1", other.short()))
    };
    let reached = |answer: &str, asked: bool| -> Result<(), Failure> {
        let said = typed.succeed(&ssh(answer))?;
        let as_wanted =
            said.ends_with(&format!("{name}\n")) && said.contains("The authenticity of host") == asked;
        expect(as_wanted, &format!("{name}, asked about first: {asked}"), &said)
    };
    let said = typed.fail(&ssh("no"))?;
    expect(said.contains("Host key verification failed"), "a refusal", &said)?;
    reached("yes", true)?;
    reached("no", false)?;

    // A recreated machine has other host keys.
    other.machine.succeed("sudo sh -c 'rm /etc/ssh/ssh_host_*; systemctl restart sshd-keygen.service'")?;
    let said = typed.fail(&ssh("yes"))?;
    expect(said.contains("REMOTE HOST IDENTIFICATION HAS CHANGED"), "a warning", &said)?;
    typed.succeed(": >~/known")?;
    reached("yes", true)
}

pub fn tunnel_schedule_batch_units(ground: &Ground<'_>) -> Result<(), Failure> {
    let (typed, by) = (ground.typed(), &ground.members[1]);
    typed.succeed("rm -f ~/known")?;
    let start = |units: &str| {
        let words = "fleetctl --strict-host-key-checking=true --known-hosts-file=$HOME/known";
        let command = format!("echo yes | {words} --tunnel {} start {units} 2>~/told", by.address);
        typed.succeed(&format!("cd {UNITS} && {}", with_agent(&command)))
    };
    start("hello@1")?;
    let told = typed.succeed("cat ~/told")?;
    expect(told.contains("Permanently added"), "a host that is known from now on", &told)?;
    ground.active(1)?;
    let many: Vec<_> = (2..=11).map(|number| format!("hello@{number}")).collect();
    start(&many.join(" "))?;
    let told = typed.succeed("cat ~/told")?;
    expect(!told.contains("Error") && !told.contains("authenticity"), "neither error nor question", &told)?;
    ground.active(11)?;
    Ok(())
}
