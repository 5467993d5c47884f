//! Tests with servers that are unreachable, slow, or not etcd.

use crate::canned::{Canned, Reply};
use crate::program::Program;

const MEMBERS_404: Reply = Reply::Response("404 Not Found", &[], "404 page not found\n");
const FOUND: Reply = Reply::Response(
    "200 OK",
    &["X-Etcd-Index: 9"],
    "{\"action\":\"get\",\"node\":{\"key\":\"/a\",\"value\":\"v\",\"modifiedIndex\":7,\"createdIndex\":6}}\n",
);
const NO_MEMBERS: Reply = Reply::Response("200 OK", &[], "{\"members\":[]}");
const HTML: Reply = Reply::Response("200 OK", &[], "<html>");

fn run(arguments: &[&str], endpoints: &[&str]) -> String {
    let mut text = Program::ours().with("ETCDCTL_ENDPOINTS", &endpoints.join(",")).run(arguments, "");
    for (number, url) in endpoints.iter().enumerate() {
        text = text.replace(url.trim_start_matches("http://"), &format!("HOST{number}"));
    }
    text
}

const UNREACHABLE: &str = "err| Error:  client: etcd cluster is unavailable or misconfigured\n\
                      err| error #0: dial tcp HOST0: connect: connection refused\n\
                      err| error #1: dial tcp HOST1: connect: connection refused\n\
                      err|\n";

#[test]
fn no_endpoint_is_reachable() {
    let (one, two) = (Canned::unreachable(), Canned::unreachable());
    let compare = [one.as_str(), two.as_str()];
    assert_eq!(run(&["get", "/a"], &compare), format!("{UNREACHABLE}exit 2\n"));
    assert_eq!(run(&["--no-sync", "get", "/a"], &compare), format!("{UNREACHABLE}exit 4\n"));
    assert_eq!(run(&["member", "list"], &compare), format!("{UNREACHABLE}exit 2\n"));
    assert_eq!(
        run(&["cluster-health"], &compare),
        format!("out| cluster may be unhealthy: failed to list members\n{UNREACHABLE}exit 4\n")
    );
}

#[test]
fn a_server_does_not_respond() {
    let (silent, unreachable) = (Canned::start(&[Reply::Silence]), Canned::unreachable());
    let output = run(&["--no-sync", "--timeout", "300ms", "set", "/a", "v"], &[&silent.url, &unreachable]);
    let expect = "err| Error:  client: etcd cluster is unavailable or misconfigured\n\
                  err| error #0: client: endpoint http://HOST0 exceeded header timeout\n\
                  err| error #1: dial tcp HOST1: connect: connection refused\n\
                  err|\n\
                  exit 4\n";
    assert_eq!(output, expect);
    let arguments = ["--no-sync", "--timeout", "9s", "--total-timeout", "300ms", "get", "/a"];
    assert_eq!(run(&arguments, &[&silent.url]), "err| Error:  context deadline exceeded\nexit 4\n");
    // A create that may have been executed is not retried.
    let output = run(&["--no-sync", "--timeout", "300ms", "mk", "/a", "v"], &[&silent.url, &unreachable]);
    assert_eq!(output, "err| Error:  client: endpoint http://HOST0 exceeded header timeout\nexit 4\n");
}

#[test]
fn a_server_is_not_etcd() {
    let page = Canned::start(&[HTML]);
    let output = run(&["get", "/a"], &[&page.url]);
    let expect = "err| Error:  client: response is invalid json. The endpoint is probably not valid etcd cluster endpoint.\nexit 4\n";
    assert_eq!(output, expect);
}

#[test]
fn members_without_client_urls() {
    let server = Canned::start(&[NO_MEMBERS]);
    let output = run(&["get", "/a"], &[&server.url]);
    let expect = "err| etcd cluster has no published client endpoints.\n\
                  err| Try '--no-sync' if you want to access non-published client endpoints(http://HOST0).\n\
                  err| Error:  client: no endpoints available\n\
                  exit 4\n";
    assert_eq!(output, expect);
}

