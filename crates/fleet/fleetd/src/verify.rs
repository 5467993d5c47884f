//! Findings of `systemd-analyze verify` about a unit file; D-Bus errors lack the reason.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;
use unit_file::UnitName;

/// An emulated machine needs seconds to load all units.
const TIMEOUT: Duration = Duration::from_secs(20);
const MAX_FINDINGS: usize = 5;

/// Returns `None` if there are no findings or the command fails.
pub async fn findings(file: &Path, name: &UnitName) -> Option<String> {
    let mut verify = Command::new("systemd-analyze");
    verify.args(["verify", "--man=no", "--recursive-errors=no"]).arg(file);
    verify.stdin(Stdio::null()).kill_on_drop(true);
    let output = match timeout(TIMEOUT, verify.output()).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) => {
            tracing::debug!("systemd-analyze verify {name}: {error}");
            return None;
        }
        Err(_) => {
            tracing::debug!("systemd-analyze verify {name} did not end within {} s", TIMEOUT.as_secs());
            return None;
        }
    };
    findings_of_unit(&String::from_utf8_lossy(&output.stderr), file, name)
}

/// The lines about this unit, with line numbers instead of paths.
fn findings_of_unit(output: &str, file: &Path, name: &UnitName) -> Option<String> {
    let (file_prefix, unit_prefix) = (format!("{}:", file.display()), format!("{name}: "));
    let finding = |line: &str| match line.strip_prefix(&file_prefix) {
        Some(rest) => Some(format!("line {rest}")),
        None => line.strip_prefix(&unit_prefix).map(str::to_owned),
    };
    let lines: Vec<String> = output.lines().filter_map(finding).take(MAX_FINDINGS).collect();
    (!lines.is_empty()).then(|| lines.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Output of systemd 252 and 257.
    const OUTPUT: &str = "\
/run/fleet/units/x.service:1: Unknown section 'Unt'. Ignoring.
/usr/lib/systemd/system/other.service:5: Unknown key 'Foo' in section [Service], ignoring.
x.service: Service has no ExecStart=, ExecStop=, or SuccessAction=. Refusing.
Unit x.service has a bad unit file setting.
";

    #[test]
    fn findings_of_other_units_are_ignored() {
        let file = Path::new("/run/fleet/units/x.service");
        let name = |text: &str| UnitName::parse(text).expect("a name");
        assert_eq!(
            findings_of_unit(OUTPUT, file, &name("x.service")).as_deref(),
            Some(
                "line 1: Unknown section 'Unt'. Ignoring. \
                 Service has no ExecStart=, ExecStop=, or SuccessAction=. Refusing."
            )
        );
        assert_eq!(
            findings_of_unit(OUTPUT, Path::new("/run/fleet/units/y.service"), &name("y.service")),
            None
        );
    }
}
