//! The state that DHCP, TFTP and HTTP share.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::Mutex;
use service::reload::Reloading;
use tokio::sync::Semaphore;

use crate::catalog::{Catalog, Loaders, ScanError, scan};
use crate::dhcp::lease::{Leases, Range};
use crate::dhcp::reply::{self, Ignored, Network, Selection};
use crate::installed::{Installed, InstalledError};
use crate::lease_file::{LeaseFile, LeaseFileError};
use crate::limits::{DOWNLOADS, MACHINES, USER_DATA_BYTES};
use crate::machine::{Identity, Mac};
use crate::progress::{Event, Machines, Stage, Step};
use crate::query::Query;
use crate::rule_file::{ReadRulesError, read_limited, read_rules};
use crate::rules::{Boot, FileSet, ImageChoice, Rule, Rules};
use crate::tftp::server::Source;
use crate::{script, user_data};

/// Name of the script that iPXE on UEFI looks for where it was loaded from.
const AUTOEXEC: &str = "autoexec.ipxe";

/// Receives each event.
pub type Report = Box<dyn Fn(&Event) + Send + Sync>;

/// Configuration of a server.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The address at which machines reach the server.
    pub address: Ipv4Addr,
    /// The port of HTTP.
    pub http_port: u16,
    /// The folder of live images.
    pub images: PathBuf,
    /// The folder of iPXE's programs.
    pub ipxe: PathBuf,
    /// The file of rules; without it all machines boot the newest image.
    pub rules: Option<PathBuf>,
    /// User-data of all machines, without rules.
    pub user_data: Option<PathBuf>,
    /// The folder of installed machines and leases.
    pub state: PathBuf,
    /// The lab network whose DHCP server this is.
    pub lab: Option<(Range, Network)>,
}

