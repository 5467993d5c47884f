//! The supervisor of a QEMU machine, with a script in the place of QEMU: what it reaches of the host, and how it ends.

use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use machines::guest::Guest;
use machines::qemu::supervisor::MachinePlan;

const LIMIT: Duration = Duration::from_secs(30);
const EXIT_LIMIT: Duration = Duration::from_secs(10);
const NOBODY: u32 = 65534;

/// Reads from each port of the arguments after the first, writes what it read and the interfaces to the first, and runs
/// until it is killed.
const SCRIPT: &str = r#"
    output=$1; shift
    for port in "$@"; do
        read -r line <"/dev/tcp/127.0.0.1/$port" && echo "$port $line"
    done >"$output.new" 2>/dev/null
    cut -s -d : -f 1 /proc/net/dev >>"$output.new"
    mv "$output.new" "$output"
    exec sleep 1000"#;

/// Serves a line on a port of the host's loopback.
fn serve() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            stream.write_all(b"greetings\n").unwrap_or_default();
        }
    });
    port
}

struct Machine {
    folder: tempfile::TempDir,
    offered: u16,
    other: u16,
}

impl Machine {
    /// A plan whose program is [`SCRIPT`], with one offered port and one that is not.
    fn new() -> Self {
        let machine = Self { folder: tempfile::tempdir().unwrap(), offered: serve(), other: serve() };
        let tree = machine.at("tree");
        std::fs::create_dir_all(tree.join("etc")).unwrap();
        symlink("/usr", tree.join("usr")).unwrap();
        let output = machine.at("output").display().to_string();
        let ports = [machine.offered, machine.other].map(|port| port.to_string());
        let plan = MachinePlan {
            node: "core-01".to_owned(),
            tools: tree,
            visible: vec![machine.folder.path().to_path_buf()],
            program: "bash".to_owned(),
            arguments: ["-c", SCRIPT, "qemu", &output, &ports[0], &ports[1]].map(str::to_owned).to_vec(),
            forwards: vec![],
            services: vec![machine.offered],
            outbound: false,
            guest: machine.at("guest.json"),
        };
        std::fs::write(machine.at("plan.json"), serde_json::to_vec(&plan).unwrap()).unwrap();
        machine
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The lines that the script wrote. Fails with the supervisor's output if it exits before.
    fn output(&self, supervisor: &mut Child) -> Vec<String> {
        let deadline = Instant::now() + LIMIT;
        loop {
            if let Ok(text) = std::fs::read_to_string(self.at("output")) {
                return text.lines().map(|line| line.trim().to_owned()).collect();
            }
            let running = matches!(supervisor.try_wait(), Ok(None)) && Instant::now() < deadline;
            assert!(running, "{}", std::fs::read_to_string(self.at("log")).unwrap_or_default());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The supervisor may write it after its program has started.
    fn guest(&self) -> Guest {
        let deadline = Instant::now() + LIMIT;
        loop {
            if let Some(guest) = Guest::read(&self.at("guest.json")) {
                return guest;
            }
            assert!(Instant::now() < deadline, "no guest.json within {LIMIT:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn spawn(&self, mut command: Command) -> Child {
        let log = std::fs::File::create(self.at("log")).unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap()
    }

    fn supervisor(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env("HOME", self.folder.path()).args(["internal", "qemu"]).arg(self.at("plan.json"));
        command
    }
}

fn skipped(test: &str) -> bool {
    let allowed = Command::new("unshare").args(["--user", "--map-root-user", "--net", "true"]).output();
    let skipped = !allowed.is_ok_and(|output| output.status.success());
    if skipped {
        eprintln!("SKIPPED: {test}: no user and network namespaces here");
    }
    skipped
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Kills the supervisor.
fn check_end(supervisor: &mut Child, guest: &Guest) {
    assert!(guest.process.alive());
    supervisor.kill().unwrap();
    supervisor.wait().unwrap();
    let ended = guest.process.wait(EXIT_LIMIT);
    guest.process.kill().unwrap();
    assert!(ended, "QEMU outlives its supervisor");
}

/// Runs the machine as `user` and kills its supervisor.
fn check_as(user: Option<u32>) {
    let machine = Machine::new();
    let program = machine.at("keelson");
    std::fs::copy(env!("CARGO_BIN_EXE_keelson"), &program).unwrap();
    let mut command = machine.supervisor(&program);
    if let Some(user) = user {
        chown(machine.folder.path(), Some(user), Some(user)).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::set_permissions(machine.at("plan.json"), std::fs::Permissions::from_mode(0o644)).unwrap();
        command.uid(user).gid(user);
    }
    let mut supervisor = machine.spawn(command);
    let seen = machine.output(&mut supervisor);
    let owner = std::fs::metadata(machine.at("output")).unwrap().uid();
    let guest = machine.guest();
    check_end(&mut supervisor, &guest);
    assert_eq!(seen, [format!("{} greetings", machine.offered), "lo".to_owned()], "as {user:?}");
    assert_eq!(guest.warnings, Vec::<String>::new());
    assert_eq!(owner, user.unwrap_or_else(|| nix::unistd::geteuid().as_raw()), "owner of new files");
}

#[test]
fn a_machine_reaches_offered_ports_only_and_ends_with_its_supervisor() {
    if skipped("a_machine_reaches_offered_ports_only_and_ends_with_its_supervisor") {
        return;
    }
    check_as(None);
    if is_root() {
        check_as(Some(NOBODY));
    }
}

#[test]
fn a_machine_in_the_network_of_the_host_is_warned_of() {
    if skipped("a_machine_in_the_network_of_the_host_is_warned_of") {
        return;
    }
    let machine = Machine::new();
    let limited = "echo 0 >/proc/sys/user/max_net_namespaces && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "sh", "-c", limited, "sh"]);
    let supervisor = machine.supervisor(Path::new(env!("CARGO_BIN_EXE_keelson")));
    command.env("HOME", machine.folder.path()).arg(supervisor.get_program()).args(supervisor.get_args());
    let mut supervisor = machine.spawn(command);
    let seen = machine.output(&mut supervisor);
    let guest = machine.guest();
    check_end(&mut supervisor, &guest);
    assert!(seen.contains(&format!("{} greetings", machine.other)), "{seen:?}");
    let [warning] = &guest.warnings[..] else { panic!("{guest:?}") };
    assert!(warning.starts_with("QEMU of core-01 runs in the network of this host"), "{warning}");
}
