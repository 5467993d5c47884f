//! `/v2/auth`: the switch, users and their roles. Who may do what is decided in `etcd-store`.

use etcd_api::Role;
use etcd_store::{AuthCommand, Change, Command, PasswordHash, Refusal, User};
use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode};
use serde::{Deserialize, Serialize};

use crate::answer::{self, Answer, JSON, to_json};
use crate::backend::Backend;
use crate::body;
use crate::context::Context;

#[derive(Serialize)]
struct Switch {
    enabled: bool,
}

/// A user as PUT answers it.
#[derive(Serialize)]
struct Named<'a> {
    user: &'a str,
    roles: Option<&'a [String]>,
}

/// A user with what its roles allow.
#[derive(Serialize)]
struct Detailed {
    user: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    roles: Vec<Role>,
}

#[derive(Serialize)]
struct List {
    users: Option<Vec<Detailed>>,
}

/// What PUT of a user takes. No `Debug`: it holds a password.
#[derive(Deserialize)]
struct Sent {
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
pub(crate) async fn switch<B: Backend>(context: &Context<B>, method: &Method) -> Result<Answer, Answer> {
    let command = match *method {
        Method::GET => {
            let enabled = context.backend.auth_enabled();
            return Ok(answer::json(to_json(&Switch { enabled }) + "\n"));
        }
        Method::PUT => AuthCommand::Enable,
        Method::DELETE => AuthCommand::Disable,
        _ => return Err(answer::wrong_method("GET,PUT,DELETE")),
    };
    carry_out(context, command).await?;
    Ok(answer::no_content(StatusCode::OK))
}

/// `/v2/auth/users`.
pub(crate) fn list<B: Backend>(context: &Context<B>, method: &Method) -> Result<Answer, Answer> {
    if method != Method::GET {
        return Err(answer::wrong_method("GET"));
    }
    let users: Vec<Detailed> = context.backend.read(|store| {
        let auth = store.auth();
        let known = |user: &User| user.roles.iter().filter_map(|name| auth.role(name).cloned()).collect();
        auth.users().map(|user| Detailed { user: user.name.clone(), roles: known(user) }).collect()
    });
    let users = Some(users).filter(|users| !users.is_empty());
    Ok(answer::json(to_json(&List { users }) + "\n"))
}

/// `/v2/auth/users/NAME`.
pub(crate) async fn one<B: Backend>(
    context: &Context<B>,
    request: Request<Incoming>,
    name: &str,
) -> Result<Answer, Answer> {
    match *request.method() {
        Method::GET => get(context, name),
        Method::PUT => put(context, request, name).await,
        Method::DELETE => {
            carry_out(context, AuthCommand::DeleteUser { name: name.to_owned() }).await?;
            Ok(answer::no_content(StatusCode::OK))
        }
        _ => Err(answer::wrong_method("GET,PUT,DELETE")),
    }
}

fn get<B: Backend>(context: &Context<B>, name: &str) -> Result<Answer, Answer> {
    context.backend.read(|store| {
        let user = store.auth().user(name).ok_or_else(|| missing("User", name))?;
        let mut roles = Vec::with_capacity(user.roles.len());
        for role in &user.roles {
            roles.push(store.auth().role(role).cloned().ok_or_else(|| missing("Role", role))?);
        }
        Ok(answer::json(to_json(&Detailed { user: user.name.clone(), roles }) + "\n"))
    })
}

async fn put<B: Backend>(
    context: &Context<B>,
    request: Request<Incoming>,
    name: &str,
) -> Result<Answer, Answer> {
    let sent: Sent = document(request).await?;
    if sent.user != name {
        let text = "User JSON name does not match the name in the URL";
        return Err(answer::message(StatusCode::BAD_REQUEST, text));
    }
    let names_roles = sent.roles.is_some();
    let (roles, grant, revoke) = (some(sent.roles), some(sent.grant), some(sent.revoke));
    let changes = !grant.is_empty() || !revoke.is_empty();
    if changes && !roles.is_empty() {
        let text = "User JSON contains both roles and grant/revoke";
        return Err(answer::message(StatusCode::BAD_REQUEST, text));
    }
    let password = hash(context, sent.password).await?;
    let with_roles = !roles.is_empty();
    let command = AuthCommand::PutUser { name: name.to_owned(), password, roles, grant, revoke };
    let Change::User { created, user } = carry_out(context, command).await? else {
        return Err(unexpected());
    };
    // As etcd writes it: `null` where no roles were ever named, `[]` where none are left.
    let roles = Some(user.roles.as_slice()).filter(|roles| !roles.is_empty() || names_roles || !created);
    let body = to_json(&Named { user: &user.name, roles }) + "\n";
    // As etcd does it: a user made with roles counts as changed.
    let status = if created && !with_roles { StatusCode::CREATED } else { StatusCode::OK };
    Ok(answer::with(status, JSON, body))
}

fn some(list: Option<Vec<String>>) -> Vec<String> {
    list.unwrap_or_default()
}

async fn hash<B: Backend>(context: &Context<B>, password: String) -> Result<Option<PasswordHash>, Answer> {
    if password.is_empty() {
        return Ok(None);
    }
    let hashed = context.credentials.hash(password).await;
    hashed.map(Some).map_err(|error| {
        tracing::error!(error = &error as &dyn std::error::Error, "a user is not written");
        unexpected()
    })
}

/// Reads a JSON document.
pub(crate) async fn document<T: for<'a> Deserialize<'a>>(request: Request<Incoming>) -> Result<T, Answer> {
    let bytes = body::read(request.into_body()).await.ok();
    let document = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    document.ok_or_else(|| answer::message(StatusCode::BAD_REQUEST, "Invalid JSON in request body."))
}

/// `what` is `User` or `Role`.
pub(crate) fn missing(what: &str, name: &str) -> Answer {
    answer::message(StatusCode::NOT_FOUND, &format!("auth: {what} {name} does not exist."))
}

pub(crate) fn unexpected() -> Answer {
    answer::message(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error")
}

/// Proposes a change of users or roles.
pub(crate) async fn carry_out<B: Backend>(
    context: &Context<B>,
    command: AuthCommand,
) -> Result<Change, Answer> {
    let outcome = context.backend.propose(Command::Auth(command)).await.map_err(|error| {
        tracing::warn!(%error, "users and roles stay as they are");
        unexpected()
    })?;
    outcome.result.map_err(|refusal| match refusal {
        Refusal::Auth(error) => {
            let status = StatusCode::from_u16(error.http_status()).unwrap_or(StatusCode::CONFLICT);
            answer::message(status, &error.to_string())
        }
        Refusal::Keys(_) | Refusal::Membership(_) => unexpected(),
    })
}
