//! Files: what `write_files` says, and what settings become files.

use std::rc::Rc;

use super::step::{Action, Facts, FileWrite, Part, Plan};
use crate::check::{Checked, CheckedOem, CheckedUpdate};
use crate::schema::FLANNEL;
use crate::template::Addresses;

const DEFAULT_MODE: u32 = 0o644;
const ENVIRONMENT_PATH: &str = "/etc/environment";
const HOSTS_PATH: &str = "/etc/hosts";
const OEM_RELEASE_PATH: &str = "/etc/oem-release";
const UPDATE_CONF_PATH: &str = "/etc/coreos/update.conf";
const FLANNEL_PATH: &str = "/run/flannel/options.env";

pub(super) fn plan(checked: &Checked, addresses: &Addresses, facts: &Facts, plan: &mut Plan) {
    for file in &checked.files {
        let write = FileWrite {
            path: file.path.clone(),
            mode: file.mode,
            owner: file.owner.clone(),
            content: file.content.clone(),
            part: Part::File,
        };
        plan.push(Action::Write(write), "named in write_files");
    }
    if let Some(oem) = &checked.oem {
        plan.push(text(OEM_RELEASE_PATH, oem_release(oem)), "coreos.oem");
    }
    if let Some(conf) = update_conf(&facts.update_conf, &checked.update) {
        plan.push(text(UPDATE_CONF_PATH, conf), "coreos.update");
    }
    if checked.manage_etc_hosts {
        let name = checked.hostname.as_ref().unwrap_or(&facts.hostname);
        let given = &facts.given_hosts;
        let hosts = format!("127.0.0.1 localhost\n127.0.0.1 {name}\n::1 localhost\n{given}");
        plan.push(text(HOSTS_PATH, hosts), "manage_etc_hosts is localhost");
    }
    flannel(checked, plan);
    if !checked.files.iter().any(|file| file.path == ENVIRONMENT_PATH)
        && let Some(merged) = environment(&facts.environment, addresses)
    {
        plan.push(text(ENVIRONMENT_PATH, merged), "the machine's addresses");
    }
}

fn text(path: &str, content: String) -> Action {
    Action::Write(FileWrite {
        path: path.to_owned(),
        mode: DEFAULT_MODE,
        owner: String::new(),
        content: Rc::from(content.into_bytes()),
        part: Part::File,
    })
}

fn flannel(checked: &Checked, plan: &mut Plan) {
    let options = checked.services.iter().find(|options| options.service.block == FLANNEL.block);
    let lines: Vec<_> = options
        .iter()
        .flat_map(|options| options.variables.iter().map(|(name, value)| format!("{name}={value}")))
        .collect();
    if !lines.is_empty() {
        // No line break at the end: as the last release wrote it.
        plan.push(text(FLANNEL_PATH, lines.join("\n")), "coreos.flannel");
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

/// The update settings put into the text that is there; `None` if there are none.
fn update_conf(old: &str, update: &CheckedUpdate) -> Option<String> {
    let settings = [
        ("GROUP", update.group.as_deref()),
        ("REBOOT_STRATEGY", update.reboot_strategy.as_deref()),
        ("SERVER", update.server.as_deref()),
    ];
    let set: Vec<_> = settings.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
    (!set.is_empty()).then(|| assign(old, &set))
}

/// The addresses put into the text that is there; `None` if that changes nothing.
fn environment(old: &str, addresses: &Addresses) -> Option<String> {
    let known: Vec<_> =
        addresses.each().into_iter().filter_map(|(_, key, value)| Some((key, value?))).collect();
    if known.is_empty() {
        return None;
    }
    let merged = assign(old, &known);
    (merged != old).then_some(merged)
}

/// `KEY=value` in place of the first line with that key, else at the end. Other lines stay.
fn assign(old: &str, settings: &[(&str, &str)]) -> String {
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
    fn settings_are_put_in_place() {
        for (old, expect) in [
            ("", "A=1\nB=2\n"),
            ("B=old\r\nX=y", "B=2\nX=y\nA=1\n"),
            ("A_X=keep\nA=0\nA=later\n#B=3\n", "A_X=keep\nA=1\nA=later\n#B=3\nB=2\n"),
        ] {
            assert_eq!(assign(old, &[("A", "1"), ("B", "2")]), expect);
        }
    }

    #[test]
    fn an_environment_that_is_right_is_left_alone() {
        let addresses = Addresses { private_ipv4: Some("10.0.0.1".into()), ..Addresses::default() };
        let merged = environment("X=1\n", &addresses).unwrap();
        assert_eq!(merged, "X=1\nCOREOS_PRIVATE_IPV4=10.0.0.1\n");
        assert_eq!(environment(&merged, &addresses), None);
        assert_eq!(environment("", &Addresses::default()), None);
    }
}
