//! The time from the start of `rkt run` to the end of a pod whose app exits immediately, beside `docker run` of the same
//! image and `crun run` of the same bundle, in turn.
//!
//! Everything runs in namespaces of its own, also the Docker daemon. `cargo xtask bench rkt` parses the `figure` lines.

#![allow(clippy::unwrap_used, reason = "a measurement stops at what it did not expect")]

#[path = "../tests/rkt/archive.rs"]
#[allow(dead_code, reason = "tests use the rest")]
mod archive;
#[path = "../tests/rkt/lab.rs"]
#[allow(dead_code, reason = "tests use the rest")]
mod lab;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lab::{IMAGE, Lab};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use serde_json::{Value, json};

/// A multiple of the number of commands, which are measured in turn.
const ROUNDS: usize = 40;
const DOCKER_START: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(50);
const PROGRAM: &str = "echo";

fn main() {
    let Some(lab) = Lab::with_image("start") else { return };
    // Before this process has its own mounts: the daemon uses the host's control groups.
    let docker = Docker::start(&lab);
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET).unwrap();
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
    mount(Some("none"), "/sys/fs/cgroup", Some("cgroup2"), MsFlags::empty(), none).unwrap();
    assert!(Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap().success());
    bundle(&lab);
    let lab = &lab;
    let rkt = |net| Box::new(move || rkt(lab, net)) as Box<dyn Fn() -> Command>;
    let mut commands = vec![rkt("--net=none"), rkt("--net=default"), Box::new(|| crun(lab))];
    if let Ok(docker) = &docker {
        commands.push(Box::new(|| docker.run("none")));
        commands.push(Box::new(|| docker.run("bridge")));
    }
    let times = measure(&commands);
    let compare = |one: usize, other: usize| {
        let ratio = median(times[one].iter().zip(&times[other]).map(|(one, other)| one / other));
        let [one, other] = [one, other].map(|which| 1000.0 * median(times[which].iter().copied()));
        format!("{ratio:.2} times ({one:.0} against {other:.0} ms)")
    };
    let what = "`rkt run`, image unpacked, until the pod of `echo` has ended";
    match docker {
        Ok(_) => {
            figure(
                &format!("{what}, no network, beside `docker run --net=none`"),
                "<= 0.5 times",
                &compare(0, 3),
            );
            figure(
                &format!("{what}, network, beside `docker run` with its bridge"),
                "<= 0.5 times",
                &compare(1, 4),
            );
        }
        Err(ref reason) => eprintln!("SKIPPED: docker run: {reason}"),
    }
    figure(&format!("{what}, no network, beside `crun run` of the same bundle"), "", &compare(0, 2));
    figure(&format!("{what}: with a network, beside none"), "", &compare(1, 0));
}

fn figure(what: &str, target: &str, measured: &str) {
    println!("figure\t{what}\t{target}\t{measured}");
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Seconds of each command, by round.
fn measure(commands: &[Box<dyn Fn() -> Command + '_>]) -> Vec<Vec<f64>> {
    let mut times = vec![Vec::new(); commands.len()];
    for round in 0..ROUNDS {
        // Each is first as often as in any other place.
        for which in (0..commands.len()).map(|place| (place + round) % commands.len()) {
            let mut command = commands[which]();
            command.stdin(Stdio::null()).stdout(Stdio::null());
            let start = Instant::now();
            assert!(command.status().unwrap().success());
            times[which].push(start.elapsed().as_secs_f64());
        }
    }
    times
}

fn rkt(lab: &Lab, net: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rkt"));
    command.arg(format!("--dir={}", lab.path("rkt")));
    command.args(["run", "--insecure-options=image", net, IMAGE, &format!("--exec={PROGRAM}")]);
    command
}

/// The bundle of a pod, with the namespaces that `rkt run` creates and a root file system of its own.
fn bundle(lab: &Lab) {
    let (folder, runtime) = (lab.path("bundle"), lab.path("runtime"));
    fs::create_dir(&folder).unwrap();
    let script = format!(
        "#!/bin/sh\nfor bundle; do case $bundle in */apps/*) \
         test -f $bundle/config.json && cp $bundle/config.json {folder};; esac; done\nexec crun \"$@\"\n"
    );
    fs::write(&runtime, script).unwrap();
    fs::set_permissions(&runtime, fs::Permissions::from_mode(0o755)).unwrap();
    let status = rkt(lab, "--net=none").env("RKT_RUNTIME", &runtime).stdout(Stdio::null()).status();
    assert!(status.unwrap().success());
    let config = Path::new(&folder).join("config.json");
    let mut value: Value = serde_json::from_slice(&fs::read(&config).unwrap()).unwrap();
    let trees = fs::read_dir(lab.path("rkt/trees")).unwrap();
    let tree = trees.map(|tree| tree.unwrap().path().join("rootfs")).find(|path| path.exists()).unwrap();
    let rootfs = Path::new(&folder).join("rootfs");
    assert!(Command::new("cp").arg("-a").args([&tree, &rootfs]).status().unwrap().success());
    value["root"]["path"] = json!(rootfs);
    value["mounts"].as_array_mut().unwrap().retain(|mount| mount["type"] != "bind");
    let namespaces = ["pid", "network", "ipc", "uts", "mount", "cgroup"].map(|kind| json!({ "type": kind }));
    value["linux"]["namespaces"] = json!(namespaces);
    fs::write(&config, serde_json::to_vec(&value).unwrap()).unwrap();
}

fn crun(lab: &Lab) -> Command {
    let mut command = Command::new("crun");
    command.arg("--root").arg(lab.path("crun")).arg("--cgroup-manager=disabled");
    command.args(["run", "--bundle", &lab.path("bundle"), "measured"]);
    command
}

/// A Docker daemon in namespaces of its own. Killed on drop.
struct Docker {
    daemon: Child,
    socket: String,
}

impl Docker {
    /// The error is why there is none.
    fn start(lab: &Lab) -> Result<Self, String> {
        let (socket, log) = (format!("unix://{}", lab.path("docker.sock")), lab.path("docker.log"));
        let script = "ip link set lo up && exec dockerd \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]);
        command.args(["sh", "-c", script, "sh", "--data-root", &lab.path("docker"), "--host", &socket]);
        command.args(["--exec-root", &lab.path("docker-run"), "--pidfile", &lab.path("docker.pid")]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(&log).unwrap());
        let daemon = command.spawn().map_err(|error| format!("unshare: {error}"))?;
        let mut docker = Self { daemon, socket };
        let start = Instant::now();
        while !docker.client(&["version"]).output().is_ok_and(|output| output.status.success()) {
            let ended = docker.daemon.try_wait().unwrap().is_some();
            if ended || start.elapsed() > DOCKER_START {
                let text = fs::read_to_string(&log).unwrap();
                return Err(format!(
                    "no daemon (apt-get install docker.io): {}",
                    text.lines().last().unwrap_or_default()
                ));
            }
            std::thread::sleep(PAUSE);
        }
        let loaded = docker.client(&["load", "--input", &lab.path("busybox.tar")]).output().unwrap();
        assert!(loaded.status.success(), "{loaded:?}");
        Ok(docker)
    }

    fn client(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command.args(["--host", &self.socket]).args(arguments);
        command
    }

    fn run(&self, net: &str) -> Command {
        let image = IMAGE.strip_prefix("docker://").unwrap();
        self.client(&["run", &format!("--net={net}"), image, PROGRAM])
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        // It may have ended.
        drop(self.daemon.kill());
        self.daemon.wait().unwrap();
    }
}
