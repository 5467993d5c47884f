//! The functional API tests of the original, by name.

use crate::cluster::{Cluster, ME, OTHER};
use crate::server::{HttpResponse, Server, error};

const MACHINES: &str = "/fleet/v1/machines";

fn patch(server: &Server, body: &str) -> HttpResponse {
    server.request(&format!("PATCH {MACHINES}"), &["Content-Type: application/json"], body)
}

fn metadata(server: &Server, machine: &str) -> String {
    let page: fleet_api::MachinePage = serde_json::from_str(&server.get(MACHINES).body).unwrap();
    let found = page.machines.into_iter().find(|found| found.id == machine).unwrap();
    found.metadata.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

/// TestMachinesList.
#[test]
fn machines_list() {
    let server = Server::start(Cluster::empty());
    let said = server.get(MACHINES);
    assert_eq!((said.code, said.header("content-type")), (200, Some("application/json")));
    let page: fleet_api::MachinePage = serde_json::from_str(&said.body).unwrap();
    assert_eq!(page.machines.len(), 2);
}

/// TestMachinesListBadNextPageToken.
#[test]
fn machines_list_bad_next_page_token() {
    let server = Server::start(Cluster::empty());
    let said = server.get(&format!("{MACHINES}?nextPageToken=EwBMLg=="));
    assert_eq!((said.code, said.header("content-type")), (400, Some("application/json")));
    assert_eq!(said.line(), error(400, "token limit must be 100"));
}

/// TestMachinesPatchAddModify.
#[test]
fn machines_patch_add_modify() {
    let server = Server::start(Cluster::empty());
    let said = patch(
        &server,
        &format!(
            r#"[{{"op":"add","path":"/{ME}/metadata/foo","value":{{"Value":"foo"}}}},
                {{"op":"replace","path":"/{OTHER}/metadata/disk","value":{{"value":"none"}}}}]"#
        ),
    );
    assert_eq!((said.code, said.header("content-type")), (204, Some("application/json")));
    assert_eq!(metadata(&server, ME), "az=x,foo=foo");
    assert_eq!(metadata(&server, OTHER), "disk=none");
}

/// TestMachinesPatchDelete; operations are applied in order.
#[test]
fn machines_patch_delete() {
    let server = Server::start(Cluster::empty());
    let add = |value: &str| format!(r#"{{"op":"add","path":"/{ME}/metadata/foo","value":"{value}"}}"#);
    assert_eq!(patch(&server, &format!("[{},{}]", add("one"), add("two"))).code, 204);
    // As curl's `-d` sends it: the original does not check the content type.
    for head in [&["Content-Type: application/x-www-form-urlencoded"][..], &[]] {
        let sent = server.request(&format!("PATCH {MACHINES}"), head, &format!("[{}]", add("two")));
        assert_eq!(sent.code, 204, "{head:?}");
    }
    assert_eq!(metadata(&server, ME), "az=x,foo=two");
    let remove = format!(r#"{{"op":"remove","path":"/{ME}/metadata/foo"}}"#);
    assert_eq!(patch(&server, &format!("[{},{remove}]", add("three"))).code, 204);
    assert_eq!(metadata(&server, ME), "az=x");
    let configured = format!(r#"[{{"op":"remove","path":"/{ME}/metadata/az"}}]"#);
    assert_eq!(patch(&server, &configured).code, 204);
    assert_eq!(metadata(&server, ME), "");
}

/// TestMachinesPatchBad; an invalid operation prevents all changes.
#[test]
fn machines_patch_bad() {
    let server = Server::start(Cluster::empty());
    let good = format!(r#"{{"op":"add","path":"/{ME}/metadata/foo","value":"foo"}}"#);
    for bad in [
        format!(r#"{{"op":"noop","path":"/{ME}/metadata/foo","value":"foo"}}"#),
        format!(r#"{{"op":"add","path":"/{ME}/foo","value":"foo"}}"#),
        format!(r#"{{"op":"add","path":"/{ME}/metadata/foo","value":""}}"#),
    ] {
        assert_eq!(patch(&server, &format!("[{good},{bad}]")).code, 400, "{bad}");
        assert_eq!(metadata(&server, ME), "az=x", "{bad}");
    }
}
