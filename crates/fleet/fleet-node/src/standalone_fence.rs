//! The fence while fleetd does not run.

use std::sync::Arc;

use crate::agent::{FenceEnforcer, LocalUnits, SaveUnits};
use crate::fence::FenceMonitor;
use crate::registry_cache::RegistryCache;
use crate::settings::{SaveState, Settings};
use crate::store_link::StoreLink;
use crate::unit_manager::{Peers, UnitManager};

/// I/O of the fence.
pub struct StandaloneFence<H, P> {
    pub unit_manager: H,
    pub peers: P,
    pub save_state: SaveState,
    /// Called with the launched units and the hashes of their files when they change.
    pub save_units: SaveUnits,
}

/// Stops this machine's units before another machine may start them, by the rules for a partitioned node and counted
/// from the saved heartbeat. Returns only if the machine has no units. Needs a tokio runtime.
pub async fn run_standalone_fence<H: UnitManager, P: Peers>(
    settings: Settings,
    standalone_fence: StandaloneFence<H, P>,
) {
    let StandaloneFence { unit_manager, peers, save_state, save_units } = standalone_fence;
    let last_heartbeat = settings.saved_state.as_ref().map(|state| state.last_heartbeat);
    let (registry, store_link) =
        (Arc::new(RegistryCache::default()), Arc::new(StoreLink::new(last_heartbeat)));
    let local_units = Arc::new(LocalUnits::new(save_units));
    local_units.adopt_all(&unit_manager, &settings).await;
    if local_units.names().is_empty() {
        return;
    }
    let fence_enforcer = FenceEnforcer {
        unit_manager,
        local_units,
        registry: registry.clone(),
        store_link: store_link.clone(),
    };
    let (settings, registry, store_link) = (&settings, &*registry, &*store_link);
    let monitor =
        FenceMonitor { peers, settings, registry, store_link, save_state: &*save_state, alive: &|| () };
    tokio::join!(monitor.run(), fence_enforcer.run());
}
