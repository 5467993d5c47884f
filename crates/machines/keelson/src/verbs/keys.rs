//! `keelson keys`: manages the signing keys of releases and channels, and the key sets that name them.

pub mod location;
mod sets;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use release::files;
use release_folder::{create_first_set, generate_keys, latest_status};
use serde_json::json;

use crate::checkout::checkout;
use crate::context::Context;
use crate::output;

pub use location::folder;
use location::{DAY_SECONDS, EXPIRES_DAYS, KeysFolder, PINNED, ensure_complete, now};
pub use sets::send;

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Flags {
    #[command(subcommand)]
    verb: Option<Verb>,
    /// Folder of the secret keys [default: ~/.config/keelson/keys]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Names the public keys
    #[arg(long, value_name = "NAME", default_value = "own")]
    name: String,
    /// Put the set into this checkout, so that the images built from it begin with it
    #[arg(long)]
    pin: bool,
    /// Make only root keys, and the first set, for keys that are there already
    #[arg(long)]
    roots: bool,
    /// Days until machines take nothing more without a newer set
    #[arg(long, value_name = "N", default_value_t = EXPIRES_DAYS)]
    expires_days: u64,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Make the next set: with a key replaced, added or revoked, or only for longer
    #[command(after_help = "Examples:\n  keelson keys rotate --replace release\n  \
        keelson keys rotate --revoke release/own --add release=second.pub\n  \
        keelson keys rotate --replace root-2 --key /media/safe/root-3.key")]
    Rotate(sets::Rotate),
    /// Sign a set with a root key, or collect what others signed
    #[command(after_help = "Examples:\n  keelson keys sign keys.2.json --key /media/safe/root-2.key\n  \
        keelson keys sign keys.2.json --collect from-alice/keys.2.json.sig")]
    Sign(sets::Sign),
    /// Show a set: its keys, until when it counts, and whose signatures it wants
    #[command(after_help = "Examples:\n  keelson keys show\n  keelson keys show keys.2.json --json")]
    Show(sets::Show),
    /// Send the sets to the channel server: machines follow them with the next offer
    #[command(after_help = "Examples:\n  keelson keys publish\n  \
        keelson keys publish --server https://updates.example.net --token-file token")]
    Publish(sets::Publish),
    /// Put the newest set into this checkout: the images built from now on begin with it
    #[command(after_help = "Example:\n  keelson keys pin")]
    Pin {
        #[command(flatten)]
        from: KeysFolder,
    },
}

pub fn run(context: &Context, flags: &Flags) -> anyhow::Result<ExitCode> {
    match &flags.verb {
        None => create(context, flags)?,
        Some(Verb::Rotate(flags)) => sets::rotate(context, flags)?,
        Some(Verb::Sign(flags)) => sets::sign(context, flags)?,
        Some(Verb::Show(flags)) => sets::show(context, flags)?,
        Some(Verb::Publish(flags)) => sets::publish(context, flags)?,
        Some(Verb::Pin { from }) => {
            let pinned = pin(&from.folder()?, &checkout()?.join(PINNED))?;
            output::print(format!("Images built from now on begin with it: {}\n", pinned.display()))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn create(context: &Context, flags: &Flags) -> anyhow::Result<()> {
    let folder = flags.out.clone().map_or_else(folder, Ok)?;
    let pinned = flags.pin.then(|| checkout().map(|checkout| checkout.join(PINNED))).transpose()?;
    if !flags.roots {
        generate_keys(&folder, &flags.name)?;
    }
    let now = now()?;
    let first = create_first_set(&folder, now, now + DAY_SECONDS * flags.expires_days)?;
    let pinned = pinned.map(|to| pin(&folder, &to)).transpose()?;
    let key = |name: &str| folder.join(format!("{name}.key"));
    if context.json {
        let root: Vec<_> = first.set.root.iter().map(|root| key(root.name.as_str())).collect();
        return output::print_json(&json!({
            "release": key("release"), "channel": key("channel"), "root": root, "set": first.path,
            "pinned": pinned,
        }));
    }
    let pin = match pinned {
        Some(path) => format!("Images built from now on begin with it: {}\n", path.display()),
        None => format!(
            "Images begin with it when it stands in the checkout (keelson keys pin). Machines of other images trust\n\
             {0}/release and {0}/channel below /etc/keelson/keys.d, with ALLOW_LOCAL_KEYS=yes in\n\
             /etc/coreos/update.conf.\n",
            folder.display()
        ),
    };
    output::print(format!(
        "{}  signs releases: keep it off every server, and a copy in a safe\n\
         {}  signs what a channel has: the channel server's\n\
         {}/root-1.key, root-2.key, root-3.key  two of them replace any of these keys: keep them apart from each\n\
         other, off every server and off this machine\n\
         {}  the first set, which names them all\n{pin}\n\
         Next: keelson release --version V\n",
        key("release").display(),
        key("channel").display(),
        folder.display(),
        first.path.display()
    ))
}

fn pin(folder: &Path, to: &Path) -> anyhow::Result<PathBuf> {
    let newest = latest_status(folder)?;
    ensure_complete(&newest)?;
    let path = to.join(files::KEYS);
    std::fs::create_dir_all(to)
        .and_then(|()| std::fs::copy(&newest.path, &path))
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}
