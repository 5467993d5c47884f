//! All scenarios, one module per subject; [`ALL`] lists them.

mod attacks;
mod boot;
mod corruption;
mod docker;
mod flannel;
mod fleet;
mod health;
mod install;
mod iso;
mod kv;
mod kv_faults;
mod kv_recovery;
mod kv_workers;
mod live;
mod locksmith;
mod metadata;
mod netboot;
mod netboot_time;
mod network;
mod platforms;
mod power;
mod provisioning;
mod proxy_pattern;
mod rkt;
pub(crate) mod row;
pub(crate) mod server;
mod toolbox;
mod tutorials;
mod updates;

use crate::scenario::Scenario;

/// Every scenario, the fast ones first.
pub static ALL: &[Scenario] = &[
    boot::BOOTS,
    boot::HELLO,
    boot::APART,
    health::HEALTH,
    power::CRASH_KEEPS_DATA,
    power::REBOOTS,
    power::KILLED,
    power::RESETS,
    network::LAN,
    network::PARTITION,
    network::HOST,
    network::OUTBOUND,
    provisioning::NETWORK_AND_TRUST,
    provisioning::BAD_USER_DATA,
    provisioning::PROVISION,
    provisioning::PARTS_AND_NETWORK,
    provisioning::ODD_MACHINE,
    provisioning::NOCLOUD,
    metadata::SERVICES,
    metadata::ABSENT_SERVICE,
    tutorials::from_file::FROM_FILE,
    tutorials::validator::VALIDATOR,
    tutorials::cluster::ETCD,
    tutorials::cluster::ETCD2,
    tutorials::vagrant::CONFIG_RB,
    tutorials::walk::WALK,
    tutorials::walk::NO_DISCOVERY,
    tutorials::tour::TOUR,
    tutorials::page::TUTORIAL,
    attacks::cluster_ports::CLUSTER_PORTS,
    attacks::container_profile::CONTAINER_PROFILE,
    attacks::disks::DISKS,
    attacks::features::FEATURES,
    attacks::host::HOST,
    attacks::loopback::LOOPBACK,
    flannel::FLANNEL,
    flannel::HOST_GW,
    flannel::UDP,
    flannel::WIREGUARD,
    flannel::DOCKER,
    flannel::DOCKER_FIRST,
    docker::DOCKER,
    rkt::RKT,
    toolbox::TOOLBOX,
    kv::KEYS,
    kv::MOVES,
    proxy_pattern::HAPROXY,
    kv::LEADER_DIES,
    kv::TLS,
    kv_recovery::RESTORE,
    kv_recovery::LOST_MAJORITY,
    kv_workers::WORKERS,
    kv_faults::BAD_DISK,
    kv_faults::CLOCK,
    install::INSTALL,
    updates::installation::INSTALL_FROM_CHANNEL,
    live::LIVE,
    live::LIVE_ROOT,
    live::LIVE_MEMORY,
    netboot::NETBOOT_BIOS,
    netboot::NETBOOT_HTTP,
    netboot::NETBOOT_INSTALL,
    netboot::NETBOOT_UKI,
    netboot_time::NETBOOT_TIME,
    iso::ISO,
    iso::ISO_INSTALL,
    platforms::VIRTUALBOX,
    platforms::VMWARE,
    platforms::VAGRANT,
    platforms::DISKS,
    platforms::VIRTUALBOX_DISKS,
    metadata::EC2_DISK,
    metadata::GCE_DISK,
    metadata::OPENSTACK_DISK,
    metadata::AZURE_DISK,
    updates::single_machine::UPDATE,
    updates::single_machine::UPDATE_BROKEN,
    updates::single_machine::UPDATE_HANGS,
    updates::single_machine::DAMAGED_SLOT,
    updates::power::POWER,
    updates::power::POWER_MOMENTS,
    updates::roll::ROLL,
    updates::roll::ROLL_BROKEN,
    updates::secure_boot::SECURE_BOOT,
    locksmith::commands::COMMANDS,
    locksmith::unhealthy::UNHEALTHY,
    locksmith::one_at_a_time::ONE_AT_A_TIME,
    fleet::commands::COMMANDS,
    fleet::templates::TEMPLATES,
    fleet::machine_dies::MACHINE_DIES,
    fleet::member_hangs::MEMBER_HANGS,
    fleet::refused::REFUSED,
    fleet::partition::PARTITION,
    fleet::restarts::RESTARTS,
    fleet::without_fleetd::WITHOUT_FLEETD,
    fleet::texts::TEXTS,
    fleet::workers::WORKERS,
    fleet::limits::LIMITS,
    fleet::bus::BUS,
    fleet::functional::FUNCTIONAL,
    fleet::functional::MEMBERS,
    fleet::functional::SERVER,
    fleet::on_etcd::ON_ETCD,
    fleet::on_etcd::FUNCTIONAL,
    fleet::reference::REFERENCE,
    fleet::docker::DOCKER,
    fleet::clock::CLOCK,
    fleet::crowd::CROWD,
    fleet::soak::SOAK,
    row::MACHINE,
    row::STORE,
    row::FLEET,
    row::MEMBERS,
    corruption::FLIPPED_BYTE,
    power::CUT_IN_FIRST_BOOT,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_every_scenario_runs_somewhere() {
        // The shortened names are unique too: each scenario keeps its failure in a separate folder.
        let mut names: Vec<_> = ALL.iter().map(|scenario| crate::runner::short(scenario.name)).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
        assert!(ALL.iter().all(|scenario| !scenario.on.is_empty() && scenario.nodes > 0));
    }
}
