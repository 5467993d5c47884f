//! Cases of section 1.1 of the contract.

use bytes::Bytes;

use super::*;

const FORM: &[u8] = b"application/x-www-form-urlencoded";

fn parse(method: Method, query: &str, body: &str) -> Result<KeysRequest, ApiError> {
    let query = Some(query).filter(|query| !query.is_empty());
    let body = body.as_bytes();
    KeysRequest::parse(RequestParts { method, path: b"/v2/keys/a", query, content_type: Some(FORM), body })
}

#[track_caller]
fn rejected(method: Method, query: &str, body: &str, code: u16, cause: &str) {
    let error = parse(method, query, body).unwrap_err();
    assert_eq!((error.code.number(), error.cause.as_str(), error.index), (code, cause, 0), "{query} {body}");
}

#[test]
fn invalid_values_are_rejected_for_every_method() {
    for method in [Method::Get, Method::Head, Method::Put, Method::Post, Method::Delete] {
        for bad in ["-1", "1.5", "abc", "%2B1", "18446744073709551616"] {
            rejected(method, &format!("ttl={bad}"), "", 202, "invalid value for \"ttl\"");
            rejected(method, &format!("prevIndex={bad}"), "", 203, "invalid value for \"prevIndex\"");
            rejected(method, &format!("waitIndex={bad}"), "", 203, "invalid value for \"waitIndex\"");
        }
        rejected(method, "prevIndex=", "", 203, "invalid value for \"prevIndex\"");
        for name in ["recursive", "sorted", "wait", "dir", "quorum", "stream"] {
            rejected(method, &format!("{name}="), "", 209, &format!("invalid value for \"{name}\""));
            rejected(method, &format!("{name}=yes"), "", 209, &format!("invalid value for \"{name}\""));
        }
        for name in ["prevExist", "refresh"] {
            rejected(method, &format!("{name}=maybe"), "", 209, &format!("invalid value for {name}"));
        }
        rejected(method, "prevValue=", "", 201, "\"prevValue\" cannot be empty");
        rejected(method, "refresh=true", "", 212, "No TTL value set");
        rejected(method, "refresh=true&value=x&ttl=", "", 211, "A value was provided on a refresh");
        rejected(method, "a=%zz", "", 210, "invalid URL escape \"%zz\"");
    }
    rejected(Method::Put, "", "ttl=9000000001", 202, "invalid value for \"ttl\"");
}

#[test]
fn the_first_failing_check_determines_the_error() {
    // Each entry fails at a later check than the one after it.
    let mut query = String::new();
    for (bad, code) in [
        ("refresh=x", 209),
        ("noValueOnSuccess=x", 209),
        ("prevExist=x", 209),
        ("ttl=x", 202),
        ("prevValue=", 201),
        ("wait=true", 209),
        ("stream=x", 209),
        ("quorum=x", 209),
        ("dir=x", 209),
        ("sorted=x", 209),
        ("recursive=x", 209),
        ("waitIndex=x", 203),
        ("prevIndex=x", 203),
        ("%zz", 210),
    ] {
        query = if query.is_empty() { bad.to_owned() } else { format!("{query}&{bad}") };
        let error = parse(Method::Put, &query, "").unwrap_err();
        assert_eq!(error.code.number(), code, "{query}: {error}");
        let name = bad.split('=').next().unwrap();
        assert!(error.cause.contains(name), "{query}: {error}");
    }
}

#[test]
fn wait_requires_get() {
    for method in [Method::Head, Method::Put, Method::Post, Method::Delete] {
        rejected(method, "wait=true", "", 209, "\"wait\" can only be used with GET requests");
    }
}

#[test]
fn reads_and_watches() {
    let key = Key::parse("/a").unwrap();
    let get = GetRequest { key: key.clone(), recursive: true, sorted: true, quorum: false, head: false };
    assert_eq!(parse(Method::Get, "recursive=T&sorted=1&waitIndex=9", ""), Ok(KeysRequest::Get(get)));
    let quorum = GetRequest { key: key.clone(), recursive: false, sorted: false, quorum: true, head: false };
    assert_eq!(parse(Method::Get, "wait=true&quorum=true&RECURSIVE=x", ""), Ok(KeysRequest::Get(quorum)));
    let head = GetRequest { key: key.clone(), recursive: false, sorted: false, quorum: false, head: true };
    assert_eq!(parse(Method::Head, "quorum=true", ""), Ok(KeysRequest::Get(head)));
    for (query, since, stream) in
        [("", None, false), ("&waitIndex=0", None, false), ("&waitIndex=7&stream=t", Some(7), true)]
    {
        let watch = WatchRequest { key: key.clone(), recursive: false, since, stream };
        assert_eq!(parse(Method::Get, &format!("wait=true{query}"), ""), Ok(KeysRequest::Watch(watch)));
    }
}

#[test]
fn writes() {
    let key = Key::parse("/a").unwrap();
    let plain = PutRequest {
        key: key.clone(),
        value: Bytes::new(),
        dir: false,
        ttl_seconds: None,
        prev_exist: None,
        prev_value: None,
        prev_index: None,
        refresh: false,
        no_value_on_success: false,
    };
    assert_eq!(parse(Method::Put, "ttl=&prevIndex=0", ""), Ok(KeysRequest::Put(plain.clone())));
    let full = PutRequest {
        value: Bytes::from_static(b"a b\xff"),
        ttl_seconds: Some(0),
        prev_exist: Some(true),
        prev_value: Some(Bytes::from_static(b"x")),
        prev_index: Some(4),
        no_value_on_success: true,
        ..plain
    };
    let query = "value=ignored&prevExist=true&noValueOnSuccess=true";
    assert_eq!(
        parse(Method::Put, query, "value=a+b%ff&ttl=0&prevValue=x&prevIndex=4"),
        Ok(KeysRequest::Put(full))
    );
    let post = PostRequest {
        key: key.clone(),
        value: Bytes::from_static(b"v"),
        dir: true,
        ttl_seconds: Some(9),
        no_value_on_success: false,
    };
    assert_eq!(parse(Method::Post, "ttl=9", "value=v&dir=true"), Ok(KeysRequest::Post(post)));
    let delete = DeleteRequest { key, dir: false, recursive: true, prev_value: None, prev_index: None };
    assert_eq!(
        parse(Method::Delete, "recursive=true", "prevValue=ignored&%zz"),
        Ok(KeysRequest::Delete(delete))
    );
}

#[test]
fn the_path_is_checked_after_the_form() {
    let call = |path: &[u8], query: &str| {
        let parts =
            RequestParts { method: Method::Get, path, query: Some(query), content_type: None, body: b"" };
        KeysRequest::parse(parts).map(|request| request.key().clone()).map_err(|error| error.cause)
    };
    assert_eq!(call(b"/v2/keysfoo", "prevIndex=x"), Err("incorrect key prefix".to_owned()));
    assert_eq!(call(b"/v2/keysfoo", "%zz"), Err("invalid URL escape \"%zz\"".to_owned()));
    assert_eq!(call(b"/v2/keys", ""), Ok(Key::root()));
    assert_eq!(call(b"/v2/keys/foo/", ""), Ok(Key::parse("/foo").unwrap()));
    let deep = ["/v2/keys", &"/a".repeat(crate::MAX_KEY_LEVELS + 1)].concat();
    assert_eq!(call(deep.as_bytes(), ""), Err("key of 4097 levels is deeper than 4096".to_owned()));
}
