//! `keelson doctor`: checks the host's requirements and installs what is missing.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, bail};
use machines::acceleration::{self, Acceleration};
use machines::cluster::BackendKind;
use machines::tools::Tools;
use serde::Serialize;
use serde_json::json;

use crate::context::Context;
use crate::{boot_image, machine_tools, output};

const ERROR_LINES: usize = 10;

#[derive(Debug, clap::Args)]
pub struct Flags {
    /// Install missing packages with apt-get
    #[arg(long)]
    install: bool,
    /// Image whose tools boot the KVM probe guest
    #[arg(long, value_name = "FILE", env = "KEELSON_IMAGE")]
    image: Option<PathBuf>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Requirement {
    pub name: &'static str,
    pub present: bool,
    /// Debian package that provides it; may be empty.
    pub package: &'static str,
    #[serde(rename = "why")]
    pub reason: &'static str,
    /// Command that provides it; may be empty.
    pub remedy: String,
    /// Required by nspawn machines only.
    #[serde(skip)]
    pub nspawn_only: bool,
}

#[derive(Debug)]
pub struct Report {
    pub needs: Vec<Requirement>,
}

impl Report {
    /// One line with a remedy for each missing requirement.
    pub fn remedies(&self) -> impl Iterator<Item = String> {
        self.needs.iter().filter(|requirement| !requirement.present).map(|requirement| {
            let Requirement { name, reason, remedy, .. } = requirement;
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

/// Name, check, package, reason, and whether only nspawn needs it. The list is short because programs that build and
/// run images come from the locked tools tree.
const REQUIREMENTS: [(&str, Check, &str, &str, bool); 7] = [
    ("ssh", Check::Program("ssh"), "openssh-client", "login to machines", false),
    ("ssh-keygen", Check::Program("ssh-keygen"), "openssh-client", "SSH key of the cluster", false),
    ("namespaces", Check::Namespaces, "", "user and mount namespace of the build tools", false),
    ("mount", Check::Program("mount"), "mount", "mount of /usr in nspawn machines", true),
    ("systemd-nspawn", Check::Program("systemd-nspawn"), "systemd-container", "nspawn machines", true),
    ("/dev/net/tun", Check::File("/dev/net/tun"), "", "LAN interface of nspawn machines", true),
    ("/dev/loop-control", Check::File("/dev/loop-control"), "", "mount of /usr in nspawn machines", true),
];

/// sysctl name, the value that disables user namespaces, and one that enables them: Ubuntu since 23.10, old Debian,
/// and the kernel's own.
const NAMESPACE_SETTINGS: [(&str, &str, &str); 3] = [
    ("kernel.apparmor_restrict_unprivileged_userns", "1", "0"),
    ("kernel.unprivileged_userns_clone", "0", "1"),
    ("user.max_user_namespaces", "0", "10000"),
];

pub fn examine(backend: Option<BackendKind>) -> Report {
    let wanted = |nspawn_only: bool| !nspawn_only || backend != Some(BackendKind::Qemu);
    let needs = REQUIREMENTS
        .iter()
        .filter(|requirement| wanted(requirement.4))
        .map(|(name, check, package, reason, nspawn_only)| {
            let present = check.is_met();
            let remedy = if present { String::new() } else { check.remedy(package) };
            Requirement { name, present, package, reason, remedy, nspawn_only: *nspawn_only }
        })
        .collect();
    Report { needs }
}

impl Check {
    fn is_met(&self) -> bool {
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
                // Each device is created by its module.
                let name = path.rsplit('/').next().unwrap_or(path);
                format!("sudo modprobe {}", name.trim_end_matches("-control"))
            }
            Self::Namespaces => namespace_remedy(Path::new("/proc/sys")),
        }
    }
}

/// `settings` is the folder of the sysctl files.
fn namespace_remedy(settings: &Path) -> String {
    let is_forbidden = |(name, value, _): &&(&str, &str, &str)| {
        let path = settings.join(name.replace('.', "/"));
        std::fs::read_to_string(path).is_ok_and(|set| set.trim() == *value)
    };
    let found = NAMESPACE_SETTINGS.iter().find(is_forbidden);
    found.map_or_else(String::new, |(name, _, allows)| format!("sudo sysctl -w {name}={allows}"))
}

fn program(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system_folders = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(system_folders).any(|folder| folder.join(name).is_file())
}

/// Creates the namespaces in a child process: a kernel may support them but deny their use.
fn namespaces() -> bool {
    if nix::unistd::geteuid().is_root() {
        return true;
    }
    let status = Command::new("unshare")
        .args(["--user", "--mount", "--map-root-user", "true"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

pub fn run(context: &Context, flags: &Flags) -> anyhow::Result<ExitCode> {
    let mut report = examine(None);
    if flags.install {
        install(context, &report)?;
        report = examine(None);
    }
    let acceleration = detect_acceleration(context, flags.image.as_deref())?;
    // Requirements of nspawn only are optional.
    let ok = report.needs.iter().all(|requirement| requirement.present || requirement.nspawn_only);
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
    let state = |requirement: &Requirement| match (requirement.present, requirement.nspawn_only) {
        (true, _) => "present",
        (false, false) => "MISSING",
        (false, true) => "missing (nspawn only)",
    };
    let rows: Vec<_> = report
        .needs
        .iter()
        .map(|requirement| {
            let package = if requirement.package.is_empty() { "-" } else { requirement.package };
            [requirement.name, state(requirement), package, requirement.reason].map(str::to_owned).to_vec()
        })
        .collect();
    let machines = match acceleration {
        Acceleration::Kvm => "Machines use KVM: the probe guest booted.".to_owned(),
        Acceleration::Tcg { reason } => format!("Machines use emulation: {reason}."),
    };
    let remedies: String = report.remedies().map(|line| format!("{line}\n")).collect();
    let table = output::table(&["NEED", "STATE", "PACKAGE", "WHY"], &rows);
    output::print(format!("{table}\n\n{remedies}{machines}\n"))
}

/// Boots the probe guest if its tools are available.
fn detect_acceleration(context: &Context, image: Option<&Path>) -> anyhow::Result<Acceleration> {
    if let Err(error) = std::fs::File::options().read(true).write(true).open("/dev/kvm") {
        return Ok(Acceleration::Tcg { reason: format!("cannot open /dev/kvm: {error}") });
    }
    let known =
        context.layout().ok().and_then(|layout| layout.load().ok().flatten()).map(|cluster| cluster.image);
    let tree = match (image, known) {
        (Some(path), _) => match boot_image::manifest(path)? {
            Some(image) => image.tools,
            None => machine_tools::tools(context, Some(BackendKind::Qemu))?.path().to_path_buf(),
        },
        (None, Some(image)) => image.tools,
        (None, None) => {
            return Ok(Acceleration::Tcg { reason: "KVM is not tested before an image is built".to_owned() });
        }
    };
    let step = context.progress.step("kvm");
    step.set("booting a probe guest");
    std::fs::create_dir_all(&context.state_dir).context("cannot create the state folder")?;
    let tools = Tools::open(&tree, std::slice::from_ref(&context.state_dir))?;
    let acceleration = acceleration::decide(&tools, &context.state_dir)?;
    step.done(acceleration.name());
    Ok(acceleration)
}

pub fn install(context: &Context, report: &Report) -> anyhow::Result<()> {
    let mut packages: Vec<&str> = report
        .needs
        .iter()
        .filter(|requirement| !requirement.present && !requirement.package.is_empty())
        .map(|requirement| requirement.package)
        .collect();
    packages.sort_unstable();
    packages.dedup();
    if packages.is_empty() {
        context.progress.note("no package to install");
        return Ok(());
    }
    if !program("apt-get") {
        bail!(
            "this host has no apt-get; install the equivalents of these Debian packages: {}",
            packages.join(", ")
        );
    }
    if !nix::unistd::geteuid().is_root() {
        if !program("sudo") {
            bail!("this host has no sudo; run as root: apt-get install {}", packages.join(" "));
        }
        context.progress.note(&format!("installing {} on this host with sudo", packages.join(", ")));
    }
    let step = context.progress.step("install");
    step.set(packages.join(", "));
    let arguments = [&["install", "--yes", "--no-install-recommends"], &*packages].concat();
    let mut done = apt_get(&arguments)?;
    if done.is_err() {
        // New machines have no package lists; old lists name files that no longer exist.
        step.set("updating the package lists");
        done = apt_get(&["update"])?.and(apt_get(&arguments)?);
    }
    if let Err(output) = done {
        bail!("cannot install {} with apt-get:\n{output}", packages.join(", "));
    }
    step.done(&format!("{} packages", packages.len()));
    Ok(())
}

/// Runs apt-get; returns the end of its error output if it fails.
fn apt_get(arguments: &[&str]) -> anyhow::Result<Result<(), String>> {
    let mut command = Command::new("apt-get");
    if !nix::unistd::geteuid().is_root() {
        command = Command::new("sudo");
        command.arg("apt-get");
    }
    command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::inherit());
    let output = command.output().context("cannot run apt-get")?;
    if output.status.success() {
        return Ok(Ok(()));
    }
    let output = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = output.lines().collect();
    Ok(Err(lines[lines.len().saturating_sub(ERROR_LINES)..].join("\n")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_setting_that_forbids_namespaces_is_named() {
        let settings = tempfile::tempdir().unwrap();
        std::fs::create_dir(settings.path().join("kernel")).unwrap();
        let setting = settings.path().join("kernel/apparmor_restrict_unprivileged_userns");
        assert_eq!(namespace_remedy(settings.path()), "");
        std::fs::write(&setting, "0\n").unwrap();
        assert_eq!(namespace_remedy(settings.path()), "");
        std::fs::write(&setting, "1\n").unwrap();
        let remedy = "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0";
        assert_eq!(namespace_remedy(settings.path()), remedy);
    }

    #[test]
    fn remedies_are_listed_for_missing_requirements() {
        let requirement = |name, present, remedy: &str| Requirement {
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
                requirement("ssh", false, &program),
                requirement("mount", true, ""),
                requirement("/dev/loop-control", false, &device),
                requirement("namespaces", false, ""),
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
