//! `/v2/auth/roles`: named sets of permissions.

use etcd_api::{Permissions, Role};
use etcd_store::{AuthCommand, Change};
use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode};
use serde::{Deserialize, Serialize};

use crate::answer::{self, Answer, JSON, to_json};
use crate::backend::Backend;
use crate::context::Context;
use crate::users::{carry_out, document, missing, unexpected};

#[derive(Serialize)]
struct List {
    roles: Vec<Role>,
}

/// What PUT of a role takes; `null` is as good as nothing at every level.
#[derive(Deserialize)]
struct Sent {
    #[serde(default)]
    role: String,
    #[serde(default)]
    permissions: Option<SentPermissions>,
    #[serde(default)]
    grant: Option<SentPermissions>,
    #[serde(default)]
    revoke: Option<SentPermissions>,
}

#[derive(Deserialize)]
struct SentPermissions {
    #[serde(default)]
    kv: Option<SentKeys>,
}

#[derive(Deserialize)]
struct SentKeys {
    #[serde(default)]
    read: Option<Vec<String>>,
    #[serde(default)]
    write: Option<Vec<String>>,
}

fn permissions(sent: Option<SentPermissions>) -> Permissions {
    let mut found = Permissions::default();
    if let Some(keys) = sent.and_then(|sent| sent.kv) {
        found.kv.read = keys.read.unwrap_or_default();
        found.kv.write = keys.write.unwrap_or_default();
    }
    found
}

fn is_empty(permissions: &Permissions) -> bool {
    permissions.kv.read.is_empty() && permissions.kv.write.is_empty()
}

/// `/v2/auth/roles`.
pub(crate) fn list<B: Backend>(context: &Context<B>, method: &Method) -> Result<Answer, Answer> {
    if method != Method::GET {
        return Err(answer::wrong_method("GET"));
    }
    let roles = context.backend.read(|store| store.auth().roles().cloned().collect());
    Ok(answer::json(to_json(&List { roles }) + "\n"))
}

/// `/v2/auth/roles/NAME`.
pub(crate) async fn one<B: Backend>(
    context: &Context<B>,
    request: Request<Incoming>,
    name: &str,
) -> Result<Answer, Answer> {
    match *request.method() {
        Method::GET => {
            let role = context.backend.read(|store| store.auth().role(name).cloned());
            let role = role.ok_or_else(|| missing("Role", name))?;
            Ok(answer::json(to_json(&role) + "\n"))
        }
        Method::PUT => put(context, request, name).await,
        Method::DELETE => {
            carry_out(context, AuthCommand::DeleteRole { name: name.to_owned() }).await?;
            Ok(answer::no_content(StatusCode::OK))
        }
        _ => Err(answer::wrong_method("GET,PUT,DELETE")),
    }
}

async fn put<B: Backend>(
    context: &Context<B>,
    request: Request<Incoming>,
    name: &str,
) -> Result<Answer, Answer> {
    let bad = |text: &str| answer::message(StatusCode::BAD_REQUEST, text);
    let sent: Sent = document(request).await?;
    if sent.role != name {
        return Err(bad("Role JSON name does not match the name in the URL"));
    }
    let own = permissions(sent.permissions);
    let (grant, revoke) = (permissions(sent.grant), permissions(sent.revoke));
    let command = if is_empty(&grant) && is_empty(&revoke) {
        AuthCommand::CreateRole(Role { name: name.to_owned(), permissions: own })
    } else if is_empty(&own) {
        AuthCommand::UpdateRole { name: name.to_owned(), grant, revoke }
    } else {
        return Err(bad("Role JSON contains both permissions and grant/revoke"));
    };
    let Change::Role { created, role } = carry_out(context, command).await? else {
        return Err(unexpected());
    };
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    Ok(answer::with(status, JSON, to_json(&role) + "\n"))
}
