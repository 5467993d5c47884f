//! Types every command of `docs/tutorial.md` where its prompt says, and compares the output with the page's.

mod output;
mod parse;

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use machines::cluster::BackendKind::Qemu;

use super::super::kv::NODES;
use super::host::{Running, agent, failed};
use super::reader::{Reader, disk, with_reader};
use crate::failure::Failure;
use crate::scenario::{Context, DEFAULTS, Scenario};
use crate::slowdown::slowdown;
use output::Comparison;
use parse::{Place, Step};

pub const TUTORIAL: Scenario = Scenario {
    name: "tutorial",
    about: "every command of docs/tutorial.md prints what the page shows",
    others: NODES,
    long_on: &[Qemu],
    // Not seen to its end there yet.
    by_name_on: &[Qemu],
    run: tutorial,
    ..DEFAULTS
};

const PAGE: &str = include_str!("../../../docs/tutorial.md");
/// Also for the boot of three emulated machines.
const HOST_LIMIT: Duration = Duration::from_secs(900);
const MACHINE_LIMIT: Duration = Duration::from_secs(300);
/// The exit status of `timeout` if the limit has passed.
const TIMED_OUT: i32 = 124;
/// Until a repeated command prints what the page shows: docker's first start on an emulated machine takes minutes.
const REPEAT_LIMIT: Duration = Duration::from_secs(300);
const PAUSE: Duration = Duration::from_millis(500);
/// A command may exit with another status than 0 only if the page shows such a line.
const ERROR: &str = "error";
/// What a command on the host begins with; another one is an error. It runs as whoever runs the scenario.
const HOST_COMMANDS: [&str; 3] = ["cargo keelson ", "cat >", "ssh-add "];
/// Runs `cargo keelson` without cargo: the arguments of the script are the program that runs the scenario, and its options
/// for the reader's cluster. `up` also needs the scenario's back end.
const CARGO: &str = r#"keelson=("$@")
cargo() {
    shift
    test "$1" != up || set -- "$@" --on "$BACKEND"
    "${keelson[@]}" "$@"
}
"#;

fn tutorial(context: &Context<'_>) -> Result<(), Failure> {
    let steps =
        parse::parse(PAGE).map_err(|error| Failure::Expected(format!("docs/tutorial.md: {error}")))?;
    with_reader(context, |reader| {
        let mut session = Session::new(reader)?;
        steps.iter().try_for_each(|step| session.follow(step))
    })
}

/// What the reader has open: an SSH agent, and terminals on machines.
struct Session<'a> {
    reader: &'a Reader<'a>,
    comparison: Comparison,
    agent: PathBuf,
    _agent: Running,
    /// The options of SSH with which the page logs in to each machine.
    logins: BTreeMap<String, Vec<String>>,
}

/// What a command printed on both outputs, and its exit status.
struct Printed {
    code: Option<i32>,
    text: String,
}

impl<'a> Session<'a> {
    fn new(reader: &'a Reader<'a>) -> Result<Self, Failure> {
        let comparison = Comparison::new().map_err(|error| Failure::Expected(error.to_string()))?;
        // `~/.local/state/keelson`, as the page has it.
        let states = reader.folder.join(".local/state");
        std::fs::create_dir_all(&states).map_err(disk(&states))?;
        let link = states.join("keelson");
        std::os::unix::fs::symlink(&reader.state, &link).map_err(disk(&link))?;
        let (runs, agent) = agent(&reader.folder)?;
        Ok(Self { reader, comparison, agent, _agent: runs, logins: BTreeMap::new() })
    }

