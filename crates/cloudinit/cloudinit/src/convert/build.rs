//! Builds the Butane document from the plan of a new machine: one entry for each step with a counterpart.

use std::collections::{BTreeMap, BTreeSet};

use super::document::{
    Contents, Document, DropIn, File, Group, Header, Link, Owner, Passwd, Storage, Systemd, Unit, User,
    VARIANT, VERSION,
};
use super::ignition::{data_url, text};
use crate::check::{Account, Checked};
use crate::file_source::FileSource;
use crate::plan::{
    Action, CERTIFICATES_PATH, FLANNEL_PATH, FileKind, FileWrite, Plan, SERVICE_DROP_IN, UPDATE_CONF_PATH,
    environment,
};
use crate::schema::FLANNEL;

const FILE_MODE: u32 = 0o644;
/// Ignition 3.3 sets only these bits.
pub(super) const PERMISSION_BITS: u32 = 0o777;
const HOSTNAME_PATH: &str = "/etc/hostname";
pub(super) const HOSTS_PATH: &str = "/etc/hosts";
const LOCAL_TIME_PATH: &str = "/etc/localtime";
const ZONEINFO_DIRECTORY: &str = "../usr/share/zoneinfo";
const NULL_DEVICE: &str = "/dev/null";
const UNITS: &str = "/etc/systemd/system";
const NETWORK_FILES: &str = "/etc/systemd/network";
/// Flatcar's update settings. `/etc/coreos` is a symlink there, which Ignition would replace by a directory.
const FLATCAR_UPDATE_CONF: &str = "/etc/flatcar/update.conf";
/// Flatcar reads the first certificate of each `.pem` file in this directory.
const FLATCAR_CERTIFICATES: &str = "/etc/ssl/certs";
/// Flatcar's flanneld reads the variables from its unit, not from a file in `/run`.
const FLANNEL_UNIT: &str = "flanneld.service";
pub(super) const DROP_IN_SUFFIX: &str = ".conf";
/// Users that exist on every system.
const KNOWN_USERS: [&str; 2] = ["core", "root"];

/// Whether `path` is covered by a mount on the running system, which hides files that Ignition wrote.
pub(super) fn is_volatile(path: &str) -> bool {
    ["/run/", "/tmp/", "/dev/", "/proc/", "/sys/"].iter().any(|directory| path.starts_with(directory))
}

/// Whether the user exists or is created.
pub(super) fn is_known(user: &str, checked: &Checked) -> bool {
    KNOWN_USERS.contains(&user) || checked.users.iter().any(|account| account.name == user)
}

pub(super) fn document(plan: &Plan, checked: &Checked) -> Document {
    let mut build = Build {
        document: Document {
            variant: VARIANT,
            version: VERSION,
            passwd: Passwd::default(),
            storage: Storage::default(),
            systemd: Systemd::default(),
        },
        checked,
        users: BTreeMap::new(),
        units: BTreeMap::new(),
        files: BTreeMap::new(),
    };
    for step in &plan.steps {
        build.step(&step.action);
    }
    build.flannel();
    build.certificates();
    build.remove_conflicts()
}

struct Build<'a> {
    document: Document,
    checked: &'a Checked,
    /// Index of each user in its list, by name.
    users: BTreeMap<String, usize>,
    units: BTreeMap<String, usize>,
    files: BTreeMap<String, usize>,
}

