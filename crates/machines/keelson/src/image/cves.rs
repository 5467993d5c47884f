//! `keelson image cves`: known vulnerabilities of an image or a node.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use image::build::Options;
use image::build::locked_tools::{LockedTools, tools};
use image::installed;
use image::lock::Lock;
use image::verify::Disk;
use jiff::Timestamp;
use security_tracker::{Finding, Installed, findings, limits, read_status};
use serde_json::json;

use super::tracker_copy::{self, Data, URL};
use crate::checkout::checkout;
use crate::context::Context;
use crate::output;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "The data is that of Debian's security tracker for the release of the images, as debsecan uses it.\n\
    Exit code 1: there are vulnerabilities with a fixed version.\n\n\
    Examples:\n  keelson image cves --refresh\n  keelson image cves\n  \
    keelson image cves --only-fixed keelson-9999.1.0-alpha.qcow2\n  \
    keelson ssh core-01 -- cat /usr/lib/dpkg/status | keelson image cves --status -"
)]
pub struct Flags {
    /// Image file [default: the packages of the checkout's lock]
    #[arg(conflicts_with_all = ["lock", "status"])]
    image: Option<PathBuf>,
    /// Package lock
    #[arg(long, value_name = "FILE", conflicts_with = "status")]
    lock: Option<PathBuf>,
    /// Status file of dpkg, on a node /usr/lib/dpkg/status; - reads stdin
    #[arg(long, value_name = "FILE")]
    status: Option<PathBuf>,
    /// File with the data, as --refresh stores it or as debsecan downloads it [default: the stored copy]
    #[arg(long, value_name = "FILE", conflicts_with = "refresh")]
    data: Option<PathBuf>,
    /// Download the data first; without an image, lock or status, do only that
    #[arg(long)]
    refresh: bool,
    /// URL of the data, to which the release is added
    #[arg(long, value_name = "URL", env = "KEELSON_SECURITY_TRACKER", default_value = URL, value_parser = parse_url)]
    source: String,
    /// Report only vulnerabilities with a fixed version in the release
    #[arg(long)]
    only_fixed: bool,
}

fn parse_url(text: &str) -> Result<String, String> {
    match text.parse::<crate::server_url::ServerUrl>() {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

pub fn run(context: &Context, flags: &Flags) -> anyhow::Result<ExitCode> {
    let data = if flags.refresh {
        tracker_copy::refresh(context, &flags.source)?
    } else {
        tracker_copy::read(&flags.data.clone().unwrap_or_else(|| tracker_copy::path(context)))?
    };
    let now = Timestamp::now();
    if flags.refresh && flags.image.is_none() && flags.lock.is_none() && flags.status.is_none() {
        if context.json {
            output::print_json(&json!({ "data": data.json(now) }))?;
        } else {
            output::print(format!("{}\n", data.path.display()))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let packages = packages(context, flags)?;
    if packages.is_empty() {
        bail!("there is no installed package in it");
    }
    let mut found = findings(&data.feed, &packages);
    found.retain(|finding| finding.fix_available || !flags.only_fixed);
    let fixable = found.iter().filter(|finding| finding.fix_available).count();
    if let Some(warning) = data.warning(now) {
        context.progress.note(&warning);
    }
    if context.json {
        output::print_json(&json!({
            "data": data.json(now), "packages": packages.len(), "fixable": fixable, "vulnerabilities": found,
        }))?;
    } else {
        output::print(text(&found, fixable, packages.len(), &data))?;
    }
    Ok(if fixable > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The installed packages of the image, lock or status.
fn packages(context: &Context, flags: &Flags) -> anyhow::Result<Vec<Installed>> {
    if let Some(image) = &flags.image {
        let LockedTools { path, .. } = tools(&Options::for_checkout(&checkout()?), context.progress)?;
        let step = context.progress.step("packages");
        step.set(format!("reading {}", image.display()));
        return Ok(installed::of_disk(&Disk::open(image, &path)?)?);
    }
    if let Some(path) = &flags.status {
        let text = read_text(path).with_context(|| format!("cannot read {}", path.display()))?;
        return read_status(&text).with_context(|| format!("{} is no status of dpkg", path.display()));
    }
    let path = match &flags.lock {
        Some(path) => path.clone(),
        None => checkout()?.join("os/packages.lock"),
    };
    installed::of_lock(&Lock::read(&path)?).with_context(|| path.display().to_string())
}

/// `-` is stdin.
fn read_text(path: &Path) -> anyhow::Result<String> {
    let file: Box<dyn std::io::Read> = if path == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        Box::new(std::fs::File::open(path)?)
    };
    let mut text = String::new();
    file.take(limits::STATUS_BYTES as u64 + 1).read_to_string(&mut text)?;
    if text.len() > limits::STATUS_BYTES {
        bail!("it has more than {} MiB", limits::STATUS_BYTES >> 20);
    }
    Ok(text)
}

fn text(found: &[Finding], fixable: usize, packages: usize, data: &Data) -> String {
    let rows: Vec<Vec<String>> = found.iter().map(row).collect();
    let mut text = String::new();
    if !rows.is_empty() {
        text += &output::table(&["URGENCY", "VULNERABILITY", "PACKAGE", "INSTALLED", "FIXED IN"], &rows);
        text += "\n\n";
    }
    let affected: BTreeSet<&str> = found.iter().map(|finding| &*finding.package).collect();
    text += &format!(
        "{} vulnerabilities in {} of {packages} packages, {fixable} with a fixed version\nData of {}\n",
        found.len(),
        affected.len(),
        data.day(),
    );
    text
}

fn row(finding: &Finding) -> Vec<String> {
    let fixed = match (&finding.fixed_in, &finding.fixed_in_unstable) {
        (Some(version), _) => version.clone(),
        (None, _) if finding.fix_available => "a newer version".to_owned(),
        (None, Some(version)) => format!("unstable: {version}"),
        (None, None) => "-".to_owned(),
    };
    let Finding { id, package, installed, urgency, .. } = finding;
    vec![urgency.name().to_owned(), id.clone(), package.clone(), installed.clone(), fixed]
}
