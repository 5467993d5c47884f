//! Tests that need root, or a program that the host may lack: they are ignored among all tests, and run here, each in a
//! process of its own. If a prerequisite is missing, it is reported and the test does not run: an early return would
//! count as passed.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};

use super::result::{State, StepResult};
use super::run::Run;
use super::{concurrently, packages};
use crate::cargo_build::TestProgram;
use crate::command::show_and_read;
use crate::root_access::RootAccess;

struct Case {
    about: &'static str,
    target: Target,
    /// The test with its module, and its file, which is in the package's folder.
    test: &'static str,
    file: &'static str,
    /// Why it needs root.
    root: Option<&'static str>,
    /// Programs or files, each with the package that contains it.
    programs: &'static [(&'static str, &'static str)],
}

/// Which test program of its package has a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Lib,
    Bin,
    /// `tests/suite`.
    Suite,
}

/// Number of tests that run at a time: they mostly wait, for a page or a network.
const THREADS: usize = 4;

/// A headless browser.
const BROWSER: (&str, &str) = ("chromium-headless-shell", "chromium-headless-shell");

const CASES: [Case; 22] = [
    Case {
        about: "owners",
        target: Target::Lib,
        test: "files::tests::owners_and_directories_in_a_users_home",
        file: "crates/cloudinit/host/src/files_tests.rs",
        root: Some("changing owners"),
        programs: &[],
    },
    Case {
        about: "keepers",
        target: Target::Lib,
        test: "nspawn::pid_namespace::tests::the_namespace_ends_with_its_supervisor",
        file: "crates/machines/machines/src/nspawn/pid_namespace.rs",
        root: Some("a process namespace"),
        programs: &[],
    },
    Case {
        about: "mapped owners",
        target: Target::Lib,
        test: "nspawn::mounts::tests::owners_are_mapped_and_devices_do_not_work",
        file: "crates/machines/machines/src/nspawn/mounts.rs",
        root: Some("mapping owners"),
        programs: &[],
    },
    Case {
        about: "installed device",
        target: Target::Suite,
        test: "loop_device::a_device_is_claimed_and_written",
        file: "crates/update/disk-install/tests/suite/loop_device.rs",
        root: Some("a loop device"),
        programs: &[("mkfs.ext4", "e2fsprogs")],
    },
    Case {
        about: "certificates",
        target: Target::Suite,
        test: "certificates::every_certificate_of_a_file_is_trusted_and_nothing_else_of_it",
        file: "crates/cloudinit/coreos-cloudinit/tests/suite/certificates.rs",
        root: None,
        programs: &[("openssl", "openssl")],
    },
    Case {
        about: "hosts on a LAN",
        target: Target::Lib,
        test: "lan_host::tests::hosts_reach_each_other_at_every_address",
        file: "crates/machines/machines/src/lan_host.rs",
        root: Some("a network namespace"),
        programs: &[],
    },
    Case {
        about: "forwarded ports",
        target: Target::Lib,
        test: "qemu::supervisor::tests::forwarded_ports_lead_into_the_namespace",
        file: "crates/machines/machines/src/qemu/supervisor.rs",
        root: Some("a network namespace"),
        programs: &[],
    },
    Case {
        about: "debsecan",
        target: Target::Suite,
        test: "cves::debsecan::it_finds_what_debsecan_finds",
        file: "crates/machines/keelson/tests/suite/cves/debsecan.rs",
        root: None,
        programs: &[("debsecan", "debsecan")],
    },
    Case {
        about: "Vagrant's boxes",
        target: Target::Suite,
        test: "updates::images::vagrant_adds_and_updates_boxes_of_a_channel",
        file: "crates/machines/keelson/tests/suite/updates/images.rs",
        root: None,
        programs: &[("vagrant", "vagrant"), (packages::VAGRANT_LIBVIRT, "vagrant-libvirt")],
    },
    Case {
        about: "proxy DHCP",
        target: Target::Suite,
        test: "netboot::a_proxy_boots_machines_of_a_network",
        file: "crates/machines/keelson/tests/suite/netboot.rs",
        root: Some("a network namespace"),
        programs: &[("ip", "iproute2")],
    },
    Case {
        about: "lab network",
        target: Target::Suite,
        test: "netboot::a_lab_network_has_addresses_that_outlive_the_server",
        file: "crates/machines/keelson/tests/suite/netboot.rs",
        root: Some("a network namespace"),
        programs: &[("ip", "iproute2")],
    },
    Case {
        about: "dnsmasq",
        target: Target::Suite,
        test: "netboot::dnsmasq_with_the_printed_settings_offers_the_same",
        file: "crates/machines/keelson/tests/suite/netboot.rs",
        root: Some("a network namespace"),
        programs: &[("dnsmasq", "dnsmasq-base")],
    },
    Case {
        about: "page",
        target: Target::Suite,
        test: "page::a_config_is_pasted_judged_and_fixed",
        file: "crates/machines/validator/tests/suite/page.rs",
        root: None,
        programs: &[BROWSER],
    },
    Case {
        about: "page's edges",
        target: Target::Suite,
        test: "page::what_is_no_config_and_a_server_that_is_gone_are_told",
        file: "crates/machines/validator/tests/suite/page.rs",
        root: None,
        programs: &[BROWSER],
    },
    Case {
        about: "channel page",
        target: Target::Suite,
        test: "page::an_operator_watches_promotes_pauses_and_rolls_back",
        file: "crates/update/channel-server/tests/suite/page.rs",
        root: None,
        programs: &[BROWSER],
    },
    Case {
        about: "channel page's edges",
        target: Target::Suite,
        test: "page::a_viewer_has_read_only_access_and_sees_a_lost_connection",
        file: "crates/update/channel-server/tests/suite/page.rs",
        root: None,
        programs: &[BROWSER],
    },
    Case {
        about: "netboot page",
        target: Target::Suite,
        test: "page::an_operator_watches_a_machine_boot",
        file: "crates/machines/netboot/tests/suite/page.rs",
        root: None,
        programs: &[BROWSER],
    },
    Case {
        about: "validator's screenshot",
        target: Target::Suite,
        test: "page::validator_screenshot",
        file: "crates/machines/validator/tests/suite/page.rs",
        root: None,
        programs: &[BROWSER],
    },
    Case {
        about: "channel page's screenshot",
        target: Target::Suite,
        test: "page::channel_page_screenshot",
        file: "crates/update/channel-server/tests/suite/page.rs",
        root: None,
        programs: &[BROWSER],
    },
    Case {
        about: "bad units",
        target: Target::Bin,
        test: "tidy::unit_files::tests::a_bad_unit_is_found_and_a_good_one_passes",
        file: "crates/test/xtask/src/tidy/unit_files.rs",
        root: None,
        programs: &[("systemd-analyze", "systemd")],
    },
    Case {
        about: "open units",
        target: Target::Bin,
        test: "tidy::unit_exposure::tests::an_open_service_is_found",
        file: "crates/test/xtask/src/tidy/unit_exposure.rs",
        root: None,
        programs: &[("systemd-analyze", "systemd")],
    },
    Case {
        about: "bad scripts",
        target: Target::Bin,
        test: "tidy::shell_scripts::tests::a_bad_script_is_found",
        file: "crates/test/xtask/src/tidy/shell_scripts.rs",
        root: None,
        programs: &[("shellcheck", "shellcheck")],
    },
];

