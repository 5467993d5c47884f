//! python-tuf, the reference implementation: each reads what the other made, and refuses what was changed.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use percent_encoding::percent_decode_str;
use tuf::canonical;

use crate::repository::{DELEGATED_PATH, published};
use crate::simulator::*;
use crate::static_repositories::{Folder, MADE_BY_PYTHON, read_all};

/// The interpreter of an environment with `tests/python/requirements.txt`.
const PYTHON: &str = "KEELSON_TUF_PYTHON";
/// 2099: python-tuf reads the machine's clock.
const EXPIRES: i64 = 4_102_358_400;

fn python(script: &str) -> Command {
    let interpreter =
        std::env::var_os(PYTHON).expect("KEELSON_TUF_PYTHON is the interpreter: run `cargo verify tuf`");
    let mut command = Command::new(interpreter);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python").join(script));
    command
}

fn output(command: &mut Command) -> Output {
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn made_by_python(kind: &str) -> (tempfile::TempDir, Folder) {
    let folder = tempfile::tempdir().unwrap();
    let made = output(python("make_repository.py").arg(folder.path()).arg(kind));
    assert!(made.status.success(), "{}", text(&made.stderr));
    let path = folder.path().to_path_buf();
    (folder, Folder(path))
}

/// Our repository as files, with the client's first root.
fn made_by_us(consistent: bool) -> tempfile::TempDir {
    let (repository, first) = published(consistent, EXPIRES);
    let folder = tempfile::tempdir().unwrap();
    let write = |path: PathBuf, bytes: &[u8]| {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    };
    write(folder.path().join("first.root.json"), &first);
    for (name, bytes) in &repository.metadata {
        write(folder.path().join("metadata").join(name), bytes);
    }
    for (name, bytes) in &repository.targets {
        let name = percent_decode_str(name).decode_utf8().unwrap();
        write(folder.path().join("targets").join(name.as_ref()), bytes);
    }
    folder
}

fn read_by_python(repository: &Path, state: &Path, targets: &[&str]) -> Output {
    let mut command = python("client.py");
    command.arg(repository).arg(repository.join("first.root.json")).arg(state).args(targets);
    output(&mut command)
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

fn file_that_ends(folder: &Path, end: &str) -> PathBuf {
    let files = folder.read_dir().unwrap().map(|entry| entry.unwrap().path());
    files.into_iter().find(|path| path.to_string_lossy().ends_with(end)).unwrap()
}

#[test]
#[ignore = "needs python-tuf: cargo verify tuf"]
fn repositories_of_python_are_read() {
    for kind in ["consistent", "plain"] {
        let (_kept, folder) = made_by_python(kind);
        read_all(&folder);
    }
}

#[test]
#[ignore = "needs python-tuf: cargo verify tuf"]
fn python_reads_our_repositories() {
    for consistent in [true, false] {
        let folder = made_by_us(consistent);
        let state = tempfile::tempdir().unwrap();
        let read = read_by_python(folder.path(), state.path(), &["top.txt", DELEGATED_PATH]);
        assert!(read.status.success(), "{}", text(&read.stderr));
        let expected = ["2".to_owned(), hex("top"), hex("delegated")];
        assert_eq!(text(&read.stdout).lines().collect::<Vec<_>>(), expected);
        let none = read_by_python(folder.path(), state.path(), &["releases/1.2.3/other"]);
        assert_eq!(none.status.code(), Some(1), "{}", text(&none.stderr));
    }
}

#[test]
#[ignore = "needs python-tuf: cargo verify tuf"]
fn both_refuse_what_was_changed() {
    let changes: [(&str, &str); 4] = [
        ("metadata", "2.root.json"),
        ("metadata", "timestamp.json"),
        ("metadata", "1.channel%2Falpha.json"),
        ("targets", ".top.txt"),
    ];
    for (part, end) in changes {
        let change = |folder: &Path| {
            let path = file_that_ends(&folder.join(part), end);
            let old = std::fs::read(&path).unwrap();
            // A digit of a date or a letter of the content: the same length, and still JSON.
            let new = text(&old).replacen("2099", "2098", 1).replacen("top", "toq", 1);
            assert_ne!(new.as_bytes(), old, "{end}");
            std::fs::write(path, new).unwrap();
        };
        let ours = made_by_us(true);
        change(ours.path());
        let state = tempfile::tempdir().unwrap();
        let read = read_by_python(ours.path(), state.path(), &["top.txt", DELEGATED_PATH]);
        assert_eq!(read.status.code(), Some(2), "{end}: {}{}", text(&read.stdout), text(&read.stderr));

        let (_kept, folder) = made_by_python("consistent");
        change(&folder.0);
        let first = std::fs::read(folder.0.join("first.root.json")).unwrap();
        let mut machine = Machine::with_root(&first);
        let results = MADE_BY_PYTHON.map(|(path, _, _)| machine.download(&folder, path));
        assert!(results.iter().any(Result::is_err), "{end}");
    }
}

#[test]
#[ignore = "needs python-tuf: cargo verify tuf"]
fn canonical_forms_are_the_same() {
    let texts = [
        r#"{"b":[1,-2,true,false,null,{}],"a":"","B":{"z":0,"ä":1,"a\u0308":2}}"#,
        r#""\"\\/\b\f\n\r\t\u0000\u001f\u007f\u2028""#,
        "[\"\u{1f600}\",\"\u{ffff}\",18446744073709551615,-9223372036854775808]",
        "{\"\u{1f600}\":1,\"\u{ffff}\":2,\"\u{e000}\":3,\"~\":4}",
    ];
    let mut child = python("canonical.py")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), texts.join("\n").as_bytes()).unwrap();
    let read = child.wait_with_output().unwrap();
    assert!(read.status.success());
    let ours = texts.map(|text| {
        let bytes = canonical(&serde_json::from_str(text).unwrap()).unwrap();
        bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    });
    assert_eq!(text(&read.stdout).lines().collect::<Vec<_>>(), ours);
}
