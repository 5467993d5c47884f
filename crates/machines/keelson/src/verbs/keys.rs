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
    /// Output folder of the secret keys [default: ~/.config/keelson/keys]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Name of the public keys
    #[arg(long, value_name = "NAME", default_value = "own")]
    name: String,
    /// Copy the key set to this checkout: images that are built from it trust the set
    #[arg(long)]
    pin: bool,
    /// Only create root keys and the first set, for existing release and channel keys
    #[arg(long)]
    roots: bool,
    /// Validity of the set in days; machines with an expired set install no updates
    #[arg(long, value_name = "N", default_value_t = EXPIRES_DAYS)]
    expires_days: u64,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Create the next set: replace, add or revoke a key, or extend the validity
    #[command(after_help = "Examples:\n  keelson keys rotate --replace release\n  \
        keelson keys rotate --revoke release/own --add release=second.pub\n  \
        keelson keys rotate --replace root-2 --key /media/safe/root-3.key")]
    Rotate(sets::Rotate),
    /// Sign a set with a root key, or collect the signatures of others
    #[command(after_help = "Examples:\n  keelson keys sign keys.2.json --key /media/safe/root-2.key\n  \
        keelson keys sign keys.2.json --collect from-alice/keys.2.json.sig")]
    Sign(sets::Sign),
    /// Show a set: its keys, validity and missing signatures
    #[command(after_help = "Examples:\n  keelson keys show\n  keelson keys show keys.2.json --json")]
    Show(sets::Show),
    /// Upload the sets to the channel server: machines accept them with the next update offer
    #[command(after_help = "Examples:\n  keelson keys publish\n  \
        keelson keys publish --server https://updates.example.net --token-file token")]
    Publish(sets::Publish),
    /// Copy the newest set to this checkout: images that are built from it trust the set
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
            output::print(format!("New images of this checkout trust the set: {}\n", pinned.display()))?;
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
        Some(path) => format!("New images of this checkout trust the set: {}\n", path.display()),
        None => format!(
            "Images trust the set once it is in the checkout (keelson keys pin). On machines with other images, copy\n\
             {0}/release and {0}/channel to /etc/keelson/keys.d, and set ALLOW_LOCAL_KEYS=yes in\n\
             /etc/coreos/update.conf.\n",
            folder.display()
        ),
    };
    output::print(format!(
        "{}  signs releases: keep it off every server, and keep a backup offline\n\
         {}  signs channels: belongs to the channel server\n\
         {}/root-1.key, root-2.key, root-3.key  two of them replace any of these keys: store them separately,\n\
         off every server and off this machine\n\
         {}  the first key set, with all public keys\n{pin}\n\
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
