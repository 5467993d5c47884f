//! fleetctl, and the ways in which it connects to a cluster.

use super::super::super::kv::expect_output;
use super::super::cluster::with_agent;
use super::fixture::{ENDPOINT, Fixture, UNITS};
use crate::failure::{Failure, expect};

/// The version that the daemon reports.
fn version(fixture: &Fixture<'_>) -> Result<String, Failure> {
    let output = fixture.client().succeed("fleetd --version")?;
    let version = output.trim_end().strip_prefix("fleetd version ");
    Ok(version.ok_or_else(|| Failure::Expected(format!("expected a version; seen: {output}")))?.to_owned())
}

pub fn client_version_flag(fixture: &Fixture<'_>) -> Result<(), Failure> {
    let line = format!("fleetctl version {}\n", version(fixture)?);
    for word in ["version", "--version"] {
        expect_output(fixture.client(), &format!("fleetctl {word}"), &line)?;
    }
    Ok(())
}

pub fn client_version_help_output(fixture: &Fixture<'_>) -> Result<(), Failure> {
    let (version, page) = (version(fixture)?, fixture.fleetctl("help")?);
    let expected = format!("VERSION:\n   {version}");
    expect(page.contains(&expected), &format!("help with {expected:?}"), &page)
}

pub fn client_help_flag(fixture: &Fixture<'_>) -> Result<(), Failure> {
    let page = fixture.fleetctl("--help")?;
    expect(page.contains("list-machines"), "a page of help", &page)?;
    for arguments in ["-h", "help", ""] {
        expect_output(fixture.client(), &format!("fleetctl {arguments}"), &page)?;
    }
    Ok(())
}

pub fn fleetctl_with_env(fixture: &Fixture<'_>) -> Result<(), Failure> {
    let with = |endpoint: &str, arguments: &str| format!("FLEETCTL_ENDPOINT={endpoint} fleetctl {arguments}");
    let list = "list-machines --full --no-legend --fields=machine";
    let machines = fixture.fleetctl(list)?;
    expect(machines.lines().count() == fixture.members.len(), "all machines", &machines)?;
    expect_output(fixture.client(), &with(ENDPOINT, list), &machines)?;
    // A refused connection shows which endpoint was used; the flag precedes the variable.
    let closed = "http://127.0.0.1:1";
    fixture.client().fail(&with(closed, list))?;
    expect_output(fixture.client(), &with(closed, &format!("--endpoint={ENDPOINT} {list}")), &machines)
}

pub fn known_hosts_verification(fixture: &Fixture<'_>) -> Result<(), Failure> {
    let (client, other) = (fixture.client(), &fixture.members[1]);
    let name = other.machine.name();
    client.succeed("rm -f ~/known")?;
    let ssh = |answer: &str| {
        let arguments = "fleetctl --strict-host-key-checking=true --known-hosts-file=$HOME/known ssh";
        with_agent(&format!("echo {answer} | {arguments} {} hostname 2>&1", other.short()))
    };
    let connects = |answer: &str, prompted: bool| -> Result<(), Failure> {
        let output = client.succeed(&ssh(answer))?;
        let as_expected =
            output.ends_with(&format!("{name}\n")) && output.contains("The authenticity of host") == prompted;
        expect(as_expected, &format!("{name}, asked about first: {prompted}"), &output)
    };
    let output = client.fail(&ssh("no"))?;
    expect(output.contains("Host key verification failed"), "a refusal", &output)?;
    connects("yes", true)?;
    connects("no", false)?;

    // A recreated machine has other host keys.
    other.machine.succeed("sudo sh -c 'rm /etc/ssh/ssh_host_*; systemctl restart sshd-keygen.service'")?;
    let output = client.fail(&ssh("yes"))?;
    expect(output.contains("REMOTE HOST IDENTIFICATION HAS CHANGED"), "a warning", &output)?;
    client.succeed(": >~/known")?;
    connects("yes", true)
}

pub fn tunnel_schedule_batch_units(fixture: &Fixture<'_>) -> Result<(), Failure> {
    let (client, by) = (fixture.client(), &fixture.members[1]);
    client.succeed("rm -f ~/known")?;
    let start = |units: &str| {
        let arguments = "fleetctl --strict-host-key-checking=true --known-hosts-file=$HOME/known";
        let command = format!("echo yes | {arguments} --tunnel {} start {units} 2>~/told", by.address);
        client.succeed(&format!("cd {UNITS} && {}", with_agent(&command)))
    };
    start("hello@1")?;
    let messages = client.succeed("cat ~/told")?;
    expect(messages.contains("Permanently added"), "a host that is known from now on", &messages)?;
    fixture.active(1)?;
    let many: Vec<_> = (2..=11).map(|number| format!("hello@{number}")).collect();
    start(&many.join(" "))?;
    let messages = client.succeed("cat ~/told")?;
    expect(
        !messages.contains("Error") && !messages.contains("authenticity"),
        "neither error nor question",
        &messages,
    )?;
    fixture.active(11)?;
    Ok(())
}
