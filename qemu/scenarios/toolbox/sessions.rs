//! What commands in a toolbox see and leave.

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};

use machines::machine::Machine;
use machines::ssh;

use super::super::kv::{SOON, expect_output};
use super::setup::{PATH, SMALL, configure, refused};
use crate::failure::{Failure, expect};
use crate::scenario::Context;

/// The end of the prompt: that of `etc/debian_chroot`, user, machine and folder precede it.
const PROMPT: &[u8] = b":~# ";

/// The command line.
pub fn usage(machine: &Machine<'_>) -> Result<(), Failure> {
    refused(machine, "toolbox --wrong", 2, "unknown option --wrong")?;
    refused(machine, "toolbox --rm ls", 2, "--rm removes the toolbox")?;
    refused(machine, "toolbox --rm --pull", 2, "--rm removes the toolbox")?;
    let help = machine.succeed("toolbox --help")?;
    expect(help.starts_with("Usage: toolbox "), "the help", &help)?;
    let version = machine.succeed("toolbox --version")?;
    expect(version.starts_with("toolbox of "), "the version", &version)
}

/// Several calls make one toolbox and use it at the same time; it is not removed below them.
pub fn concurrent(machine: &Machine<'_>) -> Result<(), Failure> {
    configure(machine, &format!("TOOLBOX_DOCKER_ARCHIVE={SMALL}"))?;
    let together =
        "for call in 1 2 3; do toolbox sh -c 'echo $0; sleep 2' $call 2>>/tmp/together & done; wait";
    machine.succeed("rm -f /tmp/together")?;
    expect_output(machine, &format!("({together}) | sort; grep -c ^creating /tmp/together"), "1\n2\n3\n1\n")?;
    machine.succeed("nohup toolbox sleep 1000 >/tmp/sleeper 2>&1 </dev/null &")?;
    machine.wait_until_succeeds("pgrep -x sleep -a | grep 1000", SOON)?;
    refused(machine, "toolbox --rm", 1, &format!("{PATH} is in use"))?;
    refused(machine, "toolbox --pull true", 1, &format!("{PATH} is in use"))?;
    expect_output(machine, "toolbox echo beside", "beside\n")?;
    // The one in use has a longer name.
    configure(machine, &format!("TOOLBOX_DOCKER_ARCHIVE={SMALL}\nTOOLBOX_NAME=core-debian"))?;
    machine.succeed("toolbox --pull true && toolbox --rm")?;
    configure(machine, &format!("TOOLBOX_DOCKER_ARCHIVE={SMALL}"))?;
    machine.succeed("sudo systemctl stop 'toolbox-core-debian-trixie-*.scope'")?;
    machine.wait_until_fails("pgrep -x sleep -a | grep 1000", SOON)?;
    machine.succeed("toolbox --rm")?;
    // One that waits names for what.
    let lock = "/run/toolbox/core-debian-trixie";
    machine.succeed(&format!(
        "sudo mkdir -p {lock} && : >/tmp/waiting; \
         (flock 9; until grep 'waiting for another toolbox.*{PATH}' /tmp/waiting; do sleep 0.2; done) 9<{lock} & \
         while flock --nonblock {lock} true; do :; done; toolbox true 2>/tmp/waiting"
    ))?;
    Ok(())
}

