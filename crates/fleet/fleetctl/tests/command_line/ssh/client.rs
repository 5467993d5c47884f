//! Client side of connections: keys, ssh configuration, directories, and missing programs.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::program::transcript;
use crate::sshd::{Fixture, generate_key};

#[test]
#[ignore = "wants an SSH server and root: cargo verify ssh"]
fn openssh_is_missing() {
    let fixture =
        Fixture::new().with_agent().with_known_host().with_path("PATH", "nothing").with_path("TMPDIR", "tmp");
    std::fs::create_dir(fixture.path("tmp")).unwrap();
    let missing = "cannot run ssh (package openssh-client): No such file or directory (os error 2)\nexit 1\n";
    assert_eq!(fixture.ssh(&["true"], ""), format!("err| Failed building SSH client: {missing}"));
    let tunnel = format!("--tunnel=127.0.0.1:{}", fixture.port);
    let got = fixture.program.run(&[&tunnel, "list-machines"], "");
    let prefix = "err| Unable to initialize client: failed initializing SSH client: ";
    assert_eq!(got, format!("{prefix}{missing}"));
    assert_eq!(std::fs::read_dir(fixture.path("tmp")).unwrap().count(), 0);
}

const HOSTILE: &str = "Host *\n  StrictHostKeyChecking no\n  ProxyCommand false\n  LogLevel DEBUG3\n  User nobody\n  \
    Port 1\n  HostName 192.0.2.1\n  ControlMaster auto\n  ControlPath none\n  IdentityAgent none\n  \
    PubkeyAuthentication no\n  RequestTTY force\n  RemoteCommand echo other\n  PermitLocalCommand yes\n  \
    LocalCommand echo other\n  SendEnv HOME\n  ForwardAgent yes\n";

/// Neither the user's nor the system's file is read.
#[test]
#[ignore = "wants an SSH server and root: cargo verify ssh"]
fn ssh_config_is_ignored() {
    let fixture = Fixture::new().with_agent();
    std::fs::create_dir(fixture.path(".ssh")).unwrap();
    std::fs::write(fixture.path(".ssh/config"), HOSTILE).unwrap();
    // ssh requires private permissions.
    std::fs::copy(fixture.path(".ssh/config"), fixture.path("ssh_config")).unwrap();
    let script = format!(
        "mount --bind {} /etc/passwd && mount --bind {} /etc/ssh/ssh_config && exec \"$@\"",
        fixture.path("passwd"),
        fixture.path("ssh_config")
    );
    let program = fixture.program.command(&[]);
    let run = |arguments: &[&str]| {
        let output = Command::new("unshare")
            .args(["--mount", "sh", "-c", &script, "sh"])
            .args(arguments)
            .env_clear()
            .envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))))
            .stdin(Stdio::null())
            .output();
        transcript(&output.unwrap())
    };
    // ssh itself reads the file.
    assert!(run(&["ssh", "-G", "x"]).contains("out| user nobody\n"));
    let port = format!("--ssh-port={}", fixture.port);
    let fleetctl = |arguments: &[&str]| {
        run(&[&[env!("CARGO_BIN_EXE_fleetctl"), "ssh", &port, "feedbeef"], arguments].concat())
    };
    let got = fleetctl(&["true"]);
    assert!(got.starts_with("err| The authenticity of host"), "{got}");
    assert!(got.ends_with("Failed building SSH client: Host key verification failed.\nexit 1\n"), "{got}");
    let fixture = fixture.with_known_host();
    let got = run(&[env!("CARGO_BIN_EXE_fleetctl"), "ssh", &port, "feedbeef", "echo", "$USER", "$0"]);
    assert_eq!(got, "out| core sh\n");
    let got =
        run(&[env!("CARGO_BIN_EXE_fleetctl"), "ssh", &port, "feedbeef", "echo", "${SSH_AUTH_SOCK-none}"]);
    assert_eq!(got, "out| none\n");
    let tunnel = format!("--tunnel=127.0.0.1:{}", fixture.port);
    let got = run(&[env!("CARGO_BIN_EXE_fleetctl"), &tunnel, "ssh", &port, "feedbeef", "echo", "second"]);
    assert_eq!(got, "out| second\n");
}

fn with_identity(fixture: &Fixture, file: &str) -> String {
    let (file, port) =
        (format!("--ssh-identity-file={}", fixture.path(file)), format!("--ssh-port={}", fixture.port));
    fixture.program.run(&[&file, "ssh", &port, "feedbeef", "echo", "in"], "")
}

#[test]
#[ignore = "wants an SSH server and root: cargo verify ssh"]
fn identity_file_precedes_agent_keys() {
    let fixture = Fixture::new().with_agent().with_known_host();
    let line = |file: &str, command: &str| {
        format!("command=\"{command}\" {}", std::fs::read_to_string(fixture.path(file)).unwrap())
    };
    generate_key(&fixture.folder.path().join("other"), "ed25519");
    let both = line("user.pub", "echo by agent") + &line("other.pub", "echo by file");
    std::fs::write(fixture.path("authorized"), both).unwrap();
    assert_eq!(with_identity(&fixture, "other"), "out| by file\n");
    assert_eq!(fixture.ssh(&["true"], ""), "out| by agent\n");
    std::fs::write(fixture.path("authorized"), line("user.pub", "echo by agent")).unwrap();
    assert_eq!(with_identity(&fixture, "other"), "out| by agent\n");
}

