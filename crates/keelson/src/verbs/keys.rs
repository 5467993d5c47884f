//! `keelson keys`: makes the keys that releases and channels are signed with.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use release_folder::{MadeKeys, make_keys};
use serde_json::json;

use crate::context::Context;
use crate::output;
use crate::provide::checkout;

/// Where nodes have the keys that they trust, in the checkout's picture of them.
pub const PINNED: &str = "os/rootfs/usr/share/keelson/keys";

#[derive(Debug, clap::Args)]
pub struct Flags {
    /// Folder of the secret keys [default: ~/.config/keelson/keys]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Names the public keys
    #[arg(long, value_name = "NAME", default_value = "own")]
    name: String,
    /// Put the public keys into this checkout, so that the images built from it trust them
    #[arg(long)]
    pin: bool,
}

/// Where keys are where nothing else is said.
pub fn folder() -> anyhow::Result<PathBuf> {
    let config = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
    let config = config.or_else(|| Some(Path::new(&std::env::var_os("HOME")?).join(".config")));
    Ok(config
        .context("neither XDG_CONFIG_HOME nor HOME is set: --out DIR says where keys are")?
        .join("keelson/keys"))
}

pub fn run(context: &Context, flags: &Flags) -> anyhow::Result<ExitCode> {
    let folder = flags.out.clone().map_or_else(folder, Ok)?;
    let pinned = flags.pin.then(|| checkout().map(|checkout| checkout.join(PINNED))).transpose()?;
    let MadeKeys { release, channel } = make_keys(&folder, &flags.name)?;
    if let Some(pinned) = &pinned {
        for kind in ["release", "channel"] {
            let file = format!("{kind}/{}.pub", flags.name);
            let to = pinned.join(&file);
            std::fs::create_dir_all(pinned.join(kind))
                .and_then(|()| std::fs::copy(folder.join(&file), &to))
                .with_context(|| format!("cannot write {}", to.display()))?;
        }
    }
    if context.json {
        output::print_json(&json!({ "release": release, "channel": channel, "pinned": pinned }))?;
    } else {
        let pin = match pinned {
            Some(folder) => format!("Images built from now on trust them: {}\n", folder.display()),
            None => format!(
                "Machines trust them when {0}/release and {0}/channel stand in the image (--pin), or below\n\
                 /etc/keelson/keys.d with ALLOW_LOCAL_KEYS=yes in /etc/coreos/update.conf.\n",
                folder.display()
            ),
        };
        output::print(format!(
            "{}  signs releases: keep it off every server, and a copy in a safe\n\
             {}  signs what a channel has: the channel server's\n{pin}\n\
             Next: keelson release --version V\n",
            release.display(),
            channel.display()
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}
