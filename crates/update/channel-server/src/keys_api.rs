//! `/api/apps/APP/keys`: root and targets metadata of an application. Both are signed elsewhere.

use std::sync::Arc;

use hyper::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use update_core::roots::{expires, version};

use crate::api_error::{ApiError, app_key};
use crate::body::{HttpResponse, response};
use crate::overview::expiry_warning;
use crate::repository::{Before, EARLIEST, TargetsError, check_under, published, successor};
use crate::server::{Server, now};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetadataRequest {
    /// The content of `N.root.json`.
    #[serde(default)]
    root: Option<String>,
    /// The content of `targets.json`.
    #[serde(default)]
    targets: Option<String>,
}

/// Publishes root metadata, targets metadata, or both: all or nothing. `online_key_counts` reports whether the online key
/// can sign under them. If not, machines get no updates from this server.
pub async fn publish(server: &Arc<Server>, app: &str, new: MetadataRequest) -> Result<Value, ApiError> {
    if new.root.is_none() && new.targets.is_none() {
        return Err(ApiError::NoMetadata);
    }
    let app = app_key(server, app)?;
    let guard = server.repositories.of(&app)?.changing.clone().lock_owned().await;
    let shared = server.clone();
    let stored = tokio::task::spawn_blocking(move || {
        let _guard = guard;
        store(&shared, &app, &new)
    });
    stored.await.map_err(|_| ApiError::TaskFailed)?
}

fn store(server: &Server, app: &str, new: &MetadataRequest) -> Result<Value, ApiError> {
    let repositories = &server.repositories;
    let newest = repositories.roots.newest(app);
    let stored = repositories.targets(app);
    let checked = new.root.as_ref().map(|root| repositories.roots.check(app, root.as_bytes())).transpose()?;
    let new_root = checked.as_ref().and_then(|checked| checked.unpublished());
    let root = new_root.or(newest.as_ref()).ok_or(TargetsError::NoRoot)?.clone();
    let targets = match &new.targets {
        Some(targets) => {
            let releases = server.state.lock().app(app).map(|(_, app)| published(app)).unwrap_or_default();
            let before = Before { root: newest.as_ref(), targets: stored.as_deref(), releases: &releases };
            // Nothing is expired by a clock that is not set.
            let time = i64::try_from(Some(now()).filter(|now| *now >= EARLIEST).unwrap_or(0)).unwrap_or(0);
            successor(before, &root, targets.as_bytes(), time)?
        }
        None => None,
    };
    if let (Some(root), None, Some(stored)) = (new_root, &targets, &stored) {
        check_under(stored, root)?;
    }
    // The root is the last one: without it, new targets that need it do not count.
    if let Some(new) = &targets {
        repositories.store_targets(app, new)?;
    }
    let number = checked.as_ref().map_or_else(|| version(&root), |checked| checked.version);
    if let Some(checked) = checked {
        repositories.roots.add(app, checked)?;
    }
    repositories.use_stored(app, targets, &server.online_key)?;
    let targets = repositories.targets(app).map(|stored| stored.version());
    let counts = repositories.online_key_counts(app, &server.online_key);
    tracing::info!(app, root = number, targets, online_key_counts = counts, "metadata was published");
    Ok(json!({ "ok": true, "version": number, "targets": targets, "online_key_counts": counts }))
}

/// The versions of the metadata, and the expiry of the newest root.
pub fn versions(server: &Server, app: &str) -> Result<Value, ApiError> {
    let app = app_key(server, app)?;
    let roots = &server.repositories.roots;
    let (versions, newest) = (roots.versions(&app), roots.newest(&app));
    let warning = newest.as_ref().and_then(|root| expiry_warning(root, now()));
    let warning = warning.or_else(|| server.repositories.problem(&app).map(|problem| problem.to_string()));
    let targets = server.repositories.targets(&app).map(|stored| stored.version());
    let expires = newest.as_ref().map(expires);
    Ok(json!({ "versions": versions, "expires": expires, "warning": warning, "targets": targets }))
}

/// The newest targets metadata, as published.
pub fn targets(server: &Server, app: &str) -> HttpResponse {
    let stored = app_key(server, app).and_then(|app| {
        server.repositories.targets(&app).ok_or_else(|| server.repositories.missing(&app).into())
    });
    match stored {
        Ok(stored) => response(StatusCode::OK, "application/json", stored.bytes.clone()),
        Err(error) => error.response(),
    }
}
