//! Cloud-config as typed values, parsed as leniently as the last CoreOS release: a field of the wrong type
//! keeps its zero value and does not affect the others (contract 1.3).
//!
//! Values are not validated here; see `check`.

mod number;
mod read;
mod recover;

use std::sync::Arc;

use crate::schema::Service;
use crate::yaml::Location;

pub use read::read;
pub use recover::keys_before_error;

/// A non-empty text and its location.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    pub text: Arc<str>,
    pub location: Location,
}

#[derive(Debug, Clone, Default)]
pub struct CloudConfig {
    pub hostname: Option<Text>,
    pub ssh_authorized_keys: Vec<Text>,
    pub users: Vec<User>,
    pub files: Vec<File>,
    pub manage_etc_hosts: Option<Text>,
    pub units: Vec<Unit>,
    pub services: Vec<ServiceOptions>,
    pub update: Update,
    pub oem: Oem,
    pub groups: Vec<Group>,
    pub commands: Vec<Command>,
    pub timezone: Option<Text>,
    pub locale: Option<Text>,
    pub ntp: Ntp,
    pub certificates: Vec<Text>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    pub name: Text,
    pub members: Vec<Text>,
}

/// One entry of `runcmd`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Passed to the shell.
    Shell(Text),
    /// Program and arguments, executed without a shell.
    Exec(Vec<Text>),
}

#[derive(Debug, Clone)]
pub struct User {
    pub location: Location,
    pub name: Option<Text>,
    pub passwd: Option<Text>,
    pub ssh_authorized_keys: Vec<Text>,
    /// Keys to fetch from elsewhere.
    pub imports: Vec<Import>,
    pub gecos: Option<Text>,
    pub homedir: Option<Text>,
    pub no_create_home: bool,
    pub primary_group: Option<Text>,
    pub groups: Vec<Text>,
    pub no_user_group: bool,
    pub system: bool,
    pub no_log_init: bool,
    pub shell: Option<Text>,
    pub uid: Option<Text>,
    pub lock_passwd: bool,
    pub sudo: Vec<Text>,
}

/// SSH keys to fetch when the config is applied.
#[derive(Debug, Clone)]
pub struct Import {
    /// The key in the document, with `_` for `-`.
    pub key: &'static str,
    pub from: ImportFrom,
    /// A GitHub user name or a URL.
    pub text: Text,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImportFrom {
    GitHub,
    Url,
}

#[derive(Debug, Clone)]
pub struct File {
    pub location: Location,
    pub path: Option<Text>,
    pub content: Option<Content>,
    pub permissions: Option<Text>,
    pub owner: Option<Text>,
    pub encoding: Option<Text>,
    /// Whether the content is appended to an existing file.
    pub append: bool,
    /// Whether an existing file is kept unchanged.
    pub keep: bool,
    /// Whether the file is written after the units.
    pub defer: bool,
    /// Where to download the content when the config is applied.
    pub source: Option<Source>,
}

#[derive(Debug, Clone)]
pub struct Source {
    pub location: Location,
    pub uri: Option<Text>,
    pub headers: Vec<Header>,
}

#[derive(Debug, Clone)]
pub struct Header {
    pub name: Text,
    pub value: Text,
}

#[derive(Debug, Clone)]
pub struct Content {
    pub bytes: Arc<[u8]>,
    pub location: Location,
}

#[derive(Debug, Clone)]
pub struct Unit {
    pub location: Location,
    pub name: Option<Text>,
    pub mask: bool,
    pub enable: bool,
    pub runtime: bool,
    pub content: Option<Text>,
    pub command: Option<Text>,
    pub drop_ins: Vec<DropIn>,
}

#[derive(Debug, Clone)]
pub struct DropIn {
    pub location: Location,
    pub name: Option<Text>,
    pub content: Option<Text>,
}

/// The options of a service that are set, in the order of its table.
#[derive(Debug, Clone)]
pub struct ServiceOptions {
    pub service: Service,
    pub variables: Vec<Variable>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    pub name: String,
    pub value: Text,
}

#[derive(Debug, Clone, Default)]
pub struct Update {
    pub reboot_strategy: Option<Text>,
    pub group: Option<Text>,
    pub server: Option<Text>,
}

#[derive(Debug, Clone, Default)]
pub struct Ntp {
    pub disabled: bool,
    /// Pools first, then servers: both are plain names.
    pub servers: Vec<Text>,
}

#[derive(Debug, Clone, Default)]
pub struct Oem {
    pub id: Option<Text>,
    pub name: Option<Text>,
    pub version_id: Option<Text>,
    pub home_url: Option<Text>,
    pub bug_report_url: Option<Text>,
}
