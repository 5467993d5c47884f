//! On what the processors of QEMU machines run.

use serde::{Deserialize, Serialize};

/// What `acceleration` finds out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "acceleration", rename_all = "lowercase")]
pub enum Acceleration {
    Kvm,
    Tcg { why: String },
}

impl Acceleration {
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg { .. } => "tcg",
        }
    }

    /// QEMU's options. TCG without la57, whose deeper paging costs time for nothing, without svm, which would have each
    /// guest load its own KVM, and without erms and fsrm: it emulates their `rep stosb` byte by byte, and guests clear
    /// every page with it.
    #[must_use]
    pub fn arguments(&self) -> &'static [&'static str] {
        match self {
            Self::Kvm => &["-accel", "kvm", "-cpu", "host"],
            Self::Tcg { .. } => &["-accel", "tcg,thread=multi", "-cpu", "max,-la57,-svm,-erms,-fsrm"],
        }
    }

    /// What the kernel is told more. On a busy host TCG's guests wait for their disks longer than systemd's 90 s, and
    /// would take a good version for one that does not boot.
    #[must_use]
    pub fn kernel_words(&self) -> Option<&'static str> {
        match self {
            Self::Kvm => None,
            Self::Tcg { .. } => Some("systemd.default_device_timeout_sec=180"),
        }
    }
}
