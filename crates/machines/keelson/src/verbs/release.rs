//! `keelson release`: builds a version, and packs and signs it as an update.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use image::build::{Built, Options, build};
use image::disk::{verity_salt, verity_uuid};
use image::programs::Profile;
use release::{Digest, Release, Verity, Version};
use release_folder::{
    BuildStep, BuiltRelease, FinishedImages, ImageFiles, KeysError, ReleaseInfo, ReleaseSpec, SigningKey,
    build_release, latest_complete, load_roots, releases_before,
};
use serde_json::json;
use tuf::Signer;
use update_core::roots::{Role, named_keys, version};

use crate::checkout::checkout;
use crate::context::{Context, interrupt};
use crate::finished_images::ImagesFlag;
use crate::output;
use crate::verbs::keys::password::PasswordFlags;
use crate::verbs::keys::token::{self, Place};

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
    /// Key that signs the release: a file as `keelson keys` creates it, or the pkcs11: URI of a key on a token [default:
    /// release.key in the folder of the keys]
    #[arg(long, value_name = "KEY")]
    key: Option<PathBuf>,
    /// Folder of the roots and of targets.json, the list of releases [default: that of --key if it has roots, or
    /// ~/.config/keelson/keys]
    #[arg(long, value_name = "DIR")]
    keys: Option<PathBuf>,
    #[command(flatten)]
    password: PasswordFlags,
    /// Folder of an older release to build a delta from: its machines download only the difference; may be repeated
    #[arg(long, value_name = "DIR")]
    from: Vec<PathBuf>,
    #[command(flatten)]
    images: ImagesFlag,
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
    /// Build profile of the programs: node, or quick, for development; that of the images
    #[arg(long, value_name = "PROFILE", default_value_t = Profile::Node)]
    profile: Profile,
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
    let (keys, key) = locations(flags)?;
    let signer = signer(flags, &key)?;
    let image_files = flags.images.read()?;
    check_before(flags, &checkout, (&keys, &key, &*signer), &image_files)?;
    let mut options = Options::for_checkout(&checkout);
    options.version.clone_from(&flags.version);
    options.profile = flags.profile;
    options.sign = flags.sign.as_deref().map(crate::image::signing_key).transpose()?;
    options.cancel = interrupt()?;
    let built = build(&options, context.progress)?;
    let about = about(flags, &built)?;
    let out = flags.out.clone().unwrap_or_else(|| checkout.join("target/releases")).join(&built.version);
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
        signer: &*signer,
        older: &flags.from,
        image_files: &image_files,
        keys: &keys,
        level: if flags.quick { QUICK_LEVEL } else { payload::DEFAULT_LEVEL },
    };
    let step = context.progress.step("release");
    let made = build_release(&order, &out, &mut |doing, packing| {
        let percent = packing.done * 100 / packing.total.max(1);
        match doing {
            BuildStep::Full => step.set(format!("packing {percent} %")),
            BuildStep::Delta(from) => step.set(format!("delta from {from} {percent} %")),
            BuildStep::Images => step.set(format!("copying images {percent} %")),
        }
    })?;
    let missing = made.targets.missing.as_deref();
    let bundle = match flags.bundle {
        // Machines would refuse it.
        true if missing.is_some() => None,
        true => {
            let path = out.with_file_name(format!("keelson-{}.kup", built.version));
            made.bundle(&path)?;
            Some(path)
        }
        false => None,
    };
    step.done(&summary(&made.release));
    if let Some(missing) = missing {
        context.progress.note(&unsigned_note(&made, missing, flags.bundle));
    }
    print_result(context, flags, &built.version, &made, bundle.as_deref())?;
    Ok(ExitCode::SUCCESS)
}

/// The release key in a file or on a token.
fn signer(flags: &Flags, key: &Path) -> anyhow::Result<Box<dyn Signer>> {
    match Place::parse("--key", key)? {
        Place::File(path) => {
            let secret = SigningKey::unlock(&path, &mut flags.password.passwords()?);
            Ok(secret.map_err(release_key_error)?.into_signer())
        }
        Place::Token(uri) => Ok(Box::new(token::signer(&uri)?)),
    }
}

fn release_key_error(error: KeysError) -> anyhow::Error {
    let is_missing = matches!(&error, KeysError::Read { source, .. } if source.kind() == ErrorKind::NotFound);
    let hint = if is_missing { " (`keelson keys` creates one)" } else { "" };
    anyhow::Error::from(error).context(format!("cannot use the release key{hint}"))
}

/// The folder of the roots and of the list of releases, and the release key.
fn locations(flags: &Flags) -> anyhow::Result<(PathBuf, PathBuf)> {
    let of_key = || {
        let folder = flags.key.as_deref()?.parent()?;
        let has_roots = load_roots(folder).is_ok_and(|roots| !roots.is_empty());
        has_roots.then(|| folder.to_owned())
    };
    let keys = flags.keys.clone().or_else(of_key).map_or_else(super::keys::folder, Ok)?;
    let key = flags.key.clone().unwrap_or_else(|| keys.join("release.key"));
    Ok((keys, key))
}

/// Finds what would prevent the release after the build.
fn check_before(
    flags: &Flags,
    checkout: &Path,
    (keys, key, signer): (&Path, &Path, &dyn Signer),
    image_files: &[FinishedImages],
) -> anyhow::Result<()> {
    let root = latest_complete(keys)?.with_context(|| {
        format!("there is no complete root in {} (keelson keys --roots creates one)", keys.display())
    })?;
    if !named_keys(&root, Role::Release).iter().any(|named| named.key.identity() == signer.key().identity()) {
        bail!("{} is not a release key of root version {}", key.display(), version(&root));
    }
    // Without a version, that of the release file. The build reports an invalid one.
    let about = image::release::Release::read(&checkout.join("os/release.toml"))?;
    let text = flags.version.as_ref().unwrap_or(&about.version);
    if let Ok(version) = text.parse() {
        releases_before(keys, &about.board, &version)?;
    }
    if let Some(other) = image_files.iter().find(|build| build.version != *text) {
        let record = other.record.display();
        bail!("{record} lists images of version {}, the release has version {text}", other.version);
    }
    Ok(())
}

fn unsigned_note(made: &BuiltRelease, missing: &str, bundle: bool) -> String {
    let path = made.targets.path.display();
    let no_bundle = if bundle { "; there is no bundle, which machines would refuse" } else { "" };
    format!("{path}: {missing} before it is published: keelson keys sign {path} --key FILE{no_bundle}")
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
            "version": version, "folder": made.folder, "bundle": bundle, "missing": made.targets.missing, "bytes": made.release.full.blob.size,
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
