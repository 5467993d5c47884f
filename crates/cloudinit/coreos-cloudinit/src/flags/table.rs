//! The table of flags: name, value kind, default, help.

use command_line::{Flag, ValueKind};

const fn text(name: &'static str, default: &'static str, help: &'static str) -> Flag {
    Flag::new(name, ValueKind::Text, help).default(default)
}

pub(super) const FLAGS: &[Flag] = &[
    text(
        "azure-report-ready",
        "",
        "Report to Azure's fabric at this URL that the machine is ready, and do nothing else",
    ),
    text(
        "convert",
        "",
        "Print the user-data in this format (ignition, butane), and on standard error what has no counterpart",
    ),
    text(
        "convert-netconf",
        "",
        "Configure the network as the datasource describes, in this format (debian, packet, vmware, cloud-init)",
    ),
    Flag::switch("dry-run", "The same as -plan"),
    text("from-azure-metadata", "", "Read data from Azure's instance metadata service at this URL"),
    text(
        "from-azure-ovf-env",
        "",
        "Read data from this file, ovf-env.xml of Azure's provisioning disk; with -from-azure-metadata, what the service lacks",
    ),
    Flag::switch("from-cloudsigma-metadata", "Read data from the server context of CloudSigma"),
    text("from-configdrive", "", "Read data from the mounted config drive in this directory"),
    text("from-credential", "", "Read user-data from the systemd credential of this name"),
    text("from-digitalocean-metadata", "", "Read data from DigitalOcean's metadata service at this URL"),
    text("from-ec2-metadata", "", "Read data from the EC2 metadata service at this URL"),
    text("from-file", "", "Read user-data from this file; - is standard input"),
    Flag::switch("from-fw-cfg", "Read user-data from QEMU's fw_cfg entry opt/com.coreos/config"),
    text("from-gce-metadata", "", "Read data from Google Compute Engine's metadata service at this URL"),
    Flag::switch("from-metadata-service", "Deprecated: -from-ec2-metadata http://169.254.169.254/"),
    text(
        "from-nocloud",
        "",
        "Read data from the NoCloud seed (user-data, meta-data, network-config) in this directory",
    ),
    text("from-openstack-metadata", "", "Read data from OpenStack's metadata service at this URL"),
    text("from-packet-metadata", "", "Read data from Packet's metadata service at this URL"),
    Flag::switch("from-proc-cmdline", "Read user-data from the URL in the kernel argument cloud-config-url"),
    text("from-url", "", "Read user-data from this http or https URL"),
    Flag::switch("from-virtualbox", "Read data from the guest properties below /coreos-cloudinit"),
    Flag::switch(
        "from-vmware-guestinfo",
        "Read data from the keys that VMware has for this virtual machine (guestinfo), without its tools",
    ),
    text("from-vmware-ovf-env", "", "Read data from this file, an OVF environment of VMware"),
    text("from-waagent", "", "Read data from the folder of Azure's agent"),
    Flag::switch("if-changed", "Do nothing if -from-file was applied as it is since the machine was started"),
    Flag::switch("ignore-failure", "Exit with status 0 although the user-data was unreadable or malformed"),
    text("oem", "", "Use the flags of this platform; a flag that is given wins"),
    Flag::switch("once", "Do nothing if this user-data was applied to this instance before"),
    Flag::switch("persist", "Store valid user-data for the next boots"),
    Flag::switch("plan", "Print the steps as JSON lines and change nothing"),
    text("root", "/", "Read and write below this directory"),
    Flag::switch("root-run", "Run helper programs and call systemd although -root is given"),
    text("ssh-key-name", "coreos-cloudinit", "Store ssh keys under this name"),
    Flag::switch("status", "Print the result of the last run"),
    Flag::switch("validate", "Validate the user-data and change nothing"),
    text("validate-format", "text", "How -validate prints its findings (text, json)"),
    Flag::switch("version", "Print the version and exit"),
    text("workspace", "/var/lib/coreos-cloudinit", "Directory of scripts and stamps"),
];

/// Flags that name a source, by rank.
pub(super) const SOURCES: &[&str] = &[
    "from-file",
    "from-configdrive",
    "from-url",
    "from-ec2-metadata",
    "from-gce-metadata",
    "from-digitalocean-metadata",
    "from-packet-metadata",
    "from-azure-metadata",
    "from-openstack-metadata",
    "from-cloudsigma-metadata",
    "from-waagent",
    "from-vmware-guestinfo",
    "from-vmware-ovf-env",
    "from-proc-cmdline",
    "from-fw-cfg",
    "from-credential",
    "from-nocloud",
    "from-azure-ovf-env",
    "from-virtualbox",
];

/// The usual address of metadata services.
pub(super) const LINK_LOCAL: &str = "http://169.254.169.254/";

/// A platform and the flags that it presets.
pub(super) type Preset = (&'static str, &'static [(&'static str, &'static str)]);

pub(super) const PRESETS: &[Preset] = &[
    // The image has no agent: its folder exists where an operator brings one.
    (
        "azure",
        &[
            ("from-waagent", "/var/lib/waagent"),
            ("from-azure-metadata", LINK_LOCAL),
            ("from-azure-ovf-env", "/media/azure/ovf-env.xml"),
        ],
    ),
    ("cloudsigma", &[("from-cloudsigma-metadata", "true")]),
    ("digitalocean", &[("from-digitalocean-metadata", LINK_LOCAL)]),
    ("ec2-compat", &[("from-ec2-metadata", LINK_LOCAL), ("from-configdrive", "/media/configdrive")]),
    ("gce", &[("from-gce-metadata", "http://metadata.google.internal/")]),
    ("packet", &[("from-packet-metadata", "https://metadata.packet.net/")]),
    ("rackspace-onmetal", &[("from-configdrive", "/media/configdrive"), ("convert-netconf", "debian")]),
    ("vmware", &[("from-vmware-guestinfo", "true"), ("convert-netconf", "vmware")]),
];

pub(super) const NETWORK_FORMATS: &[&str] = &["debian", "packet", "vmware", "cloud-init"];

/// The text of `-help`, also printed after a usage error.
pub fn usage() -> String {
    let mut text = "Usage of coreos-cloudinit:\n".to_owned();
    for flag in FLAGS {
        let (value, default) = match (flag.value_kind, flag.default_value()) {
            (ValueKind::Switch, _) => ("", String::new()),
            (_, "") => (" string", String::new()),
            (_, default) => (" string", format!(" (default {default:?})")),
        };
        text.push_str(&format!("  -{}{value}\n    \t{}{default}\n", flag.name(), flag.help));
    }
    text
}
