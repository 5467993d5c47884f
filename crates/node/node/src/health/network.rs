//! Whether the network is online, by networkd's state file.

use std::fs;

use super::check::{Check, State};
use super::good_boot::GoodBoot;
use crate::root::Root;

const STATE: &str = "/run/systemd/netif/state";
const NAME: &str = "network";

/// `None` if networkd does not run.
pub fn online(root: &Root) -> Option<bool> {
    let text = fs::read_to_string(root.at(STATE)).ok()?;
    let state = text.lines().find_map(|line| line.strip_prefix("ONLINE_STATE="))?;
    // Partial: some of the required links are online, as on a node without its second cable.
    Some(matches!(state, "online" | "partial"))
}

pub fn check(good_boot: Option<&GoodBoot>, now: Option<bool>) -> Check {
    match (good_boot.and_then(|good_boot| good_boot.online), now) {
        (Some(true), Some(false)) => {
            Check::new(NAME, State::Failed, "offline, but was online in the last good boot")
        }
        (Some(true), None) => Check::new(
            NAME,
            State::Failed,
            "systemd-networkd reports no state, but did in the last good boot",
        ),
        (_, Some(true)) => Check::new(NAME, State::Passed, "online"),
        (Some(false), _) => Check::new(NAME, State::Skipped, "the last good boot was also offline"),
        (None, _) => Check::new(NAME, State::Skipped, "no record of a good boot with a network"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_previously_online_machine_must_be_online() {
        for (before, now, expected) in [
            (Some(true), Some(true), State::Passed),
            (Some(true), Some(false), State::Failed),
            (Some(true), None, State::Failed),
            (Some(false), Some(false), State::Skipped),
            (Some(false), None, State::Skipped),
            (Some(false), Some(true), State::Passed),
            (None, Some(false), State::Skipped),
            (None, None, State::Skipped),
        ] {
            let good_boot = GoodBoot { online: before, ..GoodBoot::default() };
            assert_eq!(check(Some(&good_boot), now).state, expected, "{before:?} {now:?}");
        }
        assert_eq!(check(None, Some(false)).state, State::Skipped);
    }

    #[test]
    fn reads_networkd_state() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::from(folder.path());
        assert_eq!(online(&root), None);
        fs::create_dir_all(root.at("/run/systemd/netif")).unwrap();
        for (text, expected) in [
            ("OPER_STATE=routable\nONLINE_STATE=online\n", Some(true)),
            ("ONLINE_STATE=partial\n", Some(true)),
            ("ONLINE_STATE=offline\n", Some(false)),
            ("OPER_STATE=routable\n", None),
        ] {
            fs::write(root.at(STATE), text).unwrap();
            assert_eq!(online(&root), expected, "{text}");
        }
    }
}