impl Build<'_> {
    fn step(&mut self, action: &Action) {
        match action {
            Action::Hostname { name } => self.file(root_file(HOSTNAME_PATH, format!("{name}\n").as_bytes())),
            Action::UserAdd { name, .. } => {
                if let Some(account) = self.checked.users.iter().find(|account| account.name == *name) {
                    fill_user(account, self.user(name));
                }
            }
            Action::GroupAdd { name } => self.document.passwd.groups.push(Group { name: name.clone() }),
            Action::GroupMember { group, user } => {
                if is_known(user, self.checked) {
                    extend_unique(&mut self.user(user).groups, std::slice::from_ref(group));
                }
            }
            Action::Password { name, hash } => self.user(name).password_hash = Some(hash.0.clone()),
            Action::SshKeys { user, keys, .. } => {
                // As in a run, the last set of keys with the same name wins.
                let authorized = &mut self.user(user).ssh_authorized_keys;
                authorized.clear();
                extend_unique(authorized, keys);
            }
            Action::TimeZone { name } => self.link(LOCAL_TIME_PATH, format!("{ZONEINFO_DIRECTORY}/{name}")),
            Action::Write(write) => self.write(write),
            Action::Fetch { write, from, .. } => self.plain_file(write, remote_contents(from)),
            Action::Mask { path } => self.mask(path),
            Action::Enable { unit, .. } => self.unit(unit).enabled = true,
            // Steps for a running machine, and those that `unsupported` reports. New users have no password
            // to lock.
            Action::Unmask { .. }
            | Action::LockPassword { .. }
            | Action::DaemonReload
            | Action::Unit { .. }
            | Action::Script { .. }
            | Action::ImportKeys { .. }
            | Action::InterfaceDown { .. }
            | Action::Modprobe { .. } => {}
        }
    }

    fn user(&mut self, name: &str) -> &mut User {
        let users = &mut self.document.passwd.users;
        let at = *self.users.entry(name.to_owned()).or_insert(users.len());
        if at == users.len() {
            users.push(User { name: name.to_owned(), ..User::default() });
        }
        &mut users[at]
    }

    fn unit(&mut self, name: &str) -> &mut Unit {
        let units = &mut self.document.systemd.units;
        let at = *self.units.entry(name.to_owned()).or_insert(units.len());
        if at == units.len() {
            units.push(Unit { name: name.to_owned(), ..Unit::default() });
        }
        &mut units[at]
    }

    fn write(&mut self, write: &FileWrite) {
        match &write.kind {
            FileKind::Unit { name, network: false } => self.unit(name).contents = Some(lossy(&write.content)),
            FileKind::DropIn { unit, name, network: false } if name.ends_with(DROP_IN_SUFFIX) => {
                self.drop_in(unit, name, lossy(&write.content));
            }
            FileKind::DropIn { network: false, .. } => {}
            FileKind::Unit { name, .. } => {
                self.file(root_file(&format!("{NETWORK_FILES}/{name}"), &write.content));
            }
            FileKind::DropIn { unit, name, .. } => {
                self.file(root_file(&format!("{NETWORK_FILES}/{unit}.d/{name}"), &write.content));
            }
            FileKind::File | FileKind::CreateOnly | FileKind::Append { .. } | FileKind::Sudoers => {
                self.plain_file(write, contents(&write.content));
            }
        }
    }

    fn plain_file(&mut self, write: &FileWrite, contents: Contents) {
        let path = match &*write.path {
            CERTIFICATES_PATH | FLANNEL_PATH => return,
            HOSTS_PATH if self.checked.manage_etc_hosts && self.checked.hostname.is_none() => return,
            UPDATE_CONF_PATH => FLATCAR_UPDATE_CONF,
            path if is_volatile(path) => return,
            path => path,
        };
        let (user, group) = owner(&write.owner);
        let mode = Some(write.mode & PERMISSION_BITS);
        let path = path.to_owned();
        self.file(match write.kind {
            FileKind::Append { keeps_mode } => {
                let mode = mode.filter(|_| !keeps_mode);
                File { path, append: vec![contents], mode, user, group, ..File::default() }
            }
            FileKind::CreateOnly => {
                File { path, contents: Some(contents), mode, user, group, ..File::default() }
            }
            _ => {
                File { path, overwrite: true, contents: Some(contents), mode, user, group, ..File::default() }
            }
        });
    }

    /// The last file for a path wins, but appended content accumulates.
    fn file(&mut self, file: File) {
        let files = &mut self.document.storage.files;
        let at = *self.files.entry(file.path.clone()).or_insert(files.len());
        match files.get_mut(at) {
            None => files.push(file),
            Some(known) if file.contents.is_none() => known.append.extend(file.append),
            Some(known) => *known = file,
        }
    }

    fn link(&mut self, path: &str, target: String) {
        self.document.storage.links.retain(|link| link.path != path);
        self.document.storage.links.push(Link { path: path.to_owned(), overwrite: true, target });
    }

    fn drop_in(&mut self, unit: &str, name: &str, contents: String) {
        let dropins = &mut self.unit(unit).dropins;
        dropins.retain(|known| known.name != name);
        dropins.push(DropIn { name: name.to_owned(), contents });
    }

    /// As in a run, masking discards the unit's content.
    fn mask(&mut self, path: &str) {
        let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
        if directory.ends_with("/network") {
            self.link(&format!("{NETWORK_FILES}/{name}"), NULL_DEVICE.to_owned());
            return;
        }
        let unit = self.unit(name);
        unit.mask = true;
        unit.contents = None;
    }

    fn flannel(&mut self) {
        let checked = self.checked;
        let options = checked.services.iter().find(|options| options.service.block == FLANNEL.block);
        if let Some(options) = options.filter(|options| !options.variables.is_empty()) {
            self.drop_in(FLANNEL_UNIT, SERVICE_DROP_IN, environment(&options.variables));
        }
    }

    fn certificates(&mut self) {
        for (number, certificate) in self.checked.system.certificates.iter().enumerate() {
            let path = format!("{FLATCAR_CERTIFICATES}/20-cloudinit-{}.pem", number + 1);
            self.file(root_file(&path, certificate.as_bytes()));
        }
    }

    /// Ignition refuses duplicate paths. As in a run, units override files.
    fn remove_conflicts(mut self) -> Document {
        let mut taken: BTreeSet<String> = BTreeSet::new();
        for unit in &self.document.systemd.units {
            if unit.contents.is_some() || unit.mask {
                taken.insert(format!("{UNITS}/{}", unit.name));
            }
            taken.extend(
                unit.dropins.iter().map(|drop_in| format!("{UNITS}/{}.d/{}", unit.name, drop_in.name)),
            );
        }
        taken.extend(self.document.storage.links.iter().map(|link| link.path.clone()));
        self.document.storage.files.retain(|file| !taken.contains(&file.path));
        self.document
    }
}

