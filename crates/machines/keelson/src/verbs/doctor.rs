//! `keelson doctor`: what this host needs, whether it has it, and how it gets it.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, bail};
use machines::acceleration::{self, Acceleration};
use machines::cluster::BackendKind;
use machines::tools::Tools;
use serde::Serialize;
use serde_json::json;

use crate::context::Context;
use crate::{machine_tools, output, provide};

/// Lines of apt-get's that an error shows.
const SHOWN_LINES: usize = 10;

#[derive(Debug, clap::Args)]
pub struct Flags {
    /// Install what is missing with apt-get
    #[arg(long)]
    install: bool,
    /// Image whose tools boot the KVM probe guest
    #[arg(long, value_name = "FILE", env = "KEELSON_IMAGE")]
    image: Option<PathBuf>,
}

/// Something that the host has or has not.
#[derive(Debug, Clone, Serialize)]
pub struct Need {
    pub name: &'static str,
    pub present: bool,
    /// Debian package that brings it; empty where no package does.
    pub package: &'static str,
    pub reason: &'static str,
    /// What to type where it is missing; empty where nothing is known to help.
    pub remedy: String,
    /// Only nspawn machines need it.
    #[serde(skip)]
    pub nspawn_only: bool,
}

#[derive(Debug)]
pub struct Report {
    pub needs: Vec<Need>,
}

impl Report {
    /// A line for each thing that is missing: what to type for it.
    pub fn remedies(&self) -> impl Iterator<Item = String> {
        self.needs.iter().filter(|need| !need.present).map(|need| {
            let Need { name, reason, remedy, .. } = need;
            if remedy.is_empty() {
                format!("{name}: missing ({reason})")
            } else {
                format!("{name}: {remedy}")
            }
        })
    }
}

