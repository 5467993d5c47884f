//! Commands, shells and tunnels over a real SSH server; `cargo verify ssh` runs them, or says what they miss.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::sshd::{Stage, key};

mod client;
mod ends;

/// TestKnownHostsVerification.
#[test]
#[ignore = "wants an SSH server and root: cargo verify ssh"]
fn an_unknown_host_is_asked_about_once() {
    let stage = Stage::new().with_agent();
    let host = format!("[127.0.0.1]:{}", stage.port);
    let fingerprint = |hash: &str| {
        let output =
            Command::new("ssh-keygen").args(["-l", "-E", hash, "-f", &stage.path("host.pub")]).output();
        let text = String::from_utf8(output.unwrap().stdout).unwrap();
        text.split_whitespace().nth(1).unwrap().to_owned()
    };
    let (md5, sha256) = (fingerprint("md5"), fingerprint("sha256"));
    let md5 = md5.strip_prefix("MD5:").unwrap();
    let asked = format!(
        "err| The authenticity of host '{host}' can't be established.\n\
         err| ED25519 key fingerprint is {md5}(MD5).\nerr| ED25519 key fingerprint is {sha256}.\n\
         err| Are you sure you want to continue connecting (yes/no)?"
    );
    let refused = stage.ssh(&["true"], "no\n");
    assert_eq!(
        refused,
        format!("{asked} Failed building SSH client: Host key verification failed.\nexit 1\n")
    );
    assert!(!Path::new(&stage.path(".fleetctl/known_hosts")).exists());
    // What follows the answer is the command's.
    let accepted = stage.ssh(&["cat"], "maybe\nyes\nrest\n");
    assert_eq!(
        accepted,
        format!(
            "out| rest\n{asked} Please type 'yes' or 'no': Warning: Permanently added '{host}' (ED25519) to the \
             list of known hosts.\n"
        )
    );
    assert_eq!(stage.ssh(&["echo", "again"], ""), "out| again\n");
    let kept = std::fs::read_to_string(stage.path(".fleetctl/known_hosts")).unwrap();
    assert!(kept.starts_with(&format!("{host} ssh-ed25519 AAAA")) && kept.lines().count() == 1, "{kept}");
}

#[test]
#[ignore = "wants an SSH server and root: cargo verify ssh"]
fn a_changed_key_ends_it() {
    let stage = Stage::new().with_agent();
    let folder = stage.folder.path();
    key(&folder.join("other"), "ed25519");
    let other = std::fs::read_to_string(folder.join("other.pub")).unwrap();
    let line = format!("[127.0.0.1]:{} {other}", stage.port);
    std::fs::write(folder.join("hosts"), &line).unwrap();
    let stage = stage.with_path("FLEETCTL_KNOWN_HOSTS_FILE", "hosts");
    let got = stage.ssh(&["echo", "reached"], "yes\n");
    assert!(got.contains("WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!"), "{got}");
    assert!(got.ends_with("err| Failed building SSH client: host key mismatch\nexit 1\n"), "{got}");
    assert!(!got.contains("reached"), "{got}");
    // With an emptied file it works again.
    std::fs::write(stage.path("hosts"), "").unwrap();
    assert!(stage.ssh(&["echo", "reached"], "yes\n").starts_with("out| reached\n"));
    // Not looking at all is a choice that one can make; nothing is kept then.
    std::fs::write(stage.path("hosts"), &line).unwrap();
    let stage = stage.with("FLEETCTL_STRICT_HOST_KEY_CHECKING", "false");
    assert_eq!(stage.ssh(&["echo", "reached"], ""), "out| reached\n");
    assert_eq!(std::fs::read_to_string(stage.path("hosts")).unwrap(), line);
}

