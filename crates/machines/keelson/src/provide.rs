//! Where machines get their image from: a file that somebody built, or what the checkout describes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Context as _;
use image::build::{Built, Options, build};
use image::enrolment::FILES;
use image::finished::{Taken, disk_of, name_of, take};
use image::programs::Profile;
use image::sparse::copy_sparse;
use image::tree::{clone_by_links, remove};
use image::verify::Disk;
use image::work::InUse;
use machines::cluster::BackendKind;
use machines::image::{Image, ImageError, MANIFEST};

use crate::checkout::checkout;
use crate::context::Context;
use crate::machine_tools::{MachineTools, tools};

/// How the names of what is kept of images begin.
const KEPT: &str = "image-";
/// How the names of kept folders end: a `/usr`, and the tools tree, without which machines cannot be started again.
const KEPT_TREE: &str = "tree";
/// Folder, beside the clusters', of the images that scenarios boot from files.
const TESTED: &str = "test-images";
/// How many of them are kept.
const TESTED_MAX: usize = 2;

/// What is to be booted, and where.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// A file or folder; without one it is built from the checkout.
    pub named: Option<&'a Path>,
    pub channel: Option<&'a str>,
    /// How the programs are compiled where it is built.
    pub profile: Profile,
    /// Only on this back end.
    pub on: Option<BackendKind>,
    /// The cluster's folder, which keeps what its machines are laid over; none where they end with what is provided.
    pub keep_in: Option<&'a Path>,
}

/// An image, which no build clears for as long as this lives.
#[derive(Debug)]
pub struct Provided {
    pub image: Image,
    _in_use: Vec<InUse>,
}

/// The image that `up` and `test` boot.
pub fn provide(context: &Context, wanted: Wanted<'_>, cancel: &Arc<AtomicBool>) -> anyhow::Result<Provided> {
    if let Some(named) = wanted.named {
        let image = match manifest(named)? {
            Some(image) => image,
            None => from_file(context, named, wanted)?,
        };
        return Ok(Provided { image, _in_use: Vec::new() });
    }
    let mut options = Options::for_checkout(&checkout()?);
    options.renew_gone = true;
    options.profile = wanted.profile;
    options.cancel = Arc::clone(cancel);
    if let Some(channel) = wanted.channel {
        channel.clone_into(&mut options.channel);
    }
    let built = build(&options, context.progress)?;
    let in_use = built.in_use()?;
    let kept =
        |file: &Path| wanted.keep_in.map_or_else(|| Ok(file.to_path_buf()), |folder| keep(file, folder));
    let (raw, usr_erofs) = (kept(&built.raw)?, kept(&built.usr_erofs)?);
    let usr_tree = match wanted.keep_in.filter(|_| wanted.on == Some(BackendKind::Nspawn) && !mounts_erofs())
    {
        Some(folder) => keep_tree(&built.usr_tree, folder)?,
        None => built.usr_tree.clone(),
    };
    let Built { version, channel, tools, .. } = built;
    let tools = wanted.keep_in.map_or_else(|| Ok(tools.clone()), |folder| keep_tree(&tools, folder))?;
    let image = Image { version, channel, raw, usr_tree, usr_erofs, tools };
    Ok(Provided { image, _in_use: in_use })
}

/// The image whose `image.json` is named; none where a disk is.
pub fn manifest(named: &Path) -> anyhow::Result<Option<Image>> {
    let is_json = named.extension().is_some_and(|extension| extension == "json");
    if named.is_dir() && !named.join(MANIFEST).exists() || named.is_file() && !is_json {
        return Ok(None);
    }
    match Image::read(named) {
        // The record of a build stands for its disk.
        Err(ImageError::Format { .. }) if disk_of(named).is_ok() => Ok(None),
        read => Ok(Some(read?)),
    }
}

/// Whether machines in setup mode learn from the image whose signatures to trust.
pub fn has_keys(image: &Image) -> anyhow::Result<bool> {
    let found = Disk::open(&image.raw, &image.tools)?.keys()?;
    Ok(found.len() == FILES.len())
}

/// Takes apart the finished disk that is named.
fn from_file(context: &Context, named: &Path, wanted: Wanted<'_>) -> anyhow::Result<Image> {
    let file = disk_of(named)?;
    let tools = tools(context, wanted.on)?;
    let tested = context.state_dir.join(TESTED);
    let folder = wanted.keep_in.unwrap_or(&tested);
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let place = folder.join(format!("{KEPT}{}", name_of(&file)?));
    let step = context.progress.step("image");
    step.set(format!("looking into {}", file.display()));
    let tree = wanted.on != Some(BackendKind::Qemu) && !mounts_erofs();
    let Taken { version, channel, raw, usr_erofs, usr_tree } = take(&file, tools.path(), &place, tree)?;
    if wanted.keep_in.is_none() {
        keep_newest(folder, &place)?;
    }
    step.done(&format!("{version} of {channel}, {}", file.display()));
    let tools = match (&tools, wanted.keep_in) {
        (MachineTools::Locked(tools), Some(folder)) => keep_tree(&tools.path, folder)?,
        (tools, _) => tools.path().to_path_buf(),
    };
    Ok(Image { version, channel, raw, usr_tree, usr_erofs, tools })
}

