//! What systemd has against a unit file, in its own words: over D-Bus it only says that it is bad.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;
use unit_file::UnitName;

/// An emulated machine takes seconds to read all its units.
const LIMIT: Duration = Duration::from_secs(20);
/// Of one unit.
const FINDINGS: usize = 5;

/// `None` where there is nothing to be found out.
pub async fn findings(file: &Path, name: &UnitName) -> Option<String> {
    let mut verify = Command::new("systemd-analyze");
    verify.args(["verify", "--man=no", "--recursive-errors=no"]).arg(file);
    verify.stdin(Stdio::null()).kill_on_drop(true);
    let output = match timeout(LIMIT, verify.output()).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) => {
            tracing::debug!("systemd-analyze verify {name}: {error}");
            return None;
        }
        Err(_) => {
            tracing::debug!("systemd-analyze verify {name} had no answer within {} s", LIMIT.as_secs());
            return None;
        }
    };
    of(&String::from_utf8_lossy(&output.stderr), file, name)
}

/// The lines about this unit, with the numbers of lines, without its name.
fn of(said: &str, file: &Path, name: &UnitName) -> Option<String> {
    let (in_file, of_unit) = (format!("{}:", file.display()), format!("{name}: "));
    let finding = |line: &str| match line.strip_prefix(&in_file) {
        Some(rest) => Some(format!("line {rest}")),
        None => line.strip_prefix(&of_unit).map(str::to_owned),
    };
    let found: Vec<String> = said.lines().filter_map(finding).take(FINDINGS).collect();
    (!found.is_empty()).then(|| found.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As systemd 252 and 257 say it.
    const SAID: &str = "\
/run/fleet/units/x.service:1: Unknown section 'Unt'. Ignoring.
/usr/lib/systemd/system/other.service:5: Unknown key 'Foo' in section [Service], ignoring.
x.service: Service has no ExecStart=, ExecStop=, or SuccessAction=. Refusing.
Unit x.service has a bad unit file setting.
";

    #[test]
    fn what_is_about_the_unit_is_told() {
        let file = Path::new("/run/fleet/units/x.service");
        let name = |text: &str| UnitName::parse(text).expect("a name");
        assert_eq!(
            of(SAID, file, &name("x.service")).as_deref(),
            Some(
                "line 1: Unknown section 'Unt'. Ignoring. \
                 Service has no ExecStart=, ExecStop=, or SuccessAction=. Refusing."
            )
        );
        assert_eq!(of(SAID, Path::new("/run/fleet/units/y.service"), &name("y.service")), None);
    }
}
