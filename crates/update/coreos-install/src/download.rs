//! `-D`: the image as a file.

use std::fs::File;
use std::io;
use std::path::PathBuf;

use anyhow::{Context, Result};
use disk_install::verify_file;

use crate::job::Job;
use crate::source::Source;

/// Writes the image to the current directory, whole or not at all.
pub fn download(job: &Job<'_>) -> Result<()> {
    let source = Source::find_remote(job)?;
    if job.flags.dry_run {
        job.report(&job.settings.print(job.flags));
        return Ok(());
    }
    job.report(&format!("Downloading {}...", source.name));
    let name = PathBuf::from(&source.name);
    let failed = || format!("Could not download {}", source.name);
    let mut file =
        tempfile::Builder::new().prefix(".coreos-install-").tempfile_in(".").with_context(failed)?;
    io::copy(&mut source.open(&job.fetcher)?, &mut file).with_context(failed)?;
    let written = File::open(file.path()).with_context(failed)?;
    verify_file(&written, &source.verification.expected())
        .with_context(|| format!("Could not verify {}.", source.name))?;
    file.as_file().sync_all().with_context(failed)?;
    file.persist(&name).map_err(|error| error.error).with_context(failed)?;
    File::open(".").and_then(|folder| folder.sync_all()).with_context(failed)?;
    job.report(&format!("Success! {} has been downloaded to the current directory", source.summary));
    Ok(())
}
