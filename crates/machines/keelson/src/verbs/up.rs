//! `keelson up`: from a checkout to running machines.

mod boot_estimate;
mod image;
mod security;
mod user_data;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use machines::acceleration::Acceleration;
use machines::cluster::{BackendKind, Cluster, ClusterSpec, Datasource, SharedFolder};
use machines::process::Process;
use machines::site::Site;
use machines::spec_change::SpecChange;
use machines::store::read_limited;
use serde_json::{Value, json};

use boot_estimate::{BootTimes, MachineKind};

use super::boot_progress::{BootProgress, with_boot_progress};
use super::doctor;
use super::not_ready::not_ready_error;
use crate::boot_image;
use crate::config_rb::{self, ConfigRb};
use crate::context::{Context, interrupt};
use crate::failure::UsageError;
use crate::global::{self, WaitFlags};
use crate::output;

#[derive(Debug, clap::Args)]
pub struct Flags {
    /// Number of machines [default: that of config.rb or of the existing cluster, or 3]
    #[arg(long, value_name = "N")]
    nodes: Option<usize>,
    #[command(flatten)]
    image: image::Flags,
    /// Cloud-config or script for the machines [default: ./user-data, or the sample]
    #[arg(long, value_name = "FILE")]
    user_data: Option<PathBuf>,
    /// Settings file [default: ./config.rb]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Back end: qemu or nspawn [default: that of the existing cluster, or qemu]
    #[arg(long, value_name = "BACKEND", value_parser = global::backend)]
    on: Option<BackendKind>,
    /// Datasource of user-data on QEMU: config-drive, or fw-cfg (without the cluster's SSH key) [default:
    /// config-drive]
    #[arg(long, value_name = "WAY")]
    datasource: Option<Datasource>,
    /// Memory of each machine
    #[arg(long, value_name = "MIB")]
    memory: Option<u32>,
    /// Discovery URL for etcd [default: that of the cluster's own discovery service on this host]
    #[arg(long, value_name = "URL")]
    discovery: Option<String>,
    /// Let machines reach each other and what this host offers them only, and no other network
    #[arg(long)]
    isolated: bool,
    /// Use TLS with client certificates for etcd; only for new clusters
    #[arg(long)]
    tls: bool,
    /// Enable Secure Boot; only for new clusters, needs a signed image (image build --sign)
    #[arg(long)]
    secure_boot: bool,
    /// Also apply the user-data to running machines; unchanged parts are not touched
    #[arg(long)]
    provision: bool,
    /// Boot the machines even if the user-data is invalid
    #[arg(long)]
    no_validate: bool,
    #[command(flatten)]
    waiting: WaitFlags,
}

pub fn run(context: &Context, flags: &Flags) -> anyhow::Result<ExitCode> {
    let config = read_config(context, flags)?;
    let existing = context.layout()?.load()?;
    let mut spec = spec(flags, &config, existing.as_ref());
    let backend = spec.backend;
    spec.shared = shared(&config)?;
    spec.check()?;
    security::warnings(&spec).iter().for_each(|warning| context.progress.note(warning));
    let user_data = user_data::read(context, flags.user_data.as_deref(), !flags.no_validate)?;
    if spec.datasource == Datasource::FwCfg && user_data.is_none() {
        return Err(UsageError("--datasource fw-cfg needs user-data".to_owned()).into());
    }
    let cancel = interrupt()?;
    let lock = context.lock("up", &cancel)?;
    ensure_requirements(context, backend)?;
    let started = Instant::now();
    let (image, from) = image::find(context, &flags.image, backend, &config, &cancel)?;
    let image_json = from.to_json(&image);
    let build = started.elapsed();
    let server = image::server(context, &flags.image, &config)?;
    security::check_image(context.layout()?.load()?.as_ref(), &image, &spec)?;
    let (spec_change, background) = (spec_change(flags, &config), context.background.clone());
    let site = Site::create(context.layout()?, lock, image, &spec, &spec_change, background, cancel)?;
    for ignored in site.ignored() {
        context.progress.note(&format!("warning: {ignored}"));
    }
    security::check_machines(&site.cluster(), &spec)?;
    if let Some(url) = &flags.discovery {
        site.set_discovery(url)?;
    }
    if let Some(server) = &server {
        site.set_update_server(&server.url, server.registration.as_deref())?;
    }
    if let Some(Acceleration::Tcg { reason }) = site.acceleration()? {
        context.progress.note(&format!("machines are emulated: {reason}"));
    }
    remove_unused(&site)?;
    let started = Instant::now();
    boot(context, &site, user_data.as_deref(), flags)?;
    finish(context, &site, image_json, (build, started.elapsed()))
}

