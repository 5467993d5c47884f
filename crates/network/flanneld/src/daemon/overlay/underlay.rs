//! What all devices have in common.

use flannel_core::ExternalInterface;
use flannel_network::{Network, Outcome};

/// What a device is created on.
#[derive(Clone, Copy)]
pub struct Underlay<'a> {
    pub network: &'a Network,
    pub external: &'a ExternalInterface,
    /// MTU of the device.
    pub mtu: u32,
}

/// Logs what had to be done to a device.
pub fn log_outcome(name: &str, outcome: &Outcome) {
    match outcome {
        Outcome::Kept => {}
        Outcome::Created => tracing::info!("created device {name}"),
        Outcome::Changed => tracing::info!("restored attributes of device {name}"),
        Outcome::Recreated(reason) => tracing::info!("created device {name} again: {reason}"),
    }
}
