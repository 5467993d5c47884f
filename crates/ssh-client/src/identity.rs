//! The keys that show who we are.

use std::path::Path;
use std::sync::Arc;

use russh::client::Handle;
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::{HashAlg, PrivateKey, PrivateKeyWithHashAlg, load_secret_key};

use crate::error::Error;
use crate::handler::Caller;
use crate::limits::IDENTITIES;
use crate::settings::Settings;

/// Tries the file's key, then the agent's.
pub async fn prove(handle: &mut Handle<Caller>, settings: &Settings) -> Result<(), Error> {
    let mut tried = 0;
    if let Some(path) = &settings.identity {
        let key = Arc::new(private_key(path)?);
        let hash = rsa_hash(handle, key.algorithm().is_rsa()).await?;
        tried += 1;
        let with_hash = PrivateKeyWithHashAlg::new(key, hash);
        if handle.authenticate_publickey(&settings.user, with_hash).await?.success() {
            return Ok(());
        }
    }
    if let Some(path) = &settings.agent {
        let failed =
            |error: russh::keys::Error| Error::Agent { path: path.clone(), cause: error.to_string() };
        let mut agent = AgentClient::connect_uds(path).await.map_err(failed)?;
        for identity in agent.request_identities().await.map_err(failed)?.into_iter().take(IDENTITIES) {
            // Certificates need the user's own set-up of the other side; the key inside is tried as such.
            let AgentIdentity::PublicKey { key, .. } = identity else { continue };
            let hash = rsa_hash(handle, key.algorithm().is_rsa()).await?;
            tried += 1;
            let done = handle.authenticate_publickey_with(&settings.user, key, hash, &mut agent).await;
            // An agent that declines one key may do with the next.
            if done.is_ok_and(|done| done.success()) {
                return Ok(());
            }
        }
    }
    Err(Error::Authentication { user: settings.user.clone(), tried })
}

fn private_key(path: &Path) -> Result<PrivateKey, Error> {
    load_secret_key(path, None)
        .map_err(|error| Error::Identity { path: path.to_owned(), cause: error.to_string() })
}

/// What an RSA key signs with: SHA-1 only where the other side knows nothing else.
async fn rsa_hash(handle: &Handle<Caller>, is_rsa: bool) -> Result<Option<HashAlg>, Error> {
    if !is_rsa {
        return Ok(None);
    }
    Ok(handle.best_supported_rsa_hash().await?.flatten())
}
