//! The contract's recorded script (section 1.8).

use crate::site::{Response, Site};

/// Method, target, form, status, offset of X-Etcd-Index from the first, body. `{n}` is the first index plus n,
/// `{n%20}` the same with 20 digits; expirations are replaced by `E`.
type Step = (&'static str, &'static str, &'static str, u16, Option<u64>, &'static str);

const STEPS: &[Step] = &[
    ("GET", "/", "", 200, Some(0), r#"{"action":"get","node":{"dir":true}}"#),
    (
        "PUT",
        "/a",
        "value=1",
        201,
        Some(1),
        r#"{"action":"set","node":{"key":"/a","value":"1","modifiedIndex":{1},"createdIndex":{1}}}"#,
    ),
    (
        "PUT",
        "/a",
        "value=1",
        200,
        Some(2),
        r#"{"action":"set","node":{"key":"/a","value":"1","modifiedIndex":{2},"createdIndex":{2}},"prevNode":{"key":"/a","value":"1","modifiedIndex":{1},"createdIndex":{1}}}"#,
    ),
    (
        "PUT",
        "/a?prevExist=false",
        "value=2",
        412,
        Some(2),
        r#"{"errorCode":105,"message":"Key already exists","cause":"/a","index":{2}}"#,
    ),
    (
        "PUT",
        "/a?prevExist=true",
        "value=2&ttl=100",
        200,
        Some(3),
        r#"{"action":"update","node":{"key":"/a","value":"2","expiration":"E","ttl":100,"modifiedIndex":{3},"createdIndex":{2}},"prevNode":{"key":"/a","value":"1","modifiedIndex":{2},"createdIndex":{2}}}"#,
    ),
    (
        "PUT",
        "/a?prevValue=1",
        "value=3",
        412,
        Some(3),
        r#"{"errorCode":101,"message":"Compare failed","cause":"[1 != 2]","index":{3}}"#,
    ),
    (
        "PUT",
        "/a?prevValue=2",
        "value=3",
        200,
        Some(4),
        r#"{"action":"compareAndSwap","node":{"key":"/a","value":"3","modifiedIndex":{4},"createdIndex":{2}},"prevNode":{"key":"/a","value":"2","expiration":"E","ttl":100,"modifiedIndex":{3},"createdIndex":{2}}}"#,
    ),
    (
        "PUT",
        "/a?prevIndex=1&prevValue=2",
        "value=4",
        412,
        Some(4),
        r#"{"errorCode":101,"message":"Compare failed","cause":"[2 != 3] [1 != {4}]","index":{4}}"#,
    ),
    (
        "PUT",
        "/a?prevExist=true",
        "ttl=50&refresh=true",
        200,
        Some(5),
        r#"{"action":"update","node":{"key":"/a","value":"3","expiration":"E","ttl":50,"modifiedIndex":{5},"createdIndex":{2}},"prevNode":{"key":"/a","value":"3","modifiedIndex":{4},"createdIndex":{2}}}"#,
    ),
    (
        "PUT",
        "/a/b",
        "value=1",
        400,
        Some(5),
        r#"{"errorCode":104,"message":"Not a directory","cause":"/a","index":{5}}"#,
    ),
    (
        "PUT",
        "/d/x/f",
        "value=v",
        201,
        Some(6),
        r#"{"action":"set","node":{"key":"/d/x/f","value":"v","modifiedIndex":{6},"createdIndex":{6}}}"#,
    ),
    (
        "PUT",
        "/d/_h",
        "value=v",
        201,
        Some(7),
        r#"{"action":"set","node":{"key":"/d/_h","value":"v","modifiedIndex":{7},"createdIndex":{7}}}"#,
    ),
    (
        "GET",
        "/d?recursive=true&sorted=true",
        "",
        200,
        Some(7),
        r#"{"action":"get","node":{"key":"/d","dir":true,"nodes":[{"key":"/d/x","dir":true,"nodes":[{"key":"/d/x/f","value":"v","modifiedIndex":{6},"createdIndex":{6}}],"modifiedIndex":{6},"createdIndex":{6}}],"modifiedIndex":{6},"createdIndex":{6}}}"#,
    ),
    (
        "PUT",
        "/d",
        "value=1",
        403,
        Some(7),
        r#"{"errorCode":102,"message":"Not a file","cause":"/d","index":{7}}"#,
    ),
    (
        "PUT",
        "/d?prevExist=true&dir=true",
        "ttl=60",
        200,
        Some(8),
        r#"{"action":"update","node":{"key":"/d","dir":true,"expiration":"E","ttl":60,"modifiedIndex":{8},"createdIndex":{6}},"prevNode":{"key":"/d","dir":true,"modifiedIndex":{6},"createdIndex":{6}}}"#,
    ),
    (
        "POST",
        "/q",
        "value=j1",
        201,
        Some(9),
        r#"{"action":"create","node":{"key":"/q/{9%20}","value":"j1","modifiedIndex":{9},"createdIndex":{9}}}"#,
    ),
    (
        "POST",
        "/q",
        "value=j2",
        201,
        Some(10),
        r#"{"action":"create","node":{"key":"/q/{10%20}","value":"j2","modifiedIndex":{10},"createdIndex":{10}}}"#,
    ),
    (
        "GET",
        "/nope/x",
        "",
        404,
        Some(10),
        r#"{"errorCode":100,"message":"Key not found","cause":"/nope","index":{10}}"#,
    ),
    (
        "DELETE",
        "/d",
        "",
        403,
        Some(10),
        r#"{"errorCode":102,"message":"Not a file","cause":"/d","index":{10}}"#,
    ),
    (
        "DELETE",
        "/d?dir=true",
        "",
        403,
        Some(10),
        r#"{"errorCode":108,"message":"Directory not empty","cause":"/d","index":{10}}"#,
    ),
    (
        "DELETE",
        "/d?recursive=true",
        "",
        200,
        Some(11),
        r#"{"action":"delete","node":{"key":"/d","dir":true,"modifiedIndex":{11},"createdIndex":{6}},"prevNode":{"key":"/d","dir":true,"expiration":"E","ttl":60,"modifiedIndex":{6},"createdIndex":{6}}}"#,
    ),
    (
        "GET",
        "/d/x/f?wait=true&waitIndex={5}",
        "",
        200,
        Some(11),
        r#"{"action":"set","node":{"key":"/d/x/f","value":"v","modifiedIndex":{6},"createdIndex":{6}}}"#,
    ),
    (
        "DELETE",
        "/a?prevValue=zz",
        "",
        412,
        Some(11),
        r#"{"errorCode":101,"message":"Compare failed","cause":"[zz != 3]","index":{11}}"#,
    ),
    (
        "DELETE",
        "/a?prevValue=3",
        "",
        200,
        Some(12),
        r#"{"action":"compareAndDelete","node":{"key":"/a","modifiedIndex":{12},"createdIndex":{2}},"prevNode":{"key":"/a","value":"3","expiration":"E","ttl":50,"modifiedIndex":{5},"createdIndex":{2}}}"#,
    ),
    (
        "PUT",
        "/",
        "value=1",
        400,
        Some(12),
        r#"{"errorCode":107,"message":"Root is read only","cause":"/","index":{12}}"#,
    ),
    (
        "GET",
        "/a?recursive=maybe",
        "",
        400,
        None,
        r#"{"errorCode":209,"message":"Invalid field","cause":"invalid value for \"recursive\"","index":0}"#,
    ),
    (
        "PUT",
        "/a?prevValue=",
        "value=1",
        400,
        None,
        r#"{"errorCode":201,"message":"PrevValue is Required in POST form","cause":"\"prevValue\" cannot be empty","index":0}"#,
    ),
];

fn fill(text: &str, first: u64) -> String {
    let mut text = text.to_owned();
    for offset in 0..=20 {
        text = text.replace(&format!("{{{offset}}}"), &(first + offset).to_string());
        text = text.replace(&format!("{{{offset}%20}}"), &format!("{:020}", first + offset));
    }
    text
}

/// The body with `E` for each expiration.
pub fn without_times(body: &str) -> String {
    let mut parts = body.split("\"expiration\":\"");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (time, rest) = part.split_once('"').expect("an expiration ends");
        assert!(time.starts_with("20") && time.ends_with('Z'), "{time}");
        text += "\"expiration\":\"E\"";
        text += rest;
    }
    text
}

#[test]
fn recorded_script() {
    let site = Site::start();
    let first = site.get("/v2/keys").index();
    for (number, (method, target, form, status, offset, body)) in STEPS.iter().enumerate() {
        let target = format!("/v2/keys{}", fill(target, first));
        let response: Response = site.form(method, &target, form);
        let place = format!("step {}: {method} {target} {form}", number + 1);
        assert_eq!(without_times(&response.body), fill(body, first) + "\n", "{place}");
        assert_eq!(response.status, *status, "{place}");
        assert_eq!(response.index(), offset.map_or(0, |offset| first + offset), "{place}");
        assert_eq!(response.header("Content-Type"), Some("application/json"), "{place}");
        assert_eq!(response.header("X-Etcd-Cluster-Id"), Some("7e27652122e8b2ae"), "{place}");
        let valid = *status < 300;
        assert_eq!(response.header("X-Raft-Index").is_some(), valid, "{place}");
        assert_eq!(response.header("X-Raft-Term").is_some(), valid, "{place}");
    }
}
