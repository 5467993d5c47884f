//! The cost of cloud-config in a boot without user-data: its units, which start anyway, one by one, and the whole
//! boot with and without them.

use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::figure::Figure;

/// Started one after the other, and before `user-config.target`.
const UNITS: [&str; 2] = ["coreos-setup-environment.service", "user-configdrive.service"];
const FROM: &str = "InactiveExitTimestampMonotonic";
const TO: &str = "ActiveEnterTimestampMonotonic";

/// Number of boots with the units, and of boots without, alternating.
pub const ROUNDS: usize = 8;
/// Prints when the manager finished the boot, and when it began: microseconds.
pub const WHOLE_BOOT: [&str; 4] =
    ["systemctl", "show", "--property=UserspaceTimestampMonotonic", "--property=FinishTimestampMonotonic"];

/// Arguments that mask or unmask the units for the next boot.
pub fn mask_command(verb: &str) -> Vec<&str> {
    ["sudo", "systemctl", verb].into_iter().chain(UNITS).collect()
}

/// Milliseconds of a boot, from the output of [`WHOLE_BOOT`].
pub fn whole_boot(output: &str) -> Result<f64> {
    let time = |name: &str| -> Result<f64> {
        let value = output.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        value.and_then(|value| value.parse().ok()).with_context(|| format!("systemd tells no {name}"))
    };
    let (from, to) = (time("UserspaceTimestampMonotonic")?, time("FinishTimestampMonotonic")?);
    if to <= from {
        bail!("the machine is still starting");
    }
    Ok((to - from) / 1000.0)
}

/// Compares the milliseconds of whole boots.
pub fn added_time(mut with: Vec<f64>, mut without: Vec<f64>) -> Figure {
    let [with, without] = [&mut with, &mut without].map(|all| {
        all.sort_by(f64::total_cmp);
        let output: Vec<_> = all.iter().map(|time| format!("{time:.0}")).collect();
        (all[all.len() / 2], output.join(", "))
    });
    Figure {
        what: "added to a boot without user-data, nspawn: the whole start with cloud-config's units and with them \
               masked, in turn"
            .into(),
        target: "<= 30 ms".into(),
        measured: format!(
            "{:.0} ms: {:.0} ms ({}) against {:.0} ms ({})",
            with.0 - without.0,
            with.0,
            with.1,
            without.0,
            without.1
        ),
        command: "cargo xtask bench boot".into(),
    }
}

/// Arguments of the command on the machine.
pub fn show_command() -> Vec<String> {
    let properties = format!("--property=Id,{FROM},{TO}");
    ["systemctl", "show", &*properties].iter().chain(&UNITS).map(|word| (*word).to_owned()).collect()
}

/// Parses `systemctl show` of [`UNITS`]: microseconds, with an empty line between two units.
pub fn figure(output: &str, command: String) -> Result<Figure> {
    let mut all = Vec::new();
    for unit in UNITS {
        let of_unit = output.split("\n\n").find(|part| part.lines().any(|line| line == format!("Id={unit}")));
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
        target: "".into(),
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
    fn boots_are_compared_by_their_medians() {
        let boot = |to: u64| {
            whole_boot(&format!("UserspaceTimestampMonotonic=1000000\nFinishTimestampMonotonic={to}\n"))
        };
        assert!(boot(0).is_err(), "it has not finished");
        assert!(whole_boot("").is_err());
        let with = [1_730_000, 1_700_000, 1_900_000].map(|to| boot(to).unwrap()).to_vec();
        let figure = added_time(with, vec![710.0, 700.0, 720.0]);
        assert_eq!(figure.measured, "20 ms: 730 ms (700, 730, 900) against 710 ms (700, 710, 720)");
    }

    #[test]
    fn a_unit_that_was_not_started_is_no_figure() {
        assert!(figure(&SHOWN.replace("=1010000", "=0"), String::new()).is_err());
        assert!(figure(&SHOWN.replace("Id=user-configdrive.service", "Id=x"), String::new()).is_err());
        assert!(figure("", String::new()).is_err());
    }
}
