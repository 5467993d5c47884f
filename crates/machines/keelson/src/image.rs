//! The verb `image`.

mod customize;
mod cves;
mod toolbox;
mod tracker_copy;

pub use tracker_copy::NoData;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use image::build::locked_tools::{self, LockedTools};
use image::build::{Options, build};
use image::diff::{Change, diff};
use image::enrolment::SigningKey;
use image::finish::{DiskChanges, OEM, finish};
use image::formats::Format;
use image::lock::{Lock, Request};
use image::mirror::Mirrors;
use image::programs::Profile;
use image::release::Release;
use image::resolve::resolve;
use image::signature::Trust;
use image::verify::Disk;
use serde_json::json;

use crate::checkout::checkout;
use crate::context::{Context, interrupt};
use crate::output;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  keelson image build --out dist\n  keelson image build --format ova --out dist\n  keelson image verify dist/keelson-9999.1.0-alpha.qcow2\n  keelson image diff old.qcow2 new.qcow2\n  keelson image cves keelson-9999.1.0-alpha.qcow2\n  keelson image toolbox --output toolbox.tar.zst\n  keelson image lock --check"
)]
pub struct Flags {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Resolve os/packages and write os/packages.lock
    Lock {
        /// Only print the changes; exit with 1 if there are any
        #[arg(long)]
        check: bool,
    },
    /// Build the programs and the image; parts with unchanged inputs come from the cache
    Build(BuildFlags),
    /// Build the container image of debugging tools that `toolbox` runs on machines without a registry
    Toolbox(toolbox::Flags),
    /// Verify the partitions, hashes, signature and build record of an image
    Verify(VerifyFlags),
    /// Print the packages and the files of /usr that differ between two images
    Diff { before: PathBuf, after: PathBuf },
    /// Add user-data, an installation and kernel arguments to the live system of an ISO image or an initrd
    Customize(customize::Flags),
    /// Print what an ISO image or an initrd was customized with
    Customized { file: PathBuf },
    /// Print the known vulnerabilities of an image's packages, or of a node's
    Cves(cves::Flags),
}

#[derive(Debug, clap::Args)]
struct VerifyFlags {
    file: PathBuf,
    /// PEM certificate that the image must be signed with; may be repeated [default: that of os/release.toml]
    #[arg(long, value_name = "FILE")]
    certificate: Vec<PathBuf>,
    /// Fail if the image is not signed
    #[arg(long)]
    require_signature: bool,
}

#[derive(Debug, clap::Args)]
struct BuildFlags {
    /// Version of the image [default: that of os/release.toml]
    #[arg(long, value_name = "V")]
    version: Option<String>,
    /// Channel that the image follows
    #[arg(long, value_name = "C", default_value = "alpha")]
    channel: String,
    /// Build profile of the programs: node, as in releases, or quick, for development
    #[arg(long, value_name = "PROFILE", default_value_t = Profile::Node)]
    profile: Profile,
    /// Comma-separated list of formats: raw, raw.gz, raw.zst, qcow2, vmdk, vdi, vhd, ova (VirtualBox), vmware, box
    /// (Vagrant with VirtualBox), box-libvirt, ec2, openstack, gce, azure, vhdx (Hyper-V), pxe, iso (live systems)
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "qcow2,raw")]
    format: Vec<Format>,
    /// Files of the OEM partition: a platform of image/oem, or a folder; for formats without a platform
    #[arg(long, value_name = "NAME|DIR")]
    oem: Option<PathBuf>,
    /// Size of the disks [default: the smallest for raw and qcow2, else that of the platform]
    #[arg(long, value_name = "GIB", value_parser = clap::value_parser!(u32).range(1..=65536))]
    disk_size: Option<u32>,
    /// PEM key that signs for Secure Boot; its certificate has the same path with the extension .crt
    #[arg(long, value_name = "KEY")]
    sign: Option<PathBuf>,
    /// Output folder [default: target/dist in the checkout]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Folder of intermediate results [default: target/image in the checkout]
    #[arg(long, value_name = "DIR")]
    work: Option<PathBuf>,
}