/// Why a server cannot start.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum OpenError {
    #[error("cannot use the folder of images")]
    Images(#[from] ScanError),
    #[error(transparent)]
    Rules(#[from] ReadRulesError),
    #[error("cannot use the folder of the state")]
    Installed(#[from] InstalledError),
    #[error("cannot use the leases")]
    Leases(#[from] LeaseFileError),
    #[error("cannot write {path}")]
    Script { path: PathBuf, source: io::Error },
}

/// What a machine boots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Its disk.
    Disk,
    /// A kernel.
    Kernel(FileSet),
    /// Nothing, for this reason.
    Missing(String),
}

/// What became of a machine's report.
#[derive(Debug)]
pub enum Reported {
    /// It is recorded.
    Yes,
    /// The report has no MAC address.
    NoMac,
    /// No rule installs the machine.
    NoRule,
    /// It cannot be recorded.
    Failed(InstalledError),
}

/// A server.
pub struct Server {
    pub(crate) dhcp: reply::Server,
    pub(crate) lab: Option<LabNetwork>,
    /// Downloads in progress.
    pub(crate) downloads: Arc<Semaphore>,
    pub(crate) machines: Mutex<Machines>,
    catalog: Reloading<Catalog, ScanError>,
    rules: RulesSource,
    loaders: Loaders,
    /// The file [`AUTOEXEC`].
    autoexec: PathBuf,
    installed: Installed,
    ignored: Mutex<BTreeMap<&'static str, u64>>,
    warned: Mutex<BTreeSet<(Mac, Ignored)>>,
    report: Report,
}

/// The lab network whose DHCP server this is.
pub(crate) struct LabNetwork {
    pub network: Network,
    pub leases: Mutex<Leases>,
    pub file: LeaseFile,
}

enum RulesSource {
    Fixed(Arc<Rules>),
    File(Reloading<Rules, ReadRulesError>),
}

impl Server {
    /// Reads files and rules. Blocks: call it at startup only.
    ///
    /// # Errors
    /// A folder or the rules cannot be used.
    pub fn open(settings: Settings, report: Report) -> Result<Self, OpenError> {
        let images = settings.images.clone();
        let catalog = Reloading::new(vec![images.clone()], move || scan(&images))?;
        let rules = match settings.rules {
            None => RulesSource::Fixed(Arc::new(Rules::live(settings.user_data))),
            Some(path) => RulesSource::File(Reloading::new(vec![path.clone()], move || read_rules(&path))?),
        };
        let loaders = Loaders::find(&settings.ipxe);
        let dhcp = dhcp_contents(settings.address, settings.http_port, &loaders);
        let lab = settings.lab.map(|(range, network)| {
            let file = LeaseFile::new(&settings.state);
            let leases = Leases::new(range, settings.address).with_records(&file.read()?);
            Ok::<_, LeaseFileError>(LabNetwork { network, leases: Mutex::new(leases), file })
        });
        let installed = Installed::open(&settings.state.join("installed"))?;
        let autoexec = settings.state.join(AUTOEXEC);
        service::file::replace(&autoexec, script::autoexec(&dhcp.url).as_bytes(), 0o644)
            .map_err(|source| OpenError::Script { path: autoexec.clone(), source })?;
        Ok(Self {
            installed,
            lab: lab.transpose()?,
            downloads: Arc::new(Semaphore::new(DOWNLOADS)),
            machines: Mutex::default(),
            catalog,
            rules,
            loaders,
            autoexec,
            dhcp,
            ignored: Mutex::default(),
            warned: Mutex::default(),
            report,
        })
    }

    /// `http://10.9.0.1:8042`
    #[must_use]
    pub fn url(&self) -> &str {
        &self.dhcp.url
    }

    /// The loaders that were found.
    #[must_use]
    pub fn loaders(&self) -> &Loaders {
        &self.loaders
    }

    /// The files of the folder of images.
    #[must_use]
    pub fn catalog(&self) -> Arc<Catalog> {
        self.catalog.current()
    }

    fn rules(&self) -> Arc<Rules> {
        match &self.rules {
            RulesSource::Fixed(rules) => Arc::clone(rules),
            RulesSource::File(file) => file.current(),
        }
    }

    /// What DHCP answers. The serial number is not known yet: a rule that needs it may apply later.
    pub(crate) fn selection(&self, machine: &Identity<'_>) -> Selection {
        let rules = self.rules();
        let rule = rules.find(machine);
        let target = self.target(rule, machine.mac);
        match target {
            Target::Disk if rules.is_final(machine) => Selection::Disk,
            Target::Kernel(files) => {
                Selection::Network { uki: files.uki, prefers_uki: rule.is_some_and(|rule| rule.prefers_uki) }
            }
            Target::Disk | Target::Missing(_) => Selection::Network { uki: None, prefers_uki: false },
        }
    }

    fn target(&self, rule: Option<&Rule>, mac: Option<Mac>) -> Target {
        let Some(rule) = rule else { return Target::Disk };
        let is_installed = || mac.is_some_and(|mac| self.installed.has(mac));
        match rule.boot {
            Boot::Disk => return Target::Disk,
            Boot::Install { once: true, .. } if is_installed() => return Target::Disk,
            Boot::Install { .. } | Boot::Live => {}
        }
        resolve(&rule.image, &self.catalog.current())
    }

    /// iPXE's script for a machine.
    pub(crate) fn script(&self, query: &Query, from: IpAddr) -> String {
        let rules = self.rules();
        let rule = rules.find(&query.identity());
        let (stage, detail, text) = match (self.target(rule, query.mac), rule) {
            (Target::Kernel(files), Some(rule)) => {
                let initrds: Vec<&str> = files.initrds.iter().map(String::as_str).collect();
                match script::command_line(rule, self.url(), &initrds, query) {
                    Ok(line) => {
                        let text = script::kernel(self.url(), &files.kernel, &initrds, &line);
                        let what = if matches!(rule.boot, Boot::Install { .. }) { "install" } else { "live" };
                        (Stage::Script, format!("{what} {}", files.kernel), text)
                    }
                    Err(error) => (Stage::Script, error.to_string(), script::failure(&error.to_string())),
                }
            }
            (Target::Missing(why), _) => (Stage::Script, why.clone(), script::failure(&why)),
            (Target::Disk | Target::Kernel(_), _) => (Stage::Disk, String::new(), script::disk()),
        };
        if let Some(mac) = query.mac {
            self.record(mac, &Step { stage, detail: &detail, is_first: false, from: Some(from) });
            self.machines.lock().describe(mac, query);
        }
        text
    }

    /// A machine's user-data; `None` if no rule has one.
    ///
    /// # Errors
    /// The file cannot be read, or is too large.
    pub(crate) fn user_data(&self, query: &Query) -> io::Result<Option<Vec<u8>>> {
        let rules = self.rules();
        let path = rules.find(&query.identity()).and_then(|rule| rule.user_data.as_deref());
        let Some(path) = path else { return Ok(None) };
        let template = read_limited(path, USER_DATA_BYTES)?;
        Ok(Some(user_data::render(&template, query, self.url())))
    }

    /// A machine reports that it is installed, or has booted.
    pub(crate) fn reported(&self, query: &Query, stage: Stage) -> Reported {
        let Some(mac) = query.mac else { return Reported::NoMac };
        if stage == Stage::Installed {
            let rules = self.rules();
            match rules.find(&query.identity()).map(|rule| &rule.boot) {
                Some(Boot::Install { once: true, .. }) => {
                    if let Err(error) = self.installed.add(mac, &Timestamp::now().to_string()) {
                        return Reported::Failed(error);
                    }
                }
                Some(Boot::Install { once: false, .. }) => {}
                _ => return Reported::NoRule,
            }
        }
        self.record(mac, &Step { stage, detail: "", is_first: false, from: None });
        Reported::Yes
    }

    /// The path of a file for HTTP.
    pub(crate) fn file(&self, name: &str) -> Option<PathBuf> {
        let (catalog, rules) = (self.catalog.current(), self.rules());
        let file = self.loader_file(name).or_else(|| catalog.path(name, |name| rules.names(name)));
        file.map(Path::to_owned)
    }

    /// A loader, or the script that it loads from its own folder.
    fn loader_file(&self, name: &str) -> Option<&Path> {
        if name == AUTOEXEC { Some(&self.autoexec) } else { self.loaders.path(name) }
    }

    /// A machine loaded a file.
    pub(crate) fn loaded(&self, from: IpAddr, name: &str) {
        let stage = match name {
            AUTOEXEC => return,
            name if name.ends_with(".kpxe") => Stage::Loader,
            name if self.loaders.path(name).is_some() => Stage::Loader,
            name if name.contains("vmlinuz") || name.ends_with(".efi") => Stage::Kernel,
            _ => Stage::Initrd,
        };
        let mac = self.machines.lock().at(from);
        if let Some(mac) = mac {
            self.record(mac, &Step { stage, detail: name, is_first: false, from: Some(from) });
        }
    }

    pub(crate) fn record(&self, mac: Mac, step: &Step<'_>) {
        let event = self.machines.lock().record(mac, step, now());
        if let Some(event) = event {
            (self.report)(&event);
        }
    }

    /// Counts a packet without an answer. The operator learns once per machine what is to be done.
    pub(crate) fn count(&self, reason: &'static str) {
        *self.ignored.lock().entry(reason).or_default() += 1;
    }

    pub(crate) fn warn(&self, mac: Mac, why: Ignored) {
        let mut warned = self.warned.lock();
        if warned.len() < MACHINES && warned.insert((mac, why)) {
            tracing::warn!(%mac, "no answer to a DHCP request: {why}");
        }
    }

    /// Packets without an answer, by reason.
    pub(crate) fn ignored(&self) -> BTreeMap<&'static str, u64> {
        self.ignored.lock().clone()
    }
}

impl Source for Server {
    fn find(&self, name: &str) -> Option<PathBuf> {
        let (catalog, rules) = (self.catalog.current(), self.rules());
        let file = self.loader_file(name).or_else(|| catalog.uki_path(name, |name| rules.names(name)));
        file.map(Path::to_owned)
    }

    fn sent(&self, client: IpAddr, name: &str) {
        self.loaded(client, name.trim_start_matches('/'));
    }
}

fn resolve(image: &ImageChoice, catalog: &Catalog) -> Target {
    match image {
        ImageChoice::Newest { version, channel } => {
            match catalog.image(version.as_deref(), channel.as_deref()) {
                Some(image) => Target::Kernel(FileSet {
                    kernel: image.kernel.clone(),
                    initrds: vec![image.initrd.clone()],
                    uki: image.uki.clone(),
                }),
                None => {
                    let any = "any".to_owned();
                    Target::Missing(format!(
                        "no image of version {} and channel {} is complete",
                        version.as_ref().unwrap_or(&any),
                        channel.as_ref().unwrap_or(&any)
                    ))
                }
            }
        }
        ImageChoice::Files(set) => {
            let mut names = std::iter::once(&set.kernel).chain(&set.initrds).chain(&set.uki);
            match names.find(|name| !catalog.has(name)) {
                Some(missing) => Target::Missing(format!("no file {missing} in the folder of images")),
                None => Target::Kernel(set.clone()),
            }
        }
    }
}

/// What DHCP's answers contain.
#[must_use]
pub fn dhcp_contents(address: Ipv4Addr, http_port: u16, loaders: &Loaders) -> reply::Server {
    reply::Server {
        address,
        url: if http_port == 80 {
            format!("http://{address}")
        } else {
            format!("http://{address}:{http_port}")
        },
        bios_loader: loaders.bios().map(str::to_owned),
        efi_loader: loaders.efi().map(str::to_owned),
    }
}

/// Unix time in seconds.
pub(crate) fn now() -> u64 {
    u64::try_from(Timestamp::now().as_second()).unwrap_or_default()
}
