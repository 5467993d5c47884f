//! Processor virtualization of QEMU machines.

use serde::{Deserialize, Serialize};

/// The result of `acceleration`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "acceleration", rename_all = "lowercase")]
pub enum Acceleration {
    Kvm,
    Tcg {
        #[serde(rename = "why")]
        reason: String,
    },
}

impl Acceleration {
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg { .. } => "tcg",
        }
    }

    /// QEMU's options. TCG without la57 (deeper paging costs time), svm (each guest would load its own KVM), erms and
    /// fsrm (TCG emulates `rep stosb` byte by byte, and guests clear every page with it).
    #[must_use]
    pub fn arguments(&self) -> &'static [&'static str] {
        match self {
            Self::Kvm => &["-accel", "kvm", "-cpu", "host"],
            Self::Tcg { .. } => &["-accel", "tcg,thread=multi", "-cpu", "max,-la57,-svm,-erms,-fsrm"],
        }
    }

    /// Additional kernel arguments. On a busy host TCG guests wait longer for their disks than systemd's 90 s, and
    /// would roll back a good version; and the kernel's check that the timer interrupts in time fails, after which it
    /// hangs.
    #[must_use]
    pub fn kernel_arguments(&self) -> Option<&'static str> {
        match self {
            Self::Kvm => None,
            Self::Tcg { .. } => Some("systemd.default_device_timeout_sec=180 no_timer_check"),
        }
    }
}
