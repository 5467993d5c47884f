//! `image`: the images in the store.

use anyhow::{Context as _, bail};
use command_line::{Flag, ParsedArgs, ValueKind};
use oci_image::Digest;
use oci_store::{GcError, ImageRecord, Store};
use serde_json::json;

use super::format::{FORMAT, wants_json};
use super::image_copy;
use crate::command::{Command, Run};
use crate::context::Context;
use crate::exit_code;
use crate::images;
use crate::stdout::{print, table};
use crate::times;

pub const COMMAND: Command = Command {
    name: "image",
    arguments: "",
    summary: "list, verify, export and remove images",
    description: &[],
    flags: &[],
    examples: &[("rkt image list", "list images")],
    run: Run::Group(&[
        &LIST,
        &RM,
        &GC,
        &CAT_MANIFEST,
        &VERIFY,
        &image_copy::EXTRACT,
        &image_copy::RENDER,
        &image_copy::EXPORT,
    ]),
};

const LIST: Command = Command {
    name: "list",
    arguments: "",
    summary: "list images",
    description: &[],
    flags: &[
        Flag::switch("full", "whole IDs and times"),
        Flag::switch("no-legend", "without the line of column names"),
        Flag::new("fields", ValueKind::Text, "columns: id, name, size, importtime, lastused, signed"),
        Flag::switch("json", "print JSON"),
        FORMAT,
    ],
    examples: &[
        ("rkt image list", "list images"),
        ("rkt image list --fields=id,name --no-legend", "for scripts"),
    ],
    run: Run::Action(list),
};

const RM: Command = Command {
    name: "rm",
    arguments: "IMAGE...",
    summary: "remove images by ID or name",
    description: &["An image of a pod that is prepared or runs is not removed."],
    flags: &[],
    examples: &[("rkt image rm sha256-3e23e816", "remove an image")],
    run: Run::Action(rm),
};

const GC: Command = Command {
    name: "gc",
    arguments: "",
    summary: "remove images that were not used for some time",
    description: &[],
    flags: &[Flag::new("grace-period", ValueKind::Duration, "time since the last use").default("24h")],
    examples: &[("rkt image gc --grace-period=168h", "remove images that were not used for a week")],
    run: Run::Action(gc),
};

const CAT_MANIFEST: Command = Command {
    name: "cat-manifest",
    arguments: "IMAGE",
    summary: "print an image's settings",
    description: &[],
    flags: &[Flag::switch("pretty-print", "indent the text").default("true")],
    examples: &[("rkt image cat-manifest docker://busybox", "print the settings")],
    run: Run::Action(cat_manifest),
};

const VERIFY: Command = Command {
    name: "verify",
    arguments: "IMAGE...",
    summary: "compare the unpacked files of images with what was unpacked",
    description: &[],
    flags: &[],
    examples: &[("rkt image verify docker://busybox", "compare each file")],
    run: Run::Action(verify),
};

const FIELDS: [(&str, &str); 6] = [
    ("id", "ID"),
    ("name", "NAME"),
    ("size", "SIZE"),
    ("importtime", "IMPORT TIME"),
    ("lastused", "LAST USED"),
    ("signed", "SIGNED BY"),
];
const DEFAULT_FIELDS: &str = "id,name,size,importtime,lastused";
const SHORT_ID: usize = 19;

/// Bytes of the configuration and the compressed layers.
fn size(store: &Store, image: &ImageRecord) -> anyhow::Result<u64> {
    let manifest = store.manifest(image.manifest)?;
    Ok(manifest.config.size + manifest.layers.iter().map(|layer| layer.blob.size).sum::<u64>())
}

