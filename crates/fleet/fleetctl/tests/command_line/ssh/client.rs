//! What the user's side of a connection has to do with the results: keys, settings of ssh, places, and programs.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::program::transcript;
use crate::sshd::{Stage, key};

#[test]
#[ignore = "wants an SSH server and root: cargo verify ssh"]
fn without_the_program_ssh() {
    let stage = Stage::new().with_agent().known().with_path("PATH", "nothing").with_path("TMPDIR", "tmp");
    std::fs::create_dir(stage.path("tmp")).unwrap();
    let missing = "cannot run ssh (package openssh-client): No such file or directory (os error 2)\nexit 1\n";
    assert_eq!(stage.ssh(&["true"], ""), format!("err| Failed building SSH client: {missing}"));
    let tunnel = format!("--tunnel=127.0.0.1:{}", stage.port);
    let got = stage.program.run(&[&tunnel, "list-machines"], "");
    let prefix = "err| Unable to initialize client: failed initializing SSH client: ";
    assert_eq!(got, format!("{prefix}{missing}"));
    assert_eq!(std::fs::read_dir(stage.path("tmp")).unwrap().count(), 0);
}

const HOSTILE: &str = "Host *\n  StrictHostKeyChecking no\n  ProxyCommand false\n  LogLevel DEBUG3\n  User nobody\n  \
    Port 1\n  HostName 192.0.2.1\n  ControlMaster auto\n  ControlPath none\n  IdentityAgent none\n  \
    PubkeyAuthentication no\n  RequestTTY force\n  RemoteCommand echo other\n  PermitLocalCommand yes\n  \
    LocalCommand echo other\n  SendEnv HOME\n  ForwardAgent yes\n";

/// The file of the user's home, as the list of users has it, and the system's.
#[test]
#[ignore = "wants an SSH server and root: cargo verify ssh"]
fn the_configuration_of_ssh_changes_nothing() {
    let stage = Stage::new().with_agent();
    std::fs::create_dir(stage.path(".ssh")).unwrap();
    std::fs::write(stage.path(".ssh/config"), HOSTILE).unwrap();
    // It wants to be its user's alone.
    std::fs::copy(stage.path(".ssh/config"), stage.path("ssh_config")).unwrap();
    let script = format!(
        "mount --bind {} /etc/passwd && mount --bind {} /etc/ssh/ssh_config && exec \"$@\"",
        stage.path("passwd"),
        stage.path("ssh_config")
    );
    let program = stage.program.command(&[]);
    let run = |words: &[&str]| {
        let output = Command::new("unshare")
            .args(["--mount", "sh", "-c", &script, "sh"])
            .args(words)
            .env_clear()
            .envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))))
            .stdin(Stdio::null())
            .output();
        transcript(&output.unwrap())
    };
    // Else this test would show nothing.
    assert!(run(&["ssh", "-G", "x"]).contains("out| user nobody\n"));
    let port = format!("--ssh-port={}", stage.port);
    let fleetctl =
        |words: &[&str]| run(&[&[env!("CARGO_BIN_EXE_fleetctl"), "ssh", &port, "feedbeef"], words].concat());
    let got = fleetctl(&["true"]);
    assert!(got.starts_with("err| The authenticity of host"), "{got}");
    assert!(got.ends_with("Failed building SSH client: Host key verification failed.\nexit 1\n"), "{got}");
    let stage = stage.known();
    let got = run(&[env!("CARGO_BIN_EXE_fleetctl"), "ssh", &port, "feedbeef", "echo", "$USER", "$0"]);
    assert_eq!(got, "out| core sh\n");
    let got =
        run(&[env!("CARGO_BIN_EXE_fleetctl"), "ssh", &port, "feedbeef", "echo", "${SSH_AUTH_SOCK-none}"]);
    assert_eq!(got, "out| none\n");
    let tunnel = format!("--tunnel=127.0.0.1:{}", stage.port);
    let got = run(&[env!("CARGO_BIN_EXE_fleetctl"), &tunnel, "ssh", &port, "feedbeef", "echo", "second"]);
    assert_eq!(got, "out| second\n");
}

fn with_identity(stage: &Stage, file: &str) -> String {
    let (file, port) =
        (format!("--ssh-identity-file={}", stage.path(file)), format!("--ssh-port={}", stage.port));
    stage.program.run(&[&file, "ssh", &port, "feedbeef", "echo", "in"], "")
}

/// The file's key comes first, then the agent's.
#[test]
#[ignore = "wants an SSH server and root: cargo verify ssh"]
fn two_sources_of_keys() {
    let stage = Stage::new().with_agent().known();
    let line = |file: &str, command: &str| {
        format!("command=\"{command}\" {}", std::fs::read_to_string(stage.path(file)).unwrap())
    };
    key(&stage.folder.path().join("other"), "ed25519");
    let both = line("user.pub", "echo by agent") + &line("other.pub", "echo by file");
    std::fs::write(stage.path("authorized"), both).unwrap();
    assert_eq!(with_identity(&stage, "other"), "out| by file\n");
    assert_eq!(stage.ssh(&["true"], ""), "out| by agent\n");
    std::fs::write(stage.path("authorized"), line("user.pub", "echo by agent")).unwrap();
    assert_eq!(with_identity(&stage, "other"), "out| by agent\n");
}

