//! Interprets user-data: the config and scripts to apply, and whether parts of it are malformed.
//!
//! Malformed parts are reported and skipped. Their SSH keys are kept if they are readable, so that an
//! operator can log in and fix the user-data. A run and a preview share this code: they differ in whether
//! addresses are known, and in who receives the messages.

use std::borrow::Cow;

use crate::check::{self, Checked, Stage};
use crate::config;
use crate::multipart::{self, Content, Part};
use crate::template::{Addresses, substitute, unescape};
use crate::user_data::{Kind, UserData};
use crate::validate::remove_tokens;
use crate::yaml;

#[derive(Default)]
pub struct Interpretation {
    pub checked: Checked,
    /// Executed in order.
    pub scripts: Vec<Vec<u8>>,
    /// Whether some part of the user-data was refused.
    pub malformed: bool,
    /// The user-data belongs to another program (Ignition); nothing is applied.
    pub foreign: bool,
}

/// A message of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    Info(String),
    Warning(String),
    Error(String),
    /// A line of standard output, without its line break. Programs parse these lines.
    Output(String),
}

/// The values of address tokens such as `$private_ipv4`.
#[derive(Debug, Clone, Copy)]
pub enum TokenValues<'a> {
    /// The machine's addresses.
    Addresses(&'a Addresses),
    /// Not known yet: tokens are removed from the hostname and kept elsewhere.
    Unknown,
}

/// Interprets decoded user-data and passes messages to `report`, in order.
pub fn interpret(
    user_data: &UserData,
    tokens: TokenValues<'_>,
    report: &mut dyn FnMut(Message),
) -> Interpretation {
    let mut reader = Reader { tokens, report, interpretation: Interpretation::default() };
    reader.read(user_data);
    reader.interpretation
}

struct Reader<'a> {
    tokens: TokenValues<'a>,
    report: &'a mut dyn FnMut(Message),
    interpretation: Interpretation,
}

enum Parsed {
    Accepted(Box<Checked>),
    /// With the keys of user `core` that are readable.
    Refused {
        keys: Vec<String>,
    },
}

