//! Case files: command lines, and what they print, beside one server a file.
//!
//!     # a comment
//!     = hello.service            (a file, with the lines below it)
//!     + [Service]
//!     ! slow 3                   (a unit comes a step further at each third look)
//!     ! refuse 503 TEXT          (what the server answers from now on; `! refuse` ends it)
//!     ! accept 4                 (only after this number of further requests)
//!     ! original                 (a server without the additions)
//!     ! env NAME VALUE
//!     $ start hello 'a b'
//!     < a line of standard input
//!     out| Unit hello.service launched on 113f16a7.../172.17.8.101
//!     exit 1
//!
//! `<TAB>` stands for a tab, `{SOCKET}` for the server's socket.

use std::path::Path;

use crate::model::Model;
use crate::program::Program;
use crate::server::Server;

struct Stage {
    folder: tempfile::TempDir,
    server: Server,
    program: Program,
}

impl Stage {
    fn new() -> Stage {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::start(folder.path(), Model::of_three());
        let program = Program::in_folder(folder.path()).with("FLEETCTL_ENDPOINT", &server.endpoint());
        Stage { folder, server, program }
    }

    fn order(&mut self, order: &str) {
        let words: Vec<&str> = order.splitn(3, ' ').collect();
        let mut manner = self.server.manner.lock().unwrap();
        match words[..] {
            ["slow", looks] => self.server.model.lock().unwrap().slowness = looks.parse().unwrap(),
            ["refuse"] => (manner.refusal, manner.accepted) = (None, 0),
            ["accept", requests] => {
                let more: usize = requests.parse().unwrap();
                manner.accepted = self.server.seen.lock().unwrap().len() + more;
            }
            ["refuse", code, text] => {
                let document = fleet_api::ErrorDocument::new(code.parse().unwrap(), text);
                manner.refusal = Some((code.parse().unwrap(), fleet_api::encode(&document).unwrap()));
            }
            ["refuse", code] => {
                let document = fleet_api::ErrorDocument::new(code.parse().unwrap(), "");
                manner.refusal = Some((code.parse().unwrap(), fleet_api::encode(&document).unwrap()));
            }
            ["original"] => manner.original = true,
            ["page", items] => manner.page = items.parse().unwrap(),
            ["env", name, value] => self.program = self.program.clone().with(name, value),
            _ => panic!("no such order: {order}"),
        }
    }

    fn filled(&self, text: &str) -> String {
        text.replace("{SOCKET}", &self.server.socket.display().to_string())
    }
}

struct Pending {
    line: String,
    input: String,
    expect: String,
}

/// Runs a file's commands in their order; reports every one that differs.
fn check(path: &Path) {
    let text = std::fs::read_to_string(path).unwrap();
    let mut stage = Stage::new();
    let mut pending: Option<Pending> = None;
    let mut file: Option<String> = None;
    let mut wrong = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let begins = line.starts_with(['$', '!', '=']);
        if begins && let Some(case) = pending.take() {
            wrong.extend(run(&stage, &case));
        }
        let rest = line.get(2..).unwrap_or_default();
        match line.as_bytes()[0] {
            b'$' => {
                pending = Some(Pending { line: rest.into(), input: String::new(), expect: String::new() })
            }
            b'!' => stage.order(rest),
            b'=' => {
                let path = stage.folder.path().join(rest);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, "").unwrap();
                file = Some(rest.to_owned());
            }
            b'+' => {
                let path = stage.folder.path().join(file.as_ref().expect("a file before its lines"));
                let before = std::fs::read_to_string(&path).unwrap();
                std::fs::write(path, format!("{before}{rest}\n")).unwrap();
            }
            b'<' => pending.as_mut().expect("a command").input.push_str(&format!("{rest}\n")),
            _ => pending.as_mut().expect("a command before its output").expect.push_str(&format!("{line}\n")),
        }
    }
    if let Some(case) = pending.take() {
        wrong.extend(run(&stage, &case));
    }
    assert!(wrong.is_empty(), "{}:\n{}", path.display(), wrong.join("\n"));
}

fn run(stage: &Stage, case: &Pending) -> Option<String> {
    let words = shlex::split(&case.line).expect("an open quote");
    let words: Vec<String> = words.iter().map(|word| stage.filled(word)).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let got = stage.program.run(&words, &case.input);
    let expect = stage.filled(&case.expect);
    (got != expect).then(|| format!("$ {}\n--- expected\n{expect}--- got\n{got}", case.line))
}

macro_rules! files {
    ($($name:ident),* $(,)?) => {
        $(
            #[test]
            fn $name() {
                let name = concat!("tests/cases/", stringify!($name), ".txt");
                check(&Path::new(env!("CARGO_MANIFEST_DIR")).join(name));
            }
        )*

        /// A case file that nobody runs proves nothing.
        #[test]
        fn every_file_is_run() {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
            for entry in std::fs::read_dir(folder).unwrap() {
                let name = entry.unwrap().file_name().into_string().unwrap();
                assert!([$(concat!(stringify!($name), ".txt")),*].contains(&name.as_str()), "{name}");
            }
        }
    };
}

files!(
    acceptance,
    additions,
    creating,
    errors,
    flags,
    global_units,
    invocation,
    lists,
    replace,
    restart,
    states,
    templates,
    waits,
    without_keys,
    x_fleet,
);