#[test]
#[ignore = "wants an SSH server and root: cargo verify ssh"]
fn failed_authentication_reports_the_number_of_keys() {
    let fixture = Fixture::new().with_agent().with_known_host();
    generate_key(&fixture.folder.path().join("other"), "ed25519");
    std::fs::write(fixture.path("authorized"), "").unwrap();
    let refused = |keys: usize| {
        format!(
            "err| Failed building SSH client: ssh: handshake failed: ssh: unable to authenticate core with the \
             {keys} key(s) that there are\nexit 1\n"
        )
    };
    assert_eq!(with_identity(&fixture, "other"), refused(2));
    assert_eq!(fixture.ssh(&["true"], ""), refused(1));
}

/// An unusable key, such as one with a passphrase, fails before dialing.
#[test]
#[ignore = "wants an SSH server and root: cargo verify ssh"]
fn unusable_identity_files() {
    let fixture = Fixture::new().with_agent().with_known_host();
    let folder = fixture.folder.path();
    let write = |file: &str, bytes: &[u8], mode: u32| {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::write(folder.join(file), bytes).unwrap();
        std::fs::set_permissions(folder.join(file), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    write("text file", b"no key\n", 0o600);
    write("open", &std::fs::read(folder.join("user")).unwrap(), 0o644);
    let made = Command::new("ssh-keygen")
        .args(["-q", "-N", "secret", "-t", "ed25519", "-f", &fixture.path("locked")])
        .status();
    assert!(made.unwrap().success());
    let check = |file: &str, cause: &str| {
        let got = with_identity(&fixture, file);
        let expect = format!("{}: no private key that can be used: {cause}", fixture.path(file));
        assert!(got.contains(&expect) && got.ends_with("exit 1\n"), "{got}");
    };
    check("text file", "");
    check("open", "others may read it (chmod 600)\n");
    check("locked", "incorrect passphrase supplied to decrypt private key\n");
    check("nothing", "No such file or directory\n");
}

/// Each host key is looked up by its own address. `127.1` is another address of the same server.
#[test]
#[ignore = "wants an SSH server and root: cargo verify ssh"]
fn each_hop_has_its_own_host_key() {
    let fixture = Fixture::new().with_agent();
    generate_key(&fixture.folder.path().join("other"), "ed25519");
    let of = |file: &str| std::fs::read_to_string(fixture.path(file)).unwrap();
    let line = |host: &str, file: &str| format!("[{host}]:{} {}", fixture.port, of(file));
    std::fs::write(fixture.path("hosts"), line("127.1", "host.pub") + &line("127.0.0.1", "other.pub"))
        .unwrap();
    let program = fixture.program.clone().with("FLEETCTL_KNOWN_HOSTS_FILE", &fixture.path("hosts"));
    let (tunnel, port) = (format!("--tunnel=127.1:{}", fixture.port), format!("--ssh-port={}", fixture.port));
    let second = || program.run(&[&tunnel, "ssh", &port, "feedbeef", "echo", "reached"], "yes\n");
    let got = second();
    assert!(got.contains(&format!("The key of [127.0.0.1]:{} is not the one", fixture.port)), "{got}");
    assert!(got.ends_with("err| Failed building SSH client: host key mismatch\nexit 1\n"), "{got}");
    std::fs::write(fixture.path("hosts"), line("127.1", "host.pub")).unwrap();
    let got = second();
    assert!(got.starts_with("out| reached\nerr| The authenticity of host '[127.0.0.1]"), "{got}");
    assert_eq!(second(), "out| reached\n");
    // The first hop cannot connect.
    let closed = ["--ssh-port=1", "feedbeef", "true"];
    let got = program.run(&[&[tunnel.as_str(), "ssh"], &closed[..]].concat(), "");
    assert_eq!(
        got,
        "err| Failed building SSH client: ssh: the other side refused to connect to [127.0.0.1]:1: connect \
         failed: Connection refused\nexit 1\n"
    );
}

/// A directory's path may exceed the 107 bytes of a socket's, or have spaces and tokens that ssh expands.
#[test]
#[ignore = "wants an SSH server and root: cargo verify ssh"]
fn unusual_temporary_directories() {
    let fixture = Fixture::new().with_agent().with_known_host();
    let name = format!("a %h ${{HOME}} '\" {}", "x".repeat(200));
    std::fs::create_dir(fixture.path(&name)).unwrap();
    let identity = format!("{name}/key");
    std::fs::copy(fixture.path("user"), fixture.path(&identity)).unwrap();
    std::fs::remove_file(fixture.path("user")).unwrap();
    let fixture = fixture.with_path("TMPDIR", &name).with_path("FLEETCTL_SSH_IDENTITY_FILE", &identity);
    let fixture = fixture.with("SSH_AUTH_SOCK", "");
    assert_eq!(fixture.ssh(&["echo", "reached"], ""), "out| reached\n");
    let left: Vec<_> =
        std::fs::read_dir(fixture.path(&name)).unwrap().map(|one| one.unwrap().file_name()).collect();
    assert_eq!(left, ["key"]);
    assert!(Path::new(&fixture.path(&identity)).exists());
}
