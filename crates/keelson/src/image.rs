//! The verb `image` and where machines get their image from.
//!
//! `lock`, `build`, `verify` and `diff` have their place here; until they are there, `--image` (or
//! `KEELSON_IMAGE`) names a folder with an `image.json`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use machines::image::Image;

use crate::context::Context;

#[derive(Debug, clap::Args)]
pub struct Flags {
    /// lock, build, verify or diff
    #[arg(trailing_var_arg = true)]
    words: Vec<String>,
}

pub fn run(_context: &Context, flags: &Flags) -> anyhow::Result<ExitCode> {
    bail!("image {}: this keelson can not build images yet", flags.words.join(" "))
}

/// The image that `up` and `test` boot: the one that was named, or the one that is built from the checkout.
pub fn provide(_context: &Context, named: Option<&Path>) -> anyhow::Result<Image> {
    let named = named.context("no image is named; give --image DIR")?;
    Ok(Image::read(named)?)
}
