//! Every flag: its name, what it takes, its default, its help.

/// What a flag takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    Nothing,
    Text { default: &'static str },
}

pub(super) struct Flag {
    pub name: &'static str,
    pub takes: Takes,
    pub help: &'static str,
}

const fn switch(name: &'static str, help: &'static str) -> Flag {
    Flag { name, takes: Takes::Nothing, help }
}

const fn text(name: &'static str, default: &'static str, help: &'static str) -> Flag {
    Flag { name, takes: Takes::Text { default }, help }
}

pub(super) const FLAGS: &[Flag] = &[
    text("convert", "", "Print the user-data in another format (ignition, butane). Not yet."),
    text("convert-netconf", "", "Network config format of the datasource (debian, packet, vmware). Not yet."),
    switch("dry-run", "The same as -plan"),
    switch("from-cloudsigma-metadata", "Not yet."),
    text("from-configdrive", "", "Read data from the mounted config drive in this directory"),
    text("from-digitalocean-metadata", "", "Not yet."),
    text("from-ec2-metadata", "", "Not yet."),
    text("from-file", "", "Read user-data from this file; - is standard input"),
    switch("from-fw-cfg", "Read user-data from QEMU's fw_cfg entry opt/com.coreos/config"),
    text("from-gce-metadata", "", "Not yet."),
    switch("from-metadata-service", "Not yet."),
    text("from-packet-metadata", "", "Not yet."),
    switch("from-proc-cmdline", "Read user-data from the URL in the kernel argument cloud-config-url"),
    text("from-url", "", "Read user-data from this http or https URL"),
    switch("from-vmware-guestinfo", "Not yet."),
    text("from-vmware-ovf-env", "", "Not yet."),
    text("from-waagent", "", "Not yet."),
    switch("ignore-failure", "Exit with status 0 although the user-data was unreadable or malformed"),
    text("oem", "", "Use the flags of this platform. Not yet."),
    switch("once", "Do nothing if this user-data was applied to this instance before"),
    switch("persist", "Keep the user-data for the next boots, once it is found to be valid"),
    switch("plan", "Print the steps as JSON lines and change nothing"),
    text("root", "/", "Read and write below this directory"),
    switch("root-run", "Run helper programs and call systemd although -root is given"),
    text("ssh-key-name", "coreos-cloudinit", "Store ssh keys under this name"),
    switch("status", "Print the result of the last run"),
    switch("validate", "Validate the user-data and change nothing"),
    text("validate-format", "text", "How -validate prints its findings (text, json)"),
    switch("version", "Print the version and exit"),
    text("workspace", "/var/lib/coreos-cloudinit", "Where scripts and stamps are kept"),
];

/// Flags that have a meaning but no code yet.
pub(super) const LATER: &[(&str, &str)] = &[
    ("convert", "conversion to other formats comes later"),
    ("oem", "platform presets come with the metadata services"),
    ("convert-netconf", "network conversion comes with the metadata services"),
    ("from-metadata-service", "metadata services come later"),
    ("from-ec2-metadata", "metadata services come later"),
    ("from-gce-metadata", "metadata services come later"),
    ("from-digitalocean-metadata", "metadata services come later"),
    ("from-packet-metadata", "metadata services come later"),
    ("from-cloudsigma-metadata", "metadata services come later"),
    ("from-waagent", "metadata services come later"),
    ("from-vmware-guestinfo", "metadata services come later"),
    ("from-vmware-ovf-env", "metadata services come later"),
];

pub(super) const PRESETS: &[&str] =
    &["azure", "cloudsigma", "digitalocean", "ec2-compat", "gce", "packet", "rackspace-onmetal", "vmware"];

pub(super) const NETWORK_FORMATS: &[&str] = &["debian", "packet", "vmware"];

/// The text for `-help` and after a wrong flag.
pub fn usage() -> String {
    let mut text = "Usage of coreos-cloudinit:\n".to_owned();
    for flag in FLAGS {
        let (value, default) = match flag.takes {
            Takes::Nothing => ("", String::new()),
            Takes::Text { default: "" } => (" string", String::new()),
            Takes::Text { default } => (" string", format!(" (default {default:?})")),
        };
        text.push_str(&format!("  -{}{value}\n    \t{}{default}\n", flag.name, flag.help));
    }
    text
}
