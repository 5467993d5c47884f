//! The rules: which machine boots what. The first one that matches applies.

use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use crate::limits::{COMMAND_LINE_BYTES, RULES, RULES_BYTES, SSH_KEYS};
use crate::machine::{Identity, Label, Mac, Uuid};

/// All rules of a file, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules(Vec<Rule>);

/// What matching machines boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    selector: Selector,
    /// The image.
    pub image: ImageChoice,
    /// User-data, a template.
    pub user_data: Option<PathBuf>,
    /// Options of the kernel.
    pub options: Vec<String>,
    /// From where.
    pub boot: Boot,
    /// Whether HTTP boot starts the image's UKI instead of iPXE.
    pub prefers_uki: bool,
    /// Keys that may log in to the live system.
    pub ssh_keys: Vec<String>,
}

/// A kind without values matches all machines.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Selector {
    macs: Vec<Mac>,
    uuids: Vec<Uuid>,
    serials: Vec<Label>,
}

/// The image of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageChoice {
    /// The newest one of this version and channel.
    Newest {
        /// Any version without.
        version: Option<String>,
        /// Any channel without.
        channel: Option<String>,
    },
    /// Files by name.
    Files(FileSet),
}

/// Names of files in the folder of images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSet {
    /// The kernel.
    pub kernel: String,
    /// Loaded one after the other.
    pub initrds: Vec<String>,
    /// For HTTP boot.
    pub uki: Option<String>,
}

/// What a machine boots from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Boot {
    /// The live system.
    Live,
    /// Its disk.
    Disk,
    /// The live system, which installs itself to the device: `smallest`, or a path.
    Install {
        /// Where to.
        device: String,
        /// Once it is installed, the machine boots from its disk.
        once: bool,
    },
}

/// Why a file of rules cannot be used. Lines and columns start at 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct RulesError {
    /// Of the value.
    pub line: usize,
    /// Of the value.
    pub column: usize,
    /// What is wrong, and what would be right.
    pub message: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRules {
    #[serde(default)]
    rule: Vec<Spanned<RawRule>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawRule {
    r#match: Option<Spanned<String>>,
    mac: Option<Spanned<OneOrMore>>,
    uuid: Option<Spanned<OneOrMore>>,
    serial: Option<Spanned<OneOrMore>>,
    version: Option<Spanned<String>>,
    channel: Option<Spanned<String>>,
    kernel: Option<Spanned<String>>,
    initrd: Option<Spanned<OneOrMore>>,
    uki: Option<Spanned<String>>,
    http_boot: Option<Spanned<String>>,
    user_data: Option<Spanned<String>>,
    options: Option<Spanned<String>>,
    boot: Option<Spanned<String>>,
    install: Option<Spanned<String>>,
    device: Option<Spanned<String>>,
    sshkeys: Option<Spanned<OneOrMore>>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a text or a list of texts")]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl OneOrMore {
    fn values(&self) -> &[String] {
        match self {
            Self::One(value) => std::slice::from_ref(value),
            Self::More(values) => values,
        }
    }
}

/// A problem with its place in the text.
type Problem = (Range<usize>, String);

impl Rules {
    /// Parses rules. Paths of user-data are relative to `folder`.
    ///
    /// # Errors
    /// The first problem, with its line.
    pub fn parse(text: &str, folder: &Path) -> Result<Self, RulesError> {
        let located = |(span, message): Problem| RulesError::at(text, &span, message);
        if text.len() > RULES_BYTES {
            return Err(located((0..0, format!("the file has more than {RULES_BYTES} bytes"))));
        }
        let raw: RawRules = toml::from_str(text)
            .map_err(|error| located((error.span().unwrap_or(0..0), error.message().to_owned())))?;
        if let Some(rule) = raw.rule.get(RULES) {
            return Err(located((rule.span(), format!("more than {RULES} rules"))));
        }
        let rules: Result<Vec<Rule>, Problem> = raw.rule.iter().map(|rule| read_rule(rule, folder)).collect();
        rules.map(Self).map_err(located)
    }

    /// One rule for all machines: the newest image as a live system.
    #[must_use]
    pub fn live(user_data: Option<PathBuf>) -> Self {
        let image = ImageChoice::Newest { version: None, channel: None };
        let (selector, options, ssh_keys) = (Selector::default(), Vec::new(), Vec::new());
        let (boot, prefers_uki) = (Boot::Live, false);
        Self(vec![Rule { selector, image, user_data, options, boot, prefers_uki, ssh_keys }])
    }

    /// All rules.
    pub fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.0.iter()
    }

    /// The first rule that matches. What is not known of the machine matches nothing.
    #[must_use]
    pub fn find(&self, machine: &Identity<'_>) -> Option<&Rule> {
        self.iter().find(|rule| rule.selector.matches(machine))
    }

    /// Whether [`Rules::find`] finds the same rule when the serial number is known, too.
    #[must_use]
    pub fn is_final(&self, machine: &Identity<'_>) -> bool {
        let mut before = self.iter().take_while(|rule| !rule.selector.matches(machine));
        machine.serial.is_some() || !before.any(|rule| rule.selector.matches_except_serial(machine))
    }

    /// Whether a rule names this file.
    #[must_use]
    pub fn names(&self, file: &str) -> bool {
        self.iter().any(|rule| match &rule.image {
            ImageChoice::Files(set) => {
                let initrds = set.initrds.iter().map(String::as_str);
                initrds.chain([set.kernel.as_str()]).chain(set.uki.as_deref()).any(|name| name == file)
            }
            ImageChoice::Newest { .. } => false,
        })
    }
}

