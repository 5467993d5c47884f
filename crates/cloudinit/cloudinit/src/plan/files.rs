//! Plans `write_files`, and the files that other settings are stored in.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::step::{Action, Facts, FileKind, FileWrite, Plan};
use crate::check::{Checked, CheckedFile, CheckedOem, CheckedSource, CheckedUpdate, System, WriteMode};
use crate::schema::FLANNEL;
use crate::template::Addresses;

const DEFAULT_MODE: u32 = 0o644;
const ENVIRONMENT_PATH: &str = "/etc/environment";
const HOSTS_PATH: &str = "/etc/hosts";
const OEM_RELEASE_PATH: &str = "/etc/oem-release";
pub(crate) const UPDATE_CONF_PATH: &str = "/etc/coreos/update.conf";
const LOCALE_PATH: &str = "/etc/locale.conf";
pub(super) const TIME_SERVERS_PATH: &str = "/etc/systemd/timesyncd.conf.d/20-cloudinit.conf";
pub(crate) const CERTIFICATES_PATH: &str = "/etc/ca-certificates/20-cloudinit.crt";
pub(crate) const FLANNEL_PATH: &str = "/run/flannel/options.env";

/// Returns the deferred files, which are written after the units.
pub(super) fn plan(checked: &Checked, addresses: &Addresses, facts: &Facts, plan: &mut Plan) -> Vec<Action> {
    let (deferred, now): (Vec<_>, Vec<_>) =
        merge_by_path(&checked.files, plan).into_iter().partition(|file| file.deferred);
    for file in now {
        plan.push(write_files_action(file), "named in write_files");
    }
    if let Some(oem) = &checked.oem {
        plan.push(text_file(OEM_RELEASE_PATH, oem_release(oem)), "coreos.oem");
    }
    if let Some(conf) = update_conf(&facts.update_conf, &checked.update) {
        plan.push(text_file(UPDATE_CONF_PATH, conf), "coreos.update");
    }
    if checked.manage_etc_hosts {
        let name = checked.hostname.as_ref().unwrap_or(&facts.hostname);
        let extra_hosts = &facts.extra_hosts;
        let hosts = format!("127.0.0.1 localhost\n127.0.0.1 {name}\n::1 localhost\n{extra_hosts}");
        plan.push(text_file(HOSTS_PATH, hosts), "manage_etc_hosts is localhost");
    }
    flannel(checked, plan);
    system(&checked.system, facts, plan);
    if !checked.files.iter().any(|file| file.path == ENVIRONMENT_PATH)
        && let Some(merged) = environment(&facts.environment, addresses)
    {
        plan.push(text_file(ENVIRONMENT_PATH, merged), "the machine's addresses");
    }
    deferred.into_iter().map(write_files_action).collect()
}

fn write_files_action(file: CheckedFile) -> Action {
    let kind = match file.write_mode {
        WriteMode::Replace => FileKind::File,
        WriteMode::Keep => FileKind::CreateOnly,
        WriteMode::Append { keeps_mode } => FileKind::Append { keeps_mode },
    };
    let CheckedFile { path, mode, owner, content, source, .. } = file;
    let write = FileWrite { path, mode, owner, content, kind };
    match source {
        Some(CheckedSource { from, has_fallback }) => Action::Fetch { write, from, has_fallback },
        None => Action::Write(write),
    }
}

/// Merges content appended to a file of the same config: in separate steps the file would change twice in
/// each run.
fn merge_by_path(files: &[CheckedFile], plan: &mut Plan) -> Vec<CheckedFile> {
    let mut kept: Vec<CheckedFile> = Vec::with_capacity(files.len());
    let mut locations: BTreeMap<&str, usize> = BTreeMap::new();
    let mut appended: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
    for file in files {
        let before = locations.get(&*file.path).copied();
        match (file.write_mode, before) {
            (WriteMode::Append { .. }, Some(at))
                if kept[at].write_mode != WriteMode::Keep
                    && kept[at].source.is_none()
                    && file.source.is_none() =>
            {
                appended
                    .entry(at)
                    .or_insert_with(|| kept[at].content.to_vec())
                    .extend_from_slice(&file.content);
            }
            (WriteMode::Keep, Some(_)) => {
                plan.notes.push(format!("Skipping {}: an earlier entry writes it", file.path));
            }
            _ => {
                locations.insert(&file.path, kept.len());
                kept.push(file.clone());
            }
        }
    }
    for (at, content) in appended {
        kept[at].content = content.into();
    }
    kept
}

