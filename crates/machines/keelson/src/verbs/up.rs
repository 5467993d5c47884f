//! `keelson up`: from a checkout to running machines.

mod boot_estimate;
mod flags;
mod image;
mod security;
mod spec;
pub(crate) mod user_data;

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use machines::acceleration::Acceleration;
use machines::cluster::{BackendKind, Cluster, Datasource};
use machines::process::Process;
use machines::site::Site;
use machines::store::read_limited;
use serde_json::{Value, json};

use boot_estimate::{BootTimes, MachineKind};
pub use flags::Flags;

use super::boot_progress::{BootProgress, with_boot_progress};
use super::doctor;
use super::not_ready::not_ready_error;
use crate::boot_image;
use crate::config_rb::{self, ConfigRb};
use crate::context::{Context, interrupt};
use crate::failure::UsageError;
use crate::output;

pub fn run(context: &Context, flags: &Flags) -> anyhow::Result<ExitCode> {
    let config = read_config(context, flags)?;
    let existing = context.layout()?.load()?;
    let mut spec = spec::wanted(flags, &config, existing.as_ref());
    let backend = spec.backend;
    spec.shared = spec::shared(&config)?;
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
    let (spec_change, background) = (spec::change(flags, &config), context.background.clone());
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
    // Machines with a channel update themselves.
    if from != image::ImageSource::Channel {
        name_machines_with_other_image(context, &site.cluster());
    }
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

fn name_machines_with_other_image(context: &Context, cluster: &Cluster) {
    let kept: Vec<&str> = with_other_image(cluster).collect();
    if !kept.is_empty() {
        context.progress.note(&format!(
            "not updated to this image: {}; `{1} destroy` and `{1} up` create the machines from it",
            kept.join(", "),
            context.command
        ));
    }
}

/// QEMU machines whose disk was made from another image than the cluster's. Containers start with the cluster's.
fn with_other_image(cluster: &Cluster) -> impl Iterator<Item = &str> {
    let nodes = cluster.nodes.iter().filter(|_| cluster.backend == BackendKind::Qemu);
    let is_other = |raw: &Path| raw != cluster.image.raw;
    nodes.filter(move |node| node.made_from.as_deref().is_some_and(is_other)).map(|node| &*node.name)
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
    use machines::cluster::ClusterSpec;
    use machines::image::Image;

    use super::*;

    #[test]
    fn machines_that_keep_another_image_are_named() {
        let image = |raw: &str| -> Image {
            serde_json::from_value(json!({
                "version": "1", "channel": "alpha", "raw": raw, "usr_tree": "/u", "usr_erofs": "/e", "tools": "/"
            }))
            .unwrap()
        };
        let spec = ClusterSpec { nodes: 3, backend: BackendKind::Qemu, ..ClusterSpec::default() };
        let mut cluster = Cluster::new("a", &spec, image("/new"));
        for (node, raw) in cluster.nodes.iter_mut().zip(["/new", "/old"]) {
            node.made_from = Some(raw.into());
        }
        assert_eq!(with_other_image(&cluster).collect::<Vec<_>>(), ["core-02"]);
        cluster.backend = BackendKind::Nspawn;
        assert_eq!(with_other_image(&cluster).count(), 0);
    }

    #[test]
    fn changed_user_data_is_applied_on_request() {
        assert_eq!(Reprovision::of(false, true, 3), Reprovision::Notify);
        assert_eq!(Reprovision::of(true, false, 3), Reprovision::Now, "the next up, as it was told");
        assert_eq!(Reprovision::of(false, false, 3), Reprovision::Nothing);
        assert_eq!(Reprovision::of(true, true, 0), Reprovision::Nothing);
    }
}
