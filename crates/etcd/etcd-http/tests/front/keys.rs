//! `/v2/keys` beyond the script: forms, methods, headers, paths.

use crate::script::without_times;
use crate::site::{FORM, Site};

/// Checks status and body of a request on a new store; `ID` is the first index plus one.
#[track_caller]
fn check(site: &Site, request: (&str, &str, &[(&str, &str)], &str), status: u16, body: &str) {
    let (method, target, headers, form) = request;
    let response = site.send_request(method, target, headers, form);
    assert_eq!(without_times(&response.body), body, "{method} {target} {form}");
    assert_eq!(response.status, status, "{method} {target} {form}");
}

fn error(code: u16, message: &str, cause: &str) -> String {
    let cause = cause.replace('"', "\\\"");
    format!("{{\"errorCode\":{code},\"message\":\"{message}\",\"cause\":\"{cause}\",\"index\":0}}\n")
}

#[test]
fn malformed_requests() {
    let site = Site::start();
    let form: &[(&str, &str)] = &[FORM];
    let field = |name: &str| error(209, "Invalid field", &format!("invalid value for \"{name}\""));
    let number = |name: &str| {
        error(203, "The given index in POST form is not a number", &format!("invalid value for \"{name}\""))
    };
    let ttl = error(202, "The given TTL in POST form is not a number", "invalid value for \"ttl\"");
    let cases: &[(&str, &str, &str, u16, String)] = &[
        ("GET", "?recursive=", "", 400, field("recursive")),
        ("GET", "?sorted=yes", "", 400, field("sorted")),
        ("GET", "?wait=2", "", 400, field("wait")),
        ("GET", "?quorum=maybe", "", 400, field("quorum")),
        ("GET", "?stream=maybe", "", 400, field("stream")),
        ("PUT", "", "dir=x", 400, field("dir")),
        ("PUT", "", "prevExist=x", 400, error(209, "Invalid field", "invalid value for prevExist")),
        ("PUT", "", "refresh=x", 400, error(209, "Invalid field", "invalid value for refresh")),
        ("PUT", "", "prevIndex=", 400, number("prevIndex")),
        ("GET", "?wait=true&waitIndex=-1", "", 400, number("waitIndex")),
        ("PUT", "", "ttl=-1", 400, ttl.clone()),
        ("PUT", "", "ttl=1.5", 400, ttl.clone()),
        ("PUT", "", "ttl=9000000001", 400, ttl.clone()),
        ("DELETE", "?ttl=abc", "", 400, ttl.clone()),
        ("PUT", "", "value=%zz", 400, error(210, "Invalid POST form", "invalid URL escape \"%zz\"")),
        ("PUT", "", "a;b", 400, error(210, "Invalid POST form", "invalid semicolon separator in query")),
        ("PUT", "", "refresh=true", 400, error(212, "A TTL must be provided on refresh", "No TTL value set")),
        (
            "PUT",
            "",
            "refresh=true&ttl=5&value=x",
            400,
            error(211, "Value provided on refresh", "A value was provided on a refresh"),
        ),
        (
            "PUT",
            "?wait=true",
            "value=x",
            400,
            error(209, "Invalid field", "\"wait\" can only be used with GET requests"),
        ),
    ];
    for (method, target, body, status, expect) in cases {
        check(&site, (method, &format!("/v2/keys/a{target}"), form, body), *status, expect);
    }
    let head = site.send_request("HEAD", "/v2/keys/a?wait=true", &[], "");
    assert_eq!((head.status, head.index()), (400, 0));
}

#[test]
fn bodies_and_content_types() {
    let site = Site::start();
    let stored = |kind: Option<&str>, target: &str, body: &str| {
        let kind: Vec<(&str, &str)> = kind.map(|kind| ("Content-Type", kind)).into_iter().collect();
        let response = site.send_request("PUT", target, &kind, body);
        assert!(matches!(response.status, 200 | 201), "{target}: {response:?}");
        let (_, rest) = response.body.split_once("\"value\":\"").unwrap();
        rest.split_once('"').unwrap().0.to_owned()
    };
    let form = Some(FORM.1);
    assert_eq!(stored(form, "/v2/keys/a?value=query", "value=body"), "body");
    assert_eq!(stored(form, "/v2/keys/a?value=query", ""), "query");
    assert_eq!(stored(form, "/v2/keys/a", "value=a+b%21"), "a b!");
    assert_eq!(stored(form, "/v2/keys/a", "value=first&value=second"), "first");
    assert_eq!(
        stored(Some("application/x-www-form-urlencoded; charset=utf-8"), "/v2/keys/a", "value=x"),
        "x"
    );
    assert_eq!(stored(Some("application/json"), "/v2/keys/a", "{\"value\":\"x\"}"), "");
    assert_eq!(stored(None, "/v2/keys/a", "value=x"), "");
    assert_eq!(stored(form, "/v2/keys/a", "value=%3Cb%3E%26"), "\\u003cb\\u003e\\u0026");
    assert_eq!(stored(form, "/v2/keys/a", "value=%ff"), "\\ufffd");
    assert_eq!(stored(form, "/v2/keys/a", "value=x&RECURSIVE=true&consistent=true"), "x");
}

