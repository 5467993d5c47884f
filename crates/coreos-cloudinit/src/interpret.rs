//! User-data to what is to be applied: a config, scripts, and whether some of it can not be used.
//!
//! What can not be used is said here, where its text is at hand, and dropped; ssh keys are kept where they can
//! be read, so that one can log in and mend it.

use std::borrow::Cow;

use cloudinit::check::{self, Checked, Stage};
use cloudinit::multipart::{self, Content, Part};
use cloudinit::template::{Addresses, substitute};
use cloudinit::user_data::{Kind, UserData};
use cloudinit::{config, yaml};

use crate::log::Log;

#[derive(Default)]
pub struct Meaning {
    pub checked: Checked,
    /// To run one after the other.
    pub scripts: Vec<Vec<u8>>,
    /// Some of it can not be used.
    pub malformed: bool,
    /// The user-data belongs to another program; nothing is to be done.
    pub foreign: bool,
}

pub fn interpret(user_data: &UserData, addresses: &Addresses, log: &Log) -> Meaning {
    let text = &user_data.text;
    let mut meaning = Meaning::default();
    match &user_data.kind {
        Kind::Ignition => {
            println!("Detected an Ignition config. Exiting...");
            meaning.foreign = true;
        }
        Kind::Empty => meaning.checked = check::nothing(),
        Kind::Script => {
            log.info("Parsing user-data as script");
            meaning.scripts.push(substituted(text, addresses, "", log).into_owned());
            meaning.checked = check::nothing();
        }
        Kind::CloudConfig => {
            log.info("Parsing user-data as cloud-config");
            match parse(&substituted(text, addresses, "", log), "", log) {
                Parsed::Good(good) => meaning.checked = *good,
                Parsed::Refused { keys } => {
                    meaning.malformed = true;
                    meaning.checked.core_keys = keys;
                }
            }
        }
        Kind::Multipart => {
            log.info("Parsing user-data as multipart");
            parts(text, addresses, &mut meaning, log);
        }
        Kind::Unknown(hint) => {
            meaning.malformed = true;
            let hint = hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
            println!("Failed to parse user-data: Unrecognized user-data format{hint}\nContinuing...");
        }
    }
    meaning
}

/// A part that can not be used does not stop the others.
fn parts(text: &[u8], addresses: &Addresses, meaning: &mut Meaning, log: &Log) {
    let multipart = multipart::read(text);
    for warning in &multipart.warnings {
        log.warning(format!("Warning: {} (line {})", warning.message, warning.line));
    }
    for error in &multipart.errors {
        println!("Failed to parse user-data: {} (line {})\nContinuing...", error.message, error.line);
    }
    meaning.malformed = !multipart.errors.is_empty();
    let configs: Vec<_> =
        multipart.parts.iter().filter_map(|part| read_part(part, addresses, meaning, log)).collect();
    meaning.checked =
        if configs.is_empty() && !meaning.malformed { check::nothing() } else { check::join(configs) };
}

/// What is to be applied of the part.
fn read_part(part: &Part<'_>, addresses: &Addresses, meaning: &mut Meaning, log: &Log) -> Option<Checked> {
    let Part { name, line, .. } = part;
    match &part.content {
        Content::Empty => log.info(format!("{name} is empty")),
        Content::Ignored(reason) => log.info(format!("{reason} ({name}, line {line})")),
        Content::Failed(reason) => {
            meaning.malformed = true;
            println!("Failed to parse user-data: {name}: {reason} (line {line})\nContinuing...");
        }
        Content::Script(text) => {
            log.info(format!("Parsing {name} as script"));
            let place = format!(" of {name}");
            meaning.scripts.push(substituted(text, addresses, &place, log).into_owned());
            return Some(check::nothing());
        }
        Content::CloudConfig(text) => {
            log.info(format!("Parsing {name} as cloud-config"));
            let place = format!(" of {name}");
            match parse(&substituted(text, addresses, &place, log), &place, log) {
                Parsed::Good(mut good) => {
                    // As the validator has them: lines of the whole text, where the part's are that.
                    for refusal in good.left_out.iter_mut().filter(|_| part.is_verbatim) {
                        refusal.place.line += line - 1;
                    }
                    return Some(*good);
                }
                Parsed::Refused { keys } => {
                    meaning.malformed = true;
                    return Some(Checked { core_keys: keys, ..Checked::default() });
                }
            }
        }
    }
    None
}

/// `place`: of what, behind the line.
fn substituted<'a>(text: &'a [u8], addresses: &Addresses, place: &str, log: &Log) -> Cow<'a, [u8]> {
    let substituted = substitute(text, addresses);
    for (token, line) in &substituted.unknown {
        log.warning(format!("Warning: {token} is used but no such address is known (line {line}{place})"));
    }
    substituted.text
}

enum Parsed {
    Good(Box<Checked>),
    /// With the keys of core that could be read all the same.
    Refused {
        keys: Vec<String>,
    },
}

fn parse(text: &[u8], place: &str, log: &Log) -> Parsed {
    let document = match yaml::read(text) {
        Ok(document) => document,
        Err(error) => {
            let place = if place.is_empty() { String::new() } else { format!(" ({})", place.trim_start()) };
            println!("Failed to parse user-data: {error}{place}\nContinuing...");
            return Parsed::Refused { keys: keys_before_error(text, log) };
        }
    };
    let root = document.root.as_deref().filter(|root| !root.is_null());
    if let Some(root) = root
        && root.mapping().is_none()
    {
        println!("Failed to parse user-data: the document{place} must be a mapping\nContinuing...");
        return Parsed::Refused { keys: Vec::new() };
    }
    let config = config::read(root);
    let refusals = match check::check(&config) {
        Ok(checked) => return Parsed::Good(Box::new(checked)),
        Err(refusals) => refusals,
    };
    for refusal in &refusals {
        let line = refusal.place.line;
        match refusal.stage {
            Stage::Parse => println!("Failed to parse user-data: {} (line {line}{place})", refusal.failure),
            Stage::Apply => {
                log.error(format!("Failed to apply cloud-config: {} (line {line}{place})", refusal.failure));
            }
        }
    }
    log.error(format!("Nothing{} is applied except ssh keys. Continuing...", whole(place)));
    Parsed::Refused { keys: check::keys(&config.ssh_authorized_keys) }
}

fn whole(place: &str) -> &str {
    if place.is_empty() { " of the user-data" } else { place }
}

/// Keys that let one log in and mend the text.
fn keys_before_error(text: &[u8], log: &Log) -> Vec<String> {
    let keys = check::keys(&config::keys_before_error(text));
    let message = match keys.len() {
        0 => "No ssh keys could be read before the error; nothing of the user-data is applied".to_owned(),
        count => format!(
            "{count} ssh keys of the user-data stand before the error: they are installed, nothing else of it is \
             applied"
        ),
    };
    log.error(message);
    keys
}
