//! Finds the image that machines boot: a file, or a build of the checkout.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Context as _;
use image::build::{Built, Options, build};
use image::enrolment::FILES;
use image::import::{ImportedImage, find_disk, import, import_name};
use image::programs::Profile;
use image::sparse::copy_sparse;
use image::tree::{clone_with_hard_links, remove};
use image::verify::Disk;
use image::work::InUse;
use machines::cluster::BackendKind;
use machines::image::{Image, ImageError, MANIFEST};

use crate::checkout::checkout;
use crate::context::Context;
use crate::machine_tools::{MachineTools, tools};

/// Name prefix of kept image files.
const KEPT_PREFIX: &str = "image-";
/// Extension of kept folders: a `/usr`, and the tools tree, which a later start of the machines needs.
const TREE_EXTENSION: &str = "tree";
/// Folder in the state folder for images that scenarios boot from files.
const TEST_IMAGES: &str = "test-images";
const TEST_IMAGES_MAX: usize = 2;

/// Which image to boot, and on what.
#[derive(Debug, Clone, Copy)]
pub struct ImageRequest<'a> {
    /// An image file or folder; `None` builds the checkout.
    pub named: Option<&'a Path>,
    pub channel: Option<&'a str>,
    /// Build profile of the programs in a build.
    pub profile: Profile,
    /// The only back end that will be used, if known.
    pub on: Option<BackendKind>,
    /// The cluster's folder, which keeps what its machines depend on; `None` for machines that do not outlive
    /// [`BootImage`].
    pub keep_in: Option<&'a Path>,
}

/// An image. While this exists, builds do not remove it.
#[derive(Debug)]
pub struct BootImage {
    pub image: Image,
    _in_use: Vec<InUse>,
}

/// Finds the image that `up` and `test` boot.
pub fn find(
    context: &Context,
    request: ImageRequest<'_>,
    cancel: &Arc<AtomicBool>,
) -> anyhow::Result<BootImage> {
    if let Some(named) = request.named {
        let image = match manifest(named)? {
            Some(image) => image,
            None => from_file(context, named, request)?,
        };
        return Ok(BootImage { image, _in_use: Vec::new() });
    }
    let mut options = Options::for_checkout(&checkout()?);
    options.renew_missing = true;
    options.profile = request.profile;
    options.cancel = Arc::clone(cancel);
    if let Some(channel) = request.channel {
        channel.clone_into(&mut options.channel);
    }
    let built = build(&options, context.progress)?;
    let in_use = built.in_use()?;
    let kept =
        |file: &Path| request.keep_in.map_or_else(|| Ok(file.to_path_buf()), |folder| keep(file, folder));
    let (raw, usr_erofs) = (kept(&built.raw)?, kept(&built.usr_erofs)?);
    let usr_tree =
        match request.keep_in.filter(|_| request.on == Some(BackendKind::Nspawn) && !mounts_erofs()) {
            Some(folder) => keep_tree(&built.usr_tree, folder)?,
            None => built.usr_tree.clone(),
        };
    let Built { version, channel, tools, .. } = built;
    let tools = request.keep_in.map_or_else(|| Ok(tools.clone()), |folder| keep_tree(&tools, folder))?;
    let image = Image { version, channel, raw, usr_tree, usr_erofs, tools };
    Ok(BootImage { image, _in_use: in_use })
}

/// The image described by a manifest; `None` if `named` is a disk.
pub fn manifest(named: &Path) -> anyhow::Result<Option<Image>> {
    let is_json = named.extension().is_some_and(|extension| extension == "json");
    if named.is_dir() && !named.join(MANIFEST).exists() || named.is_file() && !is_json {
        return Ok(None);
    }
    match Image::read(named) {
        // The record of a build identifies its disk.
        Err(ImageError::Format { .. }) if find_disk(named).is_ok() => Ok(None),
        read => Ok(Some(read?)),
    }
}

/// Whether the image contains the keys that a machine in setup mode enrols.
pub fn has_keys(image: &Image) -> anyhow::Result<bool> {
    let found = Disk::open(&image.raw, &image.tools)?.keys()?;
    Ok(found.len() == FILES.len())
}

