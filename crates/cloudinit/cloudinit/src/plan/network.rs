//! Plans the datasource's network (contract 1.7): interfaces to set down, modules and files. networkd is
//! restarted with the units.

use std::sync::Arc;

use super::step::{Action, Facts, FileKind, FileWrite, Plan};
use crate::network::Network;

const MODE: u32 = 0o644;

/// Returns whether there are files for networkd. Interfaces are set down only if a file changes: otherwise
/// nothing would bring them up again.
pub(super) fn plan(network: &Network, facts: &Facts, plan: &mut Plan) -> bool {
    plan.notes.extend(network.notes.iter().map(|note| format!("Warning: {note}")));
    let files = network.files();
    let is_new =
        |path: &str, content: &str| facts.network_files.get(path).map(String::as_str) != Some(content);
    if files.iter().any(|file| is_new(&file.path, &file.content)) {
        for interface in network.interfaces.iter().filter(|one| facts.interfaces.contains(&one.name)) {
            let action = Action::InterfaceDown { name: interface.name.clone() };
            plan.push(action, "it is there and is to be configured");
        }
        for arguments in network.modules() {
            plan.push(Action::Modprobe { arguments }, "the network config has such an interface");
        }
    }
    let any = !files.is_empty();
    for file in files {
        let write = FileWrite {
            path: file.path,
            mode: MODE,
            owner: String::new(),
            content: Arc::from(file.content.into_bytes()),
            kind: FileKind::Unit { name: file.name, network: true },
        };
        plan.push(Action::Write(write), "the datasource's network config");
    }
    any
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Checked;
    use crate::metadata::NetworkSource;
    use crate::network::{Format, convert};
    use crate::plan::{Settings, plan, print};
    use crate::template::Addresses;

    #[test]
    fn unchanged_network_keeps_interfaces_up() {
        let text = "iface eth0 inet manual\niface b inet dhcp\nbond-slaves eth0\nbond-mode 1\niface b.7 inet manual\n";
        let network = convert(Format::Debian, &NetworkSource::Debian(text.into())).unwrap();
        let mut facts = Facts { interfaces: ["eth0".into(), "lo".into()].into(), ..Facts::default() };
        let unit = "coreos:\n  units: [{name: a.network, content: x}, {name: b.service, content: y, command: start}]";
        let document = crate::yaml::read(unit.as_bytes()).unwrap();
        let mut checked = crate::check::check(&crate::config::read(document.root.as_deref())).unwrap();
        checked.services.clear();
        checked.network = network;
        let settings = Settings { ssh_key_name: "x".into() };
        let planned = |facts: &Facts, checked: &Checked| -> Vec<String> {
            let plan = plan(checked, &Addresses::default(), facts, &settings);
            let value = |line: &str| {
                line.split(",\"mode\"").next().unwrap().split(",\"why\"").next().unwrap().to_owned()
            };
            print(&plan).unwrap().lines().map(value).collect()
        };
        let all = planned(&facts, &checked);
        let writes = [
            "{\"op\":\"write\",\"path\":\"/run/systemd/network/00-b.7.netdev\"",
            "{\"op\":\"write\",\"path\":\"/run/systemd/network/00-b.7.network\"",
            "{\"op\":\"write\",\"path\":\"/run/systemd/network/01-b.netdev\"",
            "{\"op\":\"write\",\"path\":\"/run/systemd/network/01-b.network\"",
            "{\"op\":\"write\",\"path\":\"/run/systemd/network/02-eth0.network\"",
            "{\"op\":\"write\",\"path\":\"/etc/systemd/network/a.network\"",
            "{\"op\":\"write\",\"path\":\"/etc/systemd/system/b.service\"",
            "{\"op\":\"daemon-reload\"",
            "{\"op\":\"unit\",\"unit\":\"systemd-networkd.service\",\"command\":\"restart\"",
            "{\"op\":\"unit\",\"unit\":\"b.service\",\"command\":\"start\"",
        ];
        let before = [
            "{\"op\":\"interface-down\",\"name\":\"eth0\"",
            "{\"op\":\"modprobe\",\"argv\":[\"8021q\"]",
            "{\"op\":\"modprobe\",\"argv\":[\"bonding\",\"mode=1\"]",
        ];
        assert_eq!(all, [&before[..], &writes[..]].concat());
        facts.network_files =
            checked.network.files().into_iter().map(|file| (file.path, file.content)).collect();
        assert_eq!(planned(&facts, &checked), writes);
    }
}
