//! `keelson vagrantfile`: writes a Vagrantfile whose machines `config.rb` describes.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use machines::store::read_limited;
use service::file::replace;

use crate::context::Context;
use crate::output;
use crate::server_url::ServerUrl;

const TEMPLATE: &str = include_str!("../../vagrant/Vagrantfile");
/// Larger files are none of ours.
const SIZE_MAX: u64 = 1024 * 1024;

#[derive(Debug, clap::Args)]
pub struct Flags {
    /// Channel of the box `keelson-CHANNEL`, unless config.rb sets one
    #[arg(long, value_name = "CHANNEL", default_value = "alpha")]
    channel: String,
    /// Where Vagrant looks for the box, a file or a catalog; by default it has to be added before
    #[arg(long, value_name = "URL")]
    box_url: Option<String>,
    /// Channel server whose catalog lists the boxes of the channel; the box is then coreos-CHANNEL
    #[arg(long, value_name = "URL", conflicts_with = "box_url")]
    server: Option<ServerUrl>,
    /// File to write, or - for standard output
    #[arg(long, short, value_name = "FILE", default_value = "Vagrantfile")]
    output: PathBuf,
    /// Replace a file with other content
    #[arg(long)]
    force: bool,
}

pub fn run(context: &Context, flags: &Flags) -> anyhow::Result<ExitCode> {
    let server = flags.server.as_ref().map(|url| url.to_string().trim_end_matches('/').to_owned());
    let text = vagrantfile(&flags.channel, flags.box_url.as_deref(), server.as_deref());
    if flags.output == Path::new("-") {
        output::print(text)?;
        return Ok(ExitCode::SUCCESS);
    }
    let path = &flags.output;
    if path.exists() && !flags.force {
        let existing =
            read_limited(path, SIZE_MAX).with_context(|| format!("cannot read {}", path.display()))?;
        if existing != text.as_bytes() {
            bail!(
                "{} exists with other content: --force replaces it, -o FILE writes another one",
                path.display()
            );
        }
    }
    let full = std::path::absolute(path).with_context(|| format!("cannot write {}", path.display()))?;
    replace(&full, text.as_bytes(), 0o644).with_context(|| format!("cannot write {}", path.display()))?;
    context.progress.note(&format!("{} written", path.display()));
    if flags.box_url.is_none() && server.is_none() {
        let channel = &flags.channel;
        context.progress.note(&format!(
            "add the box, if it is new: keelson image build --channel {channel} --format box --out dist && \
             vagrant box add --name keelson-{channel} dist/keelson-VERSION-{channel}-vagrant-virtualbox.box"
        ));
    }
    context.progress.note("start the machines: vagrant up");
    Ok(ExitCode::SUCCESS)
}

fn vagrantfile(channel: &str, box_url: Option<&str>, server: Option<&str>) -> String {
    let optional = |text: Option<&str>| text.map_or_else(|| "nil".to_owned(), literal);
    TEMPLATE
        .replace("@CHANNEL@", &literal(channel))
        .replace("@BOX_URL@", &optional(box_url))
        .replace("@BOX_SERVER@", &optional(server))
}

/// A Ruby string. Its escapes are Rust's, and `#` starts an interpolation.
fn literal(text: &str) -> String {
    format!("{text:?}").replace('#', "\\#")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_ruby_strings() {
        let text = vagrantfile("a\"#{exit}\\", Some("http://127.0.0.1/#x"), None);
        assert!(text.contains(r#"$update_channel = "a\"\#{exit}\\""#), "{text}");
        assert!(text.contains(r#"BOX_URL = "http://127.0.0.1/\#x""#), "{text}");
        assert!(text.contains("BOX_SERVER = nil\n"), "{text}");
        assert!(vagrantfile("beta", None, None).contains("BOX_URL = nil\n"));
    }
}
