//! Case files: command lines and their expected output. Each file runs against its own server.
//!
//!     # a comment
//!     = hello.service            (a file, with the lines below it)
//!     + [Service]
//!     ! slow 3                   (a unit advances by one step at every third poll)
//!     ! refuse 503 TEXT          (the server's response to all further requests; `! refuse` resets it)
//!     ! accept 4                 (only after this number of further requests)
//!     ! original                 (a server without the extensions)
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

struct Fixture {
    folder: tempfile::TempDir,
    server: Server,
    program: Program,
}

impl Fixture {
    fn new() -> Fixture {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::start(folder.path(), Model::with_three_machines());
        let program = Program::in_folder(folder.path()).with("FLEETCTL_ENDPOINT", &server.endpoint());
        Fixture { folder, server, program }
    }

    fn apply(&mut self, directive: &str) {
        let arguments: Vec<&str> = directive.splitn(3, ' ').collect();
        let mut behavior = self.server.behavior.lock().unwrap();
        match arguments[..] {
            ["slow", polls] => self.server.model.lock().unwrap().polls_per_step = polls.parse().unwrap(),
            ["refuse"] => (behavior.refusal, behavior.accepted_requests) = (None, 0),
            ["accept", requests] => {
                let more: usize = requests.parse().unwrap();
                behavior.accepted_requests = self.server.requests.lock().unwrap().len() + more;
            }
            ["refuse", code, text] => {
                let document = fleet_api::ErrorDocument::new(code.parse().unwrap(), text);
                behavior.refusal = Some((code.parse().unwrap(), fleet_api::encode(&document).unwrap()));
            }
            ["refuse", code] => {
                let document = fleet_api::ErrorDocument::new(code.parse().unwrap(), "");
                behavior.refusal = Some((code.parse().unwrap(), fleet_api::encode(&document).unwrap()));
            }
            ["original"] => behavior.original = true,
            ["page", items] => behavior.page = items.parse().unwrap(),
            ["env", name, value] => self.program = self.program.clone().with(name, value),
            _ => panic!("no such order: {directive}"),
        }
    }

    fn expand(&self, text: &str) -> String {
        text.replace("{SOCKET}", &self.server.socket.display().to_string())
    }
}

struct Case {
    line: String,
    input: String,
    expect: String,
}

/// Runs the commands of a file in order and reports all mismatches.
fn check(path: &Path) {
    let text = std::fs::read_to_string(path).unwrap();
    let mut fixture = Fixture::new();
    let mut pending: Option<Case> = None;
    let mut file: Option<String> = None;
    let mut failures = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let starts_case = line.starts_with(['$', '!', '=']);
        if starts_case && let Some(case) = pending.take() {
            failures.extend(run(&fixture, &case));
        }
        let rest = line.get(2..).unwrap_or_default();
        match line.as_bytes()[0] {
            b'$' => pending = Some(Case { line: rest.into(), input: String::new(), expect: String::new() }),
            b'!' => fixture.apply(rest),
            b'=' => {
                let path = fixture.folder.path().join(rest);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, "").unwrap();
                file = Some(rest.to_owned());
            }
            b'+' => {
                let path = fixture.folder.path().join(file.as_ref().expect("a file before its lines"));
                let before = std::fs::read_to_string(&path).unwrap();
                std::fs::write(path, format!("{before}{rest}\n")).unwrap();
            }
            b'<' => pending.as_mut().expect("a command").input.push_str(&format!("{rest}\n")),
            _ => pending.as_mut().expect("a command before its output").expect.push_str(&format!("{line}\n")),
        }
    }
    if let Some(case) = pending.take() {
        failures.extend(run(&fixture, &case));
    }
    assert!(failures.is_empty(), "{}:\n{}", path.display(), failures.join("\n"));
}

fn run(fixture: &Fixture, case: &Case) -> Option<String> {
    let arguments = shlex::split(&case.line).expect("an open quote");
    let arguments: Vec<String> = arguments.iter().map(|argument| fixture.expand(argument)).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let got = fixture.program.run(&arguments, &case.input);
    let expect = fixture.expand(&case.expect);
    (got != expect).then(|| format!("$ {}\n--- expected\n{expect}--- got\n{got}", case.line))
}

macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        $(
            #[test]
            fn $name() {
                let name = concat!("tests/cases/", stringify!($name), ".txt");
                check(&Path::new(env!("CARGO_MANIFEST_DIR")).join(name));
            }
        )*

        #[test]
        fn every_case_file_is_listed() {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
            for entry in std::fs::read_dir(folder).unwrap() {
                let name = entry.unwrap().file_name().into_string().unwrap();
                assert!([$(concat!(stringify!($name), ".txt")),*].contains(&name.as_str()), "{name}");
            }
        }
    };
}

cases!(
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
