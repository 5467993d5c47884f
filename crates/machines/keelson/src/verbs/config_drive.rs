//! `keelson config-drive`: writes a config drive with user-data, for hypervisors that attach disks and CD-ROMs.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use image::config_iso;
use machines::config_drive::Drive;
use machines::store::read_limited;
use serde_json::{Map, Value, json};

use super::up::user_data::read_valid;
use crate::context::Context;
use crate::{machine_tools, output};

/// Bytes of metadata.
const METADATA_MAX: u64 = 1 << 20;

#[derive(Debug, clap::Args)]
pub struct Flags {
    /// User-data; it is validated
    #[arg(long, value_name = "FILE")]
    user_data: PathBuf,
    /// meta_data.json, an object such as {"hostname": "core-01"}
    #[arg(long, value_name = "FILE")]
    meta_data: Option<PathBuf>,
    /// File to write: NAME.iso is a CD-ROM, NAME.vfat a disk
    #[arg(short, long, value_name = "FILE.iso|FILE.vfat", value_parser = parse_output)]
    output: Output,
}

#[derive(Debug, Clone)]
struct Output {
    path: PathBuf,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Iso,
    Vfat,
}

fn parse_output(text: &str) -> Result<Output, String> {
    let path = PathBuf::from(text);
    let kind = match path.extension().and_then(OsStr::to_str) {
        Some("iso") => Kind::Iso,
        Some("vfat") => Kind::Vfat,
        _ => return Err("expected a name that ends in .iso or .vfat".to_owned()),
    };
    Ok(Output { path, kind })
}

pub fn run(context: &Context, flags: &Flags) -> anyhow::Result<ExitCode> {
    let mut files = vec![("user_data", read_valid(context, &flags.user_data, "")?)];
    if let Some(path) = &flags.meta_data {
        files.push(("meta_data.json", metadata(path)?));
    }
    let Output { path, kind } = &flags.output;
    match kind {
        Kind::Vfat => Drive::of(files).write_image(path)?,
        Kind::Iso => {
            let tools = machine_tools::xorriso(context)?;
            config_iso::write(tools.path(), &files, path)?;
        }
    }
    if context.json {
        output::print_json(&json!({ "path": path, "label": config_iso::LABEL }))?;
    } else {
        output::print(format!("{}\n", path.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn metadata(path: &Path) -> anyhow::Result<Vec<u8>> {
    let text =
        read_limited(path, METADATA_MAX + 1).with_context(|| format!("cannot read {}", path.display()))?;
    if text.len() as u64 > METADATA_MAX {
        bail!("{} has more than {METADATA_MAX} bytes", path.display());
    }
    serde_json::from_slice::<Map<String, Value>>(&text)
        .with_context(|| format!("{} is not a JSON object", path.display()))?;
    Ok(text)
}