/// Removes kept images that no machine of the cluster needs.
fn remove_unused(site: &Site) -> anyhow::Result<()> {
    let cluster = site.cluster();
    let image = &cluster.image;
    let raws = cluster.nodes.iter().filter_map(|node| node.made_from.as_deref());
    let used: Vec<&Path> =
        raws.chain([&*image.raw, &*image.usr_erofs, &*image.usr_tree, &*image.tools]).collect();
    let runs = cluster.nodes.iter().any(|node| node.process.is_some_and(Process::alive));
    boot_image::remove_unused(site.layout().root(), &used, runs)
}

/// Checks the host's requirements; installs missing packages.
fn ensure_requirements(context: &Context, backend: BackendKind) -> anyhow::Result<()> {
    let step = context.progress.step("needs");
    let missing = |report: &doctor::Report| -> Vec<&str> {
        report.needs.iter().filter(|need| !need.present).map(|need| need.name).collect()
    };
    let mut report = doctor::examine(Some(backend));
    let before = missing(&report).len();
    if before > 0 {
        doctor::install(context, &report)?;
        report = doctor::examine(Some(backend));
    }
    let missing = missing(&report);
    if !missing.is_empty() {
        let remedies: Vec<String> = report.remedies().collect();
        bail!("missing on this host: {}\n{}", missing.join(", "), remedies.join("\n"));
    }
    let installed = if before == 0 { String::new() } else { format!(" ({before} installed)") };
    step.done(&format!("{0} of {0}{installed}", report.needs.len()));
    Ok(())
}

fn read_config(context: &Context, flags: &Flags) -> anyhow::Result<ConfigRb> {
    let path = flags.config.as_deref().unwrap_or(Path::new("config.rb"));
    if flags.config.is_none() && !path.exists() {
        return Ok(ConfigRb::default());
    }
    let bytes =
        read_limited(path, config_rb::SIZE_MAX).with_context(|| format!("cannot read {}", path.display()))?;
    let text = String::from_utf8(bytes).with_context(|| format!("{} is not valid UTF-8", path.display()))?;
    let (config, warnings) = config_rb::read(&text);
    for warning in warnings {
        context.progress.note(&format!("warning: {}, {warning}", path.display()));
    }
    Ok(config)
}

/// Precedence: flag, `config.rb`, the existing cluster, default.
fn spec(flags: &Flags, config: &ConfigRb, existing: Option<&Cluster>) -> ClusterSpec {
    let defaults = ClusterSpec::default();
    let requested = flags.nodes.or(config.num_instances);
    let nodes = requested.or(existing.map(|cluster| cluster.nodes.len())).unwrap_or(defaults.nodes);
    let backend = flags.on.or(existing.map(|cluster| cluster.backend)).unwrap_or(defaults.backend);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    ClusterSpec {
        nodes,
        backend,
        name_prefix: config.instance_name_prefix.clone().unwrap_or(defaults.name_prefix),
        memory_mib: flags.memory.or(config.vm_memory).unwrap_or(defaults.memory_mib),
        cpus: config.vm_cpus.unwrap_or_else(|| default_cpus(defaults.cpus, nodes, cores)),
        datasource: flags.datasource.unwrap_or(defaults.datasource),
        forwards: config.forwarded_ports.clone(),
        outbound: !flags.isolated,
        tls: flags.tls,
        secure_boot: flags.secure_boot,
        ..defaults
    }
}

/// Only explicit settings, by a flag or in `config.rb`; others do not change an existing cluster.
fn spec_change(flags: &Flags, config: &ConfigRb) -> SpecChange {
    SpecChange {
        nodes: flags.nodes.or(config.num_instances),
        name_prefix: config.instance_name_prefix.clone(),
        memory_mib: flags.memory.or(config.vm_memory),
        cpus: config.vm_cpus,
        datasource: flags.datasource,
        forwards: Some(&config.forwarded_ports).filter(|ports| !ports.is_empty()).cloned(),
    }
}