impl Reader<'_> {
    fn info(&mut self, message: impl Into<String>) {
        (self.report)(Message::Info(message.into()));
    }

    fn error(&mut self, message: String) {
        (self.report)(Message::Error(message));
    }

    fn output(&mut self, text: String) {
        (self.report)(Message::Output(text));
    }

    fn read(&mut self, user_data: &UserData) {
        let text = &user_data.text;
        match &user_data.kind {
            Kind::Ignition => {
                self.output("Detected an Ignition config. Exiting...".to_owned());
                self.interpretation.foreign = true;
            }
            Kind::Empty => self.interpretation.checked = check::empty(),
            Kind::Script => {
                self.info("Parsing user-data as script");
                let script = self.substitute_tokens(text, "").into_owned();
                self.interpretation.scripts.push(script);
                self.interpretation.checked = check::empty();
            }
            Kind::CloudConfig => {
                self.info("Parsing user-data as cloud-config");
                match self.parse(text, "") {
                    Parsed::Accepted(accepted) => self.interpretation.checked = *accepted,
                    Parsed::Refused { keys } => {
                        self.interpretation.malformed = true;
                        self.interpretation.checked.core_keys = keys;
                    }
                }
            }
            Kind::Multipart => {
                self.info("Parsing user-data as multipart");
                self.parts(text);
            }
            Kind::Unknown(hint) => {
                self.interpretation.malformed = true;
                let hint = hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
                self.output(format!(
                    "Failed to parse user-data: Unrecognized user-data format{hint}\nContinuing..."
                ));
            }
        }
    }

    /// A malformed part does not affect the others.
    fn parts(&mut self, text: &[u8]) {
        let multipart = multipart::read(text);
        for warning in &multipart.warnings {
            (self.report)(Message::Warning(format!("Warning: {} (line {})", warning.message, warning.line)));
        }
        for error in &multipart.errors {
            self.output(format!(
                "Failed to parse user-data: {} (line {})\nContinuing...",
                error.message, error.line
            ));
        }
        self.interpretation.malformed = !multipart.errors.is_empty();
        let configs: Vec<_> = multipart.parts.iter().filter_map(|part| self.part(part)).collect();
        self.interpretation.checked = if configs.is_empty() && !self.interpretation.malformed {
            check::empty()
        } else {
            check::join(configs)
        };
    }

    /// Returns the config of a part, if it has one.
    fn part(&mut self, part: &Part<'_>) -> Option<Checked> {
        let Part { name, line, .. } = part;
        match &part.content {
            Content::Empty => self.info(format!("{name} is empty")),
            Content::Ignored(reason) => self.info(format!("{reason} ({name}, line {line})")),
            Content::Failed(reason) => {
                self.interpretation.malformed = true;
                self.output(format!(
                    "Failed to parse user-data: {name}: {reason} (line {line})\nContinuing..."
                ));
            }
            Content::Script(text) => {
                self.info(format!("Parsing {name} as script"));
                let script = self.substitute_tokens(text, &format!(" of {name}")).into_owned();
                self.interpretation.scripts.push(script);
                return Some(check::empty());
            }
            Content::CloudConfig(text) => {
                self.info(format!("Parsing {name} as cloud-config"));
                match self.parse(text, &format!(" of {name}")) {
                    Parsed::Accepted(mut accepted) => {
                        // As in the validator, lines count in the whole user-data if the part is not encoded.
                        for refusal in accepted.skipped.iter_mut().filter(|_| part.is_verbatim) {
                            refusal.location.line += line - 1;
                        }
                        return Some(*accepted);
                    }
                    Parsed::Refused { keys } => {
                        self.interpretation.malformed = true;
                        return Some(Checked { core_keys: keys, ..Checked::default() });
                    }
                }
            }
        }
        None
    }

    /// `origin` names the part in messages, such as ` of part 1`; empty for a single document.
    fn substitute_tokens<'text>(&mut self, text: &'text [u8], origin: &str) -> Cow<'text, [u8]> {
        let TokenValues::Addresses(addresses) = self.tokens else { return unescape(text) };
        let substituted = substitute(text, addresses);
        for (token, line) in &substituted.unknown {
            (self.report)(Message::Warning(format!(
                "Warning: {token} is used but no such address is known (line {line}{origin})"
            )));
        }
        substituted.text
    }

    fn parse(&mut self, text: &[u8], origin: &str) -> Parsed {
        let text = self.substitute_tokens(text, origin);
        let document = match yaml::read(&text) {
            Ok(document) => document,
            Err(error) => {
                let origin =
                    if origin.is_empty() { String::new() } else { format!(" ({})", origin.trim_start()) };
                self.output(format!("Failed to parse user-data: {error}{origin}\nContinuing..."));
                return Parsed::Refused { keys: self.keys_before_error(&text) };
            }
        };
        let root = document.root.as_deref().filter(|root| !root.is_null());
        if root.is_some_and(|root| root.mapping().is_none()) {
            self.output(format!(
                "Failed to parse user-data: the document{origin} must be a mapping\nContinuing..."
            ));
            return Parsed::Refused { keys: Vec::new() };
        }
        let mut config = config::read(root);
        if matches!(self.tokens, TokenValues::Unknown) {
            remove_tokens(&mut config);
        }
        let refusals = match check::check(&config) {
            Ok(checked) => return Parsed::Accepted(Box::new(checked)),
            Err(refusals) => refusals,
        };
        for refusal in &refusals {
            let line = refusal.location.line;
            match refusal.stage {
                Stage::Parse => self
                    .output(format!("Failed to parse user-data: {} (line {line}{origin})", refusal.failure)),
                Stage::Apply => self.error(format!(
                    "Failed to apply cloud-config: {} (line {line}{origin})",
                    refusal.failure
                )),
            }
        }
        let whole = if origin.is_empty() { " of the user-data" } else { origin };
        self.error(format!("Nothing{whole} is applied except ssh keys. Continuing..."));
        Parsed::Refused { keys: check::keys(&config.ssh_authorized_keys) }
    }

    /// Recovers keys, so that an operator can log in and fix the user-data.
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

    fn interpret_text(text: &str, tokens: TokenValues<'_>) -> (Interpretation, Vec<Message>) {
        let mut all = Vec::new();
        let interpretation =
            interpret(&decode(text.into()).unwrap(), tokens, &mut |message| all.push(message));
        (interpretation, all)
    }

    #[test]
    fn unknown_addresses_keep_tokens() {
        let text =
            "#cloud-config\nhostname: n-$private_ipv4\nwrite_files: [{path: /x, content: $public_ipv4}]\n";
        let parsing = Message::Info("Parsing user-data as cloud-config".to_owned());
        let read = |tokens| {
            let (interpretation, messages) = interpret_text(text, tokens);
            assert_eq!(messages[0], parsing);
            let content = String::from_utf8_lossy(&interpretation.checked.files[0].content).into_owned();
            (interpretation.checked.hostname.unwrap_or_default(), content, messages.len())
        };
        assert_eq!(read(TokenValues::Unknown), ("n-".to_owned(), "$public_ipv4".to_owned(), 1));
        let addresses = Addresses { private_ipv4: Some("7".into()), ..Addresses::default() };
        assert_eq!(read(TokenValues::Addresses(&addresses)), ("n-7".to_owned(), String::new(), 2));
    }

    #[test]
    fn refused_part_keeps_its_keys_and_the_other_parts() {
        let text = "Content-Type: multipart/mixed; boundary=x\n\n--x\n\n#cloud-config\nssh_authorized_keys: [k]\n\
                    hostname: a b\n--x\n\n#cloud-config\nhostname: b\n--x\n\n#!/bin/sh\n--x--\n";
        for tokens in [TokenValues::Unknown, TokenValues::Addresses(&Addresses::default())] {
            let (interpretation, messages) = interpret_text(text, tokens);
            assert!(interpretation.malformed && !interpretation.foreign);
            assert_eq!(
                (interpretation.checked.hostname.as_deref(), interpretation.scripts.len()),
                (Some("b"), 1)
            );
            assert_eq!(interpretation.checked.core_keys, ["k"]);
            let nothing = "Nothing of part 1 is applied except ssh keys. Continuing...";
            assert!(messages.contains(&Message::Error(nothing.to_owned())), "{messages:?}");
        }
    }
}
