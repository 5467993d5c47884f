//! The pods that a command line names.

use anyhow::bail;
use command_line::ParsedArgs;

use crate::pod_folder::PodFolder;
use crate::pods::Pods;
use crate::run_file;

/// The pods of a command line: of its arguments, or of `--uuid-file`.
pub fn selected(pods: &Pods, args: &ParsedArgs) -> anyhow::Result<Vec<PodFolder>> {
    if let Some(path) = args.text("uuid-file") {
        if !args.arguments.is_empty() {
            bail!("--uuid-file and UUIDs exclude each other");
        }
        return Ok(vec![pods.find(run_file::read_uuid(path)?.as_str())?]);
    }
    if args.arguments.is_empty() {
        bail!("a UUID of a pod is required");
    }
    args.arguments.iter().map(|prefix| pods.find(prefix)).collect()
}
