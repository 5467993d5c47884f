//! The user-data of the machines, validated before they boot.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use cloudinit::{Finding, Severity};
use machines::limits::USER_DATA_MAX;
use machines::store::read_limited;

use crate::checkout::find_checkout;
use crate::context::Context;

/// Default user-data in the checkout.
const SAMPLE: &str = "cloud-config/user-data.sample";

/// Reads the given file, `user-data` in the current folder, or the checkout's sample.
pub fn read(context: &Context, given: Option<&Path>, validate: bool) -> anyhow::Result<Option<Vec<u8>>> {
    let sample = find_checkout()?.map(|checkout| checkout.join(SAMPLE));
    let defaults = [Some(PathBuf::from("user-data")), sample];
    let path = match given {
        Some(path) => path,
        None => match defaults.iter().flatten().find(|path| path.exists()) {
            Some(path) => path,
            None => return Ok(None),
        },
    };
    if !validate {
        return read_bytes(path).map(Some);
    }
    read_valid(context, path, "; --no-validate boots the machines anyway").map(Some)
}

/// Reads user-data that a machine would apply. `advice` is added to the hint for what is invalid.
pub fn read_valid(context: &Context, path: &Path, advice: &str) -> anyhow::Result<Vec<u8>> {
    let bytes = read_bytes(path)?;
    check(context, path, &bytes, advice)?;
    Ok(bytes)
}

fn read_bytes(path: &Path) -> anyhow::Result<Vec<u8>> {
    let bytes =
        read_limited(path, USER_DATA_MAX + 1).with_context(|| format!("cannot read {}", path.display()))?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > USER_DATA_MAX {
        bail!("{} has more than {USER_DATA_MAX} bytes", path.display());
    }
    Ok(bytes)
}

/// Machines would report invalid user-data in their journals only.
fn check(context: &Context, path: &Path, user_data: &[u8], advice: &str) -> anyhow::Result<()> {
    let findings = cloudinit::validate(user_data);
    let format_finding = |finding: &Finding| {
        let Finding { kind, line, column, message, .. } = finding;
        format!("{}:{line}:{column}: {kind}: {message}", path.display())
    };
    let (errors, others): (Vec<_>, Vec<_>) =
        findings.iter().partition(|finding| finding.kind == Severity::Error);
    if errors.is_empty() {
        others.into_iter().for_each(|finding| context.progress.note(&format_finding(finding)));
        return Ok(());
    }
    let errors: Vec<String> = errors.into_iter().map(format_finding).collect();
    bail!(
        "the user-data is invalid\n{}\nhint: `{} validate {}` shows the lines{advice}",
        errors.join("\n"),
        context.command,
        path.display()
    )
}