/// The folders of `$shared_folders`; host paths are relative to the current folder.
fn shared(config: &ConfigRb) -> anyhow::Result<Vec<SharedFolder>> {
    let folder = |(host, guest): &(String, String)| {
        let host =
            std::fs::canonicalize(host).with_context(|| format!("$shared_folders: cannot open {host}"))?;
        if !host.is_dir() {
            bail!("$shared_folders: {} is not a folder", host.display());
        }
        Ok(SharedFolder { host, guest: guest.clone() })
    };
    config.shared_folders.iter().map(folder).collect()
}

/// Default number of processors of a machine. More virtual processors than cores slow each other down: three emulated
/// machines on two cores boot in 68 s with one each, in 84 s with two.
fn default_cpus(default: u32, nodes: usize, cores: usize) -> u32 {
    u32::try_from(cores / nodes.max(1)).unwrap_or(default).clamp(1, default)
}

fn boot(context: &Context, site: &Site, user_data: Option<&[u8]>, flags: &Flags) -> anyhow::Result<()> {
    let changed = user_data.map(|content| site.set_user_data(content)).transpose()?.unwrap_or(false);
    let running: Vec<String> =
        site.status().into_iter().filter(|node| node.pid.is_some()).map(|node| node.name).collect();
    let total = site.cluster().nodes.len();
    let kind = MachineKind::of(site.cluster().backend, site.is_emulated());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut times = BootTimes::read(&context.state_dir);
    let starting = total.saturating_sub(running.len());
    if starting > 0 {
        let estimate = times.estimate(kind, starting, cores);
        context.progress.note(&format!("expected  {}", boot_estimate::describe(kind, starting, estimate)));
    }
    let step = context.progress.step("boot");
    let boot_progress = BootProgress::new(site.cluster().backend, total, running.len());
    let (up, started) =
        with_boot_progress(context, &step, boot_progress, &|watch| site.up(flags.waiting.limit(site), watch));
    if let Err(error) = up {
        return Err(not_ready_error(context, site, error));
    }
    let took = step.done(&format!("{started} started, {} already running", running.len()));
    if started > 0 {
        times.record(kind, started, cores, took);
        times.write(&context.state_dir).context("cannot save the boot time")?;
    }
    let action = Reprovision::of(flags.provision, changed, running.len());
    if action == Reprovision::Now {
        let step = context.progress.step("provision");
        for name in &running {
            step.set(name.clone());
            site.provision(name, flags.waiting.step_limit())?;
        }
        step.done(&format!("user-data applied to {} machines", running.len()));
    } else if action == Reprovision::Notify {
        let up = format!("{} up --provision", context.command);
        context.progress.note(&format!("user-data has changed; `{up}` applies it to running machines"));
    }
    Ok(())
}

/// What to do with machines that were already running.
#[derive(Debug, PartialEq, Eq)]
enum Reprovision {
    /// Also with unchanged user-data: an earlier `up` may have printed the note only, or failed.
    Now,
    Notify,
    Nothing,
}

impl Reprovision {
    fn of(spec_change: bool, changed: bool, running: usize) -> Self {
        match (spec_change, changed) {
            _ if running == 0 => Self::Nothing,
            (true, _) => Self::Now,
            (false, true) => Self::Notify,
            (false, false) => Self::Nothing,
        }
    }
}