fn from_file(context: &Context, named: &Path, request: ImageRequest<'_>) -> anyhow::Result<Image> {
    let file = find_disk(named)?;
    let tools = tools(context, request.on)?;
    let test_images = context.state_dir.join(TEST_IMAGES);
    let folder = request.keep_in.unwrap_or(&test_images);
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let target = folder.join(format!("{KEPT_PREFIX}{}", import_name(&file)?));
    let step = context.progress.step("image");
    step.set(format!("reading {}", file.display()));
    let tree = request.on != Some(BackendKind::Qemu) && !mounts_erofs();
    let ImportedImage { version, channel, raw, usr_erofs, usr_tree } =
        import(&file, tools.path(), &target, tree)?;
    if request.keep_in.is_none() {
        keep_newest(folder, &target)?;
    }
    step.done(&format!("{version} of {channel}, {}", file.display()));
    let tools = match (&tools, request.keep_in) {
        (MachineTools::Locked(tools), Some(folder)) => keep_tree(&tools.path, folder)?,
        (tools, _) => tools.path().to_path_buf(),
    };
    Ok(Image { version, channel, raw, usr_tree, usr_erofs, tools })
}

/// Whether the kernel supports erofs. Modules that it could load on demand do not count.
pub fn mounts_erofs() -> bool {
    let known = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    known.lines().any(|line| line.trim() == "erofs")
}

/// Keeps a file of the build in `folder`, since later builds clear their own folder.
pub fn keep(file: &Path, folder: &Path) -> anyhow::Result<PathBuf> {
    let extension = file.extension().context("the file name has no extension")?;
    let kept = folder.join(format!("{KEPT_PREFIX}{}.{}", key_of(file)?, extension.to_string_lossy()));
    if was_rebuilt(file, &kept) {
        std::fs::remove_file(&kept).with_context(|| format!("cannot replace {}", kept.display()))?;
    }
    if !kept.exists() && std::fs::hard_link(file, &kept).is_err() {
        let partial = kept.with_extension("partial");
        copy_sparse(file, &partial)
            .and_then(|()| std::fs::rename(&partial, &kept))
            .with_context(|| format!("cannot save the image as {}", kept.display()))?;
    }
    Ok(kept)
}

/// Whether the build has replaced the file that `kept` is a link of, for example because it was damaged.
fn was_rebuilt(file: &Path, kept: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let (Ok(file), Ok(kept)) = (file.metadata(), kept.metadata()) else { return false };
    file.dev() == kept.dev() && file.ino() != kept.ino()
}

/// Keeps a folder by hard links. Returns the build's folder if hard links are not possible.
pub fn keep_tree(tree: &Path, folder: &Path) -> anyhow::Result<PathBuf> {
    let key = tree.file_name().context("the path has no file name")?.to_string_lossy();
    let kept = folder.join(format!("{KEPT_PREFIX}{key}.{TREE_EXTENSION}"));
    if kept.exists() {
        return Ok(kept);
    }
    let partial = kept.with_extension("partial");
    remove(&partial)?;
    if clone_with_hard_links(tree, &partial).is_err() {
        remove(&partial)?;
        return Ok(tree.to_path_buf());
    }
    std::fs::rename(&partial, &kept).with_context(|| format!("cannot save {}", kept.display()))?;
    Ok(kept)
}

/// The build's folder of a file is named after the digest of the file's inputs.
fn key_of(file: &Path) -> anyhow::Result<String> {
    let key = file.parent().and_then(Path::file_name).context("the path has no parent folder")?;
    Ok(key.to_string_lossy().into_owned())
}

/// Removes kept files of `folder` that are not in `used`. Folders stay while any machine `runs`, since they may be
/// its `/usr`.
pub fn remove_unused(folder: &Path, used: &[&Path], runs: bool) -> anyhow::Result<()> {
    for path in kept_paths(folder)? {
        let is_tree = path.extension().is_some_and(|extension| extension == TREE_EXTENSION);
        let needed = runs && is_tree || used.iter().any(|used| used.starts_with(&path));
        if !needed {
            remove_any(&path)?;
        }
    }
    Ok(())
}

fn kept_paths(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let failed = || format!("cannot list {}", folder.display());
    let mut kept = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(failed)? {
        let entry = entry.with_context(failed)?;
        if entry.file_name().as_encoded_bytes().starts_with(KEPT_PREFIX.as_bytes()) {
            kept.push(entry.path());
        }
    }
    Ok(kept)
}

