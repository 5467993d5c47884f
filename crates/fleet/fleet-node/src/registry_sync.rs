//! Keeps [`RegistryCache`] in sync with the store: one full read, then a watch.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use crate::backoff::Backoff;
use crate::limits::{RESYNC_INTERVAL, RESYNC_INTERVAL_PER_MACHINE};
use crate::registry_cache::RegistryCache;
use crate::settings::Settings;
use crate::store::{Store, StoreError, Watch as _};
use crate::store_link::StoreLink;

/// Never returns.
pub async fn sync_registry<S: Store>(
    store: S,
    registry: &RegistryCache,
    link: &StoreLink,
    settings: &Settings,
) {
    let mut backoff = Backoff::new(settings);
    loop {
        let index = match store.read().await {
            Ok(snapshot) => {
                backoff.reset();
                registry.replace(&snapshot);
                snapshot.index
            }
            Err(error) => {
                tracing::debug!("reading the registry: {error}");
                backoff.wait().await;
                continue;
            }
        };
        if settings.disable_watches {
            sleep(settings.engine_interval).await;
        } else {
            tokio::select! {
                () = watch(&store, index, registry, settings) => {}
                () = reconnected(link) => {}
            }
        }
    }
}

/// Returns when the machine has lost its registration and is registered again. Watches from before may wait on a dead
/// connection.
async fn reconnected(link: &StoreLink) {
    let mut state = link.subscribe();
    for serves in [true, false] {
        if state.wait_for(|state| state.is_serving() == serves).await.is_err() {
            // The node stops.
            return std::future::pending().await;
        }
    }
}

/// Returns when a full read is needed.
async fn watch<S: Store>(store: &S, index: u64, registry: &RegistryCache, settings: &Settings) {
    let mut watch = store.watch(index);
    let resync_at = Instant::now() + resync_interval(registry, settings);
    let mut backoff = Backoff::new(settings);
    let mut last_event = Instant::now();
    loop {
        let Ok(change) = timeout_at(resync_at.min(last_event + stale_after(settings)), watch.next()).await
        else {
            if Instant::now() >= resync_at {
                return;
            }
            // Without a leader there may be no events for long.
            if registry.with_view(|view| view.lease().is_some()) {
                tracing::warn!(
                    "no event for {:?}, though the engine's lease stands: reading the registry again",
                    stale_after(settings)
                );
                return;
            }
            last_event = Instant::now();
            continue;
        };
        match change {
            Ok(change) => {
                last_event = Instant::now();
                backoff.reset();
                registry.apply(&change);
            }
            Err(StoreError::Unavailable(why)) => {
                tracing::debug!("following the registry: {why}");
                backoff.wait().await;
            }
            Err(error) => {
                tracing::debug!("following the registry: {error}");
                return;
            }
        }
    }
}

/// A leader renews its lease each [`Settings::engine_interval`], and a failed leader's lease expires. A watch without
/// either event is stale, as on an etcd member that hangs.
fn stale_after(settings: &Settings) -> Duration {
    settings.lease_ttl() * 3 / 2
}

/// With jitter, so that all nodes together read about once per second.
fn resync_interval(registry: &RegistryCache, settings: &Settings) -> Duration {
    let machines = registry.with_view(|view| view.machines().count());
    let period =
        RESYNC_INTERVAL.max(RESYNC_INTERVAL_PER_MACHINE * u32::try_from(machines).unwrap_or(u32::MAX));
    period.mul_f64(0.75 + 0.5 * settings.jitter.fraction())
}
