//! `coreos-cloudinit` as systemd and operators run it.

// clippy exempts only unit tests from its panic lints.
#![allow(clippy::expect_used, clippy::unwrap_used)]

mod azure;
mod certificates;
mod cloud_init_keys;
mod completion;
mod convert;
mod file_sources;
mod http;
mod imports;
mod metadata_failures;
mod metadata_services;
mod multipart;
mod network;
mod power_cut;
mod rights;
mod root;
mod several_runs;
mod sources_local;
mod support;
mod systemd;
mod time_limit;
mod vmware;
