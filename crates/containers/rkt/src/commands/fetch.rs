//! `fetch`: images from registries and files into the store.

use anyhow::bail;
use command_line::{Flag, ParsedArgs, ValueKind};

use crate::command::{Command, Run};
use crate::context::Context;
use crate::images::{self, PullPolicy};
use crate::stdout::print;

pub const COMMAND: Command = Command {
    name: "fetch",
    arguments: "IMAGE...",
    summary: "fetch images, verify and unpack them, and print their IDs",
    description: &[
        "IMAGE is docker://REGISTRY/NAME:TAG, a path of an OCI layout or archive, or an ID. The last line",
        "is the image's ID: sha256- and the digest of its manifest.",
    ],
    flags: &[
        Flag::new("pull-policy", ValueKind::OneOf(&["never", "new", "update"]), "when images are fetched")
            .default("new"),
        Flag::new("signature", ValueKind::File, "minisign signature of the manifest digest"),
        Flag::switch("no-store", "fetch images even if they are in the store").hidden(),
        Flag::switch("store-only", "use only images in the store").hidden(),
        Flag::switch("full", "accepted for compatibility: IDs are whole").hidden(),
    ],
    examples: &[
        ("rkt fetch docker://quay.io/coreos/etcd:v3.1.0", "fetch an image that a trusted key signed"),
        ("rkt fetch --insecure-options=image docker://busybox", "without the check of signatures"),
        ("rkt fetch ./app.tar --signature=app.minisig", "import an archive of docker save or an OCI layout"),
    ],
    run: Run::Action(fetch),
};

fn fetch(context: &Context, args: &ParsedArgs) -> anyhow::Result<u8> {
    let signature = args.text("signature");
    if args.arguments.is_empty() {
        bail!("an image is required");
    }
    if signature.is_some() && args.arguments.len() > 1 {
        bail!("--signature is for one image, not {}", args.arguments.len());
    }
    let store = context.store()?;
    let policy = PullPolicy::of(args)?;
    for image in &args.arguments {
        let found = images::obtain(context, &store, image, policy, signature)?;
        // Unpacked now, so that the first start does not wait for it.
        images::unpack(&store, found.digest)?;
        print(&format!("{}\n", images::id(found.digest)))?;
    }
    Ok(0)
}
