//! All endpoints except keys: members, health, statistics, v1, CORS.

use etcd_http::Cors;
use etcd_http::backend::Backend;

use crate::site::{self, FORM, Response, Site};

const JSON: (&str, &str) = ("Content-Type", "application/json");

const OWN: &str = r#"{"id":"bdae9bbc11dd390d","name":"n1","peerURLs":["http://127.0.0.1:2380"],"clientURLs":["http://127.0.0.1:4001","http://127.0.0.1:2379"]}"#;

#[track_caller]
fn check(response: &Response, status: u16, kind: Option<&str>, body: &str) {
    assert_eq!(response.body, body);
    assert_eq!(response.status, status, "{body}");
    assert_eq!(response.header("Content-Type"), kind, "{body}");
}

const TEXT: Option<&str> = Some("text/plain; charset=utf-8");
const APPLICATION_JSON: Option<&str> = Some("application/json");

#[test]
fn member_list() {
    let site = Site::start();
    for target in ["/v2/members", "/v2/members/"] {
        let response = site.get(target);
        check(&response, 200, APPLICATION_JSON, &format!("{{\"members\":[{OWN}]}}\n"));
        assert_eq!(response.header("X-Etcd-Cluster-Id"), Some("7e27652122e8b2ae"));
    }
    check(&site.get("/v2/members/leader"), 200, APPLICATION_JSON, &format!("{OWN}\n"));
    for other in ["bdae9bbc11dd390d", "x"] {
        let response = site.get(&format!("/v2/members/{other}"));
        check(&response, 404, APPLICATION_JSON, r#"{"message":"Not found"}"#);
    }
    let head = site.send_request("HEAD", "/v2/members", &[], "");
    assert_eq!((head.status, head.header("Allow")), (405, Some("GET,POST,DELETE,PUT")));
    for method in ["PUT", "DELETE"] {
        let response = site.send_request(method, "/v2/members", &[JSON], "{}");
        check(&response, 405, TEXT, "Method Not Allowed\n");
        assert_eq!(response.header("Allow"), None);
    }
}

#[test]
fn member_changes() {
    let site = Site::start();
    let url = r#"{"peerURLs":["http://10.0.0.10:2380"]}"#;
    let added = site.send_request("POST", "/v2/members", &[JSON], url);
    assert_eq!((added.status, added.header("Content-Type")), (201, APPLICATION_JSON), "{added:?}");
    let id = added.body.split('"').nth(3).unwrap().to_owned();
    let expect = format!(
        "{{\"id\":\"{id}\",\"name\":\"\",\"peerURLs\":[\"http://10.0.0.10:2380\"],\"clientURLs\":[]}}\n"
    );
    assert_eq!(added.body, expect);
    let again = site.send_request("POST", "/v2/members", &[JSON], url);
    check(&again, 409, APPLICATION_JSON, r#"{"message":"etcdserver: peerURL exists"}"#);
    let one = format!("/v2/members/{id}");
    let moved = site.send_request("PUT", &one, &[JSON], r#"{"peerURLs":["http://10.0.0.11:2380"]}"#);
    check(&moved, 204, None, "");
    let unknown = site.send_request("PUT", "/v2/members/123", &[JSON], url);
    check(&unknown, 404, APPLICATION_JSON, r#"{"message":"No such member: 123"}"#);
    // The id is checked before the URLs, here those of the own member.
    let in_use = r#"{"peerURLs":["http://127.0.0.1:2380"]}"#;
    let unknown = site.send_request("PUT", "/v2/members/123", &[JSON], in_use);
    check(&unknown, 404, APPLICATION_JSON, r#"{"message":"No such member: 123"}"#);
    let used = site.send_request("PUT", &one, &[JSON], in_use);
    check(&used, 409, APPLICATION_JSON, r#"{"message":"etcdserver: peerURL exists"}"#);
    check(&site.send_request("DELETE", &one, &[], ""), 204, None, "");
    let removed = format!("{{\"message\":\"Member permanently removed: {id}\"}}");
    check(&site.send_request("DELETE", &one, &[], ""), 410, APPLICATION_JSON, &removed);
    check(&site.send_request("PUT", &one, &[JSON], in_use), 410, APPLICATION_JSON, &removed);
    for id in ["123", "nonsense"] {
        let response = site.send_request("DELETE", &format!("/v2/members/{id}"), &[], "");
        check(&response, 404, APPLICATION_JSON, &format!("{{\"message\":\"No such member: {id}\"}}"));
    }
}

#[test]
fn rejected_member_changes() {
    let site = Site::start();
    let case = |kind: &str, body: &str, status: u16, message: &str| {
        let response = site.send_request("POST", "/v2/members", &[("Content-Type", kind)], body);
        check(&response, status, APPLICATION_JSON, &format!("{{\"message\":\"{message}\"}}"));
    };
    let charset = "application/json; charset=utf-8";
    case(charset, "{}", 415, &format!("Bad Content-Type {charset}, accept application/json"));
    case("application/json", "", 400, "unexpected end of JSON input");
    case("application/json", "{\"peerURLs\":[", 400, "unexpected end of JSON input");
    case("application/json", "{\"peerURLs\":[]}", 400, "no valid URLs given");
    case(
        "application/json",
        r#"{"peerURLs":["ftp://a:1"]}"#,
        400,
        "URL scheme must be http or https: ftp://a:1",
    );
}

#[test]
fn version_health_machines_and_leader() {
    let site = Site::start();
    let version = r#"{"etcdserver":"2.3.8","etcdcluster":"2.3.0"}"#;
    check(&site.get("/version"), 200, APPLICATION_JSON, version);
    check(&site.get("/health"), 200, TEXT, r#"{"health": "true"}"#);
    let machines = "http://127.0.0.1:2379, http://127.0.0.1:4001";
    for target in ["/v2/machines", "/v1/machines", "/v2/peers", "/v1/peers"] {
        check(&site.get(target), 200, TEXT, machines);
    }
    for target in ["/v2/leader", "/v1/leader"] {
        check(&site.get(target), 200, TEXT, "http://127.0.0.1:2380");
    }
    for target in ["/", "/v2", "/v1/none", "/v2/auth", "/v2/auth/none", "/v2/stats", "/versions"] {
        check(&site.get(target), 404, TEXT, "404 page not found\n");
    }
    let response = site.send_request("PUT", "/version", &[], "");
    check(&response, 405, TEXT, "Method Not Allowed\n");
    assert!(response.header("Allow").is_some());
}

#[test]
fn statistics() {
    let site = Site::start();
    site.form("PUT", "/v2/keys/a", "value=x");
    site.get("/v2/keys/a");
    site.get("/v2/keys/none");
    let own_files = site.get("/v2/stats/self").body;
    assert!(
        own_files
            .starts_with(r#"{"name":"n1","id":"bdae9bbc11dd390d","state":"StateLeader","startTime":"20"#),
        "{own_files}"
    );
    assert!(own_files.contains(r#""leaderInfo":{"leader":"bdae9bbc11dd390d","uptime":""#), "{own_files}");
    assert!(own_files.ends_with(r#""recvAppendRequestCnt":0,"sendAppendRequestCnt":0}"#), "{own_files}");
    let leader = site.get("/v2/stats/leader");
    check(&leader, 200, APPLICATION_JSON, r#"{"leader":"bdae9bbc11dd390d","followers":{}}"#);
    let store = site.get("/v2/stats/store").body;
    assert!(store.starts_with(r#"{"getsSuccess":1,"getsFail":1,"setsSuccess":1,"setsFail":0,"#), "{store}");
    assert!(store.ends_with(r#""expireCount":0,"watchers":0}"#), "{store}");
    let vars = site.get("/debug/vars");
    assert_eq!(vars.header("Content-Type"), Some("application/json; charset=utf-8"));
    assert!(vars.body.contains(r#""cmdline":["etcd","-name","n1"]"#), "{}", vars.body);
}

#[test]
fn metrics() {
    let site = Site::start();
    site.form("PUT", "/v2/keys/a", "value=x");
    site.get("/v2/keys/none?quorum=true");
    let page = site.get("/metrics");
    assert!(page.header("Content-Type").unwrap().starts_with("text/plain; version=0.0.4"));
    for line in [
        "# TYPE etcd_store_writes_total counter",
        "etcd_store_writes_total{action=\"set\"} 1",
        "etcd_http_received_total{method=\"PUT\"} 1",
        "etcd_http_failed_total{code=\"404\",method=\"QGET\"} 1",
        "etcd_http_successful_duration_second_count{method=\"PUT\"} 1",
        "etcd_server_has_leader 1",
        "# TYPE etcd_server_proposals_applied_total counter",
        "etcd_store_watch_requests_total 0",
        "etcd_store_watchers 0",
        "# TYPE process_resident_memory_bytes gauge",
    ] {
        assert!(page.body.lines().any(|one| one == line), "no {line:?} in\n{}", page.body);
    }
    let mut types: Vec<&str> = page.body.lines().filter(|line| line.starts_with("# TYPE")).collect();
    let all = types.len();
    types.dedup();
    assert_eq!(types.len(), all);
}

#[test]
fn log_level() {
    let site = Site::start();
    let put = |body: &str| site.send_request("PUT", "/config/local/log", &[JSON], body);
    check(&put(r#"{"Level":"DEBUG"}"#), 204, None, "");
    check(&put("{"), 400, APPLICATION_JSON, r#"{"message":"Invalid json body"}"#);
    check(&put(r#"{"Level":"x"}"#), 400, APPLICATION_JSON, r#"{"message":"Invalid log level x"}"#);
    assert_eq!(site.get("/config/local/log").status, 405);
}

#[test]
fn v1_api() {
    let site = Site::start();
    site.form("PUT", "/v2/keys/foo", "value=four");
    site.form("PUT", "/v2/keys/dir/a", "value=1");
    site.form("PUT", "/v2/keys/dir/sub/b", "value=2");
    let index = site.form("PUT", "/v2/keys/dir/_h", "value=2").index();
    let foo = format!(r#"{{"action":"get","key":"/foo","value":"four","index":{index}}}"#);
    let response = site.get("/v1/keys/foo");
    check(&response, 200, TEXT, &foo);
    assert_eq!(response.header("X-Etcd-Index"), None);
    let list = format!(
        r#"[{{"action":"get","key":"/dir/a","value":"1","index":{index}}},{{"action":"get","key":"/dir/sub","dir":true,"index":{index}}}]"#
    );
    check(&site.get("/v1/keys/dir"), 200, TEXT, &list);
    let missing = format!(
        "{{\"errorCode\":100,\"message\":\"Key not found\",\"cause\":\"/none\",\"index\":{index}}}\n"
    );
    check(&site.get("/v1/keys/none"), 404, APPLICATION_JSON, &missing);
    assert_eq!(site.send_request("HEAD", "/v1/keys/foo", &[], "").status, 200);
    assert_eq!(site.form("PUT", "/v1/keys/foo", "value=x").status, 405);
    let watched =
        format!(r#"{{"action":"set","key":"/foo","value":"four","newKey":true,"index":{}}}"#, index - 3);
    check(&site.form("POST", "/v1/watch/foo", &format!("index={}", index - 3)), 200, TEXT, &watched);
    let invalid = site.send_request("POST", "/v1/watch/foo", &[FORM], "index=x");
    let cause = r#"{"errorCode":203,"message":"The given index in POST form is not a number","cause":"Watch From Index","index":0}"#;
    check(&invalid, 400, APPLICATION_JSON, &format!("{cause}\n"));
}

#[test]
fn cross_origin_requests() {
    let cors = Cors::new(vec!["http://page".to_owned()]);
    let site = Site::with(etcd_http::Settings { cors, ..site::settings() }, None);
    let from = |origin: &str, method: &str| site.send_request(method, "/version", &[("Origin", origin)], "");
    for method in ["GET", "OPTIONS"] {
        let response = from("http://page", method);
        assert_eq!(response.status, 200);
        assert_eq!(response.header("Access-Control-Allow-Origin"), Some("http://page"));
        assert_eq!(response.header("Access-Control-Allow-Methods"), Some("POST, GET, OPTIONS, PUT, DELETE"));
        assert_eq!(
            response.header("Access-Control-Allow-Headers"),
            Some("accept, content-type, authorization")
        );
    }
    assert_eq!(from("http://other", "GET").header("Access-Control-Allow-Origin"), None);
}

#[test]
fn the_peer_port() {
    let site = Site::start();
    let peers = site::start(&site.runtime, std::sync::Arc::new(site.front.for_peers()), None);
    let send_request = |target: &str| {
        let mut client = site::Client::connect(peers.addresses()[0]);
        client.send("GET", target, &[], "");
        client.response_to("GET")
    };
    let members = send_request("/members");
    let expect = r#"[{"id":13668033151171901709,"peerURLs":["http://127.0.0.1:2380"],"name":"n1","clientURLs":["http://127.0.0.1:4001","http://127.0.0.1:2379"]}]"#;
    check(&members, 200, APPLICATION_JSON, &format!("{expect}\n"));
    assert_eq!(members.header("X-Etcd-Cluster-Id"), Some("7e27652122e8b2ae"));
    assert_eq!(send_request("/version").status, 200);
    assert_eq!(send_request("/v2/keys").status, 404);
    assert_eq!(site.local.status().member_id, site::MEMBER_ID);
}
