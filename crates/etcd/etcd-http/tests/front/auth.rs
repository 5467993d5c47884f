//! `/v2/auth`, and its effect on other requests.

use crate::site::{FORM, Response, Site};

const ROOT: (&str, &str) = ("Authorization", "Basic cm9vdDpwdw==");
/// User u with password p.
const USER: (&str, &str) = ("Authorization", "Basic dTpw");
/// User u with password q.
const USER_NEW: (&str, &str) = ("Authorization", "Basic dTpx");

const DENIED: &str = r#"{"message":"Insufficient credentials"}"#;

#[track_caller]
fn check(response: &Response, status: u16, body: &str) {
    assert_eq!((response.status, response.body.trim_end()), (status, body));
    assert!(response.header("X-Etcd-Cluster-Id").is_some());
}

fn message(text: &str) -> String {
    format!("{{\"message\":\"{text}\"}}")
}

#[test]
fn users_and_roles() {
    let site = Site::start();
    let put = |target: &str, body: &str| site.send_request("PUT", &format!("/v2/auth/{target}"), &[], body);
    let get = |target: &str| site.get(&format!("/v2/auth/{target}"));
    let delete = |target: &str| site.send_request("DELETE", &format!("/v2/auth/{target}"), &[], "");
    check(&get("enable"), 200, r#"{"enabled":false}"#);
    check(&put("enable", ""), 409, &message("auth: No root user available, please create one"));
    check(&delete("enable"), 409, &message("auth: already disabled"));
    check(&get("users"), 200, r#"{"users":null}"#);
    let root = r#"{"role":"root","permissions":{"kv":{"read":["/*"],"write":["/*"]}}}"#;
    check(&get("roles"), 200, &format!("{{\"roles\":[{root}]}}"));
    check(&get("users/u"), 404, &message("auth: User u does not exist."));
    check(&delete("users/u"), 404, &message("auth: User u does not exist"));
    check(
        &put("users/u", r#"{"user":"u"}"#),
        400,
        &message("auth: Cannot create user u with an empty password"),
    );
    check(
        &put("users/u", r#"{"user":"v","password":"p"}"#),
        400,
        &message("User JSON name does not match the name in the URL"),
    );
    check(&put("users/u", "nonsense"), 400, &message("Invalid JSON in request body."));
    check(
        &put("users/root", r#"{"user":"root","password":"pw"}"#),
        201,
        r#"{"user":"root","roles":["root"]}"#,
    );
    check(
        &put("users/u", r#"{"user":"u","password":"p","roles":["r9"]}"#),
        200,
        r#"{"user":"u","roles":["r9"]}"#,
    );
    check(&get("users/u"), 404, &message("auth: Role r9 does not exist."));
    let empty = r#"{"role":"r9","permissions":{"kv":{"read":[],"write":[]}}}"#;
    check(&put("roles/r9", r#"{"role":"r9"}"#), 201, empty);
    check(&get("roles/r9"), 200, empty);
    check(&get("users/u"), 200, &format!("{{\"user\":\"u\",\"roles\":[{empty}]}}"));
    let grant = r#"{"role":"r9","grant":{"kv":{"read":["/a*"],"write":null}}}"#;
    let granted = r#"{"role":"r9","permissions":{"kv":{"read":["/a*"],"write":[]}}}"#;
    check(&put("roles/r9", grant), 200, granted);
    check(&put("roles/r9", grant), 409, &message("auth: Granting duplicate read permission /a*"));
    check(
        &put("users/u", r#"{"user":"u","grant":["r9"]}"#),
        409,
        &message("auth: Granting duplicate role r9 for user u"),
    );
    check(
        &put("roles/root", r#"{"role":"root","grant":{"kv":{"read":["/a*"]}}}"#),
        403,
        &message("auth: Cannot modify role root: is root role."),
    );
    check(&put("enable", ""), 200, "");
    check(&get("users"), 401, DENIED);
    let as_root =
        |method: &str, target: &str| site.send_request(method, &format!("/v2/auth/{target}"), &[ROOT], "");
    check(&as_root("PUT", "enable"), 409, &message("auth: already enabled"));
    check(&as_root("GET", "enable"), 200, r#"{"enabled":true}"#);
    assert_eq!(as_root("DELETE", "users/root").status, 403);
    check(&as_root("DELETE", "roles/r9"), 200, "");
    check(&as_root("GET", "roles/r9"), 404, &message("auth: Role r9 does not exist."));
}

#[test]
fn checks_on_each_request() {
    let site = Site::start();
    let root = |method: &str, target: &str, body: &str| {
        let response = site.send_request(method, target, &[ROOT], body);
        assert!(response.status < 300, "{method} {target}: {response:?}");
    };
    root("PUT", "/v2/auth/users/root", r#"{"user":"root","password":"pw"}"#);
    root("PUT", "/v2/auth/roles/r", r#"{"role":"r"}"#);
    root(
        "PUT",
        "/v2/auth/roles/r",
        r#"{"role":"r","grant":{"kv":{"read":["/mine/*"],"write":["/mine/w"]}}}"#,
    );
    root("PUT", "/v2/auth/users/u", r#"{"user":"u","password":"p","roles":["r"]}"#);
    site.form("PUT", "/v2/keys/mine/a", "value=1");
    site.form("PUT", "/v2/keys/other", "value=1");
    root("PUT", "/v2/auth/enable", "");
    root("PUT", "/v2/auth/roles/guest", r#"{"role":"guest","revoke":{"kv":{"read":["/*"],"write":["/*"]}}}"#);
    let keys = |headers: &[(&str, &str)], method: &str, target: &str| {
        let headers: Vec<_> = headers.iter().copied().chain([FORM]).collect();
        site.send_request(method, &format!("/v2/keys{target}"), &headers, "value=x")
    };
    let denied = "{\"errorCode\":110,\"message\":\"The request requires user authentication\",\"cause\":\"Insufficient credentials\",\"index\":0}";
    check(&keys(&[], "PUT", "/mine/w"), 401, denied);
    check(&keys(&[("Authorization", "Basic dTp4")], "GET", "/mine/a"), 401, denied);
    check(&keys(&[("Authorization", "Bearer x")], "GET", "/mine/a"), 401, denied);
    check(&keys(&[USER], "PUT", "/mine/a"), 401, denied);
    check(&keys(&[USER], "GET", "/other"), 401, denied);
    check(&keys(&[USER], "GET", "/?recursive=true"), 401, denied);
    assert_eq!(keys(&[USER], "HEAD", "/other").status, 401);
    assert_eq!(keys(&[USER], "GET", "/mine/a").status, 200);
    assert_eq!(keys(&[USER], "PUT", "/mine/w").status, 201);
    assert_eq!(keys(&[ROOT], "GET", "/?recursive=true").status, 200);
    assert_eq!(site.get("/v1/keys/mine/a").status, 401);
    check(&site.send_request("DELETE", "/v2/members/1", &[USER], ""), 401, DENIED);
    for free in ["/v2/members", "/version", "/health", "/v2/machines", "/v2/stats/self", "/metrics"] {
        assert_eq!(site.get(free).status, 200, "{free}");
    }
    // After a password change, the cached old one is rejected.
    root("PUT", "/v2/auth/users/u", r#"{"user":"u","password":"q"}"#);
    check(&keys(&[USER], "GET", "/mine/a"), 401, denied);
    assert_eq!(keys(&[USER_NEW], "GET", "/mine/a").status, 200);
    root("DELETE", "/v2/auth/users/u", "");
    check(&keys(&[USER_NEW], "GET", "/mine/a"), 401, denied);
    root("DELETE", "/v2/auth/enable", "");
    assert_eq!(keys(&[], "GET", "/other").status, 200);
}

#[test]
fn verified_passwords_are_cached() {
    let site = Site::start();
    site.send_request("PUT", "/v2/auth/users/root", &[], r#"{"user":"root","password":"pw"}"#);
    site.send_request("PUT", "/v2/auth/enable", &[], "");
    let mut client = site.connect();
    let mut send_request = || {
        let began = std::time::Instant::now();
        client.send("GET", "/v2/keys", &[ROOT], "");
        assert_eq!(client.response_to("GET").status, 200);
        began.elapsed()
    };
    let first = send_request();
    let others = (0..100).map(|_| send_request()).sum::<std::time::Duration>();
    // bcrypt takes tens of milliseconds; a hundred runs would take longer.
    assert!(others < first * 20, "first {first:?}, then a hundred in {others:?}");
}