#[test]
fn large_bodies() {
    let site = Site::start();
    let value = "v".repeat(2 << 20);
    assert_eq!(site.form("PUT", "/v2/keys/large", &format!("value={value}")).status, 201);
    let read = site.get("/v2/keys/large");
    assert!(read.body.contains(&value));
    let too_large = format!("value={}", "v".repeat(10 << 20));
    let rejected = site.form("PUT", "/v2/keys/large", &too_large);
    assert_eq!(
        (rejected.status, rejected.body),
        (400, error(210, "Invalid POST form", "http: POST too large"))
    );
    // Chunked: the size is unknown in advance.
    let mut client = site.connect();
    client.write(format!(
        "PUT /v2/keys/large HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n{}: {}\r\n\r\n",
        FORM.0, FORM.1
    ));
    let chunk = format!("100000\r\n{}\r\n", "v".repeat(1 << 20));
    for _ in 0..11 {
        client.write(&chunk);
    }
    assert_eq!(client.response_to("PUT").status, 400);
}

#[test]
fn methods_and_other_paths() {
    let site = Site::start();
    let patch = site.send_request("PATCH", "/v2/keys/a", &[], "");
    assert_eq!((patch.status, patch.body.as_str()), (405, "Method Not Allowed\n"));
    assert_eq!(patch.header("Allow"), Some("HEAD,GET,PUT,POST,DELETE"));
    assert_eq!(patch.header("Content-Type"), Some("text/plain; charset=utf-8"));
    let options = site.send_request("OPTIONS", "/anything", &[], "");
    assert_eq!((options.status, options.body.as_str()), (200, ""));
    assert_eq!(options.header("Access-Control-Allow-Origin"), None);
    let unknown = site.get("/v2/keysfoo");
    assert_eq!((unknown.status, unknown.body.as_str()), (404, "404 page not found\n"));
    assert_eq!(unknown.header("X-Content-Type-Options"), Some("nosniff"));
    assert_eq!(unknown.header("Content-Type"), Some("text/plain; charset=utf-8"));
    let cleaned = site.get("/v2/keys//a/../b?recursive=true");
    assert_eq!((cleaned.status, cleaned.header("Location")), (301, Some("/v2/keys/b?recursive=true")));
    assert_eq!(site.get("/v2/keys/%zz").status, 400);
}

#[test]
fn names_may_have_any_bytes() {
    let site = Site::start();
    let created = site.form("PUT", "/v2/keys/sp%20ace%2Fsl%3Fash%0A%C3%A4", "value=x");
    assert_eq!(created.status, 201);
    assert!(created.body.contains("\"key\":\"/sp ace/sl?ash\\n\u{e4}\""), "{}", created.body);
    assert_eq!(site.get("/v2/keys/sp%20ace/sl%3Fash%0A%C3%A4/").status, 200);
    let long = "k".repeat(8 << 10);
    assert_eq!(site.form("PUT", &format!("/v2/keys/{long}"), "value=x").status, 201);
    let deep = "/d".repeat(3_000);
    assert_eq!(site.form("PUT", &format!("/v2/keys{deep}"), "value=x").status, 201);
    assert_eq!(site.get(&format!("/v2/keys{deep}")).status, 200);
}

#[test]
fn head_has_the_headers_of_get() {
    let site = Site::start();
    site.form("PUT", "/v2/keys/a", "value=x");
    let head = site.send_request("HEAD", "/v2/keys/a?quorum=true", &[], "");
    let get = site.get("/v2/keys/a");
    assert_eq!(head.status, 200);
    for name in ["Content-Type", "X-Etcd-Index", "X-Etcd-Cluster-Id", "X-Raft-Term", "Content-Length"] {
        assert_eq!(head.header(name), get.header(name), "{name}");
    }
    assert_eq!(site.send_request("HEAD", "/v2/keys/none", &[], "").status, 404);
    // Header names are written as by Go.
    assert!(get.headers.iter().any(|(name, _)| name == "X-Etcd-Index"), "{:?}", get.headers);
    assert!(get.header("Date").is_some());
}

#[test]
fn no_value_on_success() {
    let site = Site::start();
    let created = site.form("PUT", "/v2/keys/a?noValueOnSuccess=true", "value=x");
    assert_eq!((created.status, created.body.as_str()), (201, "{\"action\":\"set\"}\n"));
    let posted = site.form("POST", "/v2/keys/q", "value=x&noValueOnSuccess=true");
    assert_eq!((posted.status, posted.body.as_str()), (201, "{\"action\":\"create\"}\n"));
}

#[test]
fn quorum_reads_and_missing_keys() {
    let site = Site::start();
    let missing = site.get("/v2/keys/a/b?quorum=true&wait=true");
    assert_eq!(missing.status, 404);
    assert!(missing.body.contains("\"cause\":\"/a\""), "{}", missing.body);
    site.form("PUT", "/v2/keys/a/b", "value=x");
    assert_eq!(site.get("/v2/keys/a/b?quorum=true").status, 200);
}

#[test]
fn expired_keys_are_removed() {
    let site = Site::start();
    let created = site.form("PUT", "/v2/keys/a", "value=x&ttl=1");
    assert!(without_times(&created.body).contains("\"expiration\":\"E\",\"ttl\":1"), "{}", created.body);
    let target = format!("/v2/keys/a?wait=true&waitIndex={}", created.index() + 1);
    let expired = site.get(&target);
    assert!(expired.body.starts_with("{\"action\":\"expire\",\"node\":{\"key\":\"/a\","), "{}", expired.body);
    assert_eq!(site.get("/v2/keys/a").status, 404);
}
