//! Images by the names that users type: found in the store, pulled or imported, verified.

use std::error::Error;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use oci_image::limits::MAX_PAYLOAD;
use oci_image::signature::{Signatures, Trust};
use oci_image::{Digest, ImageName, Platform, Reference};
use oci_store::UnpackError;
use oci_store::{
    DeviceNodes, ImageRecord, ImportOptions, Owners, PullOptions, Store, Tree, TrustPolicy, UnpackLimits,
    UnpackOptions,
};

use crate::context::Context;
use crate::{registry, run_file, trusted_keys};

/// Characters of an image ID's abbreviation.
const MIN_ID: usize = 4;
const ID_PREFIXES: [&str; 3] = ["sha256-", "sha256:", "sha512-"];
const MAX_IMAGE: u64 = 64 << 30;

/// When an image is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullPolicy {
    Never,
    New,
    Update,
}

impl PullPolicy {
    pub fn of(flags: &command_line::ParsedArgs) -> anyhow::Result<Self> {
        Ok(match flags.text_or_default("pull-policy") {
            _ if flags.is_set("store-only") => Self::Never,
            _ if flags.is_set("no-store") => Self::Update,
            "never" => Self::Never,
            "update" => Self::Update,
            "new" | "" => Self::New,
            other => bail!("--pull-policy {other:?}; expected never, new or update"),
        })
    }
}

/// An image in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub digest: Digest,
    /// A full name, or what the user typed.
    pub name: String,
    /// The last part of its repository.
    pub app: String,
}

/// An image's ID as users see it.
pub fn id(digest: Digest) -> String {
    format!("sha256-{}", digest.hex())
}

pub fn unpack_options() -> UnpackOptions {
    UnpackOptions { owners: Owners::Image, devices: DeviceNodes::Skip, limits: UnpackLimits::default() }
}

/// Unpacks an image, if it is not. One that cannot be unpacked is removed: the store has only images that can be run.
pub fn unpack(store: &Store, image: Digest) -> anyhow::Result<Tree> {
    match store.unpack(image, &unpack_options()) {
        Ok(tree) => Ok(tree),
        Err(error) if is_of_the_host(&error) => Err(error.into()),
        Err(error) => {
            store.remove(image).with_context(|| format!("after: {}", service::error::chain(&error)))?;
            Err(error.into())
        }
    }
}

/// A full disk, a missing right: nothing is wrong with the image.
fn is_of_the_host(error: &UnpackError) -> bool {
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = next {
        let system = error.downcast_ref::<io::Error>();
        if system.is_some_and(|error| error.raw_os_error().is_some()) {
            return true;
        }
        // `source` of an error of I/O that wraps another one skips it.
        let wrapped = system.and_then(io::Error::get_ref).map(|wrapped| wrapped as &(dyn Error + 'static));
        next = wrapped.or_else(|| error.source());
    }
    matches!(error, UnpackError::Store(_) | UnpackError::List(_))
}

/// The image of an ID or its beginning.
pub fn by_id(store: &Store, text: &str) -> anyhow::Result<Option<ImageRecord>> {
    let Some(hex) = ID_PREFIXES.iter().find_map(|prefix| text.strip_prefix(prefix)) else { return Ok(None) };
    if hex.len() < MIN_ID || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        bail!("image ID {text:?}; expected at least {MIN_ID} hexadecimal digits after sha256-");
    }
    let hex = hex.to_ascii_lowercase();
    let images = store.images()?;
    let mut matching = images.into_iter().filter(|image| image.manifest.hex().starts_with(&hex));
    match (matching.next(), matching.next()) {
        (Some(image), None) => Ok(Some(image)),
        (None, _) => bail!("the store has no image {text}"),
        (Some(_), Some(_)) => bail!("several images begin with {text}; type more of the ID"),
    }
}

/// The image of an ID or a name, in the store.
pub fn stored(store: &Store, text: &str) -> anyhow::Result<ImageRecord> {
    if let Some(image) = by_id(store, text)? {
        return Ok(image);
    }
    let name = reference(text)?;
    store.find(&name)?.with_context(|| format!("the store has no image {name}"))
}

fn reference(text: &str) -> anyhow::Result<Reference> {
    match text.parse::<ImageName>()? {
        ImageName::Registry(name) => Ok(name),
        ImageName::App(name) => name.known_image().with_context(|| {
            format!("{name} is a name of an App Container image, which no registry has; use docker://REGISTRY/NAME:TAG")
        }),
    }
}

/// Finds or fetches an image. `signature`: a file with a signature of minisign.
pub fn obtain(
    context: &Context,
    store: &Store,
    text: &str,
    policy: PullPolicy,
    signature: Option<&str>,
) -> anyhow::Result<Found> {
    if let Some(image) = by_id(store, text)? {
        let name = image.names.keys().next().cloned().unwrap_or_else(|| text.to_owned());
        let app = name.parse::<Reference>().map_or("app".to_owned(), |name| pod::app_name(name.repository()));
        return Ok(Found { digest: image.manifest, name, app });
    }
    if let Some(path) = local_path(text) {
        return import(context, store, &path, signature);
    }
    let name = reference(text)?;
    let found = |digest| Found { digest, name: name.to_string(), app: pod::app_name(name.repository()) };
    if policy != PullPolicy::Update
        && let Some(image) = store.find(&name)?
        && is_trusted(context, &image, &name)
    {
        context.debug(|| format!("using image {} from the store for {name}", id(image.manifest)));
        return Ok(found(image.manifest));
    }
    if policy == PullPolicy::Never {
        bail!("the store has no trusted image {name}, and --pull-policy=never forbids to fetch it");
    }
    Ok(found(pull(context, store, &name, signature)?))
}

/// An image that was verified by a key which is still present, or any image if the check is off.
fn is_trusted(context: &Context, image: &ImageRecord, name: &Reference) -> bool {
    let verified = image.names.get(&name.to_string()).and_then(Option::as_ref);
    context.insecure.image || verified.is_some_and(|key| Path::new(key).is_file())
}

fn pull(
    context: &Context,
    store: &Store,
    name: &Reference,
    signature: Option<&str>,
) -> anyhow::Result<Digest> {
    let trust = keys(context, name)?;
    let options = PullOptions {
        platform: Platform::linux(std::env::consts::ARCH),
        trust: policy(&trust),
        minisign: minisign(signature)?,
        registry: registry::options(context, name)?,
    };
    context.debug(|| format!("fetching {name}"));
    let mut last = None;
    let pulled = store.pull(name, &options, &mut |transfer| {
        if transfer.present == transfer.size && last.replace(transfer.digest) != Some(transfer.digest) {
            context.debug(|| format!("fetched {} ({} bytes)", transfer.digest, transfer.size));
        }
    });
    let pulled = pulled.with_context(|| hint(context, name))?;
    Ok(pulled.manifest)
}

fn hint(context: &Context, name: &Reference) -> String {
    let folder = trusted_keys::folder(&context.local_config);
    if context.insecure.image {
        return format!("cannot fetch {name}");
    }
    format!(
        "cannot fetch {name} (keys of {}; --insecure-options=image switches the check of signatures off)",
        folder.display()
    )
}

/// `None`: all images are accepted.
fn keys(context: &Context, name: &Reference) -> anyhow::Result<Option<Trust>> {
    if context.insecure.image { Ok(None) } else { trusted_keys::read(context, name).map(Some) }
}

fn policy(trust: &Option<Trust>) -> TrustPolicy<'_> {
    trust.as_ref().map_or(TrustPolicy::Insecure, TrustPolicy::Require)
}

