//! A dry run of user-data for a new machine: findings and steps.

use std::collections::BTreeSet;

use crate::check::Checked;
use crate::finding::{Finding, Severity};
use crate::interpretation::{Interpretation, TokenValues, interpret};
use crate::plan::{Facts, Plan, Settings, add_scripts, plan};
use crate::template::Addresses;
use crate::user_data::{Kind, UserData, decode};
use crate::validate::validate_decoded;
use crate::yaml::Location;

/// The default of `-ssh-key-name`.
const SSH_KEY_NAME: &str = "coreos-cloudinit";

#[derive(Debug, Clone)]
pub struct Preview {
    /// The value of [`Kind::name`].
    pub kind: &'static str,
    pub findings: Vec<Finding>,
    /// `None` if nothing would be applied.
    pub plan: Option<Plan>,
}

/// Addresses are unknown: their tokens are removed from the hostname and kept elsewhere.
pub fn preview(raw: &[u8]) -> Preview {
    match decode(raw.to_vec()) {
        Ok(user_data) => Preview {
            kind: user_data.kind.name(),
            findings: validate_decoded(&user_data),
            plan: interpret_without_addresses(&user_data)
                .map(|interpretation| plan_for_new_machine(&interpretation.checked, &interpretation.scripts)),
        },
        Err(error) => Preview {
            kind: Kind::Unknown(None).name(),
            findings: vec![Finding::new(Severity::Error, Location::START, error.to_string())],
            plan: None,
        },
    }
}

/// Plans for a new machine, on which user `core` and all groups in the config exist.
pub(crate) fn plan_for_new_machine(checked: &Checked, scripts: &[Vec<u8>]) -> Plan {
    let groups = checked.users.iter().flat_map(|user| &user.groups);
    let facts = Facts {
        users: BTreeSet::from(["core".to_owned()]),
        groups: groups.cloned().collect(),
        hostname: checked.hostname.clone().unwrap_or_default(),
        ..Facts::default()
    };
    let settings = Settings { ssh_key_name: SSH_KEY_NAME.to_owned() };
    let mut plan = plan(checked, &Addresses::default(), &facts, &settings);
    add_scripts(&mut plan, &checked.system.commands, scripts);
    plan
}

/// Returns what would be applied. In multipart user-data, malformed parts contribute only their SSH keys.
pub(crate) fn interpret_without_addresses(user_data: &UserData) -> Option<Interpretation> {
    let interpretation = interpret(user_data, TokenValues::Unknown, &mut drop);
    let is_usable = !interpretation.malformed || matches!(user_data.kind, Kind::Multipart);
    (is_usable && !interpretation.foreign).then_some(interpretation)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::print;

    fn ops(text: &str) -> Option<String> {
        preview(text.as_bytes()).plan.map(|plan| print(&plan).unwrap())
    }

    #[test]
    fn preview_lists_findings_and_steps() {
        let plan = ops("#cloud-config\nhostname: a\nwrite_files: [{path: /etc/x, content: $private_ipv4}]\n")
            .unwrap();
        assert!(plan.contains("\"op\":\"hostname\",\"name\":\"a\""), "{plan}");
        assert!(plan.contains("\"path\":\"/etc/x\",\"mode\":\"0644\",\"owner\":\"\",\"size\":13"), "{plan}");
        let parts = "Content-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: text/x-shellscript\n\n#!/bin/sh\n\
                     --x\n\n#cloud-config\nhostname: b\n--x--\n";
        let plan = ops(parts).unwrap();
        assert!(plan.contains("\"name\":\"b\"") && plan.contains("\"op\":\"script\""), "{plan}");
        let escaped = ops("#cloud-config\nwrite_files: [{path: /x, content: \\$private_ipv4}]\n").unwrap();
        assert!(escaped.contains("\"size\":13"), "{escaped}");
        assert!(ops("#!/bin/sh\n").unwrap().contains("\"op\":\"script\""));
        assert!(ops("#cloud-config\nhostname: n-$private_ipv4\n").unwrap().contains("\"name\":\"n-\""));
    }

    #[test]
    fn refused_user_data_has_no_plan() {
        for text in
            ["hello", "#cloud-config\n- a\n", "#cloud-config\na: [\n", "#cloud-config\nhostname: a b\n"]
        {
            assert!(ops(text).is_none(), "{text}");
            assert!(!preview(text.as_bytes()).findings.is_empty(), "{text}");
        }
        assert_eq!(preview(b"{\"ignition\": {\"version\": \"3.0.0\"}}").kind, "ignition");
    }
}
