//! `keelson keys`: manages the signing keys of releases and channels, and the key sets that name them.

mod created;
pub mod location;
pub mod password;
mod sets;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use release::{Role, files};
use release_folder::{
    FirstSet, KeySetError, KeysError, create_first_set, existing_key_path, generate_keys, latest_status,
};

use crate::checkout::checkout;
use crate::context::Context;
use crate::failure::UsageError;
use crate::output;

use created::Created;
pub use location::folder;
use location::{DAY_SECONDS, EXPIRES_DAYS, KeysFolder, PINNED, ensure_complete, now};
use password::NewPasswordFlags;
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
    /// Folder of a root key, such as a USB stick; once for each of the three [default: --out]
    #[arg(long, value_name = "DIR")]
    root_dir: Vec<PathBuf>,
    #[command(flatten)]
    password: NewPasswordFlags,
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
    let now = now()?;
    let first = FirstSet {
        root_folders: &flags.root_dir,
        password: None,
        issued: now,
        expires: now + DAY_SECONDS * flags.expires_days,
    };
    // Checked before the password is asked for.
    if !flags.roots {
        ensure_absent(&folder)?;
    }
    first.check(&folder).map_err(usage)?;
    let password = flags.password.new_password(&mut flags.password.existing.passwords()?)?;
    if !flags.roots {
        generate_keys(&folder, &flags.name, password.as_ref())?;
    }
    let first = FirstSet { password: password.as_ref(), ..first };
    let set = create_first_set(&folder, &first)
        .context("cannot create the root keys and the first set (keelson keys --roots tries it again)")?;
    let pinned = pinned.map(|to| pin(&folder, &to)).transpose()?;
    let root = first.root_keys(&folder)?;
    let together = flags.root_dir.is_empty();
    created::print(context, &folder, Created { set: &set, root: &root, together, pinned })
}

fn ensure_absent(folder: &Path) -> Result<(), KeysError> {
    let mut paths =
        [Role::Release, Role::Channel].map(|role| existing_key_path(folder, role.name())).into_iter();
    paths.find(|path| path.exists()).map_or(Ok(()), |path| Err(KeysError::Exists(path)))
}

fn usage(error: KeySetError) -> anyhow::Error {
    match error {
        KeySetError::RootFolders(_) | KeySetError::SameRootFolder(_) => {
            UsageError(format!("--root-dir: {error}")).into()
        }
        KeySetError::Keys(error) => error.into(),
        error => error.into(),
    }
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
