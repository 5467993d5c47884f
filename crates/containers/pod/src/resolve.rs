//! An app's final settings: those of its image, of the command line and of the image's accounts.

use oci_image::Digest;
use oci_image::config::ImageConfig;
use oci_image::runtime::{Overrides, SettingsError, settings};
use oci_image::user::UnknownAccount;

use crate::manifest::App;
use crate::run_args::AppRequest;
use crate::volume::{Mount, Volume};

/// Contents of the image's `/etc/passwd` and `/etc/group`; empty where it has none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Accounts {
    /// `/etc/passwd`.
    pub passwd: String,
    /// `/etc/group`.
    pub group: String,
}

/// What an app takes from its image.
#[derive(Debug, Clone)]
pub struct AppImage {
    /// The manifest's digest.
    pub digest: Digest,
    /// The image's configuration.
    pub config: ImageConfig,
    /// The image's users and groups.
    pub accounts: Accounts,
}

/// Environment variables that all apps of a pod get.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodEnvironment {
    /// Those of rkt's own process: an image's take precedence.
    pub inherited: Vec<(String, String)>,
    /// Those of the command line: they take precedence over an image's.
    pub set: Vec<(String, String)>,
}

/// Why an app cannot be run.
#[derive(Debug, thiserror::Error)]
#[error("app {app}")]
pub struct ResolveError {
    app: String,
    source: Reason,
}

#[derive(Debug, thiserror::Error)]
enum Reason {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(transparent)]
    Account(#[from] UnknownAccount),
}

/// Combines the settings of an app. Mount points that the image declares and nothing is mounted on get empty volumes, which
/// are added to `volumes`.
///
/// # Errors
/// A setting is invalid, or the image lacks an account.
pub fn resolve(
    name: &str,
    request: &AppRequest,
    image: &AppImage,
    pod: &PodEnvironment,
    volumes: &mut Vec<Volume>,
) -> Result<App, ResolveError> {
    let own = &image.config.config;
    let failed = |source: Reason| ResolveError { app: name.to_owned(), source };
    let user = match (&request.user, &request.group) {
        (Some(user), Some(group)) => Some(format!("{user}:{group}")),
        (Some(user), None) => Some(user.clone()),
        (None, Some(group)) => {
            let user = own.user.as_deref().unwrap_or_default();
            let user = user.split(':').next().filter(|user| !user.is_empty()).unwrap_or("0");
            Some(format!("{user}:{group}"))
        }
        (None, None) => None,
    };
    let overrides = Overrides {
        entrypoint: request.exec.clone().map(|exec| vec![exec]),
        command: (!request.arguments.is_empty()).then(|| request.arguments.clone()),
        environment: pod.set.iter().chain(&request.environment).cloned().collect(),
        user,
        directory: request.directory.clone(),
        stop_signal: None,
    };
    let settings = settings(own, &overrides).map_err(|error| failed(error.into()))?;
    let Accounts { passwd, group } = &image.accounts;
    let user = settings.user.resolve(passwd, group).map_err(|error| failed(error.into()))?;
    let mut environment = settings.environment;
    let image_sets = |name: &str| {
        let mut own = own.env.iter().flatten().filter_map(|entry| entry.split('=').next());
        own.any(|own| own == name) || overrides.environment.iter().any(|(own, _)| own == name)
    };
    for (key, value) in &pod.inherited {
        if image_sets(key) {
            continue;
        }
        match environment.iter_mut().find(|(present, _)| present == key) {
            Some(entry) => entry.1.clone_from(value),
            None => environment.push((key.clone(), value.clone())),
        }
    }
    for (key, value) in [("HOME", &user.home), ("AC_APP_NAME", &name.to_owned())] {
        if environment.iter().all(|(present, _)| present != key) {
            environment.push((key.to_owned(), value.clone()));
        }
    }
    let mut mounts = request.mounts.clone();
    for path in &settings.volumes {
        if mounts.iter().all(|mount| mount.target.trim_end_matches('/') != path.trim_end_matches('/')) {
            mounts.push(implicit(name, path, volumes));
        }
    }
    let mut groups = user.groups;
    groups.extend(&request.groups);
    Ok(App {
        name: name.to_owned(),
        image: image.digest,
        image_name: request.image.clone(),
        arguments: settings.arguments,
        environment,
        uid: user.uid,
        gid: user.gid,
        groups,
        directory: settings.directory,
        mounts,
        capabilities: request.capabilities.clone(),
        memory: request.memory,
        cpu: request.cpu,
        stop_signal: settings.stop_signal,
        read_only: request.read_only,
        oom_score_adj: request.oom_score_adj,
    })
}

/// rkt's name of the volume of a mount point: `volume-var-lib-data`. The user may define it; else it is empty.
fn implicit(app: &str, path: &str, volumes: &mut Vec<Volume>) -> Mount {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let named = format!("volume-{}", parts.join("-").to_ascii_lowercase());
    let mount = |volume: &str| Mount { volume: volume.to_owned(), target: path.to_owned() };
    if volumes.iter().any(|volume| volume.name == named) {
        return mount(&named);
    }
    let own = format!("{app}-{}", volumes.len());
    volumes.push(Volume::empty(&own));
    mount(&own)
}

#[cfg(test)]
#[path = "resolve_tests.rs"]
mod tests;
