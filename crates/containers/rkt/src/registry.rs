//! How registries are reached: logins of rkt's and Docker's files, and `--insecure-options`.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use oci_image::Reference;
use oci_image::credentials::{Credentials, Login};
use oci_image::limits::MAX_CREDENTIALS;
use oci_store::RegistryOptions;
use serde::Deserialize;

use crate::context::Context;
use crate::run_file;

const RKT_LOGINS: &str = "auth.d";
const MAX_FILES: usize = 256;

/// rkt's file of a Docker login.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RktAuth {
    rkt_kind: String,
    #[serde(default)]
    registries: Vec<String>,
    credentials: Option<RktLogin>,
}

#[derive(Deserialize)]
struct RktLogin {
    user: Option<String>,
    password: Option<String>,
}

pub fn options(context: &Context, name: &Reference) -> anyhow::Result<RegistryOptions> {
    Ok(RegistryOptions {
        credentials: credentials(context, name)?,
        http: context.insecure.http,
        unverified_tls: context.insecure.tls,
        ..RegistryOptions::default()
    })
}

/// rkt's own files precede Docker's.
fn credentials(context: &Context, name: &Reference) -> anyhow::Result<Credentials> {
    for config in context.configs() {
        if let Some(login) = rkt_login(&config.join(RKT_LOGINS), name.registry())? {
            return Ok(Credentials::single(name.registry(), login));
        }
    }
    for path in docker_files() {
        if let Some(bytes) = run_file::read_if_present(&path, MAX_CREDENTIALS)? {
            let credentials = Credentials::parse(&bytes).with_context(|| path.display().to_string())?;
            if credentials.login(name.registry()).is_some() {
                return Ok(credentials);
            }
        }
    }
    Ok(Credentials::default())
}

fn docker_files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    if let Some(folder) = std::env::var_os("DOCKER_CONFIG") {
        files.push(PathBuf::from(folder).join("config.json"));
    }
    if let Some(home) = std::env::var_os("HOME") {
        let home = PathBuf::from(home);
        files.extend([home.join(".docker/config.json"), home.join(".dockercfg")]);
    }
    files
}

fn rkt_login(folder: &Path, registry: &str) -> anyhow::Result<Option<Login>> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(None) };
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .take(MAX_FILES)
        .collect();
    paths.sort();
    for path in paths {
        let bytes = run_file::read(&path, MAX_CREDENTIALS)?;
        // The parser's message may have parts of the file.
        let parsed = serde_json::from_slice::<RktAuth>(&bytes).map_err(|error| {
            anyhow::anyhow!("{} is no file of a login (line {})", path.display(), error.line())
        })?;
        let is_other =
            parsed.rkt_kind != "dockerAuth" || !parsed.registries.iter().any(|one| is_same(one, registry));
        if let (false, Some(RktLogin { user: Some(user), password: Some(password) })) =
            (is_other, parsed.credentials)
        {
            return Ok(Some(Login { user, password }));
        }
    }
    Ok(None)
}

fn is_same(listed: &str, registry: &str) -> bool {
    listed == registry || (registry == "docker.io" && listed == "index.docker.io")
}
