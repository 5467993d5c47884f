//! `keelson up`: from a checkout to machines that answer, step by step.

mod expected;
mod image;
mod made;
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

use expected::{Kind, Times};

use super::boots::{Boots, shown};
use super::doctor;
use super::late::late;
use crate::config_rb::{self, ConfigRb};
use crate::context::{Context, interrupt};
use crate::failure::WrongUse;
use crate::global::{self, Waiting};
use crate::output;
use crate::provide;

#[derive(Debug, clap::Args)]
pub struct Flags {
    /// Number of machines [default: config.rb's, the existing ones, or 3]
    #[arg(long, value_name = "N")]
    nodes: Option<usize>,
    #[command(flatten)]
    image: image::Flags,
    /// Cloud-config or script for the machines [default: ./user-data, or the sample]
    #[arg(long, value_name = "FILE")]
    user_data: Option<PathBuf>,
    /// Settings [default: ./config.rb]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// What runs the machines: qemu or nspawn [default: the existing cluster's, or qemu]
    #[arg(long, value_name = "BACKEND", value_parser = global::backend)]
    on: Option<BackendKind>,
    /// How QEMU machines get their user-data: config-drive, or fw-cfg (without the cluster's ssh key) [default:
    /// config-drive]
    #[arg(long, value_name = "WAY")]
    datasource: Option<Datasource>,
    /// Memory of each machine
    #[arg(long, value_name = "MIB")]
    memory: Option<u32>,
    /// Discovery URL for the machines' etcd [default: a service of this cluster's own on this host]
    #[arg(long, value_name = "URL")]
    discovery: Option<String>,
    /// TLS with client certificates between all members of etcd and their clients, when the machines are made
    #[arg(long)]
    tls: bool,
    /// Machines whose firmware runs only what is signed, when they are made; the image must be (image build --sign)
    #[arg(long)]
    secure_boot: bool,
    /// Apply the user-data to machines that run already: what is as it says stays as it is
    #[arg(long)]
    provision: bool,
    /// Boot the machines also where they cannot use the user-data
    #[arg(long)]
    no_validate: bool,
    #[command(flatten)]
    waiting: Waiting,
}

pub fn run(context: &Context, flags: &Flags) -> anyhow::Result<ExitCode> {
    let config = settings(context, flags)?;
    let made = context.layout()?.load()?;
    let mut spec = spec(flags, &config, made.as_ref());
    let backend = spec.backend;
    spec.shared = shared(&config)?;
    spec.check()?;
    let user_data = user_data::read(context, flags.user_data.as_deref(), !flags.no_validate)?;
    if spec.datasource == Datasource::FwCfg && user_data.is_none() {
        return Err(WrongUse("--datasource fw-cfg needs user-data".to_owned()).into());
    }
    let cancel = interrupt()?;
    let lock = context.lock("up", &cancel)?;
    satisfy(context, backend)?;
    let begun = Instant::now();
    let (image, from) = image::find(context, &flags.image, backend, &config, &cancel)?;
    let told = from.told(&image);
    let build = begun.elapsed();
    let server = image::server(context, &flags.image, &config)?;
    made::check_image(context.layout()?.load()?.as_ref(), &image, &spec)?;
    let (spec_change, background) = (spec_change(flags, &config), context.background.clone());
    let site = Site::create(context.layout()?, lock, image, &spec, &spec_change, background, cancel)?;
    for ignored in site.ignored() {
        context.progress.note(&format!("warning: {ignored}"));
    }
    made::check_machines(&site.cluster(), &spec)?;
    if let Some(url) = &flags.discovery {
        site.set_discovery(url)?;
    }
    if let Some(server) = &server {
        site.set_update_server(server)?;
    }
    if let Some(Acceleration::Tcg { reason }) = site.acceleration()? {
        context.progress.note(&format!("machines are emulated: {reason}"));
    }
    forget(&site)?;
    let begun = Instant::now();
    boot(context, &site, user_data.as_deref(), flags)?;
    finish(context, &site, told, (build, begun.elapsed()))
}

/// Removes what the cluster's folder keeps of images that its machines do not need any more.
fn forget(site: &Site) -> anyhow::Result<()> {
    let cluster = site.cluster();
    let image = &cluster.image;
    let raws = cluster.nodes.iter().filter_map(|node| node.made_from.as_deref());
    let used: Vec<&Path> =
        raws.chain([&*image.raw, &*image.usr_erofs, &*image.usr_tree, &*image.tools]).collect();
    let runs = cluster.nodes.iter().any(|node| node.process.is_some_and(Process::alive));
    provide::forget(site.layout().root(), &used, runs)
}

