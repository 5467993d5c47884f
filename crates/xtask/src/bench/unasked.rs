//! What cloud-config takes of a boot that has no user-data: the units that are started for it nevertheless.

use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::figure::Figure;

/// They are one after the other, and `user-config.target` behind them.
const UNITS: [&str; 2] = ["coreos-setup-environment.service", "user-configdrive.service"];
const FROM: &str = "InactiveExitTimestampMonotonic";
const TO: &str = "ActiveEnterTimestampMonotonic";

/// What is asked on the machine.
pub fn words() -> Vec<String> {
    let properties = format!("--property=Id,{FROM},{TO}");
    ["systemctl", "show", &*properties].iter().chain(&UNITS).map(|word| (*word).to_owned()).collect()
}

/// From what `systemctl show` prints of [`UNITS`]: microseconds, an empty line between two units.
pub fn figure(shown: &str, command: String) -> Result<Figure> {
    let mut all = Vec::new();
    for unit in UNITS {
        let of_unit = shown.split("\n\n").find(|part| part.lines().any(|line| line == format!("Id={unit}")));
        let of_unit = of_unit.with_context(|| format!("systemctl showed nothing of {unit}"))?;
        let time = |name: &str| -> Result<u64> {
            let value = of_unit.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            value.and_then(|value| value.parse().ok()).with_context(|| format!("{unit} has no {name}"))
        };
        let (from, to) = (time(FROM)?, time(TO)?);
        if from == 0 || to < from {
            bail!("{unit} was not started at this boot");
        }
        all.push((unit, to - from));
    }
    let milliseconds =
        |micros: u64| format!("{:.0} ms", Duration::from_micros(micros).as_secs_f64() * 1000.0);
    let each: Vec<_> = all.iter().map(|(unit, time)| format!("{unit} {}", milliseconds(*time))).collect();
    let sum = all.iter().map(|(_, time)| time).sum();
    Ok(Figure {
        what: "cloud-config at a boot without user-data, nspawn: its units, one after the other".into(),
        target: "<= 30 ms".into(),
        measured: format!("{}: {}", milliseconds(sum), each.join(", ")),
        command,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOWN: &str = "Id=coreos-setup-environment.service\nInactiveExitTimestampMonotonic=1000000\n\
        ActiveEnterTimestampMonotonic=1004600\n\nActiveEnterTimestampMonotonic=1020000\nId=user-configdrive.service\n\
        InactiveExitTimestampMonotonic=1010000\n";

    #[test]
    fn times_of_units_add_up() {
        let figure = figure(SHOWN, String::new()).unwrap();
        assert_eq!(
            figure.measured,
            "15 ms: coreos-setup-environment.service 5 ms, user-configdrive.service 10 ms"
        );
    }

    #[test]
    fn a_unit_that_was_not_started_is_no_figure() {
        assert!(figure(&SHOWN.replace("=1010000", "=0"), String::new()).is_err());
        assert!(figure(&SHOWN.replace("Id=user-configdrive.service", "Id=x"), String::new()).is_err());
        assert!(figure("", String::new()).is_err());
    }
}
