//! Whether the network is up, as networkd tells it to anybody who reads its file.

use std::fs;

use super::check::{Check, State};
use super::good::GoodBoot;
use crate::root::Root;

const STATE: &str = "/run/systemd/netif/state";
const NAME: &str = "network";

/// None where networkd does not run.
pub fn online(root: &Root) -> Option<bool> {
    let text = fs::read_to_string(root.at(STATE)).ok()?;
    let word = text.lines().find_map(|line| line.strip_prefix("ONLINE_STATE="))?;
    // Partial: some of the links that count, as a node without its second cable.
    Some(matches!(word, "online" | "partial"))
}

pub fn check(good: Option<&GoodBoot>, now: Option<bool>) -> Check {
    match (good.and_then(|good| good.online), now) {
        (Some(true), Some(false)) => {
            Check::new(NAME, State::Failed, "it is offline, and was online in the last good boot")
        }
        (Some(true), None) => Check::new(
            NAME,
            State::Failed,
            "systemd-networkd does not tell its state, and did in the last good boot",
        ),
        (_, Some(true)) => Check::new(NAME, State::Passed, "online"),
        (Some(false), _) => Check::new(NAME, State::Skipped, "the last good boot was offline, too"),
        (None, _) => Check::new(NAME, State::Skipped, "no good boot before tells that it should be online"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_online_before_has_to_be_online() {
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
            let good = GoodBoot { online: before, ..GoodBoot::default() };
            assert_eq!(check(Some(&good), now).state, expected, "{before:?} {now:?}");
        }
        assert_eq!(check(None, Some(false)).state, State::Skipped);
    }

    #[test]
    fn networkd_s_file_is_read() {
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