/// Keeps the newest test images, including `last`.
fn keep_newest(folder: &Path, last: &Path) -> anyhow::Result<()> {
    let mut kept: Vec<_> = kept_paths(folder)?
        .into_iter()
        .filter(|path| path != last)
        .map(|path| (path.metadata().and_then(|data| data.modified()).ok(), path))
        .collect();
    kept.sort();
    let surplus = (kept.len() + 1).saturating_sub(TEST_IMAGES_MAX);
    kept.iter().take(surplus).try_for_each(|(_, path)| remove_any(path))
}

fn remove_any(path: &Path) -> anyhow::Result<()> {
    let removed = if path.is_dir() { Ok(remove(path)?) } else { std::fs::remove_file(path) };
    removed.with_context(|| format!("cannot remove {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn only_what_nobody_is_laid_over_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["KEY", "image-taken", "image-old", "image-old.tree", "TREE"] {
            std::fs::create_dir(at(name)).unwrap();
        }
        for name in ["KEY/disk.raw", "KEY/usr.erofs", "TREE/usr"] {
            std::fs::write(at(name), "new").unwrap();
        }
        for name in ["image-old.raw", "image-used.raw", "image-cut.partial", "cluster.json"] {
            std::fs::write(at(name), "").unwrap();
        }
        let kept = keep(&at("KEY/disk.raw"), folder.path()).unwrap();
        assert_eq!(keep(&at("KEY/disk.raw"), folder.path()).unwrap(), kept, "it is there already");
        let usr = keep(&at("KEY/usr.erofs"), folder.path()).unwrap();
        let tree = keep_tree(&at("TREE"), folder.path()).unwrap();
        let unpacked = at("image-taken/disk.raw");
        let used: [&Path; 5] = [&kept, &usr, &tree, &unpacked, &at("image-used.raw")];
        let expected = [
            "KEY",
            "TREE",
            "cluster.json",
            "image-KEY.erofs",
            "image-KEY.raw",
            "image-TREE.tree",
            "image-old.tree",
            "image-taken",
            "image-used.raw",
        ];
        remove_unused(folder.path(), &used, true).unwrap();
        assert_eq!(names(folder.path()), expected, "somebody may run on the old tree");
        remove_unused(folder.path(), &used, false).unwrap();
        assert_eq!(
            names(folder.path()),
            expected.into_iter().filter(|name| *name != "image-old.tree").collect::<Vec<_>>()
        );
        std::fs::rename(at("KEY/disk.raw"), at("damaged")).unwrap();
        std::fs::write(at("KEY/disk.raw"), "new").unwrap();
        std::fs::write(at("damaged"), "old").unwrap();
        keep(&at("KEY/disk.raw"), folder.path()).unwrap();
        assert_eq!(std::fs::read_to_string(&kept).unwrap(), "new", "what was made anew is kept anew");
        // Kept files outlive the build's folders.
        for name in ["KEY", "TREE"] {
            std::fs::remove_dir_all(at(name)).unwrap();
        }
        for file in [kept, usr, tree.join("usr")] {
            assert_eq!(std::fs::read_to_string(&file).unwrap(), "new", "{}", file.display());
        }
    }

    #[test]
    fn the_newest_test_images_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["image-1", "image-2", "image-3"] {
            std::fs::create_dir(at(name)).unwrap();
        }
        keep_newest(folder.path(), &at("image-1")).unwrap();
        assert_eq!(names(folder.path()).len(), 2);
        assert!(at("image-1").exists());
    }

    #[test]
    fn disks_and_manifests_are_distinguished() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        assert!(manifest(&at("none")).unwrap_err().to_string().contains("none"));
        std::fs::write(at("a.raw"), "").unwrap();
        assert!(manifest(&at("a.raw")).unwrap().is_none());
        assert!(manifest(folder.path()).unwrap().is_none());
        std::fs::write(at("a.json"), r#"{"version":"1"}"#).unwrap();
        assert!(manifest(&at("a.json")).unwrap().is_none(), "the record beside its disk");
        std::fs::write(at("b.json"), "{}").unwrap();
        assert!(manifest(&at("b.json")).is_err());
        let text = r#"{"version":"1","channel":"alpha","raw":"a.raw","usr_tree":"u","usr_erofs":"u.erofs","tools":"/"}"#;
        std::fs::write(at("image.json"), text).unwrap();
        for named in [folder.path(), &at("image.json")] {
            assert_eq!(manifest(named).unwrap().unwrap().version, "1");
        }
    }
}
