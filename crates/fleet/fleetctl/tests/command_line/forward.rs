//! `fd-forward`, and what a tunnel needs of it.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;

use crate::model::Model;
use crate::program::Program;
use crate::server::Server;

#[test]
fn a_socket_as_standard_input_and_output() {
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
fn it_ends_with_the_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("short");
    let listener = UnixListener::bind(&path).unwrap();
    let mut child = Program::in_folder(folder.path()).start(&["fd-forward", path.to_str().unwrap()]);
    let (mut stream, _) = listener.accept().unwrap();
    stream.write_all(b"bye").unwrap();
    drop(stream);
    // Its standard input is still open.
    let input = child.stdin.take();
    assert!(child.wait().unwrap().success());
    drop(input);
    let mut said = String::new();
    child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(said, "bye");
}

#[test]
fn the_api_through_it() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), Model::of_three());
    let request = "GET /fleet/v1/units?alt=json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let program = Program::in_folder(folder.path());
    let got = program.run(&["fd-forward", server.socket.to_str().unwrap()], request);
    assert!(got.starts_with("out| HTTP/1.1 200 OK") && got.contains("{}"), "{got}");
}