#[test]
#[ignore = "wants an SSH server and root: cargo verify ssh"]
fn a_refusal_says_how_many_keys_there_were() {
    let stage = Stage::new().with_agent().known();
    key(&stage.folder.path().join("other"), "ed25519");
    std::fs::write(stage.path("authorized"), "").unwrap();
    let refused = |keys: usize| {
        format!(
            "err| Failed building SSH client: ssh: handshake failed: ssh: unable to authenticate core with the \
             {keys} key(s) that there are\nexit 1\n"
        )
    };
    assert_eq!(with_identity(&stage, "other"), refused(2));
    assert_eq!(stage.ssh(&["true"], ""), refused(1));
}

/// No key, or one that cannot be used without a question: nobody is dialled.
#[test]
#[ignore = "wants an SSH server and root: cargo verify ssh"]
fn files_without_a_key() {
    let stage = Stage::new().with_agent().known();
    let folder = stage.folder.path();
    let write = |file: &str, bytes: &[u8], mode: u32| {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::write(folder.join(file), bytes).unwrap();
        std::fs::set_permissions(folder.join(file), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    write("text file", b"no key\n", 0o600);
    write("open", &std::fs::read(folder.join("user")).unwrap(), 0o644);
    let made = Command::new("ssh-keygen")
        .args(["-q", "-N", "secret", "-t", "ed25519", "-f", &stage.path("locked")])
        .status();
    assert!(made.unwrap().success());
    let check = |file: &str, cause: &str| {
        let got = with_identity(&stage, file);
        let expect = format!("{}: no private key that can be used: {cause}", stage.path(file));
        assert!(got.contains(&expect) && got.ends_with("exit 1\n"), "{got}");
    };
    check("text file", "");
    check("open", "others may read it (chmod 600)\n");
    check("locked", "incorrect passphrase supplied to decrypt private key\n");
    check("nothing", "No such file or directory\n");
}

/// Each hop's key is looked up under its own address. `127.1` is another one for the same server.
#[test]
#[ignore = "wants an SSH server and root: cargo verify ssh"]
fn another_key_behind_the_tunnel() {
    let stage = Stage::new().with_agent();
    key(&stage.folder.path().join("other"), "ed25519");
    let of = |file: &str| std::fs::read_to_string(stage.path(file)).unwrap();
    let line = |host: &str, file: &str| format!("[{host}]:{} {}", stage.port, of(file));
    std::fs::write(stage.path("hosts"), line("127.1", "host.pub") + &line("127.0.0.1", "other.pub")).unwrap();
    let program = stage.program.clone().with("FLEETCTL_KNOWN_HOSTS_FILE", &stage.path("hosts"));
    let (tunnel, port) = (format!("--tunnel=127.1:{}", stage.port), format!("--ssh-port={}", stage.port));
    let second = || program.run(&[&tunnel, "ssh", &port, "feedbeef", "echo", "reached"], "yes\n");
    let got = second();
    assert!(got.contains(&format!("The key of [127.0.0.1]:{} is not the one", stage.port)), "{got}");
    assert!(got.ends_with("err| Failed building SSH client: host key mismatch\nexit 1\n"), "{got}");
    std::fs::write(stage.path("hosts"), line("127.1", "host.pub")).unwrap();
    let got = second();
    assert!(got.starts_with("out| reached\nerr| The authenticity of host '[127.0.0.1]"), "{got}");
    assert_eq!(second(), "out| reached\n");
    // Nothing listens there, as seen from the first hop.
    let closed = ["--ssh-port=1", "feedbeef", "true"];
    let got = program.run(&[&[tunnel.as_str(), "ssh"], &closed[..]].concat(), "");
    assert_eq!(
        got,
        "err| Failed building SSH client: ssh: the other side refused to connect to [127.0.0.1]:1: connect \
         failed: Connection refused\nexit 1\n"
    );
}

/// A socket's path has 107 bytes; a folder's may have more, and spaces, and what ssh expands.
#[test]
#[ignore = "wants an SSH server and root: cargo verify ssh"]
fn folders_with_unusual_names() {
    let stage = Stage::new().with_agent().known();
    let name = format!("a %h ${{HOME}} '\" {}", "x".repeat(200));
    std::fs::create_dir(stage.path(&name)).unwrap();
    let identity = format!("{name}/key");
    std::fs::copy(stage.path("user"), stage.path(&identity)).unwrap();
    std::fs::remove_file(stage.path("user")).unwrap();
    let stage = stage.with_path("TMPDIR", &name).with_path("FLEETCTL_SSH_IDENTITY_FILE", &identity);
    let stage = stage.with("SSH_AUTH_SOCK", "");
    assert_eq!(stage.ssh(&["echo", "reached"], ""), "out| reached\n");
    let left: Vec<_> =
        std::fs::read_dir(stage.path(&name)).unwrap().map(|one| one.unwrap().file_name()).collect();
    assert_eq!(left, ["key"]);
    assert!(Path::new(&stage.path(&identity)).exists());
}