pub fn run(run: &Run<'_>) -> Result<Vec<StepResult>> {
    let access = RootAccess::of_this_process();
    let programs = run.test_programs()?;
    let root = &run.workspace.root;
    concurrently::map(THREADS, &CASES, |case| {
        let began = Instant::now();
        let state = match case.missing(access.is_available(), packages::has) {
            Some(why) => State::Skipped(why),
            None => case.run(root, programs, access)?,
        };
        let result = StepResult::new(format!("wants: {}", case.about), state);
        // The results have no times of their own, which would add up to more than the step's.
        eprintln!("{} {} after {:.1} s", result.name, result.outcome(), began.elapsed().as_secs_f64());
        Ok(result)
    })
}

impl Case {
    fn missing(&self, root: bool, has: impl Fn(&str) -> bool) -> Option<String> {
        if let Some(why) = self.root.filter(|_| !root) {
            return Some(format!("{why} wants root"));
        }
        let (program, package) = self.programs.iter().find(|(program, _)| !has(program))?;
        Some(format!("no {program} here (apt-get install --no-install-recommends {package})"))
    }

    fn run(&self, root: &Path, programs: &[TestProgram], access: RootAccess) -> Result<State> {
        let folder = root.join(self.package()?);
        let program = self.program(&folder, programs)?;
        let access = if self.root.is_some() { access } else { RootAccess::Own };
        let mut command = access.command(&program.executable, &[]);
        let ended =
            show_and_read(command.current_dir(folder).args(["--include-ignored", "--exact", self.test]))?;
        if !ended.success {
            eprint!("{}", ended.stdout);
        }
        Ok(self.judge(ended.success, &ended.stdout))
    }

