//! `keelson install`: installs the system to a disk of this host, or as a new disk image.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use coreos_install::{ChannelServer, Destination, InstallFlags, Job, Running, running_system};
use image::release::Release;
use serde_json::json;

use crate::channel_image::trusted_root;
use crate::checkout::checkout;
use crate::context::Context;
use crate::output;
use crate::server_url::ServerUrl;

const GIB: u64 = 1 << 30;

#[derive(Debug, clap::Args)]
pub struct Flags {
    /// Disk of this host to install to, or disk image to create
    #[arg(long, value_name = "DEVICE|FILE")]
    to: PathBuf,
    /// Size of the disk image; the first boot uses all of it [default: the smallest]
    #[arg(long, value_name = "GIB", value_parser = clap::value_parser!(u32).range(1..=65536))]
    size: Option<u32>,
    /// Replace an existing disk image; install to a disk that is part of RAID arrays or LVM which nothing uses
    #[arg(long)]
    force: bool,
    /// Channel server
    #[arg(long, value_name = "URL", env = "KEELSON_UPDATE_SERVER")]
    update_server: Option<ServerUrl>,
    /// Folder with the trusted root, N.root.json or root.json [default: the newest of `keelson keys` and of the checkout]
    #[arg(long, value_name = "DIR")]
    keys: Option<PathBuf>,
    #[command(flatten)]
    install: InstallFlags,
}

pub fn run(context: &Context, flags: &Flags) -> anyhow::Result<ExitCode> {
    let root = Path::new("/");
    let running = running_system(root);
    let server = || server(flags, root, &running);
    let report = |line: &str| match context.json {
        true => context.progress.note(line),
        // A closed stdout must not end an installation.
        false => drop(output::print(format!("{}\n", line.trim_end_matches('\n')))),
    };
    let mut job = Job::new("keelson", &flags.install, (root, &running), &server, &report);
    job.quiet = matches!(context.progress, progress::Progress::Quiet);
    let size = flags.size.map(|gib| u64::from(gib) * GIB);
    let destination = Destination::of_path(&flags.to, size, flags.force)?;
    let installed = coreos_install::install(&job, &destination)?;
    if context.json {
        output::print_json(&match installed {
            Some(installed) => {
                json!({ "system": installed.system, "path": flags.to, "bytes": installed.bytes, "installed": true })
            }
            None => json!({ "path": flags.to, "installed": false }),
        })?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The channel server of the flags, with the root that the operator trusts, or that of the running system.
fn server(flags: &Flags, root: &Path, running: &Running) -> anyhow::Result<ChannelServer> {
    let Some(url) = &flags.update_server else {
        let of_system = ChannelServer::of_system(root, running.appid.as_deref());
        return of_system.context("--update-server names no channel server");
    };
    let checkout = checkout()?;
    let about = Release::read(&checkout.join("os/release.toml"))?;
    Ok(ChannelServer {
        url: url.to_string().trim_end_matches('/').to_owned(),
        appid: about.update.appid,
        root: trusted_root(flags.keys.as_deref(), &checkout)?,
    })
}
