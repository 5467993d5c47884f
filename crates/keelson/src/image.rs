//! The verb `image`, and where machines get their image from.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context as _, bail};
use image::build::{Built, LockedTools, Options, build};
use image::diff::{Change, diff};
use image::disk::SigningKey;
use image::formats::{Format, finish};
use image::lock::{Lock, Request};
use image::mirror::Mirrors;
use image::resolve::resolve;
use image::verify::Disk;
use machines::image::Image;
use serde_json::json;

use crate::context::{Context, interrupt};
use crate::output;

/// How the name of a kept disk begins.
const KEPT: &str = "image-";

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  keelson image build --out dist\n  keelson image verify dist/keelson-9999.1.0-alpha.qcow2\n  keelson image diff old.qcow2 new.qcow2\n  keelson image lock --check"
)]
pub struct Flags {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Resolve os/packages anew and write os/packages.lock
    Lock {
        /// Only tell what would change; exit 1 if anything would
        #[arg(long)]
        check: bool,
    },
    /// Build the programs and the image, from cache where the inputs are the same
    Build(BuildFlags),
    /// Look at an image from its bytes alone: partitions, hashes, signature, record
    Verify { file: PathBuf },
    /// Tell which packages and files of /usr differ between two images
    Diff { before: PathBuf, after: PathBuf },
}

#[derive(Debug, clap::Args)]
struct BuildFlags {
    /// Version of the image [default: os/release.toml's]
    #[arg(long, value_name = "V")]
    version: Option<String>,
    /// Channel that the image follows
    #[arg(long, value_name = "C", default_value = "alpha")]
    channel: String,
    /// Formats to write, separated by commas
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "qcow2,raw")]
    format: Vec<Format>,
    /// Sign for Secure Boot with this PEM key; its certificate is the file beside it that ends in .crt
    #[arg(long, value_name = "KEY")]
    sign: Option<PathBuf>,
    /// Folder of the finished files [default: the checkout's target/dist]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Folder of intermediate results [default: the checkout's target/image]
    #[arg(long, value_name = "DIR")]
    work: Option<PathBuf>,
}

pub fn run(context: &Context, flags: &Flags) -> anyhow::Result<ExitCode> {
    match &flags.verb {
        Verb::Lock { check } => lock(context, *check),
        Verb::Build(flags) => build_files(context, flags),
        Verb::Verify { file } => verify(context, file),
        Verb::Diff { before, after } => compare(context, before, after),
    }
}

/// The image that `up` and `test` boot: the one that was named, or the one that the checkout describes. Of the
/// latter the disk is kept in the folder `keep_in`, where there is one.
pub fn provide(
    context: &Context,
    named: Option<&Path>,
    channel: Option<&str>,
    cancel: &Arc<AtomicBool>,
    keep_in: Option<&Path>,
) -> anyhow::Result<Image> {
    if let Some(named) = named {
        return Ok(Image::read(named)?);
    }
    let mut options = Options::for_checkout(&checkout()?);
    options.renew_gone = true;
    options.cancel = Arc::clone(cancel);
    if let Some(channel) = channel {
        channel.clone_into(&mut options.channel);
    }
    let built = build(&options, context.progress)?;
    // While `built` lives, no other build clears its disk.
    let raw = keep_in.map_or_else(|| Ok(built.raw.clone()), |folder| keep(&built.raw, folder))?;
    let Built { version, channel, usr_erofs, usr_tree, tools, .. } = built;
    Ok(Image { version, channel, raw, usr_tree, usr_erofs, tools })
}

/// Keeps a disk in `folder`, where the cluster's node disks are laid over it: a later build clears its own folder,
/// and a node must outlive that.
fn keep(raw: &Path, folder: &Path) -> anyhow::Result<PathBuf> {
    // The build's folder is named by the digest of all that the disk is made from.
    let key = raw.parent().and_then(Path::file_name).context("a disk without a folder")?;
    let kept = folder.join(format!("{KEPT}{}.raw", key.to_string_lossy()));
    if !kept.exists() && std::fs::hard_link(raw, &kept).is_err() {
        let partial = kept.with_extension("partial");
        image::formats::copy_sparse(raw, &partial)
            .and_then(|()| std::fs::rename(&partial, &kept))
            .with_context(|| format!("cannot keep the image as {}", kept.display()))?;
    }
    Ok(kept)
}

/// Removes the disks that were kept in `folder` and are not among `used` any more.
pub fn forget(folder: &Path, used: &[&Path]) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("can not list {}", folder.display()))? {
        let path = entry.with_context(|| format!("can not list {}", folder.display()))?.path();
        let kept = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(KEPT.as_bytes()));
        if kept && !used.contains(&path.as_path()) {
            std::fs::remove_file(&path).with_context(|| format!("can not remove {}", path.display()))?;
        }
    }
    Ok(())
}

/// The folder above this one that holds `os/packages`.
fn checkout() -> anyhow::Result<PathBuf> {
    find_checkout()?.context("this is no checkout of Keelson: no folder above it has os/packages")
}

