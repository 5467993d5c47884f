//! Which machines the server takes for the operator's.

use std::os::unix::fs::PermissionsExt as _;

use omaha::AppStatus;

use crate::support::{Server, machine};

#[test]
fn machines_that_prove_the_token_are_registered() {
    let server = Server::start();
    let token = std::fs::read_to_string(server.data.join("registration.token")).unwrap();
    let header = |token: &str, body: &[u8]| {
        format!("{}: {}\r\n", omaha::registration::HEADER, omaha::registration::code(token.trim(), body))
    };
    let registered = |id: &str| {
        let machine = server.admin_json("GET", &format!("/api/apps/keelson/instances/{id}"), "");
        machine.get("registered").is_some()
    };
    server.omaha_with(machine("m1", "1.0.0", "alpha"), |body| header(&token, body));
    server.omaha(machine("m2", "1.0.0", "alpha"));
    server.omaha_with(machine("m3", "1.0.0", "alpha"), |body| header("an invented token", body));
    server.omaha_with(machine("m4", "1.0.0", "alpha"), |_| header(&token, b"another body"));
    server.omaha_with(machine("m5", "1.0.0", "alpha"), |_| "keelson-registration: no code\r\n".to_owned());
    assert_eq!(["m1", "m2", "m3", "m4", "m5"].map(registered), [true, false, false, false, false]);
    let forged = server.omaha(machine("m1", "1.0.0", "alpha"));
    assert_eq!(forged.apps[0].status, AppStatus::InstanceRegistrationFailed);
    assert!(registered("m1"));
    let file = std::fs::metadata(server.data.join("registration.token")).unwrap();
    assert_eq!(file.permissions().mode() & 0o777, 0o600);
}