fn fill_user(account: &Account, user: &mut User) {
    let uid = account.uid.as_ref().and_then(|uid| uid.parse().ok());
    *user = User {
        name: account.name.clone(),
        uid,
        gecos: account.gecos.clone(),
        home_dir: account.homedir.clone(),
        no_create_home: account.no_create_home,
        primary_group: account.primary_group.clone(),
        no_user_group: account.no_user_group,
        no_log_init: account.no_log_init,
        shell: account.shell.clone(),
        system: account.system,
        ..User::default()
    };
    extend_unique(&mut user.groups, &account.groups);
}

/// Appends values without duplicates, which Ignition refuses.
fn extend_unique(list: &mut Vec<String>, more: &[String]) {
    for one in more {
        if !list.contains(one) {
            list.push(one.clone());
        }
    }
}

fn root_file(path: &str, content: &[u8]) -> File {
    File {
        path: path.to_owned(),
        overwrite: true,
        contents: Some(contents(content)),
        mode: Some(FILE_MODE),
        ..File::default()
    }
}

fn contents(content: &[u8]) -> Contents {
    match text(content) {
        Some(text) => Contents::Inline { inline: text.to_owned() },
        None => Contents::Source { source: data_url(content), http_headers: Vec::new() },
    }
}

fn remote_contents(from: &FileSource) -> Contents {
    let header = |(name, value): &(String, String)| Header { name: name.clone(), value: value.clone() };
    Contents::Source { source: from.url.clone(), http_headers: from.headers.iter().map(header).collect() }
}

/// Parses the syntax of `chown`: names or IDs, either of which may be missing.
fn owner(text: &str) -> (Option<Owner>, Option<Owner>) {
    let one = |text: &str| match text.parse() {
        _ if text.is_empty() => None,
        Ok(id) => Some(Owner::Id { id }),
        Err(_) => Some(Owner::Name { name: text.to_owned() }),
    };
    let (user, group) = text.split_once(':').unwrap_or((text, ""));
    (one(user), one(group))
}

/// Units are text in Butane.
fn lossy(content: &[u8]) -> String {
    String::from_utf8_lossy(content).into_owned()
}
