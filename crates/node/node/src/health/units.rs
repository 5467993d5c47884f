//! Unit checks: whether the boot has finished, and whether units failed that had not in the last good boot.

use super::check::{Check, State};
use super::good_boot::GoodBoot;

/// Not judged: the units that run these checks, and the one that loads the operator's firewall files.
const OWN: [&str; 4] = [
    "keelson-firewall.service",
    "keelson-health-check.service",
    "keelson-health-reboot.service",
    "systemd-bless-boot.service",
];
/// Names in a message; further ones are counted.
const MAX_NAMES: usize = 5;

/// `target` is the default target, `jobs` the running jobs.
pub fn check_boot(target: &str, active: &str, jobs: &[String]) -> Check {
    if active == "active" {
        return Check::new("boot", State::Passed, format!("{target} is active"));
    }
    let reason = match jobs {
        [] => format!("{target} is {active}, and no jobs are pending"),
        _ => format!("{target} is {active}; pending jobs: {}", format_names(jobs)),
    };
    Check::new("boot", State::Failed, reason)
}

/// The failed units without the own ones.
pub fn without_own_units(failed: &[String]) -> Vec<String> {
    failed.iter().filter(|name| !OWN.contains(&name.as_str())).cloned().collect()
}

/// `restarted`: services restarted since the last round.
pub fn check(good: Option<&GoodBoot>, failed: &[String], restarted: &[String]) -> Check {
    if !restarted.is_empty() {
        let reason = format!("restarted by systemd since the last check: {}", format_names(restarted));
        return Check::new("units", State::Failed, reason);
    }
    let Some(good) = good else {
        let reason = match failed {
            [] => "none failed".to_owned(),
            _ => format!("no record of a good boot, so these failures are ignored: {}", format_names(failed)),
        };
        return Check::new("units", State::Passed, reason);
    };
    let new: Vec<_> = failed.iter().filter(|name| !good.failed_units.contains(name)).cloned().collect();
    match (new.as_slice(), failed) {
        ([], []) => Check::new("units", State::Passed, "none failed"),
        ([], _) => Check::new("units", State::Passed, format!("failed as before: {}", format_names(failed))),
        (new, _) => {
            let reason = format!("failed, but not in the last good boot: {}", format_names(new));
            Check::new("units", State::Failed, reason)
        }
    }
}

fn format_names(names: &[String]) -> String {
    let mut text = names.iter().take(MAX_NAMES).map(String::as_str).collect::<Vec<_>>().join(", ");
    if names.len() > MAX_NAMES {
        text.push_str(&format!(" and {} more", names.len() - MAX_NAMES));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|word| (*word).to_owned()).collect()
    }

    fn checked(before: Option<&[&str]>, now: &[&str], state: State, reason: &str) {
        let good = before.map(|failed| GoodBoot { failed_units: names(failed), ..GoodBoot::default() });
        let check = check(good.as_ref(), &without_own_units(&names(now)), &[]);
        assert_eq!((check.state, check.reason.as_str()), (state, reason));
    }

    #[test]
    fn only_new_failures_count() {
        checked(None, &[], State::Passed, "none failed");
        checked(
            None,
            &["a.service"],
            State::Passed,
            "no record of a good boot, so these failures are ignored: a.service",
        );
        checked(Some(&["a.service"]), &[], State::Passed, "none failed");
        checked(Some(&["a.service"]), &["a.service"], State::Passed, "failed as before: a.service");
        checked(
            Some(&["a.service"]),
            &["a.service", "b.service"],
            State::Failed,
            "failed, but not in the last good boot: b.service",
        );
        checked(Some(&[]), &["keelson-health-check.service"], State::Passed, "none failed");
        checked(
            Some(&[]),
            &["1", "2", "3", "4", "5", "6", "7"],
            State::Failed,
            "failed, but not in the last good boot: 1, 2, 3, 4, 5 and 2 more",
        );
    }

    #[test]
    fn unfinished_boot_names_its_running_jobs() {
        assert_eq!(check_boot("multi-user.target", "active", &[]).state, State::Passed);
        let check = check_boot("multi-user.target", "inactive", &names(&["etcd.service"]));
        assert_eq!(check.state, State::Failed);
        assert_eq!(check.reason, "multi-user.target is inactive; pending jobs: etcd.service");
        let check = check_boot("multi-user.target", "inactive", &[]);
        assert_eq!(check.reason, "multi-user.target is inactive, and no jobs are pending");
    }
}
