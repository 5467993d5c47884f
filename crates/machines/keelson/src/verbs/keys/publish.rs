//! Uploads roots and the list of releases to the channel server.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use release_folder::{
    Publication, SigningKey, TargetsError, add_root, latest_complete, latest_status, load_roots,
    secret_key_path, targets_to_publish,
};
use serde_json::{Value, json};
use tuf::{Root, Signed, Signer};
use update_core::repository::TARGETS_FILE;
use update_core::roots::{Role, file};

use super::location::{KeysFolder, ensure_complete, folder};
use super::password::{KnownPasswords, PasswordFlags};
use super::token::{self, Place};
use crate::context::Context;
use crate::output;
use crate::update_server::{ServerFlags, UpdateServer};

#[derive(Debug, clap::Args)]
pub struct Publish {
    #[command(flatten)]
    from: KeysFolder,
    #[command(flatten)]
    release_key: ReleaseKey,
    #[command(flatten)]
    reached: ServerFlags,
}

/// The key that signs the list of releases again, if the server's has other ones.
#[derive(Debug, clap::Args)]
pub struct ReleaseKey {
    /// Release key, a file or the pkcs11: URI of a key on a token, used only if images are added, or others published since the list of releases
    /// was signed [default: that in the folder of the keys]
    #[arg(long, value_name = "KEY")]
    key: Option<PathBuf>,
    #[command(flatten)]
    password: PasswordFlags,
}

impl ReleaseKey {
    fn unlock(&self, keys: Option<&Path>) -> Result<(PathBuf, Box<dyn Signer>), TargetsError> {
        let own = || keys.map(|folder| secret_key_path(folder, Role::Release.name()));
        let path = self.key.clone().or_else(own).unwrap_or_else(|| "release.key".into());
        let failed = |error: anyhow::Error| TargetsError::Key { key: path.clone(), source: error.into() };
        let signer: Box<dyn Signer> = match Place::parse("--key", &path).map_err(failed)? {
            Place::File(file) => {
                let mut passwords = LatePasswords { flags: &self.password, known: None };
                SigningKey::unlock(&file, &mut passwords)?.into_signer()
            }
            Place::Token(uri) => Box::new(token::signer(&uri).map_err(failed)?),
        };
        Ok((path, signer))
    }
}

/// Reads no password before one is necessary.
struct LatePasswords<'a> {
    flags: &'a PasswordFlags,
    known: Option<KnownPasswords>,
}

impl release_folder::Passwords for LatePasswords<'_> {
    fn next(
        &mut self,
        key: &Path,
        rejected: usize,
    ) -> Result<Option<release_folder::Password>, Box<dyn std::error::Error + Send + Sync>> {
        let known = match &mut self.known {
            Some(known) => known,
            none => none.insert(self.flags.passwords()?),
        };
        known.next(key, rejected)
    }
}

pub fn publish(context: &Context, flags: &Publish) -> anyhow::Result<()> {
    let folder = flags.from.folder()?;
    ensure_complete(&latest_status(&folder)?)?;
    let server = UpdateServer::open(context, &flags.reached)?;
    let folders = Folders { keys: Some(&folder), release: None, signs_images: false };
    let sent = send(context, &server, &flags.release_key, folders)?;
    if context.json {
        return output::print_json(&sent);
    }
    output::print(format!(
        "published root version {} and targets version {}; machines accept them at their next check\n",
        sent["version"], sent["targets"]
    ))
}

/// Sends what verifies a release: the roots, and a list that has it. With `signs_images` the release key also signs its
/// images, if nobody did.
pub fn publish_release(
    context: &Context,
    server: &UpdateServer,
    release_key: &ReleaseKey,
    release: &Path,
    signs_images: bool,
) -> anyhow::Result<()> {
    let keys = folder()?;
    let keys = is_same_product(&keys, release)?.then_some(&*keys);
    send(context, server, release_key, Folders { keys, release: Some(release), signs_images })?;
    Ok(())
}

/// Whether the roots of a release are those of the keys, and not another product's.
fn is_same_product(keys: &Path, release: &Path) -> anyhow::Result<bool> {
    let parsed = |bytes: &[u8]| Signed::<Root>::parse(bytes).map(|root| root.signed);
    let own = load_roots(keys)?;
    for root in load_roots(release)? {
        if let Some(known) = own.iter().find(|own| own.version == root.version) {
            return Ok(parsed(&known.bytes)? == parsed(&root.bytes)?);
        }
    }
    Ok(false)
}

/// Where roots and lists are.
#[derive(Clone, Copy)]
struct Folders<'a> {
    keys: Option<&'a Path>,
    release: Option<&'a Path>,
    signs_images: bool,
}

/// Sends the roots in order, the last one with the list of releases. Returns the server's last response.
fn send(
    context: &Context,
    server: &UpdateServer,
    release_key: &ReleaseKey,
    folders: Folders<'_>,
) -> anyhow::Result<Value> {
    let known = server.get(&["keys"], &[])?;
    let versions: Vec<u64> =
        known["versions"].as_array().into_iter().flatten().filter_map(Value::as_u64).collect();
    let Folders { keys, release, signs_images } = folders;
    for folder in keys.into_iter().chain(release) {
        fetch_roots(server, folder, versions.last().copied().unwrap_or(0))?;
    }
    let published = match known["targets"].as_u64() {
        Some(version) => server.metadata(&format!("{version}.{TARGETS_FILE}"))?,
        None => None,
    };
    let publication = Publication { release, signs_images, keys, server: published.as_deref() };
    let (status, targets) = targets_to_publish(publication, &mut || release_key.unlock(keys))?;
    status.ensure_complete().context("a release key must sign the list of releases (keelson keys sign)")?;
    let newest =
        |folder: &&Path| latest_complete(folder).ok().flatten().map_or(0, |root| root.header.version.get());
    let Some(folder) = keys.into_iter().chain(release).max_by_key(newest) else { return Ok(Value::Null) };
    let text = String::from_utf8_lossy(&targets);
    let first = versions.first().copied().unwrap_or(0);
    let complete = first..=newest(&folder);
    let roots: Vec<_> =
        load_roots(folder)?.into_iter().filter(|root| complete.contains(&root.version)).collect();
    let mut response = Value::Null;
    for (number, root) in roots.iter().enumerate() {
        let step = context.progress.step(&file(root.version));
        let mut body = json!({ "root": String::from_utf8_lossy(&root.bytes) });
        // A root under which the server's list does not verify is accepted only together with another list.
        let is_new = !versions.contains(&root.version);
        let verifies =
            || Signed::<Root>::parse(&root.bytes).is_ok_and(|root| root.signed.targets(&targets, 0).is_ok());
        if number + 1 == roots.len() || (is_new && verifies()) {
            body["targets"] = text.clone().into();
        }
        response = server.post(&["keys"], &body)?;
        step.done("sent");
    }
    if response["online_key_counts"] == false {
        let key = "warning: the server signs channels with a key that is not in the root, and machines with this \
                   root will reject its updates: restart the server with the new channel.key";
        context.progress.note(key);
    }
    Ok(response)
}

/// Adds the roots that others published, up to `last`.
fn fetch_roots(server: &UpdateServer, folder: &Path, last: u64) -> anyhow::Result<()> {
    let Some(newest) = latest_complete(folder)? else { return Ok(()) };
    for version in newest.header.version.get() + 1..=last {
        let name = file(version);
        let Some(bytes) = server.metadata(&name)? else { bail!("the server has no {name}, which it lists") };
        add_root(folder, &bytes).with_context(|| format!("cannot use {name} of the server"))?;
    }
    Ok(())
}