/// Processes, network and files are the machine's, the rights root's.
pub fn of_the_machine(machine: &Machine<'_>) -> Result<(), Failure> {
    let files = machine.succeed("ls /")?;
    expect_output(machine, "toolbox ls /media/root", &files)?;
    expect_output(machine, "toolbox id -u", "0\n")?;
    machine.succeed("sudo systemd-run --quiet --unit=watched sleep 100000")?;
    let process = machine.succeed("systemctl show --property=MainPID --value watched.service")?;
    expect_output(machine, "toolbox pgrep -f '^/usr/bin/sleep 100000$'", &process)?;
    let process = process.trim();
    let trace = format!("toolbox sh -c 'timeout 3 strace -p {process} 2>&1; true' | grep nanosleep");
    machine.wait_until_succeeds(&trace, SOON)?;
    for fact in ["readlink /proc/self/ns/net", "hostname", "ip -4 route"] {
        let of_machine = machine.succeed(fact)?;
        expect_output(machine, &format!("toolbox {fact}"), &of_machine)?;
    }
    let capture = "toolbox sh -c 'tcpdump -c 1 -ni lo icmp 2>/dev/null & \
        while kill -0 $!; do ping -c 1 127.0.0.9 >/dev/null; done'";
    let captured = machine.succeed(capture)?;
    expect(captured.contains("127.0.0.9: ICMP echo request"), "a packet of the machine", &captured)?;
    machine.succeed("toolbox sh -c 'echo written >/media/root/home/core/written; ls /media/root/usr/bin/toolbox /media/root/run/toolbox'")?;
    expect_output(machine, "cat ~/written; stat -c %u ~/written", "written\n0\n")?;
    // What a debugger needs, each with the libraries and files that it needs.
    for tool in [
        "gdb --version",
        "lsof -v",
        "htop --version",
        "dig -v",
        "ethtool --version",
        "nft list ruleset",
        "iptables -L",
        "ss -tln",
        "socat -V",
        "vi --version",
        "getent passwd root",
        "curl --version",
        "mtr --version",
        "iostat",
        "jq --version",
        "traceroute --version",
        "conntrack --version",
        "file /bin/sh",
    ] {
        machine.succeed(&format!("toolbox {tool} 2>&1"))?;
    }
    Ok(())
}

/// Files stay until `--pull` or `--rm`, also without rkt's image.
pub fn persists(machine: &Machine<'_>) -> Result<(), Failure> {
    machine.succeed("toolbox touch /root/kept && sudo rkt image gc --grace-period=0s")?;
    expect_output(machine, "sudo rkt image list --no-legend", "")?;
    expect_output(machine, "toolbox ls /root/kept", "/root/kept\n")?;
    expect_output(machine, "toolbox --pull sh -c 'ls -A /root'", "")?;
    machine.succeed(&format!("toolbox --rm && sudo test ! -e {PATH} && toolbox --rm"))?;
    Ok(())
}

/// Exit statuses and bytes pass through.
pub fn statuses(machine: &Machine<'_>) -> Result<(), Failure> {
    for (command, code) in [
        ("toolbox sh -c 'exit 7'", 7),
        ("toolbox -c 'exit 9'", 9),
        ("toolbox false", 1),
        ("toolbox -- ls -d /", 0),
    ] {
        let output = machine.execute(command)?;
        expect(output.code == code, &format!("{command} to exit with {code}"), &format!("{output:?}"))?;
    }
    expect_output(machine, "printf 'a\\r\\nb\\0c' | toolbox cat | od -An -tx1", " 61 0d 0a 62 00 63\n")?;
    expect_output(machine, "toolbox -c 'echo lost >&2; echo kept' 2>/dev/null", "kept\n")?;
    expect_output(machine, "toolbox -c 'echo $0 $1' name argument", "name argument\n")
}

/// A shell on a terminal.
pub fn terminal(context: &Context<'_>, machine: &Machine<'_>) -> Result<(), Failure> {
    let failed = |source| Failure::Disk { path: "ssh".into(), source };
    let ssh = ssh::command(context.site.layout(), &machine.node()?, &["-tt".to_owned()]);
    let mut command = Command::new("timeout");
    command.arg(SOON.as_secs().to_string()).arg(ssh.get_program()).args(ssh.get_args()).arg("toolbox");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(failed)?;
    let mut shown = Vec::new();
    if let (Some(stdin), Some(stdout)) = (&mut child.stdin, &mut child.stdout) {
        // What is typed before the prompt is lost.
        let mut buffer = [0; 256];
        while !shown.ends_with(PROMPT) {
            match stdout.read(&mut buffer).map_err(failed)? {
                0 => break,
                count => shown.extend_from_slice(&buffer[..count]),
            }
        }
        stdin.write_all(b"tty; echo user $(id -u); exit 5\n").map_err(failed)?;
    }
    let output = child.wait_with_output().map_err(failed)?;
    shown.extend(output.stdout);
    let shown = String::from_utf8_lossy(&shown).replace('\r', "");
    let has_terminal = shown.lines().any(|line| line.ends_with("/dev/console") || line.contains("/dev/pts/"));
    expect(has_terminal && shown.contains("user 0\n"), "a terminal, and root in it", &shown)?;
    expect(output.status.code() == Some(5), "exit status 5", &format!("{}: {shown}", output.status))
}
