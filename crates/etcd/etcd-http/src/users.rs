//! `/v2/auth`: enabling, users and their roles. `etcd-store` decides about permissions.

use etcd_api::Role;
use etcd_store::{AuthCommand, Change, Command, CommandError, PasswordHash, User};
use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode};
use serde::{Deserialize, Serialize};

use crate::backend::Backend;
use crate::body;
use crate::context::Context;
use crate::response::{self, HttpResponse, JSON, to_json};

#[derive(Serialize)]
struct AuthStatus {
    enabled: bool,
}

/// A user in the response of a PUT.
#[derive(Serialize)]
struct UserSummary<'a> {
    user: &'a str,
    roles: Option<&'a [String]>,
}

/// A user with the permissions of its roles.
#[derive(Serialize)]
struct UserDetails {
    user: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    roles: Vec<Role>,
}

#[derive(Serialize)]
struct UserList {
    users: Option<Vec<UserDetails>>,
}

/// Body of a PUT of a user. Not `Debug`: contains a password.
#[derive(Deserialize)]
struct UserRequest {
    #[serde(default)]
    user: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    roles: Option<Vec<String>>,
    #[serde(default)]
    grant: Option<Vec<String>>,
    #[serde(default)]
    revoke: Option<Vec<String>>,
}

/// `/v2/auth/enable`.
pub(crate) async fn enable<B: Backend>(
    context: &Context<B>,
    method: &Method,
) -> Result<HttpResponse, HttpResponse> {
    let command = match *method {
        Method::GET => {
            let enabled = context.backend.auth_enabled();
            return Ok(response::json(to_json(&AuthStatus { enabled }) + "\n"));
        }
        Method::PUT => AuthCommand::Enable,
        Method::DELETE => AuthCommand::Disable,
        _ => return Err(response::wrong_method("GET,PUT,DELETE")),
    };
    execute(context, command).await?;
    Ok(response::no_content(StatusCode::OK))
}

/// `/v2/auth/users`.
pub(crate) fn list<B: Backend>(context: &Context<B>, method: &Method) -> Result<HttpResponse, HttpResponse> {
    if method != Method::GET {
        return Err(response::wrong_method("GET"));
    }
    let users: Vec<UserDetails> = context.backend.read(|store| {
        let auth = store.auth();
        let known = |user: &User| user.roles.iter().filter_map(|name| auth.role(name).cloned()).collect();
        auth.users().map(|user| UserDetails { user: user.name.clone(), roles: known(user) }).collect()
    });
    let users = Some(users).filter(|users| !users.is_empty());
    Ok(response::json(to_json(&UserList { users }) + "\n"))
}

/// `/v2/auth/users/NAME`.
pub(crate) async fn user<B: Backend>(
    context: &Context<B>,
    request: Request<Incoming>,
    name: &str,
) -> Result<HttpResponse, HttpResponse> {
    match *request.method() {
        Method::GET => get(context, name),
        Method::PUT => put(context, request, name).await,
        Method::DELETE => {
            execute(context, AuthCommand::DeleteUser { name: name.to_owned() }).await?;
            Ok(response::no_content(StatusCode::OK))
        }
        _ => Err(response::wrong_method("GET,PUT,DELETE")),
    }
}

fn get<B: Backend>(context: &Context<B>, name: &str) -> Result<HttpResponse, HttpResponse> {
    context.backend.read(|store| {
        let user = store.auth().user(name).ok_or_else(|| does_not_exist("User", name))?;
        let mut roles = Vec::with_capacity(user.roles.len());
        for role in &user.roles {
            roles.push(store.auth().role(role).cloned().ok_or_else(|| does_not_exist("Role", role))?);
        }
        Ok(response::json(to_json(&UserDetails { user: user.name.clone(), roles }) + "\n"))
    })
}

async fn put<B: Backend>(
    context: &Context<B>,
    request: Request<Incoming>,
    name: &str,
) -> Result<HttpResponse, HttpResponse> {
    let body: UserRequest = read_json(request).await?;
    if body.user != name {
        let text = "User JSON name does not match the name in the URL";
        return Err(response::message(StatusCode::BAD_REQUEST, text));
    }
    let names_roles = body.roles.is_some();
    let (roles, grant, revoke) = (or_empty(body.roles), or_empty(body.grant), or_empty(body.revoke));
    let changes = !grant.is_empty() || !revoke.is_empty();
    if changes && !roles.is_empty() {
        let text = "User JSON contains both roles and grant/revoke";
        return Err(response::message(StatusCode::BAD_REQUEST, text));
    }
    let password = hash(context, body.password).await?;
    let with_roles = !roles.is_empty();
    let command = AuthCommand::PutUser { name: name.to_owned(), password, roles, grant, revoke };
    let Change::User { created, user } = execute(context, command).await? else {
        return Err(unexpected());
    };
    // As in etcd: `null` if no roles were ever set, `[]` if none remain.
    let roles = Some(user.roles.as_slice()).filter(|roles| !roles.is_empty() || names_roles || !created);
    let body = to_json(&UserSummary { user: &user.name, roles }) + "\n";
    // As in etcd: a user created with roles is reported as changed.
    let status = if created && !with_roles { StatusCode::CREATED } else { StatusCode::OK };
    Ok(response::with(status, JSON, body))
}

fn or_empty(list: Option<Vec<String>>) -> Vec<String> {
    list.unwrap_or_default()
}

async fn hash<B: Backend>(
    context: &Context<B>,
    password: String,
) -> Result<Option<PasswordHash>, HttpResponse> {
    if password.is_empty() {
        return Ok(None);
    }
    let hashed = context.credentials.hash(password).await;
    hashed.map(Some).map_err(|error| {
        tracing::error!(error = &error as &dyn std::error::Error, "a user is not written");
        unexpected()
    })
}

/// Reads a JSON body.
pub(crate) async fn read_json<T: for<'a> Deserialize<'a>>(
    request: Request<Incoming>,
) -> Result<T, HttpResponse> {
    let bytes = body::read(request.into_body()).await.ok();
    let read_json = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    read_json.ok_or_else(|| response::message(StatusCode::BAD_REQUEST, "Invalid JSON in request body."))
}

/// `what` is `User` or `Role`.
pub(crate) fn does_not_exist(what: &str, name: &str) -> HttpResponse {
    response::message(StatusCode::NOT_FOUND, &format!("auth: {what} {name} does not exist."))
}

pub(crate) fn unexpected() -> HttpResponse {
    response::message(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error")
}

/// Proposes a change of users or roles.
pub(crate) async fn execute<B: Backend>(
    context: &Context<B>,
    command: AuthCommand,
) -> Result<Change, HttpResponse> {
    let outcome = context.backend.propose(Command::Auth(command)).await.map_err(|error| {
        tracing::warn!(%error, "users and roles are unchanged");
        unexpected()
    })?;
    outcome.result.map_err(|refusal| match refusal {
        CommandError::Auth(error) => {
            let status = StatusCode::from_u16(error.http_status()).unwrap_or(StatusCode::CONFLICT);
            response::message(status, &error.to_string())
        }
        CommandError::Keys(_) | CommandError::Membership(_) => unexpected(),
    })
}