fn minisign(path: Option<&str>) -> anyhow::Result<Vec<String>> {
    path.map(|path| run_file::read_text(path.as_ref(), MAX_PAYLOAD))
        .transpose()
        .map(|text| text.into_iter().collect())
}

/// Paths begin with a slash or a dot, as references do not.
fn local_path(text: &str) -> Option<PathBuf> {
    let path = text.strip_prefix("file://").unwrap_or(text);
    let is_path = path.starts_with('/') || path.starts_with("./") || path.starts_with("../");
    is_path.then(|| PathBuf::from(path))
}

fn import(context: &Context, store: &Store, path: &Path, signature: Option<&str>) -> anyhow::Result<Found> {
    if path.extension().is_some_and(|extension| extension == "aci") {
        bail!(
            "{} is an App Container image; only OCI layouts and archives of `docker save` are supported",
            path.display()
        );
    }
    // A signature next to the file, as `minisign -S` names it.
    let neighbor = PathBuf::from(format!("{}.minisig", path.display()));
    let signature = signature.map(PathBuf::from).or_else(|| neighbor.is_file().then_some(neighbor));
    let signatures = Signatures {
        minisign: minisign(signature.as_deref().and_then(Path::to_str))?,
        ..Signatures::default()
    };
    let import = |trust: TrustPolicy<'_>, signatures: Signatures| {
        let options = ImportOptions {
            platform: Platform::linux(std::env::consts::ARCH),
            name: None,
            trust,
            signatures,
            bytes: MAX_IMAGE,
        };
        if path.is_dir() {
            return Ok(store.import_layout(path, &options)?);
        }
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        anyhow::Ok(store.import_archive(file, &options)?)
    };
    let trust = if context.insecure.image {
        None
    } else {
        Some(trusted_keys::read_all(context).with_context(|| format!("keys for {}", path.display()))?)
    };
    let imported = import(policy(&trust), signatures);
    let imported = imported.with_context(|| format!("cannot import {}", path.display()))?;
    let [only] = imported.as_slice() else {
        bail!("{} has {} images; fetch it, and use their IDs", path.display(), imported.len());
    };
    let name = only.names.first().cloned().unwrap_or_else(|| path.display().to_string());
    let app = match name.parse::<Reference>() {
        Ok(name) => pod::app_name(name.repository()),
        Err(_) => pod::app_name(&path.file_stem().unwrap_or_default().to_string_lossy()),
    };
    Ok(Found { digest: only.manifest, name, app })
}
