//! `keelson keys`: manages the signing keys of releases and channels, and the root metadata that lists them.

mod created;
pub mod location;
pub mod password;
mod publish;
mod role;
mod roots;
mod targets;
pub mod token;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use release_folder::{
    FirstRoot, KeysError, RootError, create_first_root, existing_key_path, generate_keys, latest_status,
};
use update_core::roots::{FILE, Role};

use crate::checkout::checkout;
use crate::context::Context;
use crate::failure::UsageError;
use crate::output;

use created::Created;
pub use location::folder;
use location::{DAY_SECONDS, KeysFolder, PINNED, Validity, ensure_complete, now};
use password::NewPasswordFlags;
pub use publish::{ReleaseKey, publish_release};

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
    /// Copy the root to this checkout: images that are built from it trust the root
    #[arg(long)]
    pin: bool,
    /// Only create root keys and the first root, for existing release and channel keys
    #[arg(long)]
    roots: bool,
    /// Folder of a root key, such as a USB stick; once for each of the three [default: --out]
    #[arg(long, value_name = "DIR")]
    root_dir: Vec<PathBuf>,
    #[command(flatten)]
    password: NewPasswordFlags,
    #[command(flatten)]
    validity: Validity,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Create the next root: replace, add or revoke a key, or extend the validity
    #[command(after_help = "Examples:\n  keelson keys rotate --replace release\n  \
        keelson keys rotate --revoke release/own --add release=second.pub\n  \
        keelson keys rotate --replace root-2 --key /media/safe/root-3.key")]
    Rotate(roots::Rotate),
    /// Sign a root with a root key, or targets.json with a release key, or collect the signatures of others
    #[command(after_help = "Examples:\n  keelson keys sign 2.root.json --key /media/safe/root-2.key\n  \
        keelson keys sign 2.root.json --key 'pkcs11:token=safe;object=root-2?module-name=softhsm2'\n  \
        keelson keys sign 2.root.json --collect from-alice/2.root.json\n  \
        keelson keys sign targets.json --key /media/safe/release.key")]
    Sign(roots::Sign),
    /// Show a root and the list of releases: keys, validity and missing signatures
    #[command(after_help = "Examples:\n  keelson keys show\n  keelson keys show 2.root.json --json")]
    Show(roots::Show),
    /// Upload the roots and the list of releases to the channel server: machines accept them at their next check
    #[command(after_help = "Examples:\n  keelson keys publish\n  \
        keelson keys publish --server https://updates.example.net --token-file token")]
    Publish(publish::Publish),
    /// Copy the newest root to this checkout: images that are built from it trust the root
    #[command(after_help = "Example:\n  keelson keys pin")]
    Pin {
        #[command(flatten)]
        from: KeysFolder,
    },
}

pub fn run(context: &Context, flags: &Flags) -> anyhow::Result<ExitCode> {
    match &flags.verb {
        None => create(context, flags)?,
        Some(Verb::Rotate(flags)) => roots::rotate(context, flags)?,
        Some(Verb::Sign(flags)) => roots::sign(context, flags)?,
        Some(Verb::Show(flags)) => roots::show(context, flags)?,
        Some(Verb::Publish(flags)) => publish::publish(context, flags)?,
        Some(Verb::Pin { from }) => {
            let pinned = pin(&from.folder()?, &checkout()?.join(PINNED))?;
            output::print(format!("New images of this checkout trust the root: {}\n", pinned.display()))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn create(context: &Context, flags: &Flags) -> anyhow::Result<()> {
    let folder = flags.out.clone().map_or_else(folder, Ok)?;
    let pinned = flags.pin.then(|| checkout().map(|checkout| checkout.join(PINNED))).transpose()?;
    let expires = now()? + DAY_SECONDS * flags.validity.days;
    let first = FirstRoot { root_folders: &flags.root_dir, password: None, expires };
    // Checked before the password is asked for.
    if !flags.roots {
        ensure_absent(&folder)?;
    }
    first.check(&folder).map_err(usage)?;
    let mut passwords = flags.password.existing.passwords()?;
    let password = flags.password.new_password(&mut passwords)?;
    if !flags.roots {
        generate_keys(&folder, &flags.name, password.as_ref())?;
    }
    let first = FirstRoot { password: password.as_ref(), ..first };
    let root = create_first_root(&folder, &first, &mut passwords)
        .context("cannot create the root keys and the first root (keelson keys --roots tries it again)")?;
    let pinned = pinned.map(|to| pin(&folder, &to)).transpose()?;
    let root_keys = first.root_keys(&folder)?;
    let together = flags.root_dir.is_empty();
    created::print(context, &folder, Created { root: &root, root_keys: &root_keys, together, pinned })
}

fn ensure_absent(folder: &Path) -> Result<(), KeysError> {
    let mut paths =
        [Role::Release, Role::Channel].map(|role| existing_key_path(folder, role.name())).into_iter();
    paths.find(|path| path.exists()).map_or(Ok(()), |path| Err(KeysError::Exists(path)))
}

fn usage(error: RootError) -> anyhow::Error {
    match error {
        RootError::RootFolders(_) | RootError::SameRootFolder(_) => {
            UsageError(format!("--root-dir: {error}")).into()
        }
        RootError::Keys(error) => error.into(),
        error => error.into(),
    }
}

fn pin(folder: &Path, to: &Path) -> anyhow::Result<PathBuf> {
    let newest = latest_status(folder)?;
    ensure_complete(&newest)?;
    let path = to.join(FILE);
    let root =
        std::fs::read(&newest.path).with_context(|| format!("cannot read {}", newest.path.display()))?;
    std::fs::create_dir_all(to)
        .and_then(|()| service::file::replace(&path, &root, 0o644))
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}
