//! `image extract`, `image render`, `image export`: an image's files outside of the store.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;
use std::process::Command as Process;

use anyhow::{Context as _, bail};
use command_line::{Flag, ParsedArgs};
use oci_image::{Blob, Digest};
use serde_json::{Value, json};

use crate::command::{Command, Run};
use crate::context::Context;
use crate::images;

const OVERWRITE: Flag = Flag::switch("overwrite", "replace the directory or file");
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

pub const EXTRACT: Command = Command {
    name: "extract",
    arguments: "IMAGE DIRECTORY",
    summary: "copy an image's root file system to a new directory",
    description: &["The files are in the directory's rootfs, or in itself with --rootfs-only."],
    flags: &[Flag::switch("rootfs-only", "nothing but the root file system"), OVERWRITE],
    examples: &[(
        "rkt image extract --rootfs-only --overwrite docker://fedora /var/lib/toolbox/x",
        "as toolbox does",
    )],
    run: Run::Action(extract),
};

pub const RENDER: Command = Command {
    name: "render",
    arguments: "IMAGE DIRECTORY",
    summary: "as extract",
    description: &[],
    flags: &[Flag::switch("rootfs-only", "nothing but the root file system"), OVERWRITE],
    examples: &[("rkt image render docker://busybox ./busybox", "copy the files")],
    run: Run::Action(extract),
};

pub const EXPORT: Command = Command {
    name: "export",
    arguments: "IMAGE FILE",
    summary: "write an image to an archive of an OCI layout",
    description: &["`rkt fetch FILE` and `docker load` read it."],
    flags: &[OVERWRITE],
    examples: &[("rkt image export docker://busybox busybox.tar", "for a machine without a registry")],
    run: Run::Action(export),
};

fn extract(context: &Context, args: &ParsedArgs) -> anyhow::Result<u8> {
    let [image, directory] = args.arguments.as_slice() else {
        bail!("an image and a directory are required")
    };
    let store = context.store()?;
    let tree = images::unpack(&store, images::stored(&store, image)?.manifest)?;
    let directory = std::path::absolute(directory).with_context(|| directory.clone())?;
    let overwrite = args.is_set("overwrite");
    if directory.exists() && !overwrite {
        bail!("{} exists; replace it with --overwrite", directory.display());
    }
    let parent = directory.parent().context("the directory is the root")?;
    // Copied aside and renamed: a directory with this name is complete.
    let failed = || format!("cannot write below {}", parent.display());
    let temporary = tempfile::Builder::new().prefix(".rkt-").tempdir_in(parent).with_context(failed)?;
    let target = temporary.path().join("new");
    let rootfs = if args.is_set("rootfs-only") { target.clone() } else { target.join("rootfs") };
    fs::create_dir_all(rootfs.parent().unwrap_or(&target)).with_context(failed)?;
    copy(&tree.rootfs(), &rootfs)?;
    if directory.exists() {
        fs::rename(&directory, temporary.path().join("old")).with_context(failed)?;
    }
    fs::rename(&target, &directory).with_context(|| format!("cannot create {}", directory.display()))?;
    Ok(0)
}

/// With owners, links, attributes and times.
fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    let mut program = Process::new("cp");
    program.args(["--archive", "--reflink=auto", "--no-target-directory"]).arg(from).arg(to);
    let status = program.status().context("cannot start cp")?;
    if !status.success() {
        bail!("cannot copy {} to {}: cp failed ({status})", from.display(), to.display());
    }
    Ok(())
}

fn export(context: &Context, args: &ParsedArgs) -> anyhow::Result<u8> {
    let [image, file] = args.arguments.as_slice() else { bail!("an image and a file are required") };
    let path = Path::new(file);
    if path.exists() && !args.is_set("overwrite") {
        bail!("{file} exists; replace it with --overwrite");
    }
    let store = context.store()?;
    let record = images::stored(&store, image)?;
    let manifest = store.manifest(record.manifest)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let temporary = tempfile::Builder::new().prefix(".rkt-").tempfile_in(folder);
    let temporary = temporary.with_context(|| format!("cannot write below {}", folder.display()))?;
    let mut archive = tar::Builder::new(temporary);
    let size = store.open_blob(record.manifest)?.metadata().context("manifest")?.len();
    let index = index(
        &record.names.keys().cloned().collect::<Vec<_>>(),
        record.manifest,
        size,
        media_type(&store, record.manifest)?,
    );
    add_bytes(&mut archive, "oci-layout", json!({ "imageLayoutVersion": "1.0.0" }).to_string().as_bytes())?;
    add_bytes(&mut archive, "index.json", index.to_string().as_bytes())?;
    let top = Blob { digest: record.manifest, size };
    let mut written = std::collections::BTreeSet::new();
    for blob in [&top, &manifest.config].into_iter().chain(manifest.layers.iter().map(|layer| &layer.blob)) {
        if written.insert(blob.digest) {
            let mut header = header(blob.size);
            let name = format!("blobs/sha256/{}", blob.digest.hex());
            archive
                .append_data(&mut header, name, store.open_blob(blob.digest)?)
                .context("cannot write the archive")?;
        }
    }
    let temporary = archive.into_inner().context("cannot write the archive")?;
    temporary.as_file().sync_all().context("cannot write the archive")?;
    temporary.persist(path).with_context(|| format!("cannot create {file}"))?;
    Ok(0)
}

fn media_type(store: &oci_store::Store, manifest: Digest) -> anyhow::Result<String> {
    let mut text = Vec::new();
    store
        .open_blob(manifest)?
        .take(oci_image::limits::MAX_DOCUMENT)
        .read_to_end(&mut text)
        .context("manifest")?;
    let value: Value = serde_json::from_slice(&text).context("manifest")?;
    Ok(value.get("mediaType").and_then(Value::as_str).unwrap_or(OCI_MANIFEST).to_owned())
}

/// A descriptor for each name.
fn index(names: &[String], digest: Digest, size: u64, media_type: String) -> Value {
    let descriptor = |name: Option<&String>| {
        let annotations = name.map(
            |name| json!({ "org.opencontainers.image.ref.name": name, "io.containerd.image.name": name }),
        );
        let mut value = json!({ "mediaType": media_type, "digest": digest, "size": size });
        if let (Some(annotations), Some(object)) = (annotations, value.as_object_mut()) {
            object.insert("annotations".to_owned(), annotations);
        }
        value
    };
    let manifests: Vec<Value> = if names.is_empty() {
        vec![descriptor(None)]
    } else {
        names.iter().map(|name| descriptor(Some(name))).collect()
    };
    json!({ "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": manifests })
}

fn header(size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(size);
    header
}

fn add_bytes(
    archive: &mut tar::Builder<tempfile::NamedTempFile<File>>,
    name: &str,
    bytes: &[u8],
) -> anyhow::Result<()> {
    archive.append_data(&mut header(bytes.len() as u64), name, bytes).context("cannot write the archive")
}
