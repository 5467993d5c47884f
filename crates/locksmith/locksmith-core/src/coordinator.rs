//! `/run/update-engine/coordinator.conf`: the daemon that coordinates reboots on this machine, and its state.

use std::fmt;

use crate::strategy::Strategy;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Starting,
    Running,
    /// The daemon runs but never reboots.
    Disabled,
    RebootPlanned,
    Rebooting,
}

impl fmt::Display for State {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Disabled => "disabled",
            Self::RebootPlanned => "reboot-planned",
            Self::Rebooting => "rebooting",
        })
    }
}

/// The contents of the file: shell assignments, without a final newline, as locksmith writes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Coordinator {
    pub strategy: Strategy,
    pub state: State,
}

impl fmt::Display for Coordinator {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "NAME=locksmithd\nSTRATEGY={}\nSTATE={}", self.strategy, self.state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_format() {
        let file = Coordinator { strategy: Strategy::EtcdLock, state: State::RebootPlanned };
        assert_eq!(file.to_string(), "NAME=locksmithd\nSTRATEGY=etcd-lock\nSTATE=reboot-planned");
        let states = [State::Starting, State::Running, State::Disabled, State::Rebooting];
        assert_eq!(states.map(|state| state.to_string()), ["starting", "running", "disabled", "rebooting"]);
    }
}
