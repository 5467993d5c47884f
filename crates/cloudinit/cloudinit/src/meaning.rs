//! User-data to what is to be applied: a config, scripts, and whether some of it cannot be used.
//!
//! What cannot be used is told where its text is at hand, and dropped; ssh keys are kept where they can be read, so
//! that one can log in and mend it. A run and a preview go the same way: they differ in whether the machine's
//! addresses are known, and in who listens.

use std::borrow::Cow;

use crate::check::{self, Checked, Stage};
use crate::config;
use crate::multipart::{self, Content, Part};
use crate::template::{Addresses, substitute, without_escapes};
use crate::user_data::{Kind, UserData};
use crate::validate::without_tokens;
use crate::yaml;

#[derive(Default)]
pub struct Meaning {
    pub checked: Checked,
    /// To run one after the other.
    pub scripts: Vec<Vec<u8>>,
    /// Some of it cannot be used.
    pub malformed: bool,
    /// The user-data belongs to another program; nothing is to be done.
    pub foreign: bool,
}

/// What is told on the way, in a run's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    Info(String),
    Warning(String),
    Error(String),
    /// On standard output, without a line end: so those who read a run's output know it.
    Output(String),
}

/// What is put where tokens for addresses stand.
#[derive(Debug, Clone, Copy)]
pub enum Tokens<'a> {
    /// The machine's addresses.
    Addresses(&'a Addresses),
    /// There is no machine yet: a hostname lacks them, other texts keep them.
    Unknown,
}

pub fn interpret(user_data: &UserData, tokens: Tokens<'_>, tell: &mut dyn FnMut(Told)) -> Meaning {
    let mut reader = Reader { tokens, tell, meaning: Meaning::default() };
    reader.read(user_data);
    reader.meaning
}

struct Reader<'a> {
    tokens: Tokens<'a>,
    tell: &'a mut dyn FnMut(Told),
    meaning: Meaning,
}

enum Parsed {
    Good(Box<Checked>),
    /// With the keys of core that could be read all the same.
    Refused {
        keys: Vec<String>,
    },
}

