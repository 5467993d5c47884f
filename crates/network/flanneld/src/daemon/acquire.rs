//! Waits for the configuration and acquires a lease.

use std::time::Instant;

use anyhow::{Context, Result, bail};
use flannel_core::{ACQUIRE_ATTEMPTS, Acquisition, Lease, LeaseAttributes, NetworkConfig, RETRY};
use ipnet::Ipv4Net;

use crate::{
    io::lease_store::{LeaseStore, Written},
    limits::REPEAT_LOG,
};

/// Reads the configuration until there is a valid one: operators create the key after the hosts have started.
pub async fn wait_for_config(store: &LeaseStore) -> NetworkConfig {
    let mut logged: Option<(String, Instant)> = None;
    loop {
        let message = match store.config().await {
            Ok(config) => return config,
            Err(error) => error.to_string(),
        };
        let repeats = logged.as_ref().is_some_and(|(last, at)| *last == message && at.elapsed() < REPEAT_LOG);
        if !repeats {
            tracing::error!("Couldn't fetch network config: {message}");
            service::notify::status(&format!("waiting for the network's configuration: {message}"));
            logged = Some((message, Instant::now()));
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Leases a subnet: the one that this host had, else a free one. Also returns every lease just before.
pub async fn acquire(
    store: &LeaseStore,
    config: &NetworkConfig,
    attributes: &LeaseAttributes,
    previous: Option<Ipv4Net>,
) -> Result<(Lease, Vec<Lease>)> {
    'attempts: for failed_attempts in 0..ACQUIRE_ATTEMPTS {
        let snapshot = store.leases().await.context("cannot read the leases")?;
        let acquisition =
            Acquisition { config, attributes, previous, leases: &snapshot.leases, failed_attempts };
        for write in acquisition.plan(&mut |below| fastrand::usize(..below))? {
            tracing::info!("{}", write.reason);
            match store.execute(&write, attributes).await.context("cannot write the lease")? {
                // Deleted.
                None => {}
                Some(Written::Lease(lease)) => {
                    tracing::info!(
                        "Allocated lease ({}) to current node ({})",
                        lease.subnet,
                        attributes.public_ip
                    );
                    return Ok((lease, snapshot.leases));
                }
                Some(Written::Refused) => {
                    tracing::info!("another host changed the lease {} meanwhile, trying again", write.subnet);
                    continue 'attempts;
                }
            }
        }
    }
    bail!("Max retries reached trying to acquire a subnet")
}
