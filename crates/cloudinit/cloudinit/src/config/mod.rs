//! Cloud-config as typed values, as lenient as the last CoreOS release: a field of the wrong type keeps its
//! zero value and the rest still counts (contract 1.3).
//!
//! Nothing is judged here; that is `check`'s.

mod number;
mod read;
mod recover;

use std::sync::Arc;

use crate::schema::Service;
use crate::yaml::Location;

pub use read::read;
pub use recover::keys_before_error;

/// A text that is set, and where.
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
    /// For the shell.
    Shell(Text),
    /// A program and its arguments, as they are.
    Exec(Vec<Text>),
}

#[derive(Debug, Clone)]
pub struct User {
    pub location: Location,
    pub name: Option<Text>,
    pub passwd: Option<Text>,
    pub ssh_authorized_keys: Vec<Text>,
    /// Keys that are fetched from elsewhere.
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

/// Keys that are fetched when the config is applied.
#[derive(Debug, Clone)]
pub struct Import {
    /// As it is written in the document, with `_`.
    pub key: &'static str,
    pub from: ImportFrom,
    /// A user of GitHub, or a URL.
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
    /// Added to what is there.
    pub append: bool,
    /// Left alone if it is there.
    pub keep: bool,
    /// Written after the units.
    pub defer: bool,
    /// Its content is fetched when the config is applied.
    pub source: Option<Source>,
}

#[derive(Debug, Clone)]
pub struct Source {
    pub location: Location,
    pub uri: Option<Text>,
    pub headers: Vec<Header>,
}

/// Of a request.
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

/// The options of one service that are set, in the order of its table.
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
    /// Pools first: both are only names to ask.
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
