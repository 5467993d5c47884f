//! `image toolbox`: the archive of debugging tools for `toolbox`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use image::build::Options;
use image::build::toolbox::toolbox;
use image::fetch::sha256_of;
use serde_json::json;

use crate::checkout::checkout;
use crate::context::{Context, interrupt};
use crate::output;

#[derive(Debug, clap::Args)]
pub struct Flags {
    /// Output file, an archive for TOOLBOX_DOCKER_ARCHIVE, `rkt fetch` and `docker load`
    /// [default: target/dist/keelson-toolbox-VERSION.tar.zst in the checkout]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub fn run(context: &Context, flags: &Flags) -> anyhow::Result<ExitCode> {
    let checkout = checkout()?;
    let mut options = Options::for_checkout(&checkout);
    options.cancel = interrupt()?;
    let built = toolbox(&options, context.progress)?;
    let name = format!("target/dist/keelson-toolbox-{}.tar.zst", built.version);
    let output = flags.output.clone().unwrap_or_else(|| checkout.join(name));
    let bytes = built.copy_to(&output).with_context(|| format!("cannot write {}", output.display()))?;
    let sha256 = sha256_of(&output).with_context(|| format!("cannot read {}", output.display()))?;
    if context.json {
        let (version, packages) = (&built.version, built.packages);
        output::print_json(&json!({
            "version": version, "packages": packages, "path": output, "bytes": bytes, "sha256": sha256,
        }))?;
    } else {
        output::print(format!("{sha256}  {}\n", output.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}
