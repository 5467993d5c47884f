//! `fd-forward`, as used by `--tunnel`.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;

use crate::model::Model;
use crate::program::Program;
use crate::server::Server;

#[test]
fn standard_streams_are_connected_to_the_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("echo");
    let listener = UnixListener::bind(&path).unwrap();
    let other = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut got = String::new();
        stream.read_to_string(&mut got).unwrap();
        stream.write_all(got.to_uppercase().as_bytes()).unwrap();
    });
    let got = Program::in_folder(folder.path()).run(&["fd-forward", path.to_str().unwrap()], "hello\n");
    other.join().unwrap();
    assert_eq!(got, "out| HELLO\n");
}

#[test]
fn exits_when_the_socket_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("short");
    let listener = UnixListener::bind(&path).unwrap();
    let mut child = Program::in_folder(folder.path()).start(&["fd-forward", path.to_str().unwrap()]);
    let (mut stream, _) = listener.accept().unwrap();
    stream.write_all(b"bye").unwrap();
    drop(stream);
    // Standard input is still open.
    let input = child.stdin.take();
    assert!(child.wait().unwrap().success());
    drop(input);
    let mut output = String::new();
    child.stdout.take().unwrap().read_to_string(&mut output).unwrap();
    assert_eq!(output, "bye");
}

#[test]
fn the_api_is_reachable_through_fd_forward() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), Model::with_three_machines());
    let request = "GET /fleet/v1/units?alt=json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let program = Program::in_folder(folder.path());
    let got = program.run(&["fd-forward", server.socket.to_str().unwrap()], request);
    assert!(got.starts_with("out| HTTP/1.1 200 OK") && got.contains("{}"), "{got}");
}
