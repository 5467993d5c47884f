//! `keelson release`: builds a version, and packs and signs it as an update.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use image::build::{Built, Options, build};
use image::disk::{verity_salt, verity_uuid};
use release::{Digest, Keys, Release, Verity, Version};
use release_folder::{
    BuildStep, BuiltRelease, ImageFiles, KeysError, ReleaseInfo, ReleaseSpec, SigningKey, build_release,
};
use serde_json::json;
use update_core::roots::{Role, named_keys, version};

use crate::checkout::checkout;
use crate::context::{Context, interrupt};
use crate::output;
use crate::verbs::keys::password::PasswordFlags;

const DAY: Duration = Duration::from_secs(86_400);
/// zstd level of trial releases.
const QUICK_LEVEL: i32 = 3;

#[derive(Debug, clap::Args)]
pub struct Flags {
    /// Version of the release [default: that of os/release.toml]
    #[arg(long, value_name = "V")]
    version: Option<String>,
    /// Channels that the release may be published to
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "alpha,beta,stable")]
    channels: Vec<String>,
    /// Secret key that signs the release; created by `keelson keys` [default: ~/.config/keelson/keys/release.key]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    #[command(flatten)]
    password: PasswordFlags,
    /// Folder of an older release to build a delta from: its machines download only the difference; may be repeated
    #[arg(long, value_name = "DIR")]
    from: Vec<PathBuf>,
    /// Sign the boot image for Secure Boot with this PEM key, as `image build` does
    #[arg(long, value_name = "KEY")]
    sign: Option<PathBuf>,
    /// Days until the release expires; machines do not install an expired release
    #[arg(long, value_name = "N", default_value_t = 365)]
    expires_days: u32,
    /// Oldest version that can update directly to this one
    #[arg(long, value_name = "V")]
    min_from: Option<Version>,
    /// Epoch; increment it after a signing key was compromised and replaced
    #[arg(long, value_name = "N", default_value_t = 0)]
    epoch: u64,
    /// Use fast compression, for development: downloads are larger
    #[arg(long)]
    quick: bool,
    /// Also write a single file with the whole release, for offline machines
    #[arg(long)]
    bundle: bool,
    /// Output folder; the release is written to a subfolder named VERSION [default: target/releases in the checkout]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub fn run(context: &Context, flags: &Flags) -> anyhow::Result<ExitCode> {
    let checkout = checkout()?;
    // Checked before the build, so that it does not fail at the end.
    let key = flags
        .key
        .clone()
        .map_or_else(|| super::keys::folder().map(|folder| folder.join("release.key")), Ok)?;
    let secret = SigningKey::unlock(&key, &mut flags.password.passwords()?).map_err(release_key_error)?;
    if let Some(note) = unlisted_key_note(&key, &secret)? {
        context.progress.note(&note);
    }
    let mut options = Options::for_checkout(&checkout);
    options.version.clone_from(&flags.version);
    options.sign = flags.sign.as_deref().map(crate::image::signing_key).transpose()?;
    options.cancel = interrupt()?;
    let built = build(&options, context.progress)?;
    let about = about(flags, &built)?;
    let out = flags.out.clone().unwrap_or_else(|| checkout.join("target/releases")).join(&built.version);
    let public = public_keys(&key)?;
    let order = ReleaseSpec {
        images: ImageFiles {
            usr: &built.usr_erofs,
            uki: &built.uki,
            verity: Verity {
                root_hash: built.usr_root_hash.parse::<Digest>()?,
                salt: Digest(verity_salt(&built.release)),
                uuid: verity_uuid(&built.release),
            },
        },
        info: about,
        secret: &secret,
        older: &flags.from,
        keys: &public,
        level: if flags.quick { QUICK_LEVEL } else { payload::DEFAULT_LEVEL },
    };
    let step = context.progress.step("release");
    let made = build_release(&order, &out, &mut |doing, packing| {
        let percent = packing.done * 100 / packing.total.max(1);
        match doing {
            BuildStep::Full => step.set(format!("packing {percent} %")),
            BuildStep::Delta(from) => step.set(format!("delta from {from} {percent} %")),
        }
    })?;
    // A machine that installs this release may know older keys only.
    release_folder::copy_roots(key.parent().unwrap_or(Path::new(".")), &out)?;
    let bundle = match flags.bundle {
        true => {
            let path = out.with_file_name(format!("keelson-{}.kup", built.version));
            made.bundle(&path)?;
            Some(path)
        }
        false => None,
    };
    step.done(&summary(&made.release));
    print_result(context, flags, &built.version, &made, bundle.as_deref())?;
    Ok(ExitCode::SUCCESS)
}

