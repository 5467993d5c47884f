//! The machines that flags and `config.rb` describe.

use anyhow::{Context as _, bail};
use machines::cluster::{Cluster, ClusterSpec, SharedFolder};
use machines::spec_change::SpecChange;

use super::flags::Flags;
use crate::config_rb::ConfigRb;

/// Precedence: flag, `config.rb`, the existing cluster, default.
pub fn wanted(flags: &Flags, config: &ConfigRb, existing: Option<&Cluster>) -> ClusterSpec {
    let defaults = ClusterSpec::default();
    let requested = flags.nodes.or(config.num_instances);
    let nodes = requested.or(existing.map(|cluster| cluster.nodes.len())).unwrap_or(defaults.nodes);
    let backend = flags.on.or(existing.map(|cluster| cluster.backend)).unwrap_or(defaults.backend);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    ClusterSpec {
        nodes,
        backend,
        name_prefix: config.instance_name_prefix.clone().unwrap_or(defaults.name_prefix),
        memory_mib: flags.memory.or(config.vm_memory).unwrap_or(defaults.memory_mib),
        cpus: config.vm_cpus.unwrap_or_else(|| default_cpus(defaults.cpus, nodes, cores)),
        datasource: flags.datasource.unwrap_or(defaults.datasource),
        forwards: config.forwards(),
        outbound: !flags.isolated,
        tls: flags.tls,
        secure_boot: flags.secure_boot,
        hardware: flags.hardware.or(existing.map(|cluster| cluster.hardware)).unwrap_or(defaults.hardware),
        ..defaults
    }
}

/// Only explicit settings, by a flag or in `config.rb`; others do not change an existing cluster.
pub fn change(flags: &Flags, config: &ConfigRb) -> SpecChange {
    SpecChange {
        nodes: flags.nodes.or(config.num_instances),
        name_prefix: config.instance_name_prefix.clone(),
        memory_mib: flags.memory.or(config.vm_memory),
        cpus: config.vm_cpus,
        datasource: flags.datasource,
        forwards: Some(config.forwards()).filter(|ports| !ports.is_empty()),
    }
}

/// The folders of `$shared_folders`, whose host paths are relative to the current folder, and of `$share_home`.
pub fn shared(config: &ConfigRb) -> anyhow::Result<Vec<SharedFolder>> {
    let folder = |(host, guest): &(String, String)| {
        let host =
            std::fs::canonicalize(host).with_context(|| format!("$shared_folders: cannot open {host}"))?;
        if !host.is_dir() {
            bail!("$shared_folders: {} is not a folder", host.display());
        }
        Ok(SharedFolder { host, guest: guest.clone() })
    };
    let home = config.share_home.then(|| {
        let home = std::env::var("HOME").context("$share_home: HOME is not set")?;
        Ok(SharedFolder { host: home.clone().into(), guest: home })
    });
    config.shared_folders.iter().map(folder).chain(home).collect()
}

/// Default number of processors of a machine. More virtual processors than cores slow each other down: three emulated
/// machines on two cores boot in 68 s with one each, in 84 s with two.
fn default_cpus(default: u32, nodes: usize, cores: usize) -> u32 {
    u32::try_from(cores / nodes.max(1)).unwrap_or(default).clamp(1, default)
}

#[cfg(test)]
mod tests {
    use super::super::security::check_machines;
    use super::*;
    use crate::config_rb;
    use clap::Parser;
    use machines::cluster::{BackendKind, Datasource, Hardware};
    use machines::image::Image;
    use std::path::PathBuf;

    #[derive(Parser)]
    struct Only {
        #[command(flatten)]
        flags: Flags,
    }

    #[test]
    fn processors_are_divided_among_machines() {
        for (nodes, cores, expected) in [(1, 2, 2), (3, 2, 1), (2, 8, 2), (0, 1, 1)] {
            assert_eq!(default_cpus(2, nodes, cores), expected, "{nodes} machines on {cores} cores");
        }
    }

    #[test]
    fn flags_take_precedence_over_config_rb_and_defaults() {
        let flags = |arguments: &[&str]| Only::parse_from([&["up"], arguments].concat()).flags;
        let (config, _) = config_rb::read("$num_instances = 5\n$vm_memory = 512");
        let defaults = wanted(&flags(&[]), &ConfigRb::default(), None);
        assert_eq!((defaults.nodes, defaults.memory_mib), (3, 1024));
        let configured = wanted(&flags(&[]), &config, None);
        assert_eq!((configured.nodes, configured.memory_mib), (5, 512));
        let flagged = wanted(&flags(&["--nodes", "1", "--on", "nspawn"]), &config, None);
        assert_eq!((flagged.nodes, flagged.memory_mib, flagged.backend), (1, 512, BackendKind::Nspawn));
    }

    #[test]
    fn an_existing_cluster_keeps_its_size_back_end_and_hardware() {
        let flags = |arguments: &[&str]| Only::parse_from([&["up"], arguments].concat()).flags;
        let path = || PathBuf::from("/nowhere");
        let image = Image {
            version: "1.0.0".into(),
            channel: "alpha".into(),
            raw: path(),
            usr_tree: path(),
            usr_erofs: path(),
            tools: path(),
        };
        let one = ClusterSpec { nodes: 1, backend: BackendKind::Nspawn, ..ClusterSpec::default() };
        let existing = Cluster::new("a", &one, image);
        let same = wanted(&flags(&[]), &ConfigRb::default(), Some(&existing));
        assert_eq!((same.nodes, same.backend), (1, BackendKind::Nspawn));
        let more = wanted(&flags(&["--nodes", "2"]), &ConfigRb::default(), Some(&existing));
        assert_eq!(more.nodes, 2);
        let own = Cluster { hardware: Hardware::Vmware, ..existing };
        assert_eq!(wanted(&flags(&[]), &ConfigRb::default(), Some(&own)).hardware, Hardware::Vmware);
        let other = wanted(&flags(&["--hardware", "virtualbox"]), &ConfigRb::default(), Some(&own));
        assert_eq!(other.hardware, Hardware::VirtualBox);
        let refused = check_machines(&own, &other).unwrap_err().to_string();
        assert!(refused.contains("hardware vmware") && refused.contains("keelson destroy"), "{refused}");
    }

    #[test]
    fn only_explicit_settings_change_an_existing_cluster() {
        let flags = |arguments: &[&str]| Only::parse_from([&["up"], arguments].concat()).flags;
        assert_eq!(change(&flags(&[]), &ConfigRb::default()), SpecChange::default());
        let (config, _) = config_rb::read("$vm_memory = 512\n$vm_cpus = 1");
        let change = change(&flags(&["--nodes", "2", "--datasource", "fw-cfg", "--memory", "2048"]), &config);
        let expect = SpecChange {
            nodes: Some(2),
            memory_mib: Some(2048),
            cpus: Some(1),
            datasource: Some(Datasource::FwCfg),
            ..SpecChange::default()
        };
        assert_eq!(change, expect);
    }
}