impl Selector {
    fn matches(&self, machine: &Identity<'_>) -> bool {
        self.matches_except_serial(machine) && one_of(&self.serials, machine.serial)
    }

    fn matches_except_serial(&self, machine: &Identity<'_>) -> bool {
        one_of(&self.macs, machine.mac.as_ref()) && one_of(&self.uuids, machine.uuid.as_ref())
    }
}

fn one_of<T: PartialEq>(values: &[T], value: Option<&T>) -> bool {
    values.is_empty() || value.is_some_and(|value| values.contains(value))
}

impl RulesError {
    fn at(text: &str, span: &Range<usize>, message: String) -> Self {
        let before = text.get(..span.start).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|char| *char != '\n').count() + 1;
        Self { line, column, message }
    }
}

fn read_rule(raw: &Spanned<RawRule>, folder: &Path) -> Result<Rule, Problem> {
    let (span, raw) = (raw.span(), raw.get_ref());
    let selector = Selector {
        macs: parse_all(raw.mac.as_ref())?,
        uuids: parse_all(raw.uuid.as_ref())?,
        serials: parse_all(raw.serial.as_ref())?,
    };
    match &raw.r#match {
        Some(all) if all.get_ref() != "*" => {
            return Err((all.span(), "the only value of match is \"*\", for all machines".to_owned()));
        }
        Some(all) if selector != Selector::default() => {
            return Err((all.span(), "match = \"*\" excludes mac, uuid and serial".to_owned()));
        }
        None if selector == Selector::default() => {
            return Err((span, "the rule has none of mac, uuid, serial, and not match = \"*\"".to_owned()));
        }
        _ => {}
    }
    let user_data = raw.user_data.as_ref().map(|path| {
        let full = folder.join(path.get_ref());
        match full.is_file() {
            true => Ok(full),
            false => Err((path.span(), format!("{} is not a file", full.display()))),
        }
    });
    let rule = Rule {
        selector,
        image: read_image(raw)?,
        user_data: user_data.transpose()?,
        options: read_options(raw.options.as_ref())?,
        boot: read_boot(raw)?,
        prefers_uki: read_http_boot(raw)?,
        ssh_keys: read_keys(raw.sshkeys.as_ref())?,
    };
    let length = rule.options.iter().chain(&rule.ssh_keys).map(|text| text.len() + 12).sum::<usize>();
    if length > COMMAND_LINE_BYTES / 2 {
        let message = format!("options and sshkeys have {length} of the kernel's {COMMAND_LINE_BYTES} bytes");
        return Err((span, format!("{message}: put keys into user-data")));
    }
    Ok(rule)
}

fn parse_all<T>(values: Option<&Spanned<OneOrMore>>) -> Result<Vec<T>, Problem>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    let Some(values) = values else { return Ok(Vec::new()) };
    let problem = |message: String| (values.span(), message);
    if values.get_ref().values().is_empty() {
        return Err(problem("the list is empty".to_owned()));
    }
    let parsed = values.get_ref().values().iter().map(|value| value.parse());
    parsed.collect::<Result<_, _>>().map_err(|error: T::Err| problem(error.to_string()))
}