    /// Its folder, `crates/GROUP/PACKAGE`.
    fn package(&self) -> Result<PathBuf> {
        let (folder, _) = self
            .file
            .split_once("/src/")
            .or_else(|| self.file.split_once("/tests/"))
            .with_context(|| format!("{} is not in a package's folder", self.file))?;
        Ok(folder.into())
    }

    fn program<'a>(&self, folder: &Path, programs: &'a [TestProgram]) -> Result<&'a TestProgram> {
        let is_own = |program: &&TestProgram| {
            program.folder == folder
                && match self.target {
                    Target::Lib => program.kind == "lib",
                    Target::Bin => program.kind == "bin",
                    Target::Suite => program.kind == "test" && program.name == "suite",
                }
        };
        programs.iter().find(is_own).with_context(|| format!("cargo names no test program of {}", self.file))
    }

    fn judge(&self, success: bool, output: &str) -> State {
        match (success, output.contains("test result: ok. 1 passed")) {
            (false, _) => State::Failed("shown above".into()),
            (true, false) => State::Failed(format!("no {} in {}", self.test, self.file)),
            (true, true) => State::Passed(String::new()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        let [owners, _, _, _, certificates, ..] = &CASES;
        assert_eq!(owners.missing(true, |_| false), None);
        assert_eq!(owners.missing(false, |_| true).unwrap(), "changing owners wants root");
        assert_eq!(certificates.missing(false, |program| program == "openssl"), None);
        assert!(
            certificates
                .missing(true, |_| false)
                .unwrap()
                .contains("install --no-install-recommends openssl")
        );
    }

    /// A step that runs later must not be what installs it: a run may leave that step out.
    #[test]
    fn what_is_missing_is_installed() {
        let installed = packages::missing(&["wants"], |_| false);
        let programs = CASES.iter().flat_map(|case| case.programs);
        let forgotten: Vec<_> = programs.filter(|(_, package)| !installed.contains(package)).collect();
        assert!(forgotten.is_empty(), "{forgotten:?}");
    }

    #[test]
    fn a_test_that_was_not_run_is_no_success() {
        let line = |passed| format!("test result: ok. {passed} passed; 0 failed; 0 ignored; 0 measured\n");
        let judge = |success, output: &str| CASES[0].judge(success, output);
        assert_eq!(judge(true, &line(1)), State::Passed(String::new()));
        assert!(matches!(judge(true, &line(0)), State::Failed(_)));
        assert!(matches!(judge(false, &line(1)), State::Failed(_)));
    }

    #[test]
    fn a_case_is_found_in_its_package() {
        let program = |folder: &str, kind: &str, name: &str| TestProgram {
            folder: folder.into(),
            kind: kind.into(),
            name: name.into(),
            executable: format!("{folder}-{kind}-{name}").into(),
        };
        let [case, ..] = &CASES;
        let folder = case.package().unwrap();
        assert_eq!(folder, Path::new("crates/cloudinit/host"));
        let own = program("crates/cloudinit/host", "lib", "host");
        let others =
            [program("crates/cloudinit/host", "test", "suite"), program("crates/a/host", "lib", "host")];
        let all: Vec<_> = others.iter().cloned().chain([own.clone()]).collect();
        assert_eq!(case.program(&folder, &all).unwrap().executable, own.executable);
        assert!(case.program(&folder, &others).is_err());
    }

    /// Otherwise it would run with all the others, and would have to return early there.
    #[test]
    fn each_case_is_an_ignored_test() {
        for case in &CASES {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..").join(case.file);
            let text = std::fs::read_to_string(&path).unwrap();
            let (_, name) = case.test.rsplit_once("::").unwrap_or(("", case.test));
            let (before, _) = text.split_once(&format!("fn {name}()")).expect(name);
            let last = before.trim_end().lines().next_back().unwrap_or_default();
            assert!(
                last.contains("#[ignore = ") && last.contains("cargo verify wants"),
                "{}: {last}",
                case.test
            );
        }
    }
}