#[test]
#[ignore = "wants an SSH server and root: cargo verify ssh"]
fn commands_and_their_ends() {
    let stage = Stage::new().with_agent().known();
    let check = |words: &[&str], input: &str, expect: &str| {
        assert_eq!(stage.ssh(words, input), expect, "{words:?}");
    };
    check(&["echo", "foo"], "", "out| foo\n");
    check(&["--", "echo", "foo"], "", "out| foo\n");
    check(&["ls", "-d", "/"], "", "out| /\n");
    check(&["exit", "7"], "", "exit 7\n");
    check(&["echo", "said;", "echo", "told", ">&2;", "false"], "", "out| said\nerr| told\nexit 1\n");
    check(&["cat"], "a line\n", "out| a line\n");
    check(&["kill", "-9", "$$"], "", "exit 255\n");
    // A shell, without a terminal.
    check(&[], "echo $0 reached\nexit 3\n", "out| -sh reached\nexit 3\n");
    // More than any buffer, both ways.
    let much = "x".repeat(99) + "\n";
    let got = stage.ssh(&["wc", "-c"], &much.repeat(30_000));
    assert_eq!(got, "out| 3000000\n");
    let got = stage.ssh(&["head", "-c", "3000000", "/dev/zero", "|", "tr", "'\\0'", "y"], "");
    assert_eq!(got.len(), "out| ".len() + 3_000_000 + " (no end of line)\n".len());
}

#[test]
#[ignore = "wants an SSH server and root: cargo verify ssh"]
fn by_unit() {
    let stage = Stage::new().with_agent().known();
    let text = "[Service]\nExecStart=/bin/sleep 1\n[X-Fleet]\nMachineID=feedbeef\n";
    std::fs::write(stage.path("here.service"), text).unwrap();
    let started = stage.program.run(&["start", "here"], "");
    assert_eq!(started, "out| Unit here.service launched on feedbeef.../127.0.0.1\n");
    let port = format!("--ssh-port={}", stage.port);
    let run = |words: &[&str]| stage.program.run(words, "");
    assert_eq!(run(&["ssh", &port, "here", "echo", "foo"]), "out| foo\n");
    assert_eq!(run(&["ssh", &port, "--unit=here", "echo", "foo"]), "out| foo\n");
    assert_eq!(
        run(&["ssh", "-ssh-port", &stage.port.to_string(), "-machine", "feed", "echo", "foo"]),
        "out| foo\n"
    );
    stage.script("systemctl", "echo systemctl \"$@\"; exit 3");
    stage.script("journalctl", "echo journalctl \"$@\"");
    stage.script("sudo", "echo sudo; exec \"$@\"");
    assert_eq!(run(&["status", &port, "here"]), "out| systemctl status -l here.service\nexit 3\n");
    assert_eq!(run(&["journal", &port, "here"]), "out| journalctl --unit here.service --no-pager -n 10\n");
    assert_eq!(
        run(&["journal", &port, "-f", "--sudo", "--lines", "20", "--output=cat", "here"]),
        "out| sudo\nout| journalctl --unit here.service --no-pager -n 20 --output cat -f\n"
    );
}

/// TestTunnelScheduleBatchUnits, in small.
#[test]
#[ignore = "wants an SSH server and root: cargo verify ssh"]
fn through_a_tunnel() {
    let stage = Stage::new().with_agent().known();
    std::fs::write(stage.path("web@.service"), "[Service]\nExecStart=/bin/sleep 1\n").unwrap();
    let tunnel = format!("--tunnel=127.0.0.1:{}", stage.port);
    let run = |words: &[&str]| stage.program.run(&[&[tunnel.as_str()], words].concat(), "");
    let got = run(&["start", "web@1", "web@2", "web@3"]);
    assert_eq!(got.lines().filter(|line| line.starts_with("out| Unit web@")).count(), 3, "{got}");
    assert!(!got.contains("err|"), "{got}");
    // An http endpoint is dialled from over there.
    let endpoint = format!("http://{}", stage.server.address);
    let got = run(&["--endpoint", &endpoint, "list-unit-files", "--no-legend", "--fields=unit"]);
    assert_eq!(got, "out| web@1.service\nout| web@2.service\nout| web@3.service\n");
    // A second hop, inside the first.
    let port = format!("--ssh-port={}", stage.port);
    assert_eq!(run(&["ssh", &port, "feedbeef", "echo", "second"]), "out| second\n");
    // And the host key of both is looked at: here it is the same one, now an unknown one.
    std::fs::write(stage.path(".fleetctl/known_hosts"), "").unwrap();
    let got = run(&["list-machines"]);
    assert!(got.contains("The authenticity of host"), "{got}");
    assert!(got.ends_with(
        "Unable to initialize client: failed initializing SSH client: Host key verification failed.\nexit 1\n"
    ), "{got}");
}

