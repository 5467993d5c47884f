//! The flags of `up`.

use std::path::PathBuf;

use machines::cluster::{BackendKind, Datasource, Hardware};

use super::image;
use crate::global::{self, WaitFlags};

#[derive(Debug, clap::Args)]
pub struct Flags {
    /// Number of machines [default: that of config.rb or of the existing cluster, or 3]
    #[arg(long, value_name = "N")]
    pub nodes: Option<usize>,
    #[command(flatten)]
    pub image: image::Flags,
    /// Cloud-config or script for the machines [default: ./user-data, or the sample]
    #[arg(long, value_name = "FILE")]
    pub user_data: Option<PathBuf>,
    /// Settings file [default: ./config.rb]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Back end: qemu or nspawn [default: that of the existing cluster, or qemu]
    #[arg(long, value_name = "BACKEND", value_parser = global::backend)]
    pub on: Option<BackendKind>,
    /// Datasource of user-data: config-drive, or on QEMU nocloud and fw-cfg (without the cluster's SSH key); platform:
    /// this host provides neither user-data nor key, the image's OEM cloud-config does [default: config-drive]
    #[arg(long, value_name = "WAY")]
    pub datasource: Option<Datasource>,
    /// Memory of each machine
    #[arg(long, value_name = "MIB")]
    pub memory: Option<u32>,
    /// Discovery URL for etcd [default: that of the cluster's own discovery service on this host]
    #[arg(long, value_name = "URL")]
    pub discovery: Option<String>,
    /// Let machines reach each other and what this host offers them only, and no other network
    #[arg(long)]
    pub isolated: bool,
    /// Use TLS with client certificates for etcd; only for new clusters
    #[arg(long)]
    pub tls: bool,
    /// Enable Secure Boot; only for new clusters, needs a signed image (image build --sign)
    #[arg(long)]
    pub secure_boot: bool,
    /// Devices of QEMU machines: virtio, virtualbox (AHCI, E1000), vmware (PVSCSI, VMXNET3), ec2 (NVMe) or gce (virtio's
    /// SCSI), to try the images made for these; only for new clusters [default: virtio]
    #[arg(long, value_name = "MODEL")]
    pub hardware: Option<Hardware>,
    /// Also apply the user-data to running machines; unchanged parts are not touched
    #[arg(long)]
    pub provision: bool,
    /// Boot the machines even if the user-data is invalid
    #[arg(long)]
    pub no_validate: bool,
    #[command(flatten)]
    pub waiting: WaitFlags,
}