enum Check {
    Program(&'static str),
    File(&'static str),
    Namespaces,
}

/// Name, check, package, reason, and whether only nspawn needs it. Programs that build and run images come
/// from the locked tools tree, so that the list is short.
const NEEDS: [(&str, Check, &str, &str, bool); 7] = [
    ("ssh", Check::Program("ssh"), "openssh-client", "logs in to machines", false),
    ("ssh-keygen", Check::Program("ssh-keygen"), "openssh-client", "makes a cluster's key", false),
    ("namespaces", Check::Namespaces, "", "the locked tools run in a user and mount namespace", false),
    ("mount", Check::Program("mount"), "mount", "mounts /usr of nspawn machines", true),
    ("systemd-nspawn", Check::Program("systemd-nspawn"), "systemd-container", "runs nspawn machines", true),
    ("/dev/net/tun", Check::File("/dev/net/tun"), "", "is the LAN interface of nspawn machines", true),
    ("/dev/loop-control", Check::File("/dev/loop-control"), "", "mounts /usr of nspawn machines", true),
];

/// Settings, the value with which each forbids user namespaces, and one that allows them: Ubuntu's since 23.10, Debian's
/// of old, the kernel's own.
const FORBID_NAMESPACES: [(&str, &str, &str); 3] = [
    ("kernel.apparmor_restrict_unprivileged_userns", "1", "0"),
    ("kernel.unprivileged_userns_clone", "0", "1"),
    ("user.max_user_namespaces", "0", "10000"),
];

pub fn examine(backend: Option<BackendKind>) -> Report {
    let wanted = |nspawn_only: bool| !nspawn_only || backend != Some(BackendKind::Qemu);
    let needs = NEEDS
        .iter()
        .filter(|need| wanted(need.4))
        .map(|(name, check, package, reason, nspawn_only)| {
            let present = check.holds();
            let remedy = if present { String::new() } else { check.remedy(package) };
            Need { name, present, package, reason, remedy, nspawn_only: *nspawn_only }
        })
        .collect();
    Report { needs }
}

impl Check {
    fn holds(&self) -> bool {
        match self {
            Self::Program(name) => program(name),
            Self::File(path) => Path::new(path).exists(),
            Self::Namespaces => namespaces(),
        }
    }

    fn remedy(&self, package: &str) -> String {
        match self {
            Self::Program(_) => format!("sudo apt-get install {package}"),
            Self::File(path) => {
                // /dev/net/tun, /dev/loop-control: each is made by its module.
                let name = path.rsplit('/').next().unwrap_or(path);
                format!("sudo modprobe {}", name.trim_end_matches("-control"))
            }
            Self::Namespaces => remedy_of_namespaces(Path::new("/proc/sys")),
        }
    }
}

/// By the settings of the kernel below `settings`.
fn remedy_of_namespaces(settings: &Path) -> String {
    let forbids = |(name, value, _): &&(&str, &str, &str)| {
        let path = settings.join(name.replace('.', "/"));
        std::fs::read_to_string(path).is_ok_and(|set| set.trim() == *value)
    };
    let found = FORBID_NAMESPACES.iter().find(forbids);
    found.map_or_else(String::new, |(name, _, allows)| format!("sudo sysctl -w {name}={allows}"))
}

fn program(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(usual).any(|folder| folder.join(name).is_file())
}

/// Really makes the namespaces, in a child: a kernel may have them and forbid their use.
fn namespaces() -> bool {
    if nix::unistd::geteuid().is_root() {
        return true;
    }
    let tried = Command::new("unshare")
        .args(["--user", "--mount", "--map-root-user", "true"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status();
    tried.is_ok_and(|status| status.success())
}

pub fn run(context: &Context, flags: &Flags) -> anyhow::Result<ExitCode> {
    let mut report = examine(None);
    if flags.install {
        install(context, &report)?;
        report = examine(None);
    }
    let acceleration = accelerate(context, flags.image.as_deref())?;
    // What only nspawn needs is no fault of a host that runs QEMU.
    let ok = report.needs.iter().all(|need| need.present || need.nspawn_only);
    if context.json {
        let mut value = json!({ "ok": ok, "needs": report.needs, "acceleration": acceleration.name() });
        if let Acceleration::Tcg { reason } = &acceleration {
            value["acceleration_why"] = json!(reason);
        }
        output::print_json(&value)?;
    } else {
        show(&report, &acceleration)?;
    }
    Ok(if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn show(report: &Report, acceleration: &Acceleration) -> anyhow::Result<()> {
    let state = |need: &Need| match (need.present, need.nspawn_only) {
        (true, _) => "present",
        (false, false) => "MISSING",
        (false, true) => "missing (only nspawn)",
    };
    let rows: Vec<_> = report
        .needs
        .iter()
        .map(|need| {
            let package = if need.package.is_empty() { "-" } else { need.package };
            [need.name, state(need), package, need.reason].map(str::to_owned).to_vec()
        })
        .collect();
    let machines = match acceleration {
        Acceleration::Kvm => "Machines run on KVM: a probe guest booted.".to_owned(),
        Acceleration::Tcg { reason } => format!("Machines will be emulated: {reason}."),
    };
    let remedies: String = report.remedies().map(|line| format!("{line}\n")).collect();
    let table = output::table(&["NEED", "STATE", "PACKAGE", "WHY"], &rows);
    output::print(format!("{table}\n\n{remedies}{machines}\n"))
}

/// Boots the probe guest where there are tools to do it with.
fn accelerate(context: &Context, image: Option<&Path>) -> anyhow::Result<Acceleration> {
    if let Err(error) = std::fs::File::options().read(true).write(true).open("/dev/kvm") {
        return Ok(Acceleration::Tcg { reason: format!("/dev/kvm cannot be opened: {error}") });
    }
    let known =
        context.layout().ok().and_then(|layout| layout.load().ok().flatten()).map(|cluster| cluster.image);
    let tree = match (image, known) {
        (Some(path), _) => match provide::manifest(path)? {
            Some(image) => image.tools,
            None => machine_tools::tools(context, Some(BackendKind::Qemu))?.path().to_path_buf(),
        },
        (None, Some(image)) => image.tools,
        (None, None) => {
            return Ok(Acceleration::Tcg { reason: "KVM is tried once an image is built".to_owned() });
        }
    };
    let step = context.progress.step("kvm");
    step.set("booting a probe guest");
    std::fs::create_dir_all(&context.state_dir).context("cannot make the state folder")?;
    let tools = Tools::open(&tree, std::slice::from_ref(&context.state_dir))?;
    let acceleration = acceleration::decide(&tools, &context.state_dir)?;
    step.done(acceleration.name());
    Ok(acceleration)
}

pub fn install(context: &Context, report: &Report) -> anyhow::Result<()> {
    let mut packages: Vec<&str> = report
        .needs
        .iter()
        .filter(|need| !need.present && !need.package.is_empty())
        .map(|need| need.package)
        .collect();
    packages.sort_unstable();
    packages.dedup();
    if packages.is_empty() {
        context.progress.note("nothing is missing that a package could bring");
        return Ok(());
    }
    if !program("apt-get") {
        bail!("this host has no apt-get; it needs what Debian calls {}", packages.join(", "));
    }
    if !nix::unistd::geteuid().is_root() {
        context.progress.note(&format!("sudo is needed to install {} on this host", packages.join(", ")));
    }
    let step = context.progress.step("install");
    step.set(packages.join(", "));
    let words = [&["install", "--yes", "--no-install-recommends"], &*packages].concat();
    let mut done = apt_get(&words)?;
    if done.is_err() {
        // A fresh machine has no lists of packages, an old one's name files that are gone.
        step.set("asking for the newest lists of packages");
        done = apt_get(&["update"])?.and(apt_get(&words)?);
    }
    if let Err(said) = done {
        bail!("apt-get could not install {}:\n{said}", packages.join(", "));
    }
    step.done(&format!("{} packages", packages.len()));
    Ok(())
}

/// The end of what apt-get said where it failed.
fn apt_get(words: &[&str]) -> anyhow::Result<Result<(), String>> {
    let mut command = Command::new("apt-get");
    if !nix::unistd::geteuid().is_root() {
        command = Command::new("sudo");
        command.arg("apt-get");
    }
    command.args(words).env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::inherit());
    let output = command.output().context("apt-get cannot be run")?;
    if output.status.success() {
        return Ok(Ok(()));
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = said.lines().collect();
    Ok(Err(lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_setting_that_forbids_namespaces_is_named() {
        let settings = tempfile::tempdir().unwrap();
        std::fs::create_dir(settings.path().join("kernel")).unwrap();
        let setting = settings.path().join("kernel/apparmor_restrict_unprivileged_userns");
        assert_eq!(remedy_of_namespaces(settings.path()), "");
        std::fs::write(&setting, "0\n").unwrap();
        assert_eq!(remedy_of_namespaces(settings.path()), "");
        std::fs::write(&setting, "1\n").unwrap();
        let remedy = "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0";
        assert_eq!(remedy_of_namespaces(settings.path()), remedy);
    }

    #[test]
    fn what_is_missing_is_told_with_what_to_type() {
        let need = |name, present, remedy: &str| Need {
            name,
            present,
            package: "",
            reason: "is needed",
            remedy: remedy.to_owned(),
            nspawn_only: false,
        };
        let program = Check::Program("ssh").remedy("openssh-client");
        let device = Check::File("/dev/loop-control").remedy("");
        let report = Report {
            needs: vec![
                need("ssh", false, &program),
                need("mount", true, ""),
                need("/dev/loop-control", false, &device),
                need("namespaces", false, ""),
            ],
        };
        let expected = [
            "ssh: sudo apt-get install openssh-client",
            "/dev/loop-control: sudo modprobe loop",
            "namespaces: missing (is needed)",
        ];
        assert!(report.remedies().eq(expected), "{:?}", report.remedies().collect::<Vec<_>>());
    }
}
