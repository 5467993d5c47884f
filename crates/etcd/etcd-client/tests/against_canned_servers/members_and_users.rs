//! Tests of members, health, users and roles.

use std::sync::{Arc, Mutex};

use crate::canned::{Canned, Reply};
use etcd_client::{
    Client, Config, Error, Health, KeyPermissions, NewUser, Order, Permissions, Trace, UserChange,
};

fn config(url: &str) -> Config {
    let mut config = Config::new(vec![url.parse().unwrap()]);
    config.order = Order::Configured;
    config
}

fn ok(body: impl Into<String>) -> Reply {
    Reply::Response("200 OK", &[], body.into().leak())
}

#[tokio::test]
async fn sync_uses_published_client_urls() {
    let member = Canned::start(&[ok("{\"members\":[]}")]);
    let list = format!(
        "{{\"members\":[{{\"id\":\"a1\",\"name\":\"n1\",\"peerURLs\":[\"http://p:1\"],\
         \"clientURLs\":[\"{0}\",\"not a url\",\"{0}\"]}},{{\"id\":\"b2\",\"name\":\"\",\
         \"peerURLs\":[\"http://p:2\"],\"clientURLs\":[]}}]}}",
        member.url
    );
    let first = Canned::start(&[ok(list), ok("{\"members\":[]}")]);
    let client = Client::new(config(&first.url)).unwrap();
    client.sync().await.unwrap();
    let names: Vec<_> = client.endpoints().iter().map(ToString::to_string).collect();
    assert_eq!(names, std::slice::from_ref(&member.url));
    // No member publishes client URLs: the endpoints do not change.
    assert!(matches!(client.sync().await, Err(Error::NoEndpoints)));
    assert_eq!(client.endpoints().len(), 1);
    assert_eq!(member.lines(), ["GET /v2/members"]);
}

#[tokio::test]
async fn who_leads() {
    let leader = "{\"id\":\"a1\",\"name\":\"n1\",\"peerURLs\":[],\"clientURLs\":[]}";
    let server =
        Canned::start(&[ok(leader), Reply::Response("503 x", &[], "{\"message\":\"During election\"}")]);
    let client = Client::new(config(&server.url)).unwrap();
    assert_eq!(client.leader().await.unwrap().unwrap().id, "a1");
    assert_eq!(client.leader().await.unwrap(), None);
}

#[tokio::test]
async fn changing_members() {
    let added = "{\"id\":\"c3\",\"name\":\"\",\"peerURLs\":[\"http://p:3\"],\"clientURLs\":[]}";
    let server = Canned::start(&[
        Reply::Response("201 Created", &[], added),
        Reply::Response("409 Conflict", &[], "{\"message\":\"etcdserver: peerURL exists\"}"),
        Reply::Response("204 No Content", &[], ""),
        Reply::Response("410 Gone", &[], "{\"message\":\"Member permanently removed: c3\"}"),
        Reply::Response("404 Not Found", &[], "{\"message\":\"No such member: zz\"}"),
        Reply::Response("404 Not Found", &[], "404 page not found\n"),
    ]);
    let client = Client::new(config(&server.url)).unwrap();
    let urls = ["http://p:3".to_owned()];
    assert_eq!(client.add_member(&urls).await.unwrap().id, "c3");
    let error = client.add_member(&urls).await.unwrap_err();
    assert_eq!(error.to_string(), "etcdserver: peerURL exists");
    client.remove_member("c3").await.unwrap();
    client.remove_member("c3").await.unwrap();
    let error = client.update_member("zz", &urls).await.unwrap_err();
    assert_eq!(error.to_string(), "No such member: zz");
    assert!(matches!(client.members().await, Err(Error::Status { status: 404, .. })));
    let request = &server.requests()[0];
    assert!(request.to_lowercase().contains("\ncontent-type: application/json\n"), "{request}");
    assert!(request.ends_with("\n\n{\"peerURLs\":[\"http://p:3\"]}"), "{request}");
}

#[tokio::test]
async fn health_of_all_versions() {
    let server = Canned::start(&[
        ok("{\"health\": \"true\"}"),
        ok("{\"health\":true}"),
        Reply::Response("503 Service Unavailable", &[], "{\"health\": \"false\"}\n"),
        ok("hello"),
    ]);
    let client = Client::new(config(&server.url)).unwrap();
    let endpoint = client.endpoints().remove(0);
    for expect in [Health::Healthy, Health::Healthy, Health::Unhealthy] {
        assert_eq!(client.health(&endpoint).await.unwrap(), expect);
    }
    assert!(client.health(&endpoint).await.is_err());
}

#[tokio::test]
async fn users_and_roles() {
    let server = Canned::start(&[
        ok("{\"enabled\":false}"),
        ok("{\"users\":null}"),
        ok("{\"roles\":[{\"role\":\"r\",\"permissions\":{\"kv\":{\"read\":[\"/*\"],\"write\":null}}}]}"),
        Reply::Response("201 Created", &[], "{\"user\":\"u\"}"),
        ok("{\"user\":\"u\",\"roles\":[\"r\"]}"),
        ok("{\"role\":\"r\"}"),
    ]);
    let traced = Arc::new(Mutex::new(Vec::new()));
    let mut config = config(&server.url);
    let into = Arc::clone(&traced);
    config.trace = Some(Trace(Arc::new(move |traced| {
        into.lock().unwrap().push(format!("{} {:?}", traced.method, traced.body));
    })));
    let client = Client::new(config).unwrap();
    assert!(!client.auth_enabled().await.unwrap());
    assert!(client.users().await.unwrap().is_empty());
    assert_eq!(client.roles().await.unwrap()[0].permissions.kv.read, ["/*"]);
    client.add_user(&NewUser { user: "u", password: "s3cret" }).await.unwrap();
    client.change_user("u", &UserChange::Grant(&["r".to_owned()])).await.unwrap();
    let more = Permissions { kv: KeyPermissions { read: vec!["/a".to_owned()], write: Vec::new() } };
    client.grant_role("r", &more).await.unwrap();
    let bodies: Vec<_> =
        server.requests()[3..].iter().map(|text| text.split("\n\n").nth(1).unwrap().to_owned()).collect();
    let expect = [
        "{\"user\":\"u\",\"password\":\"s3cret\"}",
        "{\"user\":\"u\",\"grant\":[\"r\"]}",
        "{\"role\":\"r\",\"permissions\":{\"kv\":{\"read\":[],\"write\":[]}},\
         \"grant\":{\"kv\":{\"read\":[\"/a\"],\"write\":[]}}}",
    ];
    assert_eq!(bodies, expect);
    let traced = traced.lock().unwrap().join("\n");
    assert!(traced.contains("PUT None") && !traced.contains("s3cret"), "{traced}");
}
