//! `REBOOT_STRATEGY`: what a reboot requires.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Strategy {
    /// Reboot without a lock.
    #[default]
    Reboot,
    EtcdLock,
    /// Take the lock if an etcd runs on this machine.
    BestEffort,
    /// Never reboot.
    Off,
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("unknown strategy: {0}: use reboot, etcd-lock, best-effort or off")]
pub struct UnknownStrategy(pub String);

const ALL: [(Strategy, &str); 4] = [
    (Strategy::Reboot, "reboot"),
    (Strategy::EtcdLock, "etcd-lock"),
    (Strategy::BestEffort, "best-effort"),
    (Strategy::Off, "off"),
];

impl FromStr for Strategy {
    type Err = UnknownStrategy;

    /// An empty text is `reboot`, as since locksmith 0.6.
    fn from_str(text: &str) -> Result<Self, UnknownStrategy> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let found = ALL.iter().find(|(_, name)| *name == text);
        found.map(|(strategy, _)| *strategy).ok_or_else(|| UnknownStrategy(text.to_owned()))
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = ALL.iter().find(|(strategy, _)| strategy == self).map_or("", |(_, name)| name);
        to.write_str(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (strategy, name) in ALL {
            assert_eq!(name.parse(), Ok(strategy));
            assert_eq!(strategy.to_string(), name);
        }
        assert_eq!("".parse(), Ok(Strategy::Reboot));
        for bad in ["Reboot", " off", "etcd"] {
            assert_eq!(bad.parse::<Strategy>(), Err(UnknownStrategy(bad.into())));
        }
    }
}