/// Lists an image that is damaged, too: without its size, and with a failure in the end.
fn list(context: &Context, args: &ParsedArgs) -> anyhow::Result<u8> {
    let store = context.store()?;
    let records = store.images()?;
    let mut code = 0;
    let mut size = |image: &ImageRecord| {
        let size = size(&store, image);
        size.inspect_err(|error| {
            let (id, error) = (images::id(image.manifest), service::error::chain(error.as_ref()));
            eprintln!("image list: {id}: {error}; remove it (rkt image rm {id}) and fetch it again");
            code = exit_code::FAILURE;
        })
        .ok()
    };
    if wants_json(args) {
        let mut values = Vec::new();
        for image in &records {
            values.push(json!({
                "id": images::id(image.manifest), "names": image.names, "size": size(image),
                "import_time": image.imported, "last_used_time": image.last_used,
            }));
        }
        print(&format!("{}\n", serde_json::to_string_pretty(&values)?))?;
        return Ok(code);
    }
    let fields: Vec<&str> = args.text("fields").unwrap_or(DEFAULT_FIELDS).split(',').collect();
    let mut legend = Vec::new();
    for field in &fields {
        let known = FIELDS.iter().find(|(name, _)| name == field);
        let (_, title) = known.with_context(|| {
            format!("field {field:?}; expected {}", FIELDS.map(|(name, _)| name).join(", "))
        })?;
        legend.push((*title).to_owned());
    }
    let mut rows = if args.is_set("no-legend") { Vec::new() } else { vec![legend] };
    let (full, now) = (args.is_set("full"), times::now());
    let time =
        |seconds: u64| if full { times::full(seconds * 1000) } else { times::ago(seconds * 1000, now) };
    for image in &records {
        let id = images::id(image.manifest);
        let cell = |field: &&str| match *field {
            "id" if full => id.clone(),
            "id" => id.get(..SHORT_ID).unwrap_or(&id).to_owned(),
            "name" => image.names.keys().cloned().collect::<Vec<_>>().join(","),
            "size" => size(image).map_or("?".to_owned(), human),
            "importtime" => time(image.imported),
            "lastused" => time(image.last_used),
            _ => image.names.values().flatten().cloned().collect::<Vec<_>>().join(","),
        };
        rows.push(fields.iter().map(cell).collect());
    }
    print(&table(&rows))?;
    Ok(code)
}

/// `1.2MiB`
fn human(bytes: u64) -> String {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    match units.into_iter().find(|(_, shift)| bytes >> shift > 0) {
        Some((unit, shift)) => {
            let tenths = (u128::from(bytes) * 10) >> shift;
            format!("{}.{}{unit}", tenths / 10, tenths % 10)
        }
        None => format!("{bytes}B"),
    }
}

/// Continues after an image that cannot be removed.
fn rm(context: &Context, args: &ParsedArgs) -> anyhow::Result<u8> {
    if args.arguments.is_empty() {
        bail!("an image is required");
    }
    let (store, pods) = (context.store()?, context.pods()?);
    let mut code = 0;
    for text in &args.arguments {
        let remove = || {
            let digest = images::stored(&store, text)?.manifest;
            if let Some((_, uuid)) = pods.references()?.into_iter().find(|(image, _)| *image == digest) {
                bail!("pod {uuid} needs the image; remove the pod first (rkt rm)");
            }
            Ok(store.remove(digest)?)
        };
        match remove() {
            Ok(()) => eprintln!("image rm: removed {text}"),
            Err(error) => {
                eprintln!("image rm: {text}: {}", service::error::chain(error.as_ref()));
                code = exit_code::FAILURE;
            }
        }
    }
    Ok(code)
}

fn gc(context: &Context, args: &ParsedArgs) -> anyhow::Result<u8> {
    let (store, pods) = (context.store()?, context.pods()?);
    // References that cannot be read keep all images.
    let is_referenced = |image: Digest| {
        pods.references().map_or(true, |all| all.iter().any(|(referenced, _)| *referenced == image))
    };
    match store.gc(Some(args.duration_or_default("grace-period")), &is_referenced) {
        Ok(collected) => {
            for image in &collected.images {
                eprintln!("image gc: removed {}", images::id(*image));
            }
            Ok(0)
        }
        // The next run of its timer does it.
        Err(error @ GcError::Busy) => {
            eprintln!("image gc: {error}");
            Ok(0)
        }
        Err(error) => Err(error.into()),
    }
}

fn cat_manifest(context: &Context, args: &ParsedArgs) -> anyhow::Result<u8> {
    let [image] = args.arguments.as_slice() else { bail!("exactly one image is required") };
    let store = context.store()?;
    let record = images::stored(&store, image)?;
    let config = store.config(record.manifest)?;
    let value = json!({
        "id": images::id(record.manifest),
        "names": record.names,
        "platform": config.platform.to_string(),
        "config": config.raw_config,
        "diff_ids": config.diff_ids,
    });
    let text = match args.text_or_default("pretty-print") {
        "true" => serde_json::to_string_pretty(&value)?,
        _ => serde_json::to_string(&value)?,
    };
    print(&format!("{text}\n")).map(|()| 0)
}

fn verify(context: &Context, args: &ParsedArgs) -> anyhow::Result<u8> {
    if args.arguments.is_empty() {
        bail!("an image is required");
    }
    let store = context.store()?;
    for image in &args.arguments {
        let digest = images::stored(&store, image)?.manifest;
        let tree = images::unpack(&store, digest)?;
        tree.verify().with_context(|| format!("image {image} was changed; remove it and fetch it again"))?;
        print(&format!("successfully verified {}\n", images::id(digest)))?;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let check = |bytes: u64, expected: &str| assert_eq!(human(bytes), expected);
        check(0, "0B");
        check(1023, "1023B");
        check(1536, "1.5KiB");
        check(5 << 20, "5.0MiB");
        check(u64::MAX, "17179869183.9GiB");
    }
}