/// Whether the kernel has the file system of `/usr`. One that could load it on demand is not asked.
pub fn mounts_erofs() -> bool {
    let known = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    known.lines().any(|line| line.trim() == "erofs")
}

/// Keeps a file of the build in `folder`: a later build clears its own folder, and a machine must outlive that.
pub fn keep(file: &Path, folder: &Path) -> anyhow::Result<PathBuf> {
    let extension = file.extension().context("a file without an extension")?;
    let kept = folder.join(format!("{KEPT}{}.{}", key_of(file)?, extension.to_string_lossy()));
    if is_made_anew(file, &kept) {
        std::fs::remove_file(&kept).with_context(|| format!("cannot replace {}", kept.display()))?;
    }
    if !kept.exists() && std::fs::hard_link(file, &kept).is_err() {
        let partial = kept.with_extension("partial");
        copy_sparse(file, &partial)
            .and_then(|()| std::fs::rename(&partial, &kept))
            .with_context(|| format!("cannot keep the image as {}", kept.display()))?;
    }
    Ok(kept)
}

/// Whether what was linked to is not there any more, and its like is: one that was found damaged, say.
fn is_made_anew(file: &Path, kept: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let (Ok(file), Ok(kept)) = (file.metadata(), kept.metadata()) else { return false };
    file.dev() == kept.dev() && file.ino() != kept.ino()
}

/// The same for a folder, where its files can be linked to; elsewhere it stays the build's.
pub fn keep_tree(tree: &Path, folder: &Path) -> anyhow::Result<PathBuf> {
    let key = tree.file_name().context("a folder without a name")?.to_string_lossy();
    let kept = folder.join(format!("{KEPT}{key}.{KEPT_TREE}"));
    if kept.exists() {
        return Ok(kept);
    }
    let partial = kept.with_extension("partial");
    remove(&partial)?;
    if clone_by_links(tree, &partial).is_err() {
        remove(&partial)?;
        return Ok(tree.to_path_buf());
    }
    std::fs::rename(&partial, &kept).with_context(|| format!("cannot keep {}", kept.display()))?;
    Ok(kept)
}

/// The build's folder of a file is named by the digest of all that the file is made from.
fn key_of(file: &Path) -> anyhow::Result<String> {
    let key = file.parent().and_then(Path::file_name).context("a file without a folder")?;
    Ok(key.to_string_lossy().into_owned())
}

/// Removes what was kept in `folder` and is not among `used` any more. A folder that machines may run on, as on
/// their `/usr`, stays for as long as any `runs`.
pub fn forget(folder: &Path, used: &[&Path], runs: bool) -> anyhow::Result<()> {
    for path in kept_in(folder)? {
        let is_tree = path.extension().is_some_and(|extension| extension == KEPT_TREE);
        let needed = runs && is_tree || used.iter().any(|used| used.starts_with(&path));
        if !needed {
            remove_any(&path)?;
        }
    }
    Ok(())
}

fn kept_in(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let failed = || format!("cannot list {}", folder.display());
    let mut kept = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(failed)? {
        let entry = entry.with_context(failed)?;
        if entry.file_name().as_encoded_bytes().starts_with(KEPT.as_bytes()) {
            kept.push(entry.path());
        }
    }
    Ok(kept)
}

/// Of the images that scenarios booted, the newest stay, `last` among them.
fn keep_newest(folder: &Path, last: &Path) -> anyhow::Result<()> {
    let mut kept: Vec<_> = kept_in(folder)?
        .into_iter()
        .filter(|path| path != last)
        .map(|path| (path.metadata().and_then(|data| data.modified()).ok(), path))
        .collect();
    kept.sort();
    let surplus = (kept.len() + 1).saturating_sub(TESTED_MAX);
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
        let taken = at("image-taken/disk.raw");
        let used: [&Path; 5] = [&kept, &usr, &tree, &taken, &at("image-used.raw")];
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
        forget(folder.path(), &used, true).unwrap();
        assert_eq!(names(folder.path()), expected, "somebody may run on the old tree");
        forget(folder.path(), &used, false).unwrap();
        assert_eq!(
            names(folder.path()),
            expected.into_iter().filter(|name| *name != "image-old.tree").collect::<Vec<_>>()
        );
        std::fs::rename(at("KEY/disk.raw"), at("damaged")).unwrap();
        std::fs::write(at("KEY/disk.raw"), "new").unwrap();
        std::fs::write(at("damaged"), "old").unwrap();
        keep(&at("KEY/disk.raw"), folder.path()).unwrap();
        assert_eq!(std::fs::read_to_string(&kept).unwrap(), "new", "what was made anew is kept anew");
        // What the build clears, the cluster still has.
        for name in ["KEY", "TREE"] {
            std::fs::remove_dir_all(at(name)).unwrap();
        }
        for file in [kept, usr, tree.join("usr")] {
            assert_eq!(std::fs::read_to_string(&file).unwrap(), "new", "{}", file.display());
        }
    }

    #[test]
    fn of_the_images_of_scenarios_the_newest_stay() {
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
    fn a_disk_is_told_from_a_manifest() {
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