/// Sees to it that the host has what the machines need; installs what a package brings.
fn satisfy(context: &Context, backend: BackendKind) -> anyhow::Result<()> {
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
    let lacks = missing(&report);
    if !lacks.is_empty() {
        let remedies: Vec<String> = report.remedies().collect();
        bail!("this host lacks {}\n{}", lacks.join(", "), remedies.join("\n"));
    }
    let installed = if before == 0 { String::new() } else { format!(" ({before} installed)") };
    step.done(&format!("{0} of {0}{installed}", report.needs.len()));
    Ok(())
}

/// `config.rb`, its warnings already told.
fn settings(context: &Context, flags: &Flags) -> anyhow::Result<ConfigRb> {
    let path = flags.config.as_deref().unwrap_or(Path::new("config.rb"));
    if flags.config.is_none() && !path.exists() {
        return Ok(ConfigRb::default());
    }
    let bytes =
        read_limited(path, config_rb::SIZE_MAX).with_context(|| format!("cannot read {}", path.display()))?;
    let text = String::from_utf8(bytes).with_context(|| format!("{} is not text", path.display()))?;
    let (config, warnings) = config_rb::read(&text);
    for warning in warnings {
        context.progress.note(&format!("warning: {}, {warning}", path.display()));
    }
    Ok(config)
}

/// Precedence: flag, `config.rb`, the existing cluster, default.
fn spec(flags: &Flags, config: &ConfigRb, made: Option<&Cluster>) -> ClusterSpec {
    let usual = ClusterSpec::default();
    let said = flags.nodes.or(config.num_instances);
    let nodes = said.or(made.map(|cluster| cluster.nodes.len())).unwrap_or(usual.nodes);
    let backend = flags.on.or(made.map(|cluster| cluster.backend)).unwrap_or(usual.backend);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    ClusterSpec {
        nodes,
        backend,
        name_prefix: config.instance_name_prefix.clone().unwrap_or(usual.name_prefix),
        memory_mib: flags.memory.or(config.vm_memory).unwrap_or(usual.memory_mib),
        cpus: config.vm_cpus.unwrap_or_else(|| usual_cpus(usual.cpus, nodes, cores)),
        datasource: flags.datasource.unwrap_or(usual.datasource),
        forwards: config.forwarded_ports.clone(),
        tls: flags.tls,
        secure_boot: flags.secure_boot,
        ..usual
    }
}

/// What of it was said, by a flag or in `config.rb`: a cluster that exists keeps what nobody said anything about.
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

/// The folders of `$shared_folders`; the host's are looked for from the current folder.
fn shared(config: &ConfigRb) -> anyhow::Result<Vec<SharedFolder>> {
    let folder = |(host, guest): &(String, String)| {
        let host = std::fs::canonicalize(host).with_context(|| format!("$shared_folders: {host}"))?;
        if !host.is_dir() {
            bail!("$shared_folders: {} is no folder", host.display());
        }
        Ok(SharedFolder { host, guest: guest.clone() })
    };
    config.shared_folders.iter().map(folder).collect()
}

/// Processors of a machine where nobody asked for a number. More of them than the host has cores would wait
/// for one another: three emulated machines on two cores boot in 68 s with one each, in 84 s with two.
fn usual_cpus(usual: u32, nodes: usize, cores: usize) -> u32 {
    u32::try_from(cores / nodes.max(1)).unwrap_or(usual).clamp(1, usual)
}

fn boot(context: &Context, site: &Site, user_data: Option<&[u8]>, flags: &Flags) -> anyhow::Result<()> {
    let changed = user_data.map(|content| site.set_user_data(content)).transpose()?.unwrap_or(false);
    let running: Vec<String> =
        site.status().into_iter().filter(|node| node.pid.is_some()).map(|node| node.name).collect();
    let total = site.cluster().nodes.len();
    let kind = Kind::of(site.cluster().backend, site.is_emulated());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut times = Times::read(&context.state_dir);
    let starting = total.saturating_sub(running.len());
    if starting > 0 {
        let expected = times.expected(kind, starting, cores);
        context.progress.note(&format!("expected  {}", expected::line(kind, starting, expected)));
    }
    let step = context.progress.step("boot");
    let boots = Boots::new(site.cluster().backend, total, running.len());
    let (up, started) = shown(context, &step, boots, &|watch| site.up(flags.waiting.limit(site), watch));
    if let Err(error) = up {
        return Err(late(context, site, error));
    }
    let took = step.done(&format!("{started} started, {} ran already", running.len()));
    if started > 0 {
        times.note(kind, started, cores, took);
        times.write(&context.state_dir).context("cannot remember how long it took")?;
    }
    let what = Reprovision::of(flags.provision, changed, running.len());
    if what == Reprovision::Now {
        let step = context.progress.step("provision");
        for name in &running {
            step.set(name.clone());
            site.provision(name, flags.waiting.of_step())?;
        }
        step.done(&format!("user-data applied to {} machines", running.len()));
    } else if what == Reprovision::Tell {
        let up = format!("{} up --provision", context.command);
        context.progress.note(&format!("user-data has changed; `{up}` applies it to running machines"));
    }
    Ok(())
}