fn release_key_error(error: KeysError) -> anyhow::Error {
    let is_missing = matches!(&error, KeysError::Read { source, .. } if source.kind() == ErrorKind::NotFound);
    let hint = if is_missing { " (`keelson keys` creates one)" } else { "" };
    anyhow::Error::from(error).context(format!("cannot use the release key{hint}"))
}

/// A note if the key is not in the newest root of its folder.
fn unlisted_key_note(key: &Path, secret: &SigningKey) -> anyhow::Result<Option<String>> {
    let folder = key.parent().unwrap_or(Path::new("."));
    if release_folder::load_roots(folder)?.is_empty() {
        return Ok(None);
    }
    let root = release_folder::latest_status(folder)?.root;
    let is_in = named_keys(&root, Role::Release).iter().any(|named| named.is_key(secret.public()));
    let note = || {
        format!(
            "warning: {} is not a release key of root version {}: machines with this root will reject the release",
            key.display(),
            version(&root)
        )
    };
    Ok((!is_in).then(note))
}

fn summary(release: &Release) -> String {
    let mut parts = vec![format!("{} MiB to download", release.full.blob.size >> 20)];
    let deltas = release.deltas.iter();
    parts
        .extend(deltas.map(|delta| {
            format!("delta from {}: {} KiB", delta.from_version, delta.payload.blob.size >> 10)
        }));
    parts.join(", ")
}

fn print_result(
    context: &Context,
    flags: &Flags,
    version: &str,
    made: &BuiltRelease,
    bundle: Option<&Path>,
) -> anyhow::Result<()> {
    if context.json {
        let deltas = made.release.deltas.iter();
        return output::print_json(&json!({
            "version": version, "folder": made.folder, "bundle": bundle, "bytes": made.release.full.blob.size,
            "deltas": deltas
                .map(|delta| json!({ "from": delta.from_version, "bytes": delta.payload.blob.size }))
                .collect::<Vec<_>>(),
        }));
    }
    let channel = flags.channels.first().map_or("alpha", String::as_str);
    output::print(format!(
        "{}\n\nNext: keelson publish --channel {channel} {version}\n",
        made.folder.display()
    ))
}

fn about(flags: &Flags, built: &Built) -> anyhow::Result<ReleaseInfo> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the system clock is before 1970")?;
    for channel in &flags.channels {
        image::release::check_channel(channel)?;
    }
    Ok(ReleaseInfo {
        appid: built.release.update.appid.clone(),
        board: built.release.board.clone(),
        channels: flags.channels.clone(),
        version: built.version.parse().context("invalid version")?,
        epoch: flags.epoch,
        build_time: built.release.epoch,
        expires: (now + DAY * flags.expires_days).as_secs().max(built.release.epoch + 1),
        min_from: flags.min_from.clone(),
        notes_url: None,
    })
}

/// The public keys beside a secret key, which verify older releases.
fn public_keys(secret: &Path) -> anyhow::Result<Keys> {
    let mut keys = Keys::default();
    let folder = secret.parent().unwrap_or(Path::new(".")).join("release");
    for entry in std::fs::read_dir(&folder).into_iter().flatten() {
        let path = entry?.path();
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        keys.add(&path.display().to_string(), &text)?;
    }
    Ok(keys)
}
