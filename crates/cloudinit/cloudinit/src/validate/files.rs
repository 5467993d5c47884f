//! Checks the files of `write_files`.

use crate::config::File;
use crate::encoding::ContentEncoding;
use crate::finding::{Finding, Severity};

/// Only the start of a file is scanned.
const MAX_SCANNED_BYTES: usize = 1 << 20;
/// Files that the node's firewall loads.
const FIREWALL: &str = "/etc/nftables.d/";
/// Parts of statements that let others use the cluster's ports.
const OPENS: [&str; 2] = ["inet keelson trusted_interfaces", "inet keelson cluster "];

/// The decoded text; none without content, or if it cannot be decoded.
pub(super) fn text(file: &File) -> Option<String> {
    let content = file.content.as_ref()?;
    let encoding = file.encoding.as_ref().map(|encoding| &*encoding.text).unwrap_or_default();
    let encoding = ContentEncoding::parse(encoding)?;
    let decoded = if encoding.is_plain() {
        content.bytes.to_vec()
    } else {
        encoding.decode(&content.bytes, MAX_SCANNED_BYTES).ok()?
    };
    Some(String::from_utf8_lossy(&decoded[..decoded.len().min(MAX_SCANNED_BYTES)]).into_owned())
}

/// Warns of files that open the cluster's ports.
pub(super) fn check_firewall(file: &File, findings: &mut Vec<Finding>) {
    let loaded = file.path.as_ref().is_some_and(|path| path.text.starts_with(FIREWALL));
    let (true, Some(content), Some(text)) = (loaded, &file.content, text(file)) else { return };
    let opens =
        |line: &&str| !line.trim_start().starts_with('#') && OPENS.iter().any(|part| line.contains(part));
    if text.lines().any(|line| opens(&line)) {
        let message =
            "file opens the cluster's ports: who reaches them can start units on every machine, as root";
        findings.push(Finding::new(Severity::Warning, content.location, message));
    }
}

#[cfg(test)]
mod tests {
    use super::super::validate;

    #[test]
    fn files_that_open_the_clusters_ports() {
        let warning = "line 4: warning: file opens the cluster's ports: who reaches them can start units on every machine, \
                       as root";
        for (path, line, warns) in [
            (
                "/etc/nftables.d/docker.nft",
                "add element inet keelson trusted_interfaces { \"docker0\" }",
                true,
            ),
            ("/etc/nftables.d/a.nft", "insert rule inet keelson cluster ip saddr 10.0.0.0/8 accept", true),
            ("/etc/nftables.d/a.nft", "# add element inet keelson trusted_interfaces { \"docker0\" }", false),
            ("/etc/nftables.d/a.nft", "add element inet keelson cluster_tcp { 2375 }", false),
            ("/etc/docker.nft", "add element inet keelson trusted_interfaces { \"docker0\" }", false),
        ] {
            let text = format!("#cloud-config\nwrite_files:\n- path: {path}\n  content: |\n    {line}\n");
            let found: Vec<String> = validate(text.as_bytes()).iter().map(ToString::to_string).collect();
            assert_eq!(found, &[warning][..usize::from(warns)], "{text}");
        }
    }
}
