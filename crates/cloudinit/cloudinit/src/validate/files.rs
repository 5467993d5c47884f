//! Checks the files of `write_files`.

use crate::config::File;
use crate::encoding::ContentEncoding;
use crate::finding::{Finding, Severity};

/// Only the start of a file is scanned.
const MAX_SCANNED_BYTES: usize = 1 << 20;
/// Files that the node's firewall loads.
const FIREWALL: &str = "/etc/nftables.d/";
/// The only statements on the node's table that open nothing.
const CLOSES: [&str; 2] = ["add element inet keelson cluster_tcp ", "add element inet keelson cluster_udp "];

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
    let is_loaded = |path: &str| path.starts_with(FIREWALL) && path.ends_with(".nft");
    let loaded = file.path.as_ref().is_some_and(|path| is_loaded(&path.text));
    let (true, Some(content), Some(text)) = (loaded, &file.content, text(file)) else { return };
    let opens = |line: &str| {
        let words = line.split_whitespace().collect::<Vec<_>>().join(" ");
        let concerns = words.contains("flush ruleset") || words.contains("inet keelson");
        concerns && !words.starts_with('#') && !CLOSES.iter().any(|statement| words.starts_with(statement))
    };
    if text.lines().any(opens) {
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
            ("/etc/nftables.d/a.nft", "flush  ruleset", true),
            ("/etc/nftables.d/a.nft", "delete table inet keelson", true),
            ("/etc/nftables.d/a.conf", "flush ruleset", false),
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
