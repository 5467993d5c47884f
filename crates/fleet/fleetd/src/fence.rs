//! `fleetd fence`, which fleet-fence.service runs while fleetd does not: units are stopped before another machine may start
//! them. All that it needs was written to /run/fleet by the last fleetd, so that no error of a configuration is in its way.

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

use crate::hands::Systemd;
use crate::machine;
use crate::memory::{FenceSettings, Kept};
use crate::peers::Asker;
use crate::process::{folder, log_targets};

const SERVICE: &str = "fleet-fence.service";
/// After which a wait for that service is logged.
const SILENT: Duration = Duration::from_secs(3);

pub fn run() -> anyhow::Result<()> {
    service::log::start("fleetd", log_targets(false))?;
    let kept = Arc::new(Kept::at(&folder("RUNTIME_DIRECTORY", "/run/fleet")));
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
        // Of a node alone.
        public_ip: Arc::new(String::new),
        metadata: BTreeMap::new(),
        capacity: fleet_core::Capacity::default(),
        engine_interval: ttl,
        disable_engine: true,
        disable_watches: true,
        instance: String::new(),
        previous_instances: Vec::new(),
    };
    let bus = if systemd_user { Bus::Session } else { Bus::System };
    let fence = StandaloneFence {
        unit_manager: Systemd(Units::open(&units_directory, bus).context("the folder of units")?),
        peers: Asker { port: partition_port },
        save_units: Arc::new(move |units: &_| {
            if let Err(error) = kept.write_units(units) {
                tracing::warn!("what the next start has to know: {error:#}");
            }
        }),
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

/// Stops the service, so that a node that is about to start knows which units still run: a fence that runs beside it
/// would stop units of a machine that is in the cluster again. Waits as long as the service's `TimeoutStopSec=` allows.
pub async fn end(units: &Units) {
    // invariant: it is a unit's name.
    let Ok(service) = UnitName::parse(SERVICE) else { return };
    let mut stopped = pin!(units.stop(&service));
    let ended = match timeout(SILENT, &mut stopped).await {
        Ok(ended) => ended,
        Err(_) => {
            tracing::info!("waiting for {SERVICE} to stop");
            stopped.await
        }
    };
    if let Err(error) = ended {
        tracing::warn!("Failed to stop {SERVICE}: {error}");
    }
}