/// The same, none where this is no checkout.
pub fn find_checkout() -> anyhow::Result<Option<PathBuf>> {
    let here = std::env::current_dir().context("current folder")?;
    Ok(here.ancestors().find(|folder| folder.join("os/packages").is_file()).map(Path::to_path_buf))
}

fn lock(context: &Context, check: bool) -> anyhow::Result<ExitCode> {
    let checkout = checkout()?;
    let options = Options::for_checkout(&checkout);
    let path = checkout.join("os/packages.lock");
    let old = if path.exists() { Lock::read(&path)? } else { Lock::default() };
    let step = context.progress.step("lock");
    step.set("asking the mirrors");
    let request = Request::read(&checkout.join("os/packages"))?;
    let new = resolve(&request, &Mirrors::of_this_machine()?, &options.apt_folder())?;
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

fn build_files(context: &Context, flags: &BuildFlags) -> anyhow::Result<ExitCode> {
    let checkout = checkout()?;
    let mut options = Options::for_checkout(&checkout);
    if let Some(work) = &flags.work {
        options.work = std::path::absolute(work).context("--work")?;
    }
    options.version.clone_from(&flags.version);
    options.channel.clone_from(&flags.channel);
    options.sign = flags.sign.as_deref().map(signing_key).transpose()?;
    options.cancel = interrupt()?;
    let begun = std::time::Instant::now();
    let built = build(&options, context.progress)?;
    let step = context.progress.step("formats");
    let out = flags.out.clone().unwrap_or_else(|| checkout.join("target/dist"));
    // Whole, for steps that work in another folder, and as people would write it in messages.
    std::fs::create_dir_all(&out).with_context(|| format!("can not make {}", out.display()))?;
    let out = std::fs::canonicalize(&out).context("--out")?;
    let record = finish(&built, &flags.format, &checkout.join("os/packages.lock"), &out)?;
    let names: Vec<String> = record
        .files
        .iter()
        .map(|file| format!("{} {} MiB", file.format.extension(), file.bytes >> 20))
        .collect();
    let took = step.done(&names.join(", "));
    if context.json {
        let mut seconds = json!({ "total": begun.elapsed().as_secs_f64(), "formats": took.as_secs_f64() });
        for (step, time) in &built.seconds {
            seconds[step] = json!(time);
        }
        output::print_json(&json!({
            "version": record.version, "channel": record.channel, "files": record.files,
            "usr_root_hash": record.usr_root_hash, "seconds": seconds,
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let lines = record.files.iter().map(|file| format!("{}  {}\n", file.sha256, file.path.display()));
    output::print(lines.collect::<String>())?;
    Ok(ExitCode::SUCCESS)
}

fn signing_key(key: &Path) -> anyhow::Result<SigningKey> {
    let key = std::path::absolute(key).context("--sign")?;
    let certificate = key.with_extension("crt");
    for file in [&key, &certificate] {
        if !file.is_file() {
            bail!("--sign wants a key and its certificate: {} is not there", file.display());
        }
    }
    Ok(SigningKey { key, certificate })
}

fn verify(context: &Context, file: &Path) -> anyhow::Result<ExitCode> {
    let tools = tools(context)?;
    let checks = Disk::open(file, &tools.path)?.verify(file)?;
    let ok = checks.iter().all(|check| check.ok);
    if context.json {
        output::print_json(&json!({ "ok": ok, "checks": checks }))?;
    } else {
        let word = |ok| if ok { "ok" } else { "FAILED" };
        let lines =
            checks.iter().map(|check| format!("{:<7}{:<28}{}\n", word(check.ok), check.name, check.detail));
        output::print(lines.collect::<String>())?;
    }
    Ok(if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn compare(context: &Context, before: &Path, after: &Path) -> anyhow::Result<ExitCode> {
    let tools = tools(context)?;
    let found = diff(&Disk::open(before, &tools.path)?, &Disk::open(after, &tools.path)?)?;
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
        text += "no difference in /usr\n";
    }
    output::print(text)?;
    Ok(ExitCode::SUCCESS)
}

/// What images are looked at with.
fn tools(context: &Context) -> anyhow::Result<LockedTools> {
    Ok(image::build::tools(&Options::for_checkout(&checkout()?), context.progress)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_disks_that_nobody_is_laid_over_are_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("KEY")).unwrap();
        std::fs::write(at("KEY/disk.raw"), "new").unwrap();
        for name in ["image-old.raw", "image-used.raw", "image-cut.partial", "cluster.json"] {
            std::fs::write(at(name), "").unwrap();
        }
        let kept = keep(&at("KEY/disk.raw"), folder.path()).unwrap();
        assert_eq!(keep(&at("KEY/disk.raw"), folder.path()).unwrap(), kept, "it is there already");
        forget(folder.path(), &[&kept, &at("image-used.raw")]).unwrap();
        let mut names: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["KEY", "cluster.json", "image-KEY.raw", "image-used.raw"]);
    }
}