    /// Types a command, and again if the page says so.
    fn follow(&mut self, step: &Step) -> Result<(), Failure> {
        let begun = Instant::now();
        loop {
            if self.reader.context.run.cancel.load(Ordering::Relaxed) {
                return Err(at(step, "interrupted"));
            }
            let printed = self.run(step)?;
            let error_shown = step.output.iter().any(|line| line.to_lowercase().contains(ERROR));
            let holds = (printed.code == Some(0) || error_shown)
                && self.comparison.holds(&step.output, &printed.text);
            if holds {
                return Ok(());
            }
            if !step.repeat || begun.elapsed() >= REPEAT_LIMIT.mul_f64(slowdown()) {
                return Err(at(step, &differs(step, &printed)));
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn run(&mut self, step: &Step) -> Result<Printed, Failure> {
        match &step.place {
            Place::Host => match login(&step.command) {
                Some((name, options)) => {
                    let connection = self.reader.folder.join(format!("ssh-{}", step.line));
                    let options = [options, shared(&connection)].concat();
                    self.log_in(name, options)
                }
                None if HOST_COMMANDS.iter().any(|known| step.command.starts_with(known)) => {
                    self.on_host(&step.command)
                }
                None => Err(at(step, &format!("a command on the host begins with one of {HOST_COMMANDS:?}"))),
            },
            Place::Machine(name) => match self.logins.get(name) {
                Some(options) => self.on_machine(name, options, &step.command),
                None => Err(at(step, &format!("the page has not logged in to {name}"))),
            },
        }
    }

    /// A command with a time limit, in the reader's environment.
    fn command(&self, limit: Duration) -> Command {
        let mut command = self.reader.command("timeout");
        command.arg(limit.as_secs().to_string());
        command.env("HOME", &self.reader.folder).env("SSH_AUTH_SOCK", &self.agent).env("TERM", "dumb");
        command
    }

    fn on_host(&self, command: &str) -> Result<Printed, Failure> {
        let mut bash = self.command(HOST_LIMIT);
        bash.env("BACKEND", self.reader.context.backend.to_string());
        bash.args(["bash", "-c", &format!("exec 2>&1\n{CARGO}{command}"), "bash"])
            .args(self.reader.keelson());
        printed(&mut bash)
    }

    fn ssh(&self, name: &str, options: &[String]) -> Command {
        let mut ssh = self.command(MACHINE_LIMIT);
        ssh.args(self.reader.keelson()).args(["ssh", name, "--"]).args(options);
        ssh
    }

    fn on_machine(&self, name: &str, options: &[String], command: &str) -> Result<Printed, Failure> {
        printed(self.ssh(name, options).arg(format!("exec 2>&1\n{command}")))
    }

    /// Logs in with a terminal, waits for the prompt of the page, and logs out.
    fn log_in(&mut self, name: &str, options: Vec<String>) -> Result<Printed, Failure> {
        let mut ssh = self.ssh(name, &options);
        let mut child =
            ssh.arg("-tt").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(failed("ssh"))?;
        let prompt = Place::Machine(name.to_owned()).prompt();
        let shown = match &mut child.stdout {
            Some(stdout) => read_until(stdout, prompt.as_bytes()).map_err(failed("ssh"))?,
            None => Vec::new(),
        };
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(b"exit\n").map_err(failed("ssh"))?;
        }
        let ended = child.wait_with_output().map_err(failed("ssh"))?;
        let text = String::from_utf8_lossy(&shown).replace('\r', "");
        let Some(text) = text.strip_suffix(&prompt) else {
            return Ok(Printed { code: ended.status.code(), text: format!("{text}(no prompt {prompt:?})") });
        };
        self.logins.insert(name.to_owned(), options);
        Ok(Printed { code: ended.status.code(), text: text.to_owned() })
    }
}

/// The machine and the options of SSH, if the command logs in and runs nothing there.
fn login(command: &str) -> Option<(&str, Vec<String>)> {
    let mut words = command.strip_prefix("cargo keelson ssh ")?.split_ascii_whitespace();
    let name = words.next()?;
    let options: Vec<_> = words.skip_while(|word| *word == "--").map(str::to_owned).collect();
    options.iter().all(|option| option.starts_with('-')).then_some((name, options))
}

/// Options of SSH with which all commands on a machine use the connection of its login: a new one takes a second.
fn shared(socket: &Path) -> Vec<String> {
    let options = [
        "ControlMaster=auto".to_owned(),
        format!("ControlPath={}", socket.display()),
        "ControlPersist=yes".to_owned(),
    ];
    options.into_iter().flat_map(|option| ["-o".to_owned(), option]).collect()
}

/// What a stream has until it ends with `end`, or is closed.
fn read_until(mut stream: impl Read, end: &[u8]) -> io::Result<Vec<u8>> {
    let (mut all, mut buffer) = (Vec::new(), [0; 1024]);
    while !all.ends_with(end) {
        match stream.read(&mut buffer)? {
            0 => break,
            length => all.extend_from_slice(&buffer[..length]),
        }
    }
    Ok(all)
}

fn printed(command: &mut Command) -> Result<Printed, Failure> {
    let program = format!("{command:?}");
    let output = command.stdin(Stdio::null()).output().map_err(failed(&program))?;
    let text = [output.stdout, output.stderr].concat();
    Ok(Printed { code: output.status.code(), text: String::from_utf8_lossy(&text).into_owned() })
}

fn at(step: &Step, what: &str) -> Failure {
    Failure::Expected(format!("docs/tutorial.md:{}: {what}", step.line))
}

fn differs(step: &Step, printed: &Printed) -> String {
    let block = |text: &str| {
        text.lines().fold(String::new(), |all, line| format!("{all}\n    {}", line.replace('\t', "\\t")))
    };
    let status = match printed.code {
        Some(TIMED_OUT) => "time limit".to_owned(),
        Some(code) => format!("exit status {code}"),
        None => "signal".to_owned(),
    };
    format!(
        "the output of the command differs\n  command:\n    {}{}\n  expected:{}\n  actual ({status}):{}",
        step.place.prompt(),
        step.command,
        block(&step.output.join("\n")),
        block(&printed.text),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_read() {
        let steps = parse::parse(PAGE).unwrap();
        let (host, machines): (Vec<_>, Vec<_>) = steps.iter().partition(|step| step.place == Place::Host);
        assert!(host.len() > 10 && machines.len() > 50, "{} and {}", host.len(), machines.len());
        for step in host {
            let known = HOST_COMMANDS.iter().any(|known| step.command.starts_with(known));
            assert!(known, "line {}: {}", step.line, step.command);
        }
    }

    #[test]
    fn a_login_runs_no_command() {
        let check = |command: &str, expected: Option<(&str, &[&str])>| {
            let found = login(command);
            let found = found
                .as_ref()
                .map(|(name, options)| (*name, options.iter().map(String::as_str).collect::<Vec<_>>()));
            assert_eq!(found, expected.map(|(name, options)| (name, options.to_vec())), "{command}");
        };
        check("cargo keelson ssh core-01", Some(("core-01", &[])));
        check("cargo keelson ssh core-01 -- -A", Some(("core-01", &["-A"])));
        check("cargo keelson ssh core-01 -- hostname", None);
        check("cargo keelson ssh core-01 -- -A hostname", None);
        check("cargo keelson status", None);
    }

    #[test]
    fn a_difference_names_the_line_and_shows_both_outputs() {
        let step = Step {
            line: 7,
            place: Place::Machine("core-01".to_owned()),
            command: "etcdctl get /a".to_owned(),
            output: vec!["a\tb".to_owned()],
            repeat: false,
        };
        let text = at(&step, &differs(&step, &Printed { code: Some(4), text: "c\nd\n".to_owned() })).chain();
        assert_eq!(
            text,
            "docs/tutorial.md:7: the output of the command differs\n  command:\n    core@core-01:~$ etcdctl get /a\n  \
             expected:\n    a\\tb\n  actual (exit status 4):\n    c\n    d"
        );
    }
}
