//! python-tuf, the reference implementation, is a client of the server.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use update_core::repository::{channel_target, release_target};

use crate::support::repository::{BOARD, version};
use crate::support::targets::store;
use crate::support::{Server, keys, write_release};

/// The interpreter of an environment with `tests/python/requirements.txt` of the crate `tuf`.
const PYTHON: &str = "KEELSON_TUF_PYTHON";

#[test]
#[ignore = "needs python-tuf: cargo verify tuf"]
fn python_reads_what_the_server_signs() {
    let (server, release) = (Server::start(), keys());
    let folder = tempfile::tempdir().unwrap();
    let [root, state] = ["root.json", "state"].map(|name| folder.path().join(name));
    let mut expected = String::new();
    for number in ["2.0.0", "3.0.0"] {
        server.publish(number, "alpha", &release);
        let at = folder.path().join(number);
        std::fs::create_dir(&at).unwrap();
        write_release(&at, number);
        expected = hex(&std::fs::read(at.join("release.json")).unwrap());
    }
    std::fs::write(&root, &store(&server).0["root"]).unwrap();
    let interpreter =
        std::env::var_os(PYTHON).expect("KEELSON_TUF_PYTHON is the interpreter: run `cargo verify tuf`");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tuf/tests/python/client.py");
    let url = server.url("/files/keelson");
    let targets = [channel_target("alpha", BOARD), release_target(BOARD, &version("3.0.0"))];
    let read = |targets: &[String]| {
        let mut python = Command::new(&interpreter);
        python.arg(&script).arg(&url).args([&root, &state]).args(targets).output().unwrap()
    };
    let output = read(&targets);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert_eq!(stdout.lines().collect::<Vec<_>>(), ["1", &expected, &expected]);
    assert_eq!(read(&[channel_target("beta", BOARD)]).status.code(), Some(1), "it has no version");
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        write!(text, "{byte:02x}").unwrap();
    }
    text
}