fn text_file(path: &str, content: String) -> Action {
    Action::Write(FileWrite {
        path: path.to_owned(),
        mode: DEFAULT_MODE,
        owner: String::new(),
        content: Arc::from(content.into_bytes()),
        kind: FileKind::File,
    })
}

fn system(system: &System, facts: &Facts, plan: &mut Plan) {
    if let Some(name) = &system.timezone {
        plan.push(Action::TimeZone { name: name.clone() }, "timezone");
    }
    if let Some(locale) = &system.locale {
        plan.push(text_file(LOCALE_PATH, set_variables(&facts.locale_conf, &[("LANG", locale)])), "locale");
    }
    if !system.time_servers.is_empty() {
        let content = format!("[Time]\nNTP={}\n", system.time_servers.join(" "));
        plan.push(text_file(TIME_SERVERS_PATH, content), "ntp");
    }
    if !system.certificates.is_empty() {
        // A path unit watches this file and rebuilds the certificate bundle.
        plan.push(text_file(CERTIFICATES_PATH, system.certificates.concat()), "ca_certs");
    }
}

fn flannel(checked: &Checked, plan: &mut Plan) {
    let options = checked.services.iter().find(|options| options.service.block == FLANNEL.block);
    let lines: Vec<_> = options
        .iter()
        .flat_map(|options| options.variables.iter().map(|(name, value)| format!("{name}={value}")))
        .collect();
    if !lines.is_empty() {
        // No trailing line break, for compatibility with the last CoreOS release.
        plan.push(text_file(FLANNEL_PATH, lines.join("\n")), "coreos.flannel");
    }
}

fn oem_release(oem: &CheckedOem) -> String {
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
    format!(
        "ID={}\nVERSION_ID={}\nNAME=\"{}\"\nHOME_URL=\"{}\"\nBUG_REPORT_URL=\"{}\"\n",
        oem.id,
        oem.version_id,
        quoted(&oem.name),
        quoted(&oem.home_url),
        quoted(&oem.bug_report_url)
    )
}

/// Merges the update settings into the existing text; `None` if none is set.
fn update_conf(old: &str, update: &CheckedUpdate) -> Option<String> {
    let settings = [
        ("GROUP", update.group.as_deref()),
        ("REBOOT_STRATEGY", update.reboot_strategy.as_deref()),
        ("SERVER", update.server.as_deref()),
    ];
    let set: Vec<_> = settings.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
    (!set.is_empty()).then(|| set_variables(old, &set))
}

/// Merges the addresses into the existing text; `None` if it does not change.
fn environment(old: &str, addresses: &Addresses) -> Option<String> {
    let known: Vec<_> =
        addresses.entries().into_iter().filter_map(|(_, key, value)| Some((key, value?))).collect();
    if known.is_empty() {
        return None;
    }
    let merged = set_variables(old, &known);
    (merged != old).then_some(merged)
}

/// Replaces the first line of each key with `KEY=value`, or appends it. Other lines are kept.
fn set_variables(old: &str, settings: &[(&str, &str)]) -> String {
    let mut left = settings.to_vec();
    let mut text = String::with_capacity(old.len());
    for line in old.lines() {
        let at =
            left.iter().position(|(key, _)| line.strip_prefix(key).is_some_and(|rest| rest.starts_with('=')));
        match at {
            Some(at) => {
                let (key, value) = left.remove(at);
                text.push_str(&format!("{key}={value}\n"));
            }
            None => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    for (key, value) in left {
        text.push_str(&format!("{key}={value}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_set_in_place() {
        for (old, expect) in [
            ("", "A=1\nB=2\n"),
            ("B=old\r\nX=y", "B=2\nX=y\nA=1\n"),
            ("A_X=keep\nA=0\nA=later\n#B=3\n", "A_X=keep\nA=1\nA=later\n#B=3\nB=2\n"),
        ] {
            assert_eq!(set_variables(old, &[("A", "1"), ("B", "2")]), expect);
        }
    }

    #[test]
    fn matching_environment_is_not_rewritten() {
        let addresses = Addresses { private_ipv4: Some("10.0.0.1".into()), ..Addresses::default() };
        let merged = environment("X=1\n", &addresses).unwrap();
        assert_eq!(merged, "X=1\nCOREOS_PRIVATE_IPV4=10.0.0.1\n");
        assert_eq!(environment(&merged, &addresses), None);
        assert_eq!(environment("", &Addresses::default()), None);
    }
}
