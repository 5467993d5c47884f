//! The image files to publish with a release: those that the records of `keelson image build` list.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use image::finish::{FinishedFile, Record};
use machines::store::read_limited;
use release_folder::{FinishedImage, FinishedImages};

/// Records are some kilobytes.
const RECORD_MAX: u64 = 1 << 20;

#[derive(Debug, clap::Args)]
pub struct ImagesFlag {
    /// Image files for new machines, of this version: the output folder of `keelson image build --out`, or one record
    /// (.json) in it; may be repeated
    #[arg(long, value_name = "DIR|RECORD")]
    images: Vec<PathBuf>,
}

impl ImagesFlag {
    pub fn is_empty(&self) -> bool {
        self.images.is_empty()
    }

    /// Reads the records. Fails where a folder has none.
    pub fn read(&self) -> anyhow::Result<Vec<FinishedImages>> {
        let mut builds = Vec::new();
        for path in &self.images {
            if path.is_dir() {
                let records = records(path)?;
                if records.is_empty() {
                    bail!(
                        "there is no record keelson-VERSION-CHANNEL.json in {} (keelson image build --out {0} writes one)",
                        path.display()
                    );
                }
                for record in records {
                    builds.push(read_record(&record)?);
                }
            } else {
                builds.push(read_record(path)?);
            }
        }
        Ok(builds)
    }
}

/// The records in a folder, by name.
fn records(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let path = entry.with_context(|| format!("cannot list {}", folder.display()))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("keelson-") && name.ends_with(".json") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// The files are beside their record, wherever they were written.
fn read_record(path: &Path) -> anyhow::Result<FinishedImages> {
    let bytes = read_limited(path, RECORD_MAX).with_context(|| format!("cannot read {}", path.display()))?;
    let record: Record = serde_json::from_slice(&bytes)
        .with_context(|| format!("{} is not a record of `keelson image build`", path.display()))?;
    let file = |file: &FinishedFile| FinishedImage {
        path: path.with_file_name(file.path.file_name().unwrap_or_default()),
        format: file.format.name().to_owned(),
        sha256: file.sha256.clone(),
        virtual_size: file.virtual_size,
    };
    Ok(FinishedImages {
        record: path.to_owned(),
        files: record.files.iter().map(file).collect(),
        version: record.version,
        channel: record.channel,
        root_hash: record.usr_root_hash,
    })
}