#[test]
#[ignore = "wants an SSH server and root: cargo verify ssh"]
fn keys_from_a_file_and_from_the_agent() {
    let stage = Stage::new().known();
    let no_agent = stage.ssh(&["true"], "");
    assert!(no_agent.starts_with("err| SSH_AUTH_SOCK environment variable must be set\n"), "{no_agent}");
    let stage = stage.with_path("FLEETCTL_SSH_IDENTITY_FILE", "user");
    assert_eq!(stage.ssh(&["echo", "by", "file"], ""), "out| by file\n");
    // A key that nobody over there knows.
    key(&stage.folder.path().join("stranger"), "ed25519");
    let words = [
        "--ssh-identity-file",
        &stage.path("stranger"),
        "ssh",
        "--ssh-port",
        &stage.port.to_string(),
        "feedbeef",
        "true",
    ];
    let refused = stage.program.run(&words, "");
    assert!(refused.contains("unable to authenticate core") && refused.ends_with("exit 1\n"), "{refused}");
    let missing = stage.program.run(&[&["--ssh-identity-file=/nonexistent"], &words[2..]].concat(), "");
    assert!(missing.contains("/nonexistent: no private key that can be used"), "{missing}");
    // RSA too.
    key(&stage.folder.path().join("rsa"), "rsa");
    std::fs::copy(stage.path("rsa.pub"), stage.path("authorized")).unwrap();
    let identity = stage.path("rsa");
    let words = [&["--ssh-identity-file", identity.as_str()], &words[2..6], &["echo", "rsa"]].concat();
    assert_eq!(stage.program.run(&words, ""), "out| rsa\n");
}

#[test]
#[ignore = "wants an SSH server and root: cargo verify ssh"]
fn the_agent_goes_along_only_when_asked() {
    let stage = Stage::new().with_agent().known();
    let port = format!("--ssh-port={}", stage.port);
    let list = ["feedbeef", "ssh-add", "-l"];
    let with = stage.program.run(&[&["ssh", "-A", &port], &list[..]].concat(), "");
    assert!(with.contains("(ED25519)"), "{with}");
    let without = stage.program.run(&[&["ssh", &port], &list[..]].concat(), "");
    assert!(without.ends_with("exit 2\n") && !without.contains("(ED25519)"), "{without}");
    // An agent that is not there any more.
    let program = stage.program.clone().with("SSH_AUTH_SOCK", "/nonexistent/agent");
    let gone = program.run(&[&["ssh", &port], &list[..]].concat(), "");
    assert!(gone.contains("Failed building SSH client: dial unix /nonexistent/agent"), "{gone}");
}

#[test]
#[ignore = "wants an SSH server and root: cargo verify ssh"]
fn a_host_that_says_nothing() {
    let stage = Stage::new().with_agent();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = format!("--ssh-port={}", silent.local_addr().unwrap().port());
    let run = |words: &[&str]| stage.program.run(words, "");
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

/// With a terminal here, there is one over there.
#[test]
#[ignore = "wants an SSH server and root: cargo verify ssh"]
fn a_shell_on_a_terminal() {
    let stage = Stage::new().with_agent().known();
    let typed = format!("{} ssh --ssh-port={} feedbeef", env!("CARGO_BIN_EXE_fleetctl"), stage.port);
    let program = stage.program.command(&[]);
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
    let mut said = String::new();
    child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(5), "{said}");
    assert!(said.contains("xterm-256color-42"), "{said}");
    drop(input);
}
