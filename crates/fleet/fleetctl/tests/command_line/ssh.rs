//! Commands, shells and tunnels with a real SSH server; `cargo verify ssh` runs these tests.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::sshd::{Fixture, generate_key};

mod cleanup;
mod client;

/// TestKnownHostsVerification.
#[test]
#[ignore = "wants an SSH server and root: cargo verify ssh"]
fn an_unknown_host_is_confirmed_once() {
    let fixture = Fixture::new().with_agent();
    let host = format!("[127.0.0.1]:{}", fixture.port);
    let fingerprint = |hash: &str| {
        let output =
            Command::new("ssh-keygen").args(["-l", "-E", hash, "-f", &fixture.path("host.pub")]).output();
        let text = String::from_utf8(output.unwrap().stdout).unwrap();
        text.split_whitespace().nth(1).unwrap().to_owned()
    };
    let (md5, sha256) = (fingerprint("md5"), fingerprint("sha256"));
    let md5 = md5.strip_prefix("MD5:").unwrap();
    let prompt = format!(
        "err| The authenticity of host '{host}' can't be established.\n\
         err| ED25519 key fingerprint is {md5}(MD5).\nerr| ED25519 key fingerprint is {sha256}.\n\
         err| Are you sure you want to continue connecting (yes/no)?"
    );
    let refused = fixture.ssh(&["true"], "no\n");
    assert_eq!(
        refused,
        format!("{prompt} Failed building SSH client: Host key verification failed.\nexit 1\n")
    );
    assert!(!Path::new(&fixture.path(".fleetctl/known_hosts")).exists());
    // The command receives the input after the answer.
    let accepted = fixture.ssh(&["cat"], "maybe\nyes\nrest\n");
    assert_eq!(
        accepted,
        format!(
            "out| rest\n{prompt} Please type 'yes' or 'no': Warning: Permanently added '{host}' (ED25519) to the \
             list of known hosts.\n"
        )
    );
    assert_eq!(fixture.ssh(&["echo", "again"], ""), "out| again\n");
    let known_hosts = std::fs::read_to_string(fixture.path(".fleetctl/known_hosts")).unwrap();
    assert!(
        known_hosts.starts_with(&format!("{host} ssh-ed25519 AAAA")) && known_hosts.lines().count() == 1,
        "{known_hosts}"
    );
}

#[test]
#[ignore = "wants an SSH server and root: cargo verify ssh"]
fn a_changed_host_key_is_rejected() {
    let fixture = Fixture::new().with_agent();
    let folder = fixture.folder.path();
    generate_key(&folder.join("other"), "ed25519");
    let other = std::fs::read_to_string(folder.join("other.pub")).unwrap();
    let line = format!("[127.0.0.1]:{} {other}", fixture.port);
    std::fs::write(folder.join("hosts"), &line).unwrap();
    let fixture = fixture.with_path("FLEETCTL_KNOWN_HOSTS_FILE", "hosts");
    let got = fixture.ssh(&["echo", "reached"], "yes\n");
    assert!(got.contains("WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!"), "{got}");
    assert!(got.ends_with("err| Failed building SSH client: host key mismatch\nexit 1\n"), "{got}");
    assert!(!got.contains("reached"), "{got}");
    std::fs::write(fixture.path("hosts"), "").unwrap();
    assert!(fixture.ssh(&["echo", "reached"], "yes\n").starts_with("out| reached\n"));
    // Without checking, no key is stored.
    std::fs::write(fixture.path("hosts"), &line).unwrap();
    let fixture = fixture.with("FLEETCTL_STRICT_HOST_KEY_CHECKING", "false");
    assert_eq!(fixture.ssh(&["echo", "reached"], ""), "out| reached\n");
    assert_eq!(std::fs::read_to_string(fixture.path("hosts")).unwrap(), line);
}