pub fn run(context: &Context, flags: &Flags) -> anyhow::Result<ExitCode> {
    match &flags.verb {
        Verb::Lock { check } => lock(context, *check),
        Verb::Build(flags) => build_files(context, flags),
        Verb::Toolbox(flags) => toolbox::run(context, flags),
        Verb::Verify(flags) => verify(context, flags),
        Verb::Diff { before, after } => compare(context, before, after),
        Verb::Customize(flags) => customize::run(context, flags),
        Verb::Customized { file } => customize::show(context, file),
        Verb::Cves(flags) => cves::run(context, flags),
    }
}

fn lock(context: &Context, check: bool) -> anyhow::Result<ExitCode> {
    let checkout = checkout()?;
    let options = Options::for_checkout(&checkout);
    let path = checkout.join("os/packages.lock");
    let old = if path.exists() { Lock::read(&path)? } else { Lock::default() };
    let step = context.progress.step("lock");
    step.set("querying the mirrors");
    let request = Request::read(&checkout.join("os/packages"))?;
    let new = resolve(&request, &Mirrors::of_host()?, &options.apt_folder())?;
    let changed = new.changes_since(&old);
    step.done(&format!("{} packages, {} changed", new.packages.len(), changed.len()));
    if !check {
        new.write(&path)?;
    }
    if context.json {
        output::print_json(&json!({ "packages": new.packages.len(), "changed": changed }))?;
    } else {
        output::print(changed.iter().map(|change| format!("{change}\n")).collect::<String>())?;
    }
    Ok(if check && !changed.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// A folder, or the platform of that name.
fn oem_folder(checkout: &Path, oem: &Path) -> anyhow::Result<PathBuf> {
    let platforms = checkout.join(OEM);
    let is_name = oem.components().count() == 1;
    let found = [Some(oem.to_path_buf()), is_name.then(|| platforms.join(oem))];
    if let Some(folder) = found.into_iter().flatten().find(|folder| folder.is_dir()) {
        return std::fs::canonicalize(folder).context("--oem");
    }
    let mut names = Vec::new();
    for entry in
        std::fs::read_dir(&platforms).with_context(|| format!("cannot list {}", platforms.display()))?
    {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    bail!("--oem: {} is neither a folder nor a platform ({})", oem.display(), names.join(", "))
}

fn build_files(context: &Context, flags: &BuildFlags) -> anyhow::Result<ExitCode> {
    let checkout = checkout()?;
    let mut options = Options::for_checkout(&checkout);
    if let Some(work) = &flags.work {
        options.work = std::path::absolute(work).context("--work")?;
    }
    options.version.clone_from(&flags.version);
    options.channel.clone_from(&flags.channel);
    options.profile = flags.profile;
    options.sign = flags.sign.as_deref().map(signing_key).transpose()?;
    options.cancel = interrupt()?;
    let oem = flags.oem.as_deref().map(|oem| oem_folder(&checkout, oem)).transpose()?;
    let changes = DiskChanges { oem, size: flags.disk_size };
    changes.check(&flags.format)?;
    let started = std::time::Instant::now();
    let built = build(&options, context.progress)?;
    let step = context.progress.step("formats");
    let out = flags.out.clone().unwrap_or_else(|| checkout.join("target/dist"));
    // Absolute and without symbolic links, for steps that run in another folder and for messages.
    std::fs::create_dir_all(&out).with_context(|| format!("cannot create {}", out.display()))?;
    let out = std::fs::canonicalize(&out).context("--out")?;
    let lock = checkout.join("os/packages.lock");
    let record = finish(&built, &flags.format, &changes, &lock, &out, |format| step.set(format.name()))?;
    let names: Vec<String> =
        record.files.iter().map(|file| format!("{} {} MiB", file.format.name(), file.bytes >> 20)).collect();
    let took = step.done(&names.join(", "));
    if context.json {
        let mut seconds = json!({ "total": started.elapsed().as_secs_f64(), "formats": took.as_secs_f64() });
        for (step, time) in &built.seconds {
            seconds[step] = json!(time);
        }
        output::print_json(&json!({
            "version": record.version, "channel": record.channel, "profile": record.profile, "files": record.files,
            "usr_root_hash": record.usr_root_hash, "seconds": seconds,
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let lines = record.files.iter().map(|file| format!("{}  {}\n", file.sha256, file.path.display()));
    output::print(lines.collect::<String>())?;
    for file in &record.files {
        context.progress.note(&format!("import {}: {}", file.format.name(), file.import));
    }
    Ok(ExitCode::SUCCESS)
}

pub fn signing_key(key: &Path) -> anyhow::Result<SigningKey> {
    let key = std::path::absolute(key).context("--sign")?;
    let certificate = key.with_extension("crt");
    for file in [&key, &certificate] {
        if !file.is_file() {
            bail!("--sign needs a key and its certificate: {} does not exist", file.display());
        }
    }
    Ok(SigningKey { key, certificate })
}

/// A certificate on the command line makes the signature mandatory; the checkout's certificates apply to signed
/// images only.
fn trust(flags: &VerifyFlags) -> anyhow::Result<Trust> {
    let checkout = checkout()?;
    let release = Release::read(&checkout.join("os/release.toml"))?;
    let (given, required) = match &*flags.certificate {
        [] => (release.secure_boot.certificates, flags.require_signature),
        given => (given.to_vec(), true),
    };
    let base = if flags.certificate.is_empty() { checkout } else { PathBuf::from(".") };
    let absolute = |file: PathBuf| {
        let file = base.join(file);
        std::fs::canonicalize(&file)
            .with_context(|| format!("cannot read the certificate {}", file.display()))
    };
    Ok(Trust { certificates: given.into_iter().map(absolute).collect::<anyhow::Result<_>>()?, required })
}

fn verify(context: &Context, flags: &VerifyFlags) -> anyhow::Result<ExitCode> {
    let (file, trust) = (&*flags.file, trust(flags)?);
    let tools = tools(context)?;
    let step = context.progress.step("verify");
    step.set(format!("reading {}", file.display()));
    let checks = Disk::open(file, &tools.path)?.verify(file, &trust)?;
    drop(step);
    let ok = checks.iter().all(|check| check.ok);
    if context.json {
        output::print_json(&json!({ "ok": ok, "checks": checks }))?;
    } else {
        let status = |ok| if ok { "ok" } else { "FAILED" };
        let lines =
            checks.iter().map(|check| format!("{:<7}{:<28}{}\n", status(check.ok), check.name, check.detail));
        output::print(lines.collect::<String>())?;
    }
    Ok(if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn compare(context: &Context, before: &Path, after: &Path) -> anyhow::Result<ExitCode> {
    let tools = tools(context)?;
    let step = context.progress.step("diff");
    step.set(format!("comparing {} with {}", before.display(), after.display()));
    let found = diff(&Disk::open(before, &tools.path)?, &Disk::open(after, &tools.path)?)?;
    drop(step);
    if context.json {
        output::print_json(&json!(found))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = String::new();
    for (kind, changes) in [("package", &found.packages), ("file", &found.files)] {
        for Change { name, before, after } in changes {
            let absent = "-".to_owned();
            let (before, after) = (before.as_ref().unwrap_or(&absent), after.as_ref().unwrap_or(&absent));
            text += &format!("{kind}  {name}  {before} -> {after}\n");
        }
    }
    if found.packages.is_empty() && found.files.is_empty() {
        text += "no differences in /usr\n";
    }
    output::print(text)?;
    Ok(ExitCode::SUCCESS)
}

/// The tools that inspect images.
fn tools(context: &Context) -> anyhow::Result<LockedTools> {
    Ok(locked_tools::tools(&Options::for_checkout(&checkout()?), context.progress)?)
}
