//! The units of this boot: whether it is over, and whether one failed that did not in the last good boot.

use super::check::{Check, State};
use super::good::GoodBoot;

/// What judges must not judge itself.
const OWN: [&str; 3] =
    ["keelson-health-check.service", "keelson-health-reboot.service", "systemd-bless-boot.service"];
/// Names in a message; the rest is counted.
const NAMES_MAX: usize = 5;

/// `target` is what systemd boots into, `jobs` what it is busy with.
pub fn boot(target: &str, active: &str, jobs: &[String]) -> Check {
    if active == "active" {
        return Check::new("boot", State::Passed, format!("{target} is reached"));
    }
    let why = match jobs {
        [] => format!("{target} is {active}, and nothing is on the way to it"),
        _ => format!("{target} is {active}; still on the way: {}", listed(jobs)),
    };
    Check::new("boot", State::Failed, why)
}

/// Failed units that count: all but those that judge.
pub fn counted(failed: &[String]) -> Vec<String> {
    failed.iter().filter(|name| !OWN.contains(&name.as_str())).cloned().collect()
}

/// `restarted`: services that systemd restarted since the last check.
pub fn check(good: Option<&GoodBoot>, failed: &[String], restarted: &[String]) -> Check {
    if !restarted.is_empty() {
        let why = format!("restarted by systemd since the last check: {}", listed(restarted));
        return Check::new("units", State::Failed, why);
    }
    let Some(good) = good else {
        let why = match failed {
            [] => "none failed".to_owned(),
            _ => format!("there was no good boot before, so these count as usual: {}", listed(failed)),
        };
        return Check::new("units", State::Passed, why);
    };
    let new: Vec<_> = failed.iter().filter(|name| !good.failed_units.contains(name)).cloned().collect();
    match (new.as_slice(), failed) {
        ([], []) => Check::new("units", State::Passed, "none failed"),
        ([], _) => Check::new("units", State::Passed, format!("failed as before: {}", listed(failed))),
        (new, _) => {
            let why = format!("failed, and had not in the last good boot: {}", listed(new));
            Check::new("units", State::Failed, why)
        }
    }
}

fn listed(names: &[String]) -> String {
    let mut text = names.iter().take(NAMES_MAX).map(String::as_str).collect::<Vec<_>>().join(", ");
    if names.len() > NAMES_MAX {
        text.push_str(&format!(" and {} more", names.len() - NAMES_MAX));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    fn checked(before: Option<&[&str]>, now: &[&str], state: State, why: &str) {
        let good = before.map(|failed| GoodBoot { failed_units: names(failed), ..GoodBoot::default() });
        let check = check(good.as_ref(), &counted(&names(now)), &[]);
        assert_eq!((check.state, check.why.as_str()), (state, why));
    }

    #[test]
    fn only_what_failed_newly_counts() {
        checked(None, &[], State::Passed, "none failed");
        checked(
            None,
            &["a.service"],
            State::Passed,
            "there was no good boot before, so these count as usual: a.service",
        );
        checked(Some(&["a.service"]), &[], State::Passed, "none failed");
        checked(Some(&["a.service"]), &["a.service"], State::Passed, "failed as before: a.service");
        checked(
            Some(&["a.service"]),
            &["a.service", "b.service"],
            State::Failed,
            "failed, and had not in the last good boot: b.service",
        );
        checked(Some(&[]), &["keelson-health-check.service"], State::Passed, "none failed");
        checked(
            Some(&[]),
            &["1", "2", "3", "4", "5", "6", "7"],
            State::Failed,
            "failed, and had not in the last good boot: 1, 2, 3, 4, 5 and 2 more",
        );
    }

    #[test]
    fn a_boot_that_is_not_over_names_what_holds_it_up() {
        assert_eq!(boot("multi-user.target", "active", &[]).state, State::Passed);
        let check = boot("multi-user.target", "inactive", &names(&["etcd.service"]));
        assert_eq!(check.state, State::Failed);
        assert_eq!(check.why, "multi-user.target is inactive; still on the way: etcd.service");
        let check = boot("multi-user.target", "inactive", &[]);
        assert_eq!(check.why, "multi-user.target is inactive, and nothing is on the way to it");
    }
}
