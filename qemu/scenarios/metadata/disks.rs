//! The disks for clouds, on the devices of their instances and with the service of the cloud.

use machines::cluster::BackendKind::Qemu;
use machines::cluster::{Datasource, Hardware};

use super::super::platforms::{DISK_DRIVERS, grown, nothing_failed, uses};
use super::azure_is_notified;
use super::operator::{Operator, user_data};
use super::platforms::{AZURE, EC2, GCE, OPENSTACK, Platform};
use crate::failure::Failure;
use crate::scenario::{Context, DEFAULTS, Scenario};

pub const EC2_DISK: Scenario = Scenario {
    name: "platform-ec2",
    about: "the disk for EC2 boots by NVMe, grows, is configured by the metadata service, and reboots",
    format: Some("ec2"),
    hardware: Hardware::Ec2,
    run: |context| boots(context, &EC2, "nvme").map(drop),
    ..CLOUD
};

pub const GCE_DISK: Scenario = Scenario {
    name: "platform-gce",
    about: "the disk for Compute Engine boots by virtio's SCSI, grows, is configured by the metadata service, and reboots",
    format: Some("gce"),
    hardware: Hardware::Gce,
    run: |context| boots(context, &GCE, "virtio_scsi").map(drop),
    ..CLOUD
};

pub const OPENSTACK_DISK: Scenario = Scenario {
    name: "platform-openstack",
    about: "the disk for OpenStack boots, grows, is configured by the metadata service, and reboots",
    format: Some("openstack"),
    run: |context| boots(context, &OPENSTACK, "virtio_blk").map(drop),
    ..CLOUD
};

pub const AZURE_DISK: Scenario = Scenario {
    name: "platform-azure",
    about: "the disk for Azure boots, is configured by the metadata service, reports to the fabric, and reboots",
    format: Some("azure"),
    run: |context| azure_is_notified(&boots(context, &AZURE, "virtio_blk")?, 2),
    ..CLOUD
};

const CLOUD: Scenario =
    Scenario { on: &[Qemu], long_on: &[Qemu], datasource: Datasource::Platform, ..DEFAULTS };

/// Boots twice.
fn boots<'a>(context: &'a Context<'a>, platform: &Platform, disk: &str) -> Result<Operator<'a>, Failure> {
    let operator = Operator::join(context)?;
    operator.cloud.listen()?;
    operator.serve(platform, &user_data(platform))?;
    let machine = &operator.machine;
    machine.start()?;
    operator.check(platform)?;
    uses(machine, DISK_DRIVERS, disk)?;
    grown(machine)?;
    nothing_failed(&machine.reboot()?)?;
    operator.identity(platform)?;
    Ok(operator)
}