#[test]
fn etcd_0_4_is_synced_by_peers() {
    let server = Canned::start(&[FOUND]);
    let url: &'static str = server.url.clone().leak();
    let old = Canned::start(&[MEMBERS_404, Reply::Response("200 OK", &[], url)]);
    assert_eq!(run(&["get", "/a"], &[&old.url]), "out| v\n");
    assert_eq!(old.lines(), ["GET /v2/members", "GET /v2/peers"]);
    assert_eq!(server.lines().len(), 1);
}

#[test]
fn unhealthy_members() {
    let (sick, strange) = (
        Canned::start(&[Reply::Response("503 x", &[], "{\"health\": \"false\"}\n")]),
        Canned::start(&[HTML]),
    );
    let unreachable = Canned::unreachable();
    let list = format!(
        "{{\"members\":[{{\"id\":\"a1\",\"clientURLs\":[\"{}\"]}},{{\"id\":\"b2\",\"clientURLs\":[\"{}\"]}},\
         {{\"id\":\"c3\",\"clientURLs\":[]}},{{\"id\":\"d4\",\"clientURLs\":[\"{}\"]}}]}}",
        sick.url, unreachable, strange.url
    );
    let first = Canned::start(&[Reply::Response("200 OK", &[], list.leak())]);
    let output = Program::ours().with("ETCDCTL_ENDPOINTS", &first.url).run(&["cluster-health"], "");
    let refused =
        format!("dial tcp {}: connect: connection refused", unreachable.trim_start_matches("http://"));
    let expect = format!(
        "out| member a1 is unhealthy: got unhealthy result from {0}\n\
         out| failed to check the health of member b2 on {unreachable}: Get \"{unreachable}/health\": {refused}\n\
         out| member b2 is unreachable: [{unreachable}] are all unreachable\n\
         out| member c3 is unreachable: no available published client urls\n\
         out| failed to check the health of member d4 on {1}: Get \"{1}/health\": expected value at line 1 column 1\n\
         out| member d4 is unreachable: [{1}] are all unreachable\n\
         out| cluster is unhealthy\n\
         exit 5\n",
        sick.url, strange.url
    );
    assert_eq!(output, expect);
}

#[test]
fn without_a_leader_members_are_not_listed() {
    let list = "{\"members\":[{\"id\":\"a1\",\"name\":\"n1\",\"clientURLs\":[\"http://c:1\"]}]}";
    let server = Canned::start(&[Reply::Response("200 OK", &[], list), Reply::Response("503 x", &[], "")]);
    let output = run(&["--no-sync", "member", "list"], &[&server.url]);
    let expect = "err| Failed to get leader:  client: etcd cluster is unavailable or misconfigured\nexit 1\n";
    assert_eq!(output, expect);
}

#[test]
fn debug_shows_requests_but_no_passwords() {
    let server = Canned::start(&[
        Reply::Response("404 Not Found", &[], "{\"message\":\"auth: User u does not exist.\"}"),
        Reply::Response("201 Created", &[], "{}"),
    ]);
    let output =
        run(&["--no-sync", "--debug", "-u", "root:s3cret", "user", "add", "u:t0psecret"], &[&server.url]);
    let expect = "out| User u created\n\
                  err| Cluster-Endpoints: http://HOST0\n\
                  err| cURL Command: curl -X GET http://HOST0/v2/auth/users/u\n\
                  err| cURL Command: curl -X PUT http://HOST0/v2/auth/users/u -d \"(not shown: it holds a password)\"\n";
    assert_eq!(output, expect);
    assert!(server.requests()[1].contains("t0psecret"));
}

#[test]
fn a_password_is_prompted_for() {
    let server = Canned::start(&[FOUND]);
    let program = Program::ours().with("ETCDCTL_ENDPOINTS", &server.url);
    let output = program.run(&["--no-sync", "-u", "root", "get", "/a"], "s3cret\n");
    assert_eq!(output, "out| Password:\nout| v\n");
    assert!(server.requests()[0].to_lowercase().contains("authorization: basic cm9vddpzm2nyzxq="));
}
