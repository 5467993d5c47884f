//! States of pods, and the folder that shows each.

use std::fmt;

/// A pod's state, with rkt's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PodState {
    /// Its folder is being created.
    Embryo,
    /// Its images are unpacked and its manifest is written.
    Preparing,
    /// The preparation was interrupted.
    AbortedPrepare,
    /// `run-prepared` starts it.
    Prepared,
    /// A process holds its lock.
    Running,
    /// It ran.
    Exited,
    /// A collection of garbage marked it.
    ExitedGarbage,
    /// It is being removed.
    Deleting,
    /// Its removal was interrupted, or it never ran.
    Garbage,
}

impl PodState {
    /// The state that a folder and its lock show. `None` for a folder that holds no pods.
    #[must_use]
    pub fn of(folder: &str, locked: bool) -> Option<Self> {
        Some(match (folder, locked) {
            ("embryo", _) => Self::Embryo,
            ("prepare", true) => Self::Preparing,
            ("prepare", false) => Self::AbortedPrepare,
            ("prepared", _) => Self::Prepared,
            ("run", true) => Self::Running,
            ("run", false) => Self::Exited,
            ("exited-garbage" | "garbage", true) => Self::Deleting,
            ("exited-garbage", false) => Self::ExitedGarbage,
            ("garbage", false) => Self::Garbage,
            _ => return None,
        })
    }

    /// Whether a process works on the pod.
    #[must_use]
    pub fn is_busy(self) -> bool {
        matches!(self, Self::Preparing | Self::Running | Self::Deleting)
    }

    /// Whether the pod's apps have run to their end.
    #[must_use]
    pub fn has_exited(self) -> bool {
        matches!(self, Self::Exited | Self::ExitedGarbage)
    }
}

impl fmt::Display for PodState {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.pad(match self {
            Self::Embryo => "embryo",
            Self::Preparing => "preparing",
            Self::AbortedPrepare => "aborted prepare",
            Self::Prepared => "prepared",
            Self::Running => "running",
            Self::Exited => "exited",
            Self::ExitedGarbage => "exited garbage",
            Self::Deleting => "deleting",
            Self::Garbage => "garbage",
        })
    }
}
