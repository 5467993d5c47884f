//! `trust`: which keys sign images.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;

use anyhow::{Context as _, bail};
use command_line::{Flag, ParsedArgs, ValueKind};
use oci_image::signature::Trust;
use oci_store::MAX_KEY;
use sha2::{Digest as _, Sha256};

use crate::command::{Command, Run};
use crate::context::Context;
use crate::stdout::print;
use crate::{run_file, trusted_keys};

const KEY_MODE: u32 = 0o644;
const FOLDER_MODE: u32 = 0o755;

pub const COMMAND: Command = Command {
    name: "trust",
    arguments: "FILE...",
    summary: "trust keys for all images whose names begin with a prefix",
    description: &["A key is a public key of minisign, or an ECDSA P-256 key in PEM (cosign.pub)."],
    flags: &[
        Flag::new("prefix", ValueKind::Text, "registry, or beginning of a name: quay.io/coreos"),
        Flag::switch("root", "refused: a key for all names would sign any image").hidden(),
        Flag::switch("skip-fingerprint-review", "accepted for compatibility: there is no question").hidden(),
    ],
    examples: &[
        ("rkt trust --prefix=quay.io/coreos cosign.pub", "trust a key of cosign"),
        ("rkt trust --prefix=example.com/team /etc/keys/team.pub", "trust a key of minisign"),
    ],
    run: Run::Action(trust),
};

fn trust(context: &Context, args: &ParsedArgs) -> anyhow::Result<u8> {
    if args.is_set("root") {
        bail!("--root is not supported: a key for all names would sign any image; use --prefix");
    }
    let prefix = args.text("prefix").context("--prefix is required, such as --prefix=quay.io/coreos")?;
    check_prefix(prefix)?;
    if args.arguments.is_empty() {
        bail!("a file with a public key is required");
    }
    let mut keys = Vec::new();
    for path in &args.arguments {
        if path.contains("://") {
            bail!("{path}: keys are not downloaded; get the file from its owner, and check its fingerprint");
        }
        let text = run_file::read_text(path.as_ref(), MAX_KEY)?;
        // Checked before anything is written.
        Trust::default().add(prefix, path, &text)?;
        keys.push((path, text));
    }
    let folder = trusted_keys::folder(&context.local_config).join(prefix);
    let created = DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(&folder);
    created.with_context(|| format!("cannot create {}", folder.display()))?;
    for (path, text) in keys {
        let fingerprint: String =
            Sha256::digest(text.trim().as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        let target = folder.join(format!("{fingerprint}.pub"));
        let written = service::file::replace(&target, text.as_bytes(), KEY_MODE);
        written.with_context(|| format!("cannot write {}", target.display()))?;
        print(&format!("Added key {path} for prefix {prefix:?} at {}\n", target.display()))?;
    }
    fs::File::open(&folder)
        .and_then(|folder| folder.sync_all())
        .context("cannot flush the folder of keys")?;
    Ok(0)
}

/// The registry of a name is written out: `docker.io/library`, not `library`.
fn check_prefix(prefix: &str) -> anyhow::Result<()> {
    let valid = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_:".contains(&byte);
    let parts = prefix.split('/');
    if parts.clone().all(|part| !part.is_empty() && !part.starts_with('.') && part.bytes().all(valid)) {
        return Ok(());
    }
    bail!("prefix {prefix:?}; expected REGISTRY[/NAME...] in lower case, such as quay.io/coreos")
}