fn read_image(raw: &RawRule) -> Result<ImageChoice, Problem> {
    let text = |value: &Option<Spanned<String>>| value.as_ref().map(|value| value.get_ref().clone());
    let names = raw.initrd.as_ref().map(|names| names.get_ref().values().to_vec()).unwrap_or_default();
    let Some(kernel) = &raw.kernel else {
        let alone = raw.initrd.as_ref().map(Spanned::span).or(raw.uki.as_ref().map(Spanned::span));
        return match alone {
            Some(span) => Err((span, "initrd and uki need a kernel".to_owned())),
            None => Ok(ImageChoice::Newest { version: text(&raw.version), channel: text(&raw.channel) }),
        };
    };
    if let Some(other) = raw.version.as_ref().or(raw.channel.as_ref()) {
        return Err((other.span(), "kernel excludes version and channel".to_owned()));
    }
    Ok(ImageChoice::Files(FileSet { kernel: kernel.get_ref().clone(), initrds: names, uki: text(&raw.uki) }))
}

fn read_options(options: Option<&Spanned<String>>) -> Result<Vec<String>, Problem> {
    let Some(options) = options else { return Ok(Vec::new()) };
    if options.get_ref().chars().any(char::is_control) {
        return Err((options.span(), "options are one line without control characters".to_owned()));
    }
    Ok(options.get_ref().split_whitespace().map(str::to_owned).collect())
}

fn read_boot(raw: &RawRule) -> Result<Boot, Problem> {
    let device = match &raw.device {
        None => "smallest".to_owned(),
        Some(device) => {
            let path = device.get_ref();
            let is_path = path.starts_with("/dev/") && path.bytes().all(|byte| byte.is_ascii_graphic());
            if path != "smallest" && (!is_path || path.contains(['"', '$'])) {
                let message = "device is \"smallest\" or a path such as \"/dev/vda\"";
                return Err((device.span(), message.to_owned()));
            }
            path.clone()
        }
    };
    let install = match &raw.install {
        None => None,
        Some(install) => match install.get_ref().as_str() {
            "no" => None,
            "once" => Some(Boot::Install { device, once: true }),
            "always" => Some(Boot::Install { device, once: false }),
            _ => return Err((install.span(), "install is \"no\", \"once\" or \"always\"".to_owned())),
        },
    };
    if let (Some(device), None) = (&raw.device, &install) {
        return Err((device.span(), "device needs install = \"once\" or \"always\"".to_owned()));
    }
    let Some(boot) = &raw.boot else { return Ok(install.unwrap_or(Boot::Live)) };
    match (boot.get_ref().as_str(), install) {
        ("network", install) => Ok(install.unwrap_or(Boot::Live)),
        ("disk", None) => Ok(Boot::Disk),
        ("disk", Some(_)) => Err((boot.span(), "a machine that boots from disk installs nothing".to_owned())),
        _ => Err((boot.span(), "boot is \"network\" or \"disk\"".to_owned())),
    }
}

/// A UKI that the rule names is preferred.
fn read_http_boot(raw: &RawRule) -> Result<bool, Problem> {
    let Some(http_boot) = &raw.http_boot else { return Ok(raw.uki.is_some()) };
    match http_boot.get_ref().as_str() {
        "uki" if raw.kernel.is_some() && raw.uki.is_none() => {
            Err((http_boot.span(), "http-boot = \"uki\" with kernel needs uki, the file's name".to_owned()))
        }
        "uki" => Ok(true),
        "ipxe" => Ok(false),
        _ => Err((http_boot.span(), "http-boot is \"ipxe\" or \"uki\"".to_owned())),
    }
}

fn read_keys(keys: Option<&Spanned<OneOrMore>>) -> Result<Vec<String>, Problem> {
    let Some(keys) = keys else { return Ok(Vec::new()) };
    let values = keys.get_ref().values();
    let is_key =
        |key: &&String| key.contains(' ') && !key.contains(['"', '$']) && !key.contains(char::is_control);
    if values.len() > SSH_KEYS {
        return Err((keys.span(), format!("more than {SSH_KEYS} keys: put them into user-data")));
    }
    if let Some(other) = values.iter().find(|key| !is_key(key)) {
        let excerpt: String = other.chars().take(20).collect();
        let message =
            format!("`{excerpt}` is not the line of a public key, such as ssh-ed25519 AAAA... name");
        return Err((keys.span(), message));
    }
    Ok(values.to_vec())
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
