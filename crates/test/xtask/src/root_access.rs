//! Root privileges for checks: this process, or `sudo` without a password.

use std::path::Path;
use std::process::{Command, Stdio};

/// The runner of test binaries, on the only platform that images are built on.
const RUNNER: &str = "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER";

/// How a check gets root on this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RootAccess {
    Own,
    Sudo,
    None,
}

impl RootAccess {
    pub fn of_this_process() -> Self {
        let sudo = || {
            let mut command = Command::new("sudo");
            command.args(["--non-interactive", "true"]).stdin(Stdio::null());
            command.output().is_ok_and(|output| output.status.success())
        };
        Self::of(nix::unistd::geteuid().is_root(), sudo)
    }

    fn of(is_root: bool, sudo: impl FnOnce() -> bool) -> Self {
        match is_root {
            true => Self::Own,
            false if sudo() => Self::Sudo,
            false => Self::None,
        }
    }

    pub fn is_available(self) -> bool {
        self != Self::None
    }

    /// Makes `cargo test` run its binaries with these privileges.
    pub fn run_tests(self, cargo: &mut Command) {
        if self == Self::Sudo {
            cargo.env(RUNNER, "sudo --non-interactive --preserve-env");
        }
    }

    /// Returns a command that runs `program` with these privileges. sudo passes only `variables` and `PATH`.
    pub fn command(self, program: &Path, variables: &[(&str, &Path)]) -> Command {
        if self != Self::Sudo {
            let mut command = Command::new(program);
            command.envs(variables.iter().copied());
            return command;
        }
        let mut command = Command::new("sudo");
        command.args(["--non-interactive", "env"]);
        let path = std::env::var_os("PATH").unwrap_or_default();
        for (name, value) in variables.iter().copied().chain([("PATH", Path::new(&path))]) {
            command.arg(format!("{name}={}", value.display()));
        }
        command.arg(program);
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sudo_is_tried_unless_the_process_is_root() {
        assert_eq!(RootAccess::of(true, || unreachable!("root asks nobody")), RootAccess::Own);
        assert_eq!(RootAccess::of(false, || true), RootAccess::Sudo);
        assert_eq!(RootAccess::of(false, || false), RootAccess::None);
    }

    #[test]
    fn a_command_keeps_its_variables() {
        let arguments = |access: RootAccess| {
            let command = access.command(Path::new("/k"), &[("KEELSON_X", Path::new("/x"))]);
            let arguments = command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
            (command.get_program().to_string_lossy().into_owned(), arguments)
        };
        assert_eq!(arguments(RootAccess::Own), ("/k".to_owned(), Vec::<String>::new()));
        let (program, sudo) = arguments(RootAccess::Sudo);
        assert_eq!(program, "sudo");
        assert_eq!(sudo[..3], ["--non-interactive", "env", "KEELSON_X=/x"]);
        assert_eq!(sudo.last().unwrap(), "/k");
    }
}
