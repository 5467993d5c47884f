//! Case files: command lines and their expected output.
//!
//!     # a comment
//!     $ set /message 'Hello world'
//!     < a line of standard input
//!     ~ why the reference's output differs here
//!     @ out| the output with this project's server, instead of the lines below
//!     out| Hello world
//!     exit 1
//!
//! `{URL}`, `{PEER}` and `{ID}` are the server's addresses and member id, `{TIME}` an expiration, `{+3}` the store's
//! index at the beginning plus 3, `{20:+3}` the same with 20 digits.

use crate::program::Program;

#[derive(Debug)]
pub struct Case {
    pub line: String,
    arguments: Vec<String>,
    input: String,
    pub differs: Option<String>,
    expect: String,
    expect_with_ours: String,
}

/// Whose server is used, and by whose program.
#[derive(Debug, Clone, Copy)]
pub enum On {
    Reference,
    Ours,
    OursByReference,
}

/// Values of the placeholders.
pub struct Facts {
    pub url: String,
    pub peer: String,
    pub id: String,
    pub index: u64,
}

pub fn read(text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        if let Some(command) = line.strip_prefix("$ ") {
            cases.push(Case {
                line: command.to_owned(),
                arguments: shlex::split(command).expect("an open quote"),
                input: String::new(),
                differs: None,
                expect: String::new(),
                expect_with_ours: String::new(),
            });
            continue;
        }
        let case = cases.last_mut().expect("a command before its output");
        if let Some(input) = line.strip_prefix("< ") {
            case.input.push_str(&format!("{input}\n"));
        } else if let Some(reason) = line.strip_prefix("~ ") {
            case.differs = Some(reason.to_owned());
        } else if let Some(line) = line.strip_prefix("@ ") {
            case.expect_with_ours.push_str(&format!("{line}\n"));
        } else {
            case.expect.push_str(&format!("{line}\n"));
        }
    }
    cases
}

impl Case {
    /// Expected and actual output if they differ.
    pub fn check(&self, program: &Program, facts: &Facts, on: On) -> Result<(), String> {
        let arguments: Vec<String> = self.arguments.iter().map(|argument| facts.filled(argument)).collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let got = without_times(&program.run(&arguments, &self.input));
        let plain = facts.filled(&self.expect);
        let expect = match on {
            On::Reference => plain,
            _ if self.expect_with_ours.is_empty() => plain,
            // Debian's program validates some arguments before it sends a request.
            On::OursByReference if got == plain => plain,
            On::Ours | On::OursByReference => facts.filled(&self.expect_with_ours),
        };
        if got == expect {
            return Ok(());
        }
        Err(format!("$ {}\n--- expected\n{expect}--- got\n{got}", self.line))
    }
}

impl Facts {
    fn filled(&self, text: &str) -> String {
        let plain = text.replace("{URL}", &self.url).replace("{PEER}", &self.peer).replace("{ID}", &self.id);
        let mut filled = String::new();
        let mut rest = plain.as_str();
        while let Some(at) = rest.find("{+").into_iter().chain(rest.find("{20:+")).min() {
            let end = at + rest[at..].find('}').expect("a placeholder ends");
            let (width, number) = rest[at + 1..end].rsplit_once('+').unwrap();
            let index = self.index + number.parse::<u64>().unwrap();
            filled.push_str(&rest[..at]);
            filled.push_str(&if width.is_empty() { index.to_string() } else { format!("{index:020}") });
            rest = &rest[end + 1..];
        }
        filled + rest
    }
}

const EXPIRATION: &str = "\"expiration\":\"";

fn without_times(text: &str) -> String {
    let mut parts = text.split(EXPIRATION);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (time, rest) = part.split_once('"').expect("a string ends");
        assert!(time.len() >= 20 && time.ends_with('Z'), "no time: {time}");
        out.push_str(&format!("{EXPIRATION}{{TIME}}\"{rest}"));
    }
    out
}

#[test]
fn placeholders() {
    let facts = Facts { url: "U".into(), peer: "P".into(), id: "I".into(), index: 3 };
    assert_eq!(
        facts.filled("{URL} {ID} {+2} /q/{20:+10} {\"a\":{+0}}"),
        "U I 5 /q/00000000000000000013 {\"a\":3}"
    );
    let times = "{\"expiration\":\"2026-11-20T06:51:19.807556902Z\",\"ttl\":20}";
    assert_eq!(without_times(times), "{\"expiration\":\"{TIME}\",\"ttl\":20}");
}
