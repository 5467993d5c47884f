//! Keeps what is known current: everything once, then each change.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use crate::backoff::Backoff;
use crate::contact::Contact;
use crate::known::Known;
use crate::limits::{RESYNC, RESYNC_FOR_EACH_MACHINE};
use crate::settings::Settings;
use crate::store::{Store, StoreError, Watch as _};

/// Never ends.
pub async fn follow<S: Store>(store: S, known: &Known, contact: &Contact, settings: &Settings) {
    let mut backoff = Backoff::new(settings);
    loop {
        let read = match store.read().await {
            Ok(reading) => {
                backoff.reset();
                known.replace(&reading);
                reading.index
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
                () = watch(&store, read, known, settings) => {}
                () = lost(contact) => {}
            }
        }
    }
}

/// Until the machine is no longer registered. The way to the store was cut then, and what waits on it may go on to
/// wait for long after it is open again.
async fn lost(contact: &Contact) {
    let mut standing = contact.follow();
    for serves in [true, false] {
        if standing.wait_for(|standing| standing.is_serving() == serves).await.is_err() {
            // The node ends.
            return std::future::pending().await;
        }
    }
}

/// Until everything is to be read again.
async fn watch<S: Store>(store: &S, read: u64, known: &Known, settings: &Settings) {
    let mut watch = store.watch(read);
    let until = Instant::now() + resync_after(known, settings);
    let mut backoff = Backoff::new(settings);
    let mut heard = Instant::now();
    loop {
        let Ok(change) = timeout_at(until.min(heard + silence(settings)), watch.next()).await else {
            if Instant::now() >= until {
                return;
            }
            // Without a leader there may be no event for long.
            if known.look(|view| view.lease().is_some()) {
                tracing::warn!(
                    "no event for {:?}, though the engine's lease stands: reading the registry again",
                    silence(settings)
                );
                return;
            }
            heard = Instant::now();
            continue;
        };
        match change {
            Ok(change) => {
                heard = Instant::now();
                backoff.reset();
                known.apply(&change);
            }
            Err(StoreError::Away(why)) => {
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

/// A leader renews its lease each [`Settings::engine_interval`], and the lease of a failed one expires: a watch without
/// either event for this long is stale, as on a member that hangs.
fn silence(settings: &Settings) -> Duration {
    settings.lease_ttl() * 3 / 2
}

/// All nodes together read everything about once a second, at different times.
fn resync_after(known: &Known, settings: &Settings) -> Duration {
    let machines = known.look(|view| view.machines().count());
    let period = RESYNC.max(RESYNC_FOR_EACH_MACHINE * u32::try_from(machines).unwrap_or(u32::MAX));
    period.mul_f64(0.75 + 0.5 * settings.chance.share())
}
