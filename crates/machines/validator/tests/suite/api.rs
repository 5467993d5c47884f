//! The web API as scripts use it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::support::Server;

/// Returns status line and headers in lower case, and the body.
fn request(server: &Server, method: &str, path: &str, body: &[u8]) -> (String, String) {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    // The server may respond before it has read everything.
    stream.write_all(body).unwrap_or(());
    let mut response = String::new();
    // The response ends where the connection is closed.
    stream.read_to_string(&mut response).unwrap_or(0);
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    (head.to_ascii_lowercase(), body.to_owned())
}

#[test]
fn user_data_is_taken_as_it_is() {
    let server = Server::start();
    for method in ["PUT", "POST"] {
        let (head, body) = request(&server, method, "/validate", b"#cloud-config\nhostname: a\n\tb: c\n");
        assert!(
            head.starts_with("http/1.1 200") && head.contains("content-type: application/json"),
            "{head}"
        );
        assert!(head.contains("access-control-allow-origin: *"), "{head}");
        assert!(body.starts_with("{\"result\":[{\"kind\":\"error\",\"line\":3,\"message\":\""), "{body}");
    }
    assert_eq!(request(&server, "PUT", "/validate", b"#cloud-config\n").1, "{\"result\":null}");
    assert_eq!(request(&server, "PUT", "/validate", b"").1, "{\"result\":null}");
    let (_, body) = request(&server, "PUT", "/validate", b"\xff\xfe#\x00");
    assert!(body.starts_with("{\"result\":[{\"kind\":\"error\",\"line\":1,"), "{body}");
}

#[test]
fn what_is_wrong_with_a_request_is_said() {
    let server = Server::start();
    let check = |method: &str, path: &str, body: &[u8], status: &str, expect: &str| {
        let (head, body) = request(&server, method, path, body);
        assert!(head.starts_with(&format!("http/1.1 {status}")), "{method} {path}: {head}");
        assert!(body.contains(expect), "{method} {path}: {body}");
        head
    };
    check("PUT", "/validate", &vec![b'#'; (2 << 20) + 1], "413", "more than 2097152 bytes");
    let head = check("GET", "/validate", b"", "405", "supports PUT, POST, OPTIONS");
    assert!(head.contains("allow: put, post, options"), "{head}");
    check("POST", "/", b"", "405", "supports GET");
    check("GET", "/nothing", b"", "404", "/schema.json");
    let head = check("OPTIONS", "/validate", b"", "204", "");
    assert!(head.contains("access-control-allow-methods: get, post, put, options"), "{head}");
    check("GET", "/schema.json", b"", "200", "\"ssh_authorized_keys\"");
    check("GET", "/health", b"", "200", "true");
    let head = check("GET", "/", b"", "200", "<textarea");
    assert!(head.contains("content-security-policy: default-src 'none'"), "{head}");
}
