//! Resolves requested names to locked packages with apt in a private root.
//!
//! Uses the host's apt program and keys, but not its state: nothing outside of the work folder is written, and no root is
//! needed. Of the host's configuration only what concerns transfers counts, such as proxies: the rest could disable the
//! verification of signatures, or run commands after an update of the index.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::lock::{Lock, Package, Request, Tree};
use crate::mirror::{MirrorError, Mirrors};

/// The Debian release of the images.
pub const SUITE: &str = "trixie";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// Prefix of apt's options for transfers.
const TRANSFERS: &str = "Acquire::";
const CONFIGURATION: &str = "apt.conf";

#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    #[error("cannot prepare apt's folder {path}")]
    Folder { path: PathBuf, source: io::Error },
    #[error("cannot run {program}")]
    Run { program: &'static str, source: io::Error },
    #[error("{program} failed:\n{output}")]
    Apt { program: &'static str, output: String },
    #[error(transparent)]
    Mirror(#[from] MirrorError),
    #[error("apt's description of {package} lacks {field}")]
    Field { package: String, field: &'static str },
}

/// Resolves every tree of `request`; `work` is the folder of apt's index, which is reused.
pub fn resolve(request: &Request, mirrors: &Mirrors, work: &Path) -> Result<Lock, ResolveError> {
    if mirrors.security.is_empty() && !mirrors.without_security {
        return Err(MirrorError::NoSecurity.into());
    }
    let apt = PrivateApt::new(mirrors, work, &host_configuration()?)?;
    apt.run("apt-get", &["-qq", "update"])?;
    let mut resolved = Vec::new();
    for tree in Tree::ALL {
        let mut arguments = vec!["--simulate", "--no-install-recommends", "install"];
        arguments.extend(request.of(tree).wanted.iter().map(String::as_str));
        let mut chosen = parse_simulation(&apt.run("apt-get", &arguments)?);
        chosen.retain(|(name, _)| !request.of(tree).excluded.contains(name));
        let mut arguments = vec!["show".to_owned(), "--no-all-versions".to_owned()];
        arguments.extend(chosen.iter().map(|(name, version)| format!("{name}={version}")));
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        resolved.push((tree, parse_stanzas(&apt.run("apt-cache", &arguments)?)?));
    }
    Ok(Lock::merge(resolved))
}

/// All of the host's configuration, as `apt-config dump` prints it.
fn host_configuration() -> Result<String, ResolveError> {
    let program = "apt-config";
    output_of(program, Command::new(program).arg("dump"))
}

/// What the program prints, if it succeeds.
fn output_of(program: &'static str, command: &mut Command) -> Result<String, ResolveError> {
    let output = command.output().map_err(|source| ResolveError::Run { program, source })?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        let output = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(ResolveError::Apt { program, output })
    }
}

/// Replaces the host's configuration, except for transfers.
fn configuration(host: &str) -> String {
    let is_kept = |line: &&str| {
        let name = line.split(' ').next().unwrap_or_default();
        // One value, without quotes in it.
        name.starts_with(TRANSFERS) && line.ends_with("\";") && line.matches('"').count() == 2
    };
    let isolated = ["Dir::Etc::main \"/dev/null\";", "Dir::Etc::parts \"/dev/null\";"];
    let lines = isolated.into_iter().chain(host.lines().filter(is_kept));
    lines.flat_map(|line| [line, "\n"]).collect()
}

/// apt with private folders.
struct PrivateApt {
    configuration: PathBuf,
    options: Vec<String>,
}

impl PrivateApt {
    fn new(mirrors: &Mirrors, work: &Path, host: &str) -> Result<Self, ResolveError> {
        let create_folder = |path: PathBuf| {
            fs::create_dir_all(&path).map_err(|source| ResolveError::Folder { path: path.clone(), source })
        };
        create_folder(work.join("state/lists/partial"))?;
        create_folder(work.join("cache/archives/partial"))?;
        let mut sources = String::new();
        let line = |uri: &str, suite: &str| format!("deb [signed-by={KEYRING}] {uri} {suite} main\n");
        if let Some(uri) = mirrors.main.first() {
            sources += &line(uri, SUITE);
            sources += &line(uri, &format!("{SUITE}-updates"));
        }
        if let Some(uri) = mirrors.security.first() {
            sources += &line(uri, &format!("{SUITE}-security"));
        }
        let configuration = configuration(host);
        let files = [("sources.list", sources.as_str()), ("status", ""), (CONFIGURATION, &configuration)];
        for (name, content) in files {
            let path = work.join(name);
            fs::write(&path, content).map_err(|source| ResolveError::Folder { path, source })?;
        }
        let set = |name: &str, value: &str| format!("--option={name}={value}");
        let at = |name: &str, below: &str| set(name, &work.join(below).to_string_lossy());
        Ok(Self {
            configuration: work.join(CONFIGURATION),
            options: vec![
                at("Dir::State", "state"),
                at("Dir::State::status", "status"),
                at("Dir::Cache", "cache"),
                at("Dir::Etc::sourcelist", "sources.list"),
                set("Dir::Etc::sourceparts", "/dev/null"),
                set("Dir::Etc::preferences", "/dev/null"),
                set("Dir::Etc::preferencesparts", "/dev/null"),
                set("APT::Architecture", "amd64"),
                set("APT::Sandbox::User", ""),
                set("Acquire::Languages", "none"),
                set("Acquire::AllowInsecureRepositories", "false"),
                set("Acquire::AllowWeakRepositories", "false"),
                set("Acquire::AllowDowngradeToInsecureRepositories", "false"),
                set("Acquire::Check-Date", "true"),
                set("Acquire::Check-Valid-Until", "true"),
                // Index files for other consumers (software centres) are not needed.
                set("Acquire::IndexTargets::deb::DEP-11::DefaultEnabled", "false"),
                set("Acquire::IndexTargets::deb::DEP-11-icons::DefaultEnabled", "false"),
            ],
        })
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .env("LC_ALL", "C.UTF-8")
            .env("APT_CONFIG", &self.configuration)
            .args(&self.options)
            .args(arguments);
        command
    }

    fn run(&self, program: &'static str, arguments: &[&str]) -> Result<String, ResolveError> {
        output_of(program, &mut self.command(program, arguments))
    }
}

/// Parses `Inst NAME (VERSION ORIGIN [ARCHITECTURE])` lines of `apt-get --simulate`.
fn parse_simulation(output: &str) -> Vec<(String, String)> {
    output
        .lines()
        .filter_map(|line| {
            let mut fields = line.strip_prefix("Inst ")?.split(' ');
            let name = fields.next()?;
            let version = fields.find_map(|field| field.strip_prefix('('))?;
            Some((name.to_owned(), version.to_owned()))
        })
        .collect()
}

/// Parses the stanzas of `apt-cache show`.
fn parse_stanzas(output: &str) -> Result<Vec<Package>, ResolveError> {
    let mut packages = Vec::new();
    for stanza in output.split("\n\n").filter(|stanza| !stanza.trim().is_empty()) {
        let fields: HashMap<&str, &str> = stanza
            .lines()
            .filter(|line| !line.starts_with(' '))
            .filter_map(|line| line.split_once(": "))
            .collect();
        let package = fields.get("Package").copied().unwrap_or("a package").to_owned();
        let field = |name: &'static str| {
            fields
                .get(name)
                .map(|value| (*value).to_owned())
                .ok_or_else(|| ResolveError::Field { package: package.clone(), field: name })
        };
        packages.push(Package {
            name: field("Package")?,
            version: field("Version")?,
            architecture: field("Architecture")?,
            source: fields.get("Source").map(|source| (*source).to_owned()),
            path: field("Filename")?,
            size: field("Size")?
                .parse()
                .map_err(|_| ResolveError::Field { package: package.clone(), field: "a numeric Size" })?,
            sha256: field("SHA256")?,
            trees: Vec::new(),
        });
    }
    Ok(packages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn simulations_are_parsed() {
        let output = "Reading package lists...\nInst libc6 (2.41-12 Debian:13.7/stable [amd64]) []\n\
                      Inst a [1.0] (2:1.1 Debian:13.7/stable, Debian-Security:13/x [all])\nConf libc6 (2.41-12 x [amd64])\n";
        let expect = [("libc6", "2.41-12"), ("a", "2:1.1")].map(|(n, v)| (n.to_owned(), v.to_owned()));
        assert_eq!(parse_simulation(output), expect);
    }

    #[test]
    fn stanzas_are_parsed_and_missing_fields_reported() {
        let text = "Package: a\nSource: b (2)\nVersion: 1\nArchitecture: all\nFilename: pool/updates/a.deb\nSize: 7\nDescription: x\n SHA256: no\nSHA256: ab\n\n";
        let packages = parse_stanzas(text).unwrap();
        assert_eq!((packages[0].size, packages[0].sha256.as_str()), (7, "ab"));
        assert_eq!(packages[0].source.as_deref(), Some("b (2)"));
        assert_eq!(packages[0].archive(), crate::lock::Archive::Security);
        let error = parse_stanzas("Package: a\nVersion: 1\n\n").unwrap_err().to_string();
        assert_eq!(error, "apt's description of a lacks Architecture");
    }

    /// The host's configuration could install unsigned packages, run commands, or name a release that the sources lack.
    #[test]
    fn of_the_hosts_configuration_only_transfers_count() {
        let folder = tempfile::tempdir().unwrap();
        let host = "APT::Default-Release \"bookworm\";\nAPT::Get::AllowUnauthenticated \"true\";\n\
            APT::Update::Pre-Invoke:: \"touch /tmp/owned\";\nAcquire::AllowInsecureRepositories \"true\";\n\
            Acquire::http::Proxy \"http://p.invalid:3128\";\nAcquire::x \"a\"; APT::y \"b\";\n";
        let mirrors = Mirrors::default();
        let apt = PrivateApt::new(&mirrors, folder.path(), host).unwrap();
        let value = |name: &str| {
            let mut command = apt.command("apt-config", &["dump", "--format", "%v", name]);
            let output = command.output().expect("apt-config (package apt) is needed");
            String::from_utf8(output.stdout).unwrap()
        };
        for name in
            ["APT::Default-Release", "APT::Get::AllowUnauthenticated", "APT::Update::Pre-Invoke", "APT::y"]
        {
            assert_eq!(value(name), "", "{name}");
        }
        assert_eq!(value("Acquire::AllowInsecureRepositories"), "false");
        assert_eq!(value("Acquire::http::Proxy"), "http://p.invalid:3128");
    }

    #[test]
    fn packages_are_not_resolved_without_security_updates() {
        let folder = tempfile::tempdir().unwrap();
        let main = vec!["http://127.0.0.1:1/debian/".to_owned()];
        let mirrors = Mirrors { main, ..Mirrors::default() };
        let error = resolve(&Request::default(), &mirrors, folder.path()).unwrap_err().to_string();
        assert!(error.contains("KEELSON_SECURITY_MIRROR=none"), "{error}");
    }
}
