//! `/v2/auth/roles`: roles and their permissions.

use etcd_api::{Permissions, Role};
use etcd_store::{AuthCommand, Change};
use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode};
use serde::{Deserialize, Serialize};

use crate::backend::Backend;
use crate::context::Context;
use crate::response::{self, HttpResponse, JSON, to_json};
use crate::users::{does_not_exist, execute, read_json, unexpected};

#[derive(Serialize)]
struct RoleList {
    roles: Vec<Role>,
}

/// Body of a PUT of a role; `null` is equivalent to absent at every level.
#[derive(Deserialize)]
struct RoleRequest {
    #[serde(default)]
    role: String,
    #[serde(default)]
    permissions: Option<PermissionsRequest>,
    #[serde(default)]
    grant: Option<PermissionsRequest>,
    #[serde(default)]
    revoke: Option<PermissionsRequest>,
}

#[derive(Deserialize)]
struct PermissionsRequest {
    #[serde(default)]
    kv: Option<KeyPermissionsRequest>,
}

#[derive(Deserialize)]
struct KeyPermissionsRequest {
    #[serde(default)]
    read: Option<Vec<String>>,
    #[serde(default)]
    write: Option<Vec<String>>,
}

fn permissions(body: Option<PermissionsRequest>) -> Permissions {
    let mut found = Permissions::default();
    if let Some(keys) = body.and_then(|body| body.kv) {
        found.kv.read = keys.read.unwrap_or_default();
        found.kv.write = keys.write.unwrap_or_default();
    }
    found
}

fn is_empty(permissions: &Permissions) -> bool {
    permissions.kv.read.is_empty() && permissions.kv.write.is_empty()
}

/// `/v2/auth/roles`.
pub(crate) fn list<B: Backend>(context: &Context<B>, method: &Method) -> Result<HttpResponse, HttpResponse> {
    if method != Method::GET {
        return Err(response::wrong_method("GET"));
    }
    let roles = context.backend.read(|store| store.auth().roles().cloned().collect());
    Ok(response::json(to_json(&RoleList { roles }) + "\n"))
}

/// `/v2/auth/roles/NAME`.
pub(crate) async fn role<B: Backend>(
    context: &Context<B>,
    request: Request<Incoming>,
    name: &str,
) -> Result<HttpResponse, HttpResponse> {
    match *request.method() {
        Method::GET => {
            let role = context.backend.read(|store| store.auth().role(name).cloned());
            let role = role.ok_or_else(|| does_not_exist("Role", name))?;
            Ok(response::json(to_json(&role) + "\n"))
        }
        Method::PUT => put(context, request, name).await,
        Method::DELETE => {
            execute(context, AuthCommand::DeleteRole { name: name.to_owned() }).await?;
            Ok(response::no_content(StatusCode::OK))
        }
        _ => Err(response::wrong_method("GET,PUT,DELETE")),
    }
}

async fn put<B: Backend>(
    context: &Context<B>,
    request: Request<Incoming>,
    name: &str,
) -> Result<HttpResponse, HttpResponse> {
    let bad = |text: &str| response::message(StatusCode::BAD_REQUEST, text);
    let body: RoleRequest = read_json(request).await?;
    if body.role != name {
        return Err(bad("Role JSON name does not match the name in the URL"));
    }
    let own = permissions(body.permissions);
    let (grant, revoke) = (permissions(body.grant), permissions(body.revoke));
    let command = if is_empty(&grant) && is_empty(&revoke) {
        AuthCommand::CreateRole(Role { name: name.to_owned(), permissions: own })
    } else if is_empty(&own) {
        AuthCommand::UpdateRole { name: name.to_owned(), grant, revoke }
    } else {
        return Err(bad("Role JSON contains both permissions and grant/revoke"));
    };
    let Change::Role { created, role } = execute(context, command).await? else {
        return Err(unexpected());
    };
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    Ok(response::with(status, JSON, to_json(&role) + "\n"))
}