#[test]
#[ignore = "wants an SSH server and root: cargo verify ssh"]
fn a_revoked_host_key_is_rejected_although_another_line_trusts_it() {
    let fixture = Fixture::new().with_agent().with_known_host();
    let file = fixture.path(".fleetctl/known_hosts");
    let trusted = std::fs::read_to_string(&file).unwrap();
    let (_, key) = trusted.trim_end().split_once(' ').unwrap();
    let revoked = format!("{trusted}@revoked * {key}\n");
    std::fs::write(&file, &revoked).unwrap();
    let got = fixture.ssh(&["echo", "reached"], "yes\n");
    let host = format!("[127.0.0.1]:{}", fixture.port);
    let expect = format!(
        "err| Failed building SSH client: {file}:2: the host key of {host} is revoked: ED25519 key SHA256:"
    );
    assert!(got.starts_with(&expect), "{got}");
    assert!(got.ends_with("; give the host a new key, then connect again\nexit 1\n"), "{got}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), revoked);
}

/// Hashed by OpenSSH.
#[test]
#[ignore = "wants an SSH server and root: cargo verify ssh"]
fn a_hashed_host_is_known() {
    let fixture = Fixture::new().with_agent().with_known_host();
    let file = fixture.path(".fleetctl/known_hosts");
    let hashed = Command::new("ssh-keygen").args(["-q", "-H", "-f", &file]).output().unwrap();
    assert!(hashed.status.success(), "{hashed:?}");
    assert!(std::fs::read_to_string(&file).unwrap().starts_with("|1|"));
    assert_eq!(fixture.ssh(&["echo", "reached"], ""), "out| reached\n");
}

#[test]
#[ignore = "wants an SSH server and root: cargo verify ssh"]
fn output_and_exit_codes_of_commands() {
    let fixture = Fixture::new().with_agent().with_known_host();
    let check = |arguments: &[&str], input: &str, expect: &str| {
        assert_eq!(fixture.ssh(arguments, input), expect, "{arguments:?}");
    };
    check(&["echo", "foo"], "", "out| foo\n");
    check(&["--", "echo", "foo"], "", "out| foo\n");
    check(&["ls", "-d", "/"], "", "out| /\n");
    check(&["exit", "7"], "", "exit 7\n");
    check(&["echo", "said;", "echo", "told", ">&2;", "false"], "", "out| said\nerr| told\nexit 1\n");
    check(&["cat"], "a line\n", "out| a line\n");
    check(&["kill", "-9", "$$"], "", "exit 255\n");
    // A shell without a terminal.
    check(&[], "echo $0 reached\nexit 3\n", "out| -sh reached\nexit 3\n");
    // More than all buffers, in both directions.
    let large_line = "x".repeat(99) + "\n";
    let got = fixture.ssh(&["wc", "-c"], &large_line.repeat(30_000));
    assert_eq!(got, "out| 3000000\n");
    let got = fixture.ssh(&["head", "-c", "3000000", "/dev/zero", "|", "tr", "'\\0'", "y"], "");
    assert_eq!(got.len(), "out| ".len() + 3_000_000 + " (no end of line)\n".len());
}

#[test]
#[ignore = "wants an SSH server and root: cargo verify ssh"]
fn machine_of_a_unit() {
    let fixture = Fixture::new().with_agent().with_known_host();
    let text = "[Service]\nExecStart=/bin/sleep 1\n[X-Fleet]\nMachineID=feedbeef\n";
    std::fs::write(fixture.path("here.service"), text).unwrap();
    let started = fixture.program.run(&["start", "here"], "");
    assert_eq!(started, "out| Unit here.service launched on feedbeef.../127.0.0.1\n");
    let port = format!("--ssh-port={}", fixture.port);
    let run = |arguments: &[&str]| fixture.program.run(arguments, "");
    assert_eq!(run(&["ssh", &port, "here", "echo", "foo"]), "out| foo\n");
    assert_eq!(run(&["ssh", &port, "--unit=here", "echo", "foo"]), "out| foo\n");
    assert_eq!(
        run(&["ssh", "-ssh-port", &fixture.port.to_string(), "-machine", "feed", "echo", "foo"]),
        "out| foo\n"
    );
    fixture.script("systemctl", "echo systemctl \"$@\"; exit 3");
    fixture.script("journalctl", "echo journalctl \"$@\"");
    fixture.script("sudo", "echo sudo; exec \"$@\"");
    assert_eq!(run(&["status", &port, "here"]), "out| systemctl status -l here.service\nexit 3\n");
    assert_eq!(run(&["journal", &port, "here"]), "out| journalctl --unit here.service --no-pager -n 10\n");
    assert_eq!(
        run(&["journal", &port, "-f", "--sudo", "--lines", "20", "--output=cat", "here"]),
        "out| sudo\nout| journalctl --unit here.service --no-pager -n 20 --output cat -f\n"
    );
}

/// TestTunnelScheduleBatchUnits.
#[test]
#[ignore = "wants an SSH server and root: cargo verify ssh"]
fn through_a_tunnel() {
    let fixture = Fixture::new().with_agent().with_known_host();
    std::fs::write(fixture.path("web@.service"), "[Service]\nExecStart=/bin/sleep 1\n").unwrap();
    let tunnel = format!("--tunnel=127.0.0.1:{}", fixture.port);
    let run = |arguments: &[&str]| fixture.program.run(&[&[tunnel.as_str()], arguments].concat(), "");
    let got = run(&["start", "web@1", "web@2", "web@3"]);
    assert_eq!(got.lines().filter(|line| line.starts_with("out| Unit web@")).count(), 3, "{got}");
    assert!(!got.contains("err|"), "{got}");
    // The remote side dials an http endpoint.
    let endpoint = format!("http://{}", fixture.server.address);
    let got = run(&["--endpoint", &endpoint, "list-unit-files", "--no-legend", "--fields=unit"]);
    assert_eq!(got, "out| web@1.service\nout| web@2.service\nout| web@3.service\n");
    // A second hop through the first.
    let port = format!("--ssh-port={}", fixture.port);
    assert_eq!(run(&["ssh", &port, "feedbeef", "echo", "second"]), "out| second\n");
    // The host keys of both hops are checked; here they are the same, now unknown.
    std::fs::write(fixture.path(".fleetctl/known_hosts"), "").unwrap();
    let got = run(&["list-machines"]);
    assert!(got.contains("The authenticity of host"), "{got}");
    assert!(got.ends_with(
        "Unable to initialize client: failed initializing SSH client: Host key verification failed.\nexit 1\n"
    ), "{got}");
}

#[test]
#[ignore = "wants an SSH server and root: cargo verify ssh"]
fn keys_of_a_file_and_of_the_agent() {
    let fixture = Fixture::new().with_known_host();
    let no_agent = fixture.ssh(&["true"], "");
    assert!(no_agent.starts_with("err| SSH_AUTH_SOCK environment variable must be set\n"), "{no_agent}");
    let fixture = fixture.with_path("FLEETCTL_SSH_IDENTITY_FILE", "user");
    assert_eq!(fixture.ssh(&["echo", "by", "file"], ""), "out| by file\n");
    // A key that the server does not accept.
    generate_key(&fixture.folder.path().join("stranger"), "ed25519");
    let arguments = [
        "--ssh-identity-file",
        &fixture.path("stranger"),
        "ssh",
        "--ssh-port",
        &fixture.port.to_string(),
        "feedbeef",
        "true",
    ];
    let refused = fixture.program.run(&arguments, "");
    assert!(refused.contains("unable to authenticate core") && refused.ends_with("exit 1\n"), "{refused}");
    let missing = fixture.program.run(&[&["--ssh-identity-file=/nonexistent"], &arguments[2..]].concat(), "");
    assert!(missing.contains("/nonexistent: no private key that can be used"), "{missing}");
    generate_key(&fixture.folder.path().join("rsa"), "rsa");
    std::fs::copy(fixture.path("rsa.pub"), fixture.path("authorized")).unwrap();
    let identity = fixture.path("rsa");
    let arguments =
        [&["--ssh-identity-file", identity.as_str()], &arguments[2..6], &["echo", "rsa"]].concat();
    assert_eq!(fixture.program.run(&arguments, ""), "out| rsa\n");
}

#[test]
#[ignore = "wants an SSH server and root: cargo verify ssh"]
fn the_agent_is_forwarded_only_on_request() {
    let fixture = Fixture::new().with_agent().with_known_host();
    let port = format!("--ssh-port={}", fixture.port);
    let list = ["feedbeef", "ssh-add", "-l"];
    let with = fixture.program.run(&[&["ssh", "-A", &port], &list[..]].concat(), "");
    assert!(with.contains("(ED25519)"), "{with}");
    let without = fixture.program.run(&[&["ssh", &port], &list[..]].concat(), "");
    assert!(without.ends_with("exit 2\n") && !without.contains("(ED25519)"), "{without}");
    // An agent that has exited.
    let program = fixture.program.clone().with("SSH_AUTH_SOCK", "/nonexistent/agent");
    let gone = program.run(&[&["ssh", &port], &list[..]].concat(), "");
    assert!(gone.contains("Failed building SSH client: dial unix /nonexistent/agent"), "{gone}");
}

#[test]
#[ignore = "wants an SSH server and root: cargo verify ssh"]
fn an_unresponsive_host_times_out() {
    let fixture = Fixture::new().with_agent();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = format!("--ssh-port={}", silent.local_addr().unwrap().port());
    let run = |arguments: &[&str]| fixture.program.run(arguments, "");
    assert_eq!(
        run(&["--ssh-timeout=0.4", "ssh", &port, "feedbeef", "true"]),
        "err| Failed building SSH client: timed out while initiating SSH connection\nexit 1\n"
    );
    assert_eq!(
        run(&["--tunnel=127.0.0.1:1", "list-machines"]),
        "err| Unable to initialize client: failed initializing SSH client: dial tcp 127.0.0.1:1: connect: \
         connection refused\nexit 1\n"
    );
}

/// A local terminal causes the allocation of a remote one.
#[test]
#[ignore = "wants an SSH server and root: cargo verify ssh"]
fn a_shell_on_a_terminal() {
    let fixture = Fixture::new().with_agent().with_known_host();
    let typed = format!("{} ssh --ssh-port={} feedbeef", env!("CARGO_BIN_EXE_fleetctl"), fixture.port);
    let program = fixture.program.command(&[]);
    let mut child = Command::new("script")
        .args(["-qec", &typed, "/dev/null"])
        .env_clear()
        .envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"echo $TERM-$((40 + 2)); test -t 0 && exit 5\n").unwrap();
    let mut output = String::new();
    child.stdout.take().unwrap().read_to_string(&mut output).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(5), "{output}");
    assert!(output.contains("xterm-256color-42"), "{output}");
    drop(input);
}