/// What becomes of machines that ran before this `up`.
#[derive(Debug, PartialEq, Eq)]
enum Reprovision {
    /// Also where the user-data is what an earlier `up` took: that one may only have told of it, or have failed.
    Now,
    Tell,
    Nothing,
}

impl Reprovision {
    fn of(spec_change: bool, changed: bool, running: usize) -> Self {
        match (spec_change, changed) {
            _ if running == 0 => Self::Nothing,
            (true, _) => Self::Now,
            (false, true) => Self::Tell,
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
    output::print(format!(
        "\n{}\n\n{}{}{}Log in          {keelson} ssh {first}\n\
         Then try        etcdctl set /message Hello ; fleetctl list-machines\n\
         Run a service   fleetctl start /usr/share/keelson/examples/tour.service\n\
         Your own keys   ssh-add {} ; {keelson} ssh {first} -- -A\n\
         Stop, remove    {keelson} down | destroy\n\
         Consoles, logs  {}/\n",
        output::status_table(&nodes),
        output::peculiarities(&site.cluster()),
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
    fn processors_are_shared_out_but_never_more_than_usual() {
        for (nodes, cores, expected) in [(1, 2, 2), (3, 2, 1), (2, 8, 2), (0, 1, 1)] {
            assert_eq!(usual_cpus(2, nodes, cores), expected, "{nodes} machines on {cores} cores");
        }
    }

    #[test]
    fn what_was_only_told_is_applied_when_it_is_asked_for() {
        assert_eq!(Reprovision::of(false, true, 3), Reprovision::Tell);
        assert_eq!(Reprovision::of(true, false, 3), Reprovision::Now, "the next up, as it was told");
        assert_eq!(Reprovision::of(false, false, 3), Reprovision::Nothing);
        assert_eq!(Reprovision::of(true, true, 0), Reprovision::Nothing);
    }

    #[test]
    fn a_flag_wins_over_config_rb_which_wins_over_the_default() {
        let flags = |words: &[&str]| Only::parse_from([&["up"], words].concat()).flags;
        let (config, _) = config_rb::read("$num_instances = 5\n$vm_memory = 512");
        let usual = spec(&flags(&[]), &ConfigRb::default(), None);
        assert_eq!((usual.nodes, usual.memory_mib), (3, 1024));
        let configured = spec(&flags(&[]), &config, None);
        assert_eq!((configured.nodes, configured.memory_mib), (5, 512));
        let flagged = spec(&flags(&["--nodes", "1", "--on", "nspawn"]), &config, None);
        assert_eq!((flagged.nodes, flagged.memory_mib, flagged.backend), (1, 512, BackendKind::Nspawn));
    }

    #[test]
    fn a_cluster_that_exists_keeps_its_machines_and_what_runs_them() {
        let flags = |words: &[&str]| Only::parse_from([&["up"], words].concat()).flags;
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
        let made = Cluster::new("a", &one, image);
        let same = spec(&flags(&[]), &ConfigRb::default(), Some(&made));
        assert_eq!((same.nodes, same.backend), (1, BackendKind::Nspawn));
        let more = spec(&flags(&["--nodes", "2"]), &ConfigRb::default(), Some(&made));
        assert_eq!(more.nodes, 2);
    }

    #[test]
    fn only_what_was_said_is_asked_of_a_cluster_that_exists() {
        let flags = |words: &[&str]| Only::parse_from([&["up"], words].concat()).flags;
        assert_eq!(spec_change(&flags(&[]), &ConfigRb::default()), SpecChange::default());
        let (config, _) = config_rb::read("$vm_memory = 512\n$vm_cpus = 1");
        let said =
            spec_change(&flags(&["--nodes", "2", "--datasource", "fw-cfg", "--memory", "2048"]), &config);
        let expect = SpecChange {
            nodes: Some(2),
            memory_mib: Some(2048),
            cpus: Some(1),
            datasource: Some(Datasource::FwCfg),
            ..SpecChange::default()
        };
        assert_eq!(said, expect);
    }
}
