//! `fleetd fence`, run by fleet-fence.service while fleetd is stopped: stops units before another machine may start
//! them. It depends only on state in /run/fleet that the last fleetd has written, not on the configuration.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use fleet_config::VERSION;
use fleet_node::{Jitter, Settings, StandaloneFence, run_standalone_fence};
use service::Stop;
use systemd_units::{Bus, Units};
use tokio::time::timeout;
use unit_file::UnitName;

use crate::machine;
use crate::peers::Asker;
use crate::process::{directory, log_targets};
use crate::state_files::{FenceSettings, RuntimeState};
use crate::systemd::Systemd;

const SERVICE: &str = "fleet-fence.service";
/// A longer wait for the service is logged.
const NOTICE_DELAY: Duration = Duration::from_secs(3);

pub fn run() -> anyhow::Result<()> {
    service::log::start("fleetd", log_targets(false))?;
    let kept = RuntimeState::at(&directory("RUNTIME_DIRECTORY", "/run/fleet"));
    let (Some(memory), Some(fence)) = (kept.contact(), kept.fence()) else {
        tracing::info!("fleetd was not in a cluster since this machine started: there is nothing to fence");
        return Ok(());
    };
    let FenceSettings { ttl, partition_port, units_directory, systemd_user } = fence;
    let settings = Settings {
        machine_id: machine::id()?,
        ttl,
        saved_state: Some(memory),
        launched: kept.units(),
        clock: machine::clock(),
        jitter: Jitter(Arc::new(fastrand::f64)),
        version: VERSION.to_owned(),
        // Unused by the fence.
        new_fence_key: machine::new_fence_key()?,
        public_ip: Arc::new(String::new),
        metadata: BTreeMap::new(),
        capacity: fleet_core::Capacity::default(),
        engine_interval: ttl,
        disable_engine: true,
        disable_watches: true,
        store_timeout: Duration::ZERO,
        instance: String::new(),
        previous_instances: Vec::new(),
    };
    let bus = if systemd_user { Bus::Session } else { Bus::System };
    let fence = StandaloneFence {
        unit_manager: Systemd(Units::open(&units_directory, bus).context("the folder of units")?),
        peers: Asker { port: partition_port },
        save_state: kept.save_contact(),
        save_units: kept.save_units(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("threads")?;
    runtime.block_on(async {
        let stop = Stop::by_signal()?;
        tokio::select! {
            () = run_standalone_fence(settings, fence) => tracing::info!("this machine has no unit of the cluster"),
            () = stop.wait() => {}
        }
        Ok(())
    })
}

/// Stops the fence before a node starts; otherwise it would stop units of a machine that has rejoined the cluster.
/// Waits for at most the service's `TimeoutStopSec=`.
pub async fn stop_service(units: &Units) {
    // invariant: a valid unit name.
    let Ok(service) = UnitName::parse(SERVICE) else { return };
    let mut stop = pin!(units.stop(&service));
    let result = match timeout(NOTICE_DELAY, &mut stop).await {
        Ok(result) => result,
        Err(_) => {
            tracing::info!("waiting for {SERVICE} to stop");
            stop.await
        }
    };
    if let Err(error) = result {
        tracing::warn!("Failed to stop {SERVICE}: {error}");
    }
}
