//! Contract 2.4, with authentication enabled. Disables it in any case.

use serde_json::json;

use super::fixture::{Fixture, json as parsed, same};
use crate::failure::Failure;
use crate::http::{Request, Response};

type SceneResult = Result<(), Failure>;

/// `root:top` and `carl:low` as basic authentication.
const ROOT: &str = "Basic cm9vdDp0b3A=";
const CARL: &str = "Basic Y2FybDpsb3c=";
const WRONG: &str = "Basic cm9vdDp3cm9uZw==";

pub fn rules(fixture: &mut Fixture<'_>) -> SceneResult {
    let folder = fixture.key("");
    let make = |path: &str, body: String| status(fixture, None, "PUT", path, Some(body));
    same(
        "root",
        &make("/v2/auth/users/root", json!({"user": "root", "password": "top"}).to_string())?,
        &201,
    )?;
    let permissions = json!({"kv": {"read": [format!("{folder}/*")], "write": [format!("{folder}/w")]}});
    make("/v2/auth/roles/reader", json!({"role": "reader", "permissions": permissions}).to_string())?;
    let carl = json!({"user": "carl", "password": "low", "roles": ["reader"]});
    make("/v2/auth/users/carl", carl.to_string())?;
    same("turned on", &status(fixture, Some(ROOT), "PUT", "/v2/auth/enable", None)?, &200)?;
    let outcome = while_on(fixture);
    same("turned off", &status(fixture, Some(ROOT), "DELETE", "/v2/auth/enable", None)?, &200)?;
    for path in ["users/carl", "users/root", "roles/reader", "roles/guest"] {
        status(fixture, None, "DELETE", &format!("/v2/auth/{path}"), None)?;
    }
    outcome
}

fn while_on(fixture: &Fixture<'_>) -> SceneResult {
    // By default a guest has full access to keys.
    let revoke = json!({"role": "guest", "revoke": {"kv": {"read": ["/*"], "write": ["/*"]}}});
    for (who, method, path, body, expected) in [
        (None, "PUT", fixture.target("/w"), None, 201),
        (None, "GET", "/v2/members".into(), None, 200),
        (None, "GET", "/version".into(), None, 200),
        (None, "GET", "/health".into(), None, 200),
        (None, "GET", "/v2/stats/self".into(), None, 200),
        (None, "GET", "/v2/auth/users".into(), None, 401),
        (Some(CARL), "GET", "/v2/auth/users".into(), None, 401),
        (Some(ROOT), "GET", "/v2/auth/users".into(), None, 200),
        (None, "DELETE", "/v2/members/abc".into(), None, 401),
        (Some(ROOT), "PUT", "/v2/auth/enable".into(), None, 409),
        (Some(ROOT), "PUT", "/v2/auth/roles/guest".into(), Some(revoke.to_string()), 200),
        (None, "GET", fixture.target("/w"), None, 401),
        (None, "PUT", fixture.target("/w"), None, 401),
        (Some(CARL), "GET", fixture.target("/w"), None, 200),
        (Some(CARL), "HEAD", fixture.target("/w"), None, 200),
        (Some(CARL), "PUT", fixture.target("/w"), None, 200),
        (Some(CARL), "PUT", fixture.target("/other"), None, 401),
        (Some(CARL), "DELETE", fixture.target("?recursive=true"), None, 401),
        (Some(ROOT), "PUT", fixture.target("/other"), None, 201),
        (Some(WRONG), "GET", fixture.target("/w"), None, 401),
        (Some(ROOT), "DELETE", "/v2/auth/users/root".into(), None, 403),
    ] {
        same(&format!("{who:?} {method} {path}"), &status(fixture, who, method, &path, body)?, &expected)?;
    }
    let refused = send(fixture, None, "GET", &fixture.target("/w"), None)?;
    let expected = json!({"errorCode": 110, "message": "The request requires user authentication",
        "cause": "Insufficient credentials", "index": 0});
    same("the answer for keys", &parsed(&refused)?, &expected)?;
    let refused = send(fixture, None, "GET", "/v2/auth/users", None)?;
    same("the answer elsewhere", &refused.text(), &"{\"message\":\"Insufficient credentials\"}".to_owned())
}

fn status(
    fixture: &Fixture<'_>,
    who: Option<&str>,
    method: &str,
    path: &str,
    body: Option<String>,
) -> Result<u16, Failure> {
    Ok(send(fixture, who, method, path, body)?.status)
}

fn send(
    fixture: &Fixture<'_>,
    who: Option<&str>,
    method: &str,
    path: &str,
    body: Option<String>,
) -> Result<Response, Failure> {
    let mut request = Request::new(method, path);
    request.headers.extend(who.map(|who| ("Authorization".to_owned(), who.to_owned())));
    if let Some(body) = body {
        request.headers.push(("Content-Type".into(), "application/json".into()));
        request.body = Some(body.into_bytes());
    }
    fixture.exchange(&request)
}
