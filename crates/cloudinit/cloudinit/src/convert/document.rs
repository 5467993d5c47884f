//! The Butane document, with the field names of variant flatcar, version 1.0.0.
//!
//! No type implements `Debug`: they contain password hashes and file contents.

use std::ops::Not;

use serde::Serialize;

pub const VARIANT: &str = "flatcar";
pub const VERSION: &str = "1.0.0";

#[derive(Serialize)]
pub struct Document {
    pub variant: &'static str,
    pub version: &'static str,
    #[serde(skip_serializing_if = "Passwd::is_empty")]
    pub passwd: Passwd,
    #[serde(skip_serializing_if = "Storage::is_empty")]
    pub storage: Storage,
    #[serde(skip_serializing_if = "Systemd::is_empty")]
    pub systemd: Systemd,
}

#[derive(Default, Serialize)]
pub struct Passwd {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<User>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<Group>,
}

#[derive(Default, Serialize)]
pub struct User {
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_hash: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ssh_authorized_keys: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gecos: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub home_dir: Option<String>,
    #[serde(skip_serializing_if = "Not::not")]
    pub no_create_home: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub primary_group: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    #[serde(skip_serializing_if = "Not::not")]
    pub no_user_group: bool,
    #[serde(skip_serializing_if = "Not::not")]
    pub no_log_init: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shell: Option<String>,
    #[serde(skip_serializing_if = "Not::not")]
    pub system: bool,
}

#[derive(Serialize)]
pub struct Group {
    pub name: String,
}

#[derive(Default, Serialize)]
pub struct Storage {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<File>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<Link>,
}

#[derive(Default, Serialize)]
pub struct File {
    pub path: String,
    #[serde(skip_serializing_if = "Not::not")]
    pub overwrite: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contents: Option<Contents>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub append: Vec<Contents>,
    /// Permission bits only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<Owner>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<Owner>,
}

#[derive(Serialize)]
#[serde(untagged)]
pub enum Contents {
    /// Supported by Butane only.
    Inline { inline: String },
    /// A `data:` URL, or a remote one.
    Source {
        source: String,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        http_headers: Vec<Header>,
    },
}

#[derive(Serialize)]
pub struct Header {
    pub name: String,
    pub value: String,
}

#[derive(Serialize)]
#[serde(untagged)]
pub enum Owner {
    Id { id: u32 },
    Name { name: String },
}

#[derive(Serialize)]
pub struct Link {
    pub path: String,
    pub overwrite: bool,
    pub target: String,
}

#[derive(Default, Serialize)]
pub struct Systemd {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub units: Vec<Unit>,
}

#[derive(Default, Serialize)]
pub struct Unit {
    pub name: String,
    #[serde(skip_serializing_if = "Not::not")]
    pub enabled: bool,
    #[serde(skip_serializing_if = "Not::not")]
    pub mask: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contents: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dropins: Vec<DropIn>,
}

#[derive(Serialize)]
pub struct DropIn {
    pub name: String,
    pub contents: String,
}

impl Passwd {
    fn is_empty(&self) -> bool {
        self.users.is_empty() && self.groups.is_empty()
    }
}

impl Storage {
    fn is_empty(&self) -> bool {
        self.files.is_empty() && self.links.is_empty()
    }
}

impl Systemd {
    fn is_empty(&self) -> bool {
        self.units.is_empty()
    }
}