impl Reader<'_> {
    fn info(&mut self, message: impl Into<String>) {
        (self.tell)(Told::Info(message.into()));
    }

    fn error(&mut self, message: String) {
        (self.tell)(Told::Error(message));
    }

    fn output(&mut self, text: String) {
        (self.tell)(Told::Output(text));
    }

    fn read(&mut self, user_data: &UserData) {
        let text = &user_data.text;
        match &user_data.kind {
            Kind::Ignition => {
                self.output("Detected an Ignition config. Exiting...".to_owned());
                self.meaning.foreign = true;
            }
            Kind::Empty => self.meaning.checked = check::nothing(),
            Kind::Script => {
                self.info("Parsing user-data as script");
                let script = self.replaced(text, "").into_owned();
                self.meaning.scripts.push(script);
                self.meaning.checked = check::nothing();
            }
            Kind::CloudConfig => {
                self.info("Parsing user-data as cloud-config");
                match self.parse(text, "") {
                    Parsed::Good(good) => self.meaning.checked = *good,
                    Parsed::Refused { keys } => {
                        self.meaning.malformed = true;
                        self.meaning.checked.core_keys = keys;
                    }
                }
            }
            Kind::Multipart => {
                self.info("Parsing user-data as multipart");
                self.parts(text);
            }
            Kind::Unknown(hint) => {
                self.meaning.malformed = true;
                let hint = hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
                self.output(format!(
                    "Failed to parse user-data: Unrecognized user-data format{hint}\nContinuing..."
                ));
            }
        }
    }

    /// A part that cannot be used does not stop the others.
    fn parts(&mut self, text: &[u8]) {
        let multipart = multipart::read(text);
        for warning in &multipart.warnings {
            (self.tell)(Told::Warning(format!("Warning: {} (line {})", warning.message, warning.line)));
        }
        for error in &multipart.errors {
            self.output(format!(
                "Failed to parse user-data: {} (line {})\nContinuing...",
                error.message, error.line
            ));
        }
        self.meaning.malformed = !multipart.errors.is_empty();
        let configs: Vec<_> = multipart.parts.iter().filter_map(|part| self.part(part)).collect();
        self.meaning.checked = if configs.is_empty() && !self.meaning.malformed {
            check::nothing()
        } else {
            check::join(configs)
        };
    }

    /// What is to be applied of the part.
    fn part(&mut self, part: &Part<'_>) -> Option<Checked> {
        let Part { name, line, .. } = part;
        match &part.content {
            Content::Empty => self.info(format!("{name} is empty")),
            Content::Ignored(reason) => self.info(format!("{reason} ({name}, line {line})")),
            Content::Failed(reason) => {
                self.meaning.malformed = true;
                self.output(format!(
                    "Failed to parse user-data: {name}: {reason} (line {line})\nContinuing..."
                ));
            }
            Content::Script(text) => {
                self.info(format!("Parsing {name} as script"));
                let script = self.replaced(text, &format!(" of {name}")).into_owned();
                self.meaning.scripts.push(script);
                return Some(check::nothing());
            }
            Content::CloudConfig(text) => {
                self.info(format!("Parsing {name} as cloud-config"));
                match self.parse(text, &format!(" of {name}")) {
                    Parsed::Good(mut good) => {
                        // As the validator has them: lines of the whole text, where the part's are that.
                        for refusal in good.left_out.iter_mut().filter(|_| part.is_verbatim) {
                            refusal.place.line += line - 1;
                        }
                        return Some(*good);
                    }
                    Parsed::Refused { keys } => {
                        self.meaning.malformed = true;
                        return Some(Checked { core_keys: keys, ..Checked::default() });
                    }
                }
            }
        }
        None
    }

    /// `place`: of what, behind the line.
    fn replaced<'text>(&mut self, text: &'text [u8], place: &str) -> Cow<'text, [u8]> {
        let Tokens::Addresses(addresses) = self.tokens else { return without_escapes(text) };
        let substituted = substitute(text, addresses);
        for (token, line) in &substituted.unknown {
            (self.tell)(Told::Warning(format!(
                "Warning: {token} is used but no such address is known (line {line}{place})"
            )));
        }
        substituted.text
    }

    fn parse(&mut self, text: &[u8], place: &str) -> Parsed {
        let text = self.replaced(text, place);
        let document = match yaml::read(&text) {
            Ok(document) => document,
            Err(error) => {
                let place =
                    if place.is_empty() { String::new() } else { format!(" ({})", place.trim_start()) };
                self.output(format!("Failed to parse user-data: {error}{place}\nContinuing..."));
                return Parsed::Refused { keys: self.keys_before_error(&text) };
            }
        };
        let root = document.root.as_deref().filter(|root| !root.is_null());
        if root.is_some_and(|root| root.mapping().is_none()) {
            self.output(format!(
                "Failed to parse user-data: the document{place} must be a mapping\nContinuing..."
            ));
            return Parsed::Refused { keys: Vec::new() };
        }
        let mut config = config::read(root);
        if matches!(self.tokens, Tokens::Unknown) {
            without_tokens(&mut config);
        }
        let refusals = match check::check(&config) {
            Ok(checked) => return Parsed::Good(Box::new(checked)),
            Err(refusals) => refusals,
        };
        for refusal in &refusals {
            let line = refusal.place.line;
            match refusal.stage {
                Stage::Parse => self
                    .output(format!("Failed to parse user-data: {} (line {line}{place})", refusal.failure)),
                Stage::Apply => self
                    .error(format!("Failed to apply cloud-config: {} (line {line}{place})", refusal.failure)),
            }
        }
        let whole = if place.is_empty() { " of the user-data" } else { place };
        self.error(format!("Nothing{whole} is applied except ssh keys. Continuing..."));
        Parsed::Refused { keys: check::keys(&config.ssh_authorized_keys) }
    }

    /// Keys that let one log in and mend the text.
    fn keys_before_error(&mut self, text: &[u8]) -> Vec<String> {
        let keys = check::keys(&config::keys_before_error(text));
        self.error(match keys.len() {
            0 => "No ssh keys could be read before the error; nothing of the user-data is applied".to_owned(),
            count => format!(
                "{count} ssh keys of the user-data stand before the error: they are installed, nothing else of \
                 it is applied"
            ),
        });
        keys
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::user_data::decode;

    fn told(text: &str, tokens: Tokens<'_>) -> (Meaning, Vec<Told>) {
        let mut all = Vec::new();
        let meaning = interpret(&decode(text.into()).unwrap(), tokens, &mut |told| all.push(told));
        (meaning, all)
    }

    #[test]
    fn tokens_by_whether_there_is_a_machine() {
        let text =
            "#cloud-config\nhostname: n-$private_ipv4\nwrite_files: [{path: /x, content: $public_ipv4}]\n";
        let parsing = Told::Info("Parsing user-data as cloud-config".to_owned());
        let read = |tokens| {
            let (meaning, told) = told(text, tokens);
            assert_eq!(told[0], parsing);
            let content = String::from_utf8_lossy(&meaning.checked.files[0].content).into_owned();
            (meaning.checked.hostname.unwrap_or_default(), content, told.len())
        };
        assert_eq!(read(Tokens::Unknown), ("n-".to_owned(), "$public_ipv4".to_owned(), 1));
        let addresses = Addresses { private_ipv4: Some("7".into()), ..Addresses::default() };
        assert_eq!(read(Tokens::Addresses(&addresses)), ("n-7".to_owned(), String::new(), 2));
    }

    #[test]
    fn a_part_that_cannot_be_used_costs_no_other_and_keeps_its_keys() {
        let text = "Content-Type: multipart/mixed; boundary=x\n\n--x\n\n#cloud-config\nssh_authorized_keys: [k]\n\
                    hostname: a b\n--x\n\n#cloud-config\nhostname: b\n--x\n\n#!/bin/sh\n--x--\n";
        for tokens in [Tokens::Unknown, Tokens::Addresses(&Addresses::default())] {
            let (meaning, told) = told(text, tokens);
            assert!(meaning.malformed && !meaning.foreign);
            assert_eq!((meaning.checked.hostname.as_deref(), meaning.scripts.len()), (Some("b"), 1));
            assert_eq!(meaning.checked.core_keys, ["k"]);
            let nothing = "Nothing of part 1 is applied except ssh keys. Continuing...";
            assert!(told.contains(&Told::Error(nothing.to_owned())), "{told:?}");
        }
    }
}
