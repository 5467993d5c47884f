//! Joins several checked configs (contract 1.4): the result equals applying them one after the other.

use std::collections::BTreeSet;

use super::Checked;

/// The first hostname wins, keys of user `core` are merged, and later settings replace earlier ones.
pub fn join(parts: Vec<Checked>) -> Checked {
    let mut all = Checked::default();
    for part in parts {
        all.add(part);
    }
    let mut known = BTreeSet::new();
    all.core_keys.retain(|key| known.insert(key.clone()));
    all
}

impl Checked {
    fn add(&mut self, later: Self) {
        self.hostname = self.hostname.take().or(later.hostname);
        self.core_keys.extend(later.core_keys);
        self.users.extend(later.users);
        self.groups.extend(later.groups);
        self.files.extend(later.files);
        self.manage_etc_hosts |= later.manage_etc_hosts;
        self.units.extend(later.units);
        for options in later.services {
            match self.services.iter_mut().find(|known| known.service.block == options.service.block) {
                Some(_) if options.variables.is_empty() => {}
                Some(known) => *known = options,
                None => self.services.push(options),
            }
        }
        let update = &mut self.update;
        update.reboot_strategy = later.update.reboot_strategy.or(update.reboot_strategy.take());
        update.group = later.update.group.or(update.group.take());
        update.server = later.update.server.or(update.server.take());
        self.oem = later.oem.or(self.oem.take());
        self.system.join(later.system);
        self.skipped.extend(later.skipped);
        self.notes.extend(later.notes);
    }
}

#[cfg(test)]
mod tests {
    use super::join;
    use crate::check::{Checked, check};
    use crate::{config, yaml};

    fn checked(text: &str) -> Checked {
        check(&config::read(yaml::read(text.as_bytes()).unwrap().root.as_deref())).unwrap()
    }

    #[test]
    fn later_settings_replace_and_lists_accumulate() {
        let first = checked(
            "ssh_authorized_keys: [a, b]\nwrite_files: [{path: /a}]\ncoreos: {update: {group: g, server: s}, \
             fleet: {metadata: x}, etcd2: {name: n}, oem: {id: one}}",
        );
        let second = checked(
            "hostname: second\nssh_authorized_keys: [b, c]\nwrite_files: [{path: /b}]\nmanage_etc_hosts: localhost\n\
             users: [{name: u}]\ncoreos: {update: {group: h}, fleet: {public_ip: y}, units: [{name: a.service}]}",
        );
        let all = join(vec![first, second, checked("hostname: third\ncoreos: {oem: {id: two}}")]);
        assert_eq!(all.hostname.as_deref(), Some("second"));
        assert_eq!(all.core_keys, ["a", "b", "c"]);
        assert_eq!(all.files.iter().map(|file| &*file.path).collect::<Vec<_>>(), ["/a", "/b"]);
        assert_eq!((all.users.len(), all.units.len(), all.manage_etc_hosts), (1, 1, true));
        assert_eq!((all.update.group.as_deref(), all.update.server.as_deref()), (Some("h"), Some("s")));
        assert_eq!(all.oem.map(|oem| oem.id).as_deref(), Some("two"));
        let variables = |block: &str| -> Vec<String> {
            let options = all.services.iter().filter(|options| options.service.block == block);
            options.flat_map(|options| options.variables.iter().map(|(name, _)| name.clone())).collect()
        };
        assert_eq!(variables("fleet"), ["FLEET_PUBLIC_IP"]);
        assert_eq!(variables("etcd2"), ["ETCD_NAME"]);
    }
}