fn finish(
    context: &Context,
    site: &Site,
    image: Value,
    (build, boot): (Duration, Duration),
) -> anyhow::Result<ExitCode> {
    let nodes = site.status();
    if context.json {
        let mut value = output::status_json(&site.cluster(), &nodes);
        value["seconds"] = json!({ "build": build.as_secs_f64(), "boot": boot.as_secs_f64() });
        value["image"] = image;
        output::print_json(&value)?;
        return Ok(ExitCode::SUCCESS);
    }
    context.progress.step("ready").done(&format!(
        "{} machines, {}",
        nodes.len(),
        progress::duration(boot).trim()
    ));
    let keelson = &context.command;
    let first = nodes.first().map_or("core-01", |node| node.name.as_str());
    let with_tls = if site.cluster().tls {
        String::new()
    } else {
        format!("Untrusted LAN   {keelson} destroy ; {keelson} up --tls\n")
    };
    output::print(format!(
        "\n{}\n\n{}{}{}Log in          {keelson} ssh {first}\n\
         Then try        etcdctl set /message Hello ; fleetctl list-machines\n\
         Run a service   fleetctl start /usr/share/keelson/examples/tour.service\n\
         Your own keys   ssh-add {} ; {keelson} ssh {first} -- -A\n\
         {with_tls}\
         Stop, remove    {keelson} down | destroy\n\
         Consoles, logs  {}/\n",
        output::status_table(&nodes),
        output::cluster_notes(&site.cluster()),
        output::profiles(&nodes),
        output::failed_units(&nodes),
        output::with_home(&context.layout()?.key()),
        output::with_home(context.layout()?.root())
    ))?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use machines::image::Image;

    #[derive(Parser)]
    struct Only {
        #[command(flatten)]
        flags: Flags,
    }

    #[test]
    fn processors_are_divided_among_machines() {
        for (nodes, cores, expected) in [(1, 2, 2), (3, 2, 1), (2, 8, 2), (0, 1, 1)] {
            assert_eq!(default_cpus(2, nodes, cores), expected, "{nodes} machines on {cores} cores");
        }
    }

    #[test]
    fn changed_user_data_is_applied_on_request() {
        assert_eq!(Reprovision::of(false, true, 3), Reprovision::Notify);
        assert_eq!(Reprovision::of(true, false, 3), Reprovision::Now, "the next up, as it was told");
        assert_eq!(Reprovision::of(false, false, 3), Reprovision::Nothing);
        assert_eq!(Reprovision::of(true, true, 0), Reprovision::Nothing);
    }

    #[test]
    fn flags_take_precedence_over_config_rb_and_defaults() {
        let flags = |arguments: &[&str]| Only::parse_from([&["up"], arguments].concat()).flags;
        let (config, _) = config_rb::read("$num_instances = 5\n$vm_memory = 512");
        let defaults = spec(&flags(&[]), &ConfigRb::default(), None);
        assert_eq!((defaults.nodes, defaults.memory_mib), (3, 1024));
        let configured = spec(&flags(&[]), &config, None);
        assert_eq!((configured.nodes, configured.memory_mib), (5, 512));
        let flagged = spec(&flags(&["--nodes", "1", "--on", "nspawn"]), &config, None);
        assert_eq!((flagged.nodes, flagged.memory_mib, flagged.backend), (1, 512, BackendKind::Nspawn));
    }

    #[test]
    fn an_existing_cluster_keeps_its_size_and_back_end() {
        let flags = |arguments: &[&str]| Only::parse_from([&["up"], arguments].concat()).flags;
        let path = || PathBuf::from("/nowhere");
        let image = Image {
            version: "1.0.0".into(),
            channel: "alpha".into(),
            raw: path(),
            usr_tree: path(),
            usr_erofs: path(),
            tools: path(),
        };
        let one = ClusterSpec { nodes: 1, backend: BackendKind::Nspawn, ..ClusterSpec::default() };
        let existing = Cluster::new("a", &one, image);
        let same = spec(&flags(&[]), &ConfigRb::default(), Some(&existing));
        assert_eq!((same.nodes, same.backend), (1, BackendKind::Nspawn));
        let more = spec(&flags(&["--nodes", "2"]), &ConfigRb::default(), Some(&existing));
        assert_eq!(more.nodes, 2);
    }

    #[test]
    fn only_explicit_settings_change_an_existing_cluster() {
        let flags = |arguments: &[&str]| Only::parse_from([&["up"], arguments].concat()).flags;
        assert_eq!(spec_change(&flags(&[]), &ConfigRb::default()), SpecChange::default());
        let (config, _) = config_rb::read("$vm_memory = 512\n$vm_cpus = 1");
        let change =
            spec_change(&flags(&["--nodes", "2", "--datasource", "fw-cfg", "--memory", "2048"]), &config);
        let expect = SpecChange {
            nodes: Some(2),
            memory_mib: Some(2048),
            cpus: Some(1),
            datasource: Some(Datasource::FwCfg),
            ..SpecChange::default()
        };
        assert_eq!(change, expect);
    }
}
