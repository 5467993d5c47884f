//! Scenarios, the machines that they run on, and their outcomes.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use image::programs::Profile;
use machines::cluster::{BackendKind, Datasource, Hardware};
use machines::image::Image;
use machines::machine::Machine;
use machines::site::{Background, Event, Site};
use machines::store::Layout;
use serde::Serialize;

use crate::failure::Failure;
use crate::slowdown::slowdown;

/// Limits for operations that include a boot, with a margin for a busy host. They do not bound the wait for
/// readiness.
const BOOT_QEMU: Duration = Duration::from_secs(480);
const BOOT_NSPAWN: Duration = Duration::from_secs(120);

/// The machines of one running scenario.
pub struct Context<'a> {
    pub site: &'a Site,
    pub backend: BackendKind,
    pub run: &'a Run,
}

impl<'a> Context<'a> {
    /// Limit for an operation that includes a boot on this back end.
    #[must_use]
    pub fn boot_limit(&self) -> Duration {
        match self.backend {
            BackendKind::Qemu => BOOT_QEMU,
            BackendKind::Nspawn => BOOT_NSPAWN,
        }
    }

    /// Whether the machines are emulated, and so much slower than the host.
    #[must_use]
    pub fn is_emulated(&self) -> bool {
        self.site.is_emulated()
    }

    /// Returns the machine with this number, from 1.
    #[must_use]
    pub fn machine(&self, number: usize) -> Machine<'a> {
        Machine::new(self.site, &format!("core-{number:02}"), self.site.default_limit(), slowdown)
    }

    /// Host path of the shared folder with this number, from 1.
    #[must_use]
    pub fn shared(&self, number: usize) -> PathBuf {
        shared(self.site.layout(), number)
    }

    /// Boots all machines concurrently, waits until they are ready, and returns how long each took.
    pub fn boot(&self) -> Result<Vec<Duration>, Failure> {
        let times = std::sync::Mutex::new(Vec::new());
        self.site.up(self.site.default_limit(), &|event| {
            if let Event::Ready { after, .. } = event {
                times.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(after);
            }
        })?;
        Ok(times.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

pub(crate) fn shared(layout: &Layout, number: usize) -> PathBuf {
    layout.root().join(format!("shared-{number}"))
}

/// Definition and requirements of a scenario.
#[derive(Debug)]
pub struct Scenario {
    pub name: &'static str,
    /// Completes the sentence "shows that ...".
    pub about: &'static str,
    pub nodes: usize,
    /// Number of machines that it boots in further clusters, as a user does.
    pub others: usize,
    pub on: &'static [BackendKind],
    /// Back ends on which it runs only with `--long` or by name: there it takes minutes, or adds nothing to shorter
    /// scenarios.
    pub long_on: &'static [BackendKind],
    /// Back ends on which it runs only by name: there a row (`scenarios/row.rs`) includes it, its result does not depend on
    /// the back end and every run covers it on nspawn, or it is a benchmark.
    pub by_name_on: &'static [BackendKind],
    pub user_data: Option<&'static str>,
    pub datasource: Datasource,
    /// Guest paths of the folders that the host shares with the machines; [`Context::shared`] is the host path.
    pub shared: &'static [&'static str],
    /// The machines reach the host's networks and name servers.
    pub outbound: bool,
    /// etcd uses TLS.
    pub tls: bool,
    /// The image is signed, and the firmware enforces Secure Boot.
    pub secure_boot: bool,
    /// Format of the image that the machines boot, as `image build --format` names it, if it is not the plain one.
    pub format: Option<&'static str>,
    /// Devices of QEMU machines.
    pub hardware: Hardware,
    /// GiB of a second, empty disk of QEMU machines.
    pub spare_disk_gib: Option<u32>,
    /// Additional arguments of QEMU.
    pub qemu_arguments: &'static [&'static str],
    pub run: fn(&Context<'_>) -> Result<(), Failure>,
}

/// Defaults: one machine, on both back ends, in every run.
pub const DEFAULTS: Scenario = Scenario {
    name: "",
    about: "",
    nodes: 1,
    others: 0,
    on: &[BackendKind::Nspawn, BackendKind::Qemu],
    long_on: &[],
    by_name_on: &[],
    user_data: None,
    datasource: Datasource::ConfigDrive,
    shared: &[],
    outbound: false,
    tls: false,
    secure_boot: false,
    format: None,
    hardware: Hardware::Virtio,
    spare_disk_gib: None,
    qemu_arguments: &[],
    run: |_| Ok(()),
};

#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase", tag = "result")]
pub enum Outcome {
    Passed,
    Failed { why: String, kept: PathBuf },
    Skipped { why: String },
}

/// Settings that all scenarios of a run share.
#[derive(Debug, Clone)]
pub struct Run {
    pub image: Image,
    /// Build profile of the programs in images that scenarios build.
    pub profile: Profile,
    /// Folder in which each scenario gets its own.
    pub state: PathBuf,
    pub background: Background,
    pub cancel: Arc<AtomicBool>,
}
