//! The daemon's life: interface, configuration, device, lease, rules, subnet file, and then every change of the
//! leases, until a signal.

use std::{future::Future, pin::Pin, process::ExitCode, time::Duration};

use anyhow::{Context, Result};
use flannel_core::{Ignored, Lease, LeaseRequest, LeaseSet, OwnLease, Rule, Settings, SubnetFile};
use flannel_network::Network;
use service::{Stop, notify};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, sleep_until},
};

use crate::{
    daemon::{
        acquire::{acquire, wait_for_config},
        comparison::{Schedule, Scope},
        data_plane::{DataPlane, external_interface, log_interface},
        healthz,
    },
    io::{
        lease_store::{Found, LeaseStore, RequestError, Written},
        machine, subnet_file,
        watch::{LeaseEvent, watch},
    },
    limits::{CLOCK_CHECK, FAILED_CHANGE, SETTLE, WATCH_QUEUE},
};

/// Runs until a signal; exits with a failure where a restart is the remedy.
pub async fn run(settings: &Settings, stop: Stop) -> Result<ExitCode> {
    let network = Network::open()?;
    let store = LeaseStore::open(&settings.store)?;
    // Before the configuration is there: an operator sees a wrong interface at the start.
    log_interface(&external_interface(&network, &settings.interface).await?.0);
    if let Some(address) = settings.healthz {
        healthz::start(address, stop.clone()).await?;
    }
    let config = tokio::select! {
        config = wait_for_config(&store) => config,
        () = stop.clone().wait() => return Ok(ExitCode::SUCCESS),
    };
    let started = tokio::select! {
        started = Daemon::start(settings, network, store, config) => started?,
        () = stop.clone().wait() => return Ok(ExitCode::SUCCESS),
    };
    tokio::select! {
        result = started.follow() => result,
        () = stop.wait() => {
            notify::stopping();
            tracing::info!("Exiting cleanly...");
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// A daemon that has a lease.
struct Daemon<'a> {
    settings: &'a Settings,
    store: LeaseStore,
    plane: DataPlane,
    own: OwnLease,
    leases: LeaseSet,
    rules: Vec<Rule>,
    /// Those that were logged.
    ignored: Vec<Ignored>,
    status: String,
}

/// The response to a request for the own lease: what the request wrote, or what the key has and the index.
enum Answer {
    Written(Lease),
    Read(Found, u64),
}

type Pending = Pin<Box<dyn Future<Output = Result<Answer, RequestError>>>>;

impl<'a> Daemon<'a> {
    /// Everything up to the first comparison of the tables.
    async fn start(
        settings: &'a Settings,
        network: Network,
        store: LeaseStore,
        config: flannel_core::NetworkConfig,
    ) -> Result<Daemon<'a>> {
        // The interface may have changed while the daemon waited.
        let (mut plane, interfaces) = DataPlane::open(network, settings, config).await?;
        tracing::info!("Found network config - Backend type: {}", plane.backend);
        plane.check(&interfaces).context("Error registering network")?;
        let attributes = plane.prepare_device().await.context("Error registering network")?;
        let previous = plane.former.as_ref().map(SubnetFile::subnet);
        let (lease, others) = acquire(&store, &plane.config, &attributes, previous)
            .await
            .context("Error registering network: failed to acquire lease")?;
        let subnet = lease.subnet;
        plane.complete_device(subnet).await?;
        let rules = plane.rules(subnet, settings.ip_masq, settings.forward_rules);
        plane.ensure_rules(&rules).await?;
        let own = OwnLease::new(lease, settings.renew_margin, machine::now());
        let mut leases = LeaseSet::default();
        leases.replace(others);
        let (ignored, status) = (Vec::new(), String::new());
        let mut daemon = Daemon { settings, store, plane, own, leases, rules, ignored, status };
        daemon.reconcile(Scope::ALL).await?;
        daemon.plane.remove_devices_of_other_backends().await?;
        // Once nothing of the former network is left: routes to it are others' from now on.
        daemon.write_subnet_file();
        daemon.plane.former = None;
        notify::ready(&daemon.status);
        Ok(daemon)
    }

    fn write_subnet_file(&self) {
        let mtu = self.plane.backend.mtu(self.plane.external.mtu);
        let subnet = self.own.lease().subnet;
        let file = SubnetFile::new(self.plane.config.network, subnet, mtu, self.settings.ip_masq);
        match subnet_file::write(&self.settings.subnet_file, &file) {
            Ok(()) => tracing::info!("Wrote subnet file to {}", self.settings.subnet_file.display()),
            // Containers of other programs reach the network all the same.
            Err(error) => tracing::warn!("Failed to write subnet file: {error:#}"),
        }
    }

    /// Follows the leases, and keeps the own one. Returns if the daemon has to be started anew.
    async fn follow(mut self) -> Result<ExitCode> {
        let (sender, mut events) = mpsc::channel(WATCH_QUEUE);
        tokio::spawn(watch(self.store.clone(), sender));
        let mut changes = self.plane.network.changes().context("cannot watch the kernel's tables")?;
        let mut rules_due = Instant::now() + self.settings.rules_interval;
        // Changes before the watch were not reported.
        let mut schedule = Schedule::new(Instant::now());
        let mut pending: Option<Pending> = None;
        loop {
            if pending.is_none() {
                pending = self.due_request();
            }
            let until_request = self.until_request(pending.is_some());
            tokio::select! {
                Some(event) = events.recv() => {
                    if self.take(event) {
                        schedule.add(Scope::TABLES, Instant::now());
                    }
                }
                answer = answered(&mut pending) => self.answered(answer),
                changed = changes.next(self.plane.overlay.index()) => {
                    let changed = changed.context("cannot watch the kernel's tables")?;
                    schedule.add(Scope::of(changed), Instant::now() + SETTLE);
                }
                () = sleep_until(rules_due) => {
                    rules_due = Instant::now() + self.settings.rules_interval;
                    self.keep_rules().await;
                }
                () = sleep_until(schedule.due()) => {
                    if !self.reconcile(schedule.take(Instant::now())).await? {
                        schedule.add(Scope::ALL, Instant::now() + FAILED_CHANGE);
                    }
                }
                () = sleep(until_request) => {}
            }
            if self.own.conflict().is_some() && self.release().await? {
                return Ok(ExitCode::FAILURE);
            }
        }
    }

    /// Takes a report of the store; true if the tables may have to change.
    fn take(&mut self, event: LeaseEvent) -> bool {
        let (subnet, now) = (self.own.lease().subnet, machine::now());
        let notice = match event {
            LeaseEvent::All(snapshot) => {
                let notice = self.own.observed(snapshot.found(subnet).state(), snapshot.index, now);
                self.leases.replace(snapshot.leases);
                notice
            }
            LeaseEvent::Changed { subnet: changed, found, index } => {
                let notice =
                    if changed == subnet { self.own.observed(found.state(), index, now) } else { None };
                match found.lease() {
                    Some(lease) => self.leases.set(lease),
                    None => self.leases.remove(changed),
                }
                notice
            }
            LeaseEvent::Unavailable(error) => {
                tracing::error!("cannot watch the leases, routes remain as they are: {error}");
                return false;
            }
        };
        if let Some(notice) = notice {
            tracing::warn!("{notice}");
        }
        true
    }

    /// The request for the own lease, if it is time.
    fn due_request(&self) -> Option<Pending> {
        let (at, request) = self.own.next().filter(|(at, _)| *at <= machine::now())?;
        tracing::debug!("own lease, due at {at:?}: {request:?}");
        let (store, subnet, attributes) =
            (self.store.clone(), self.own.lease().subnet, self.own.attributes().clone());
        Some(Box::pin(async move {
            if request != LeaseRequest::Read
                && let Written::Lease(lease) = store.request(request, subnet, &attributes).await?
            {
                return Ok(Answer::Written(lease));
            }
            let (found, index) = store.read(subnet).await?;
            Ok(Answer::Read(found, index))
        }))
    }

    /// Until the next request for the own lease is due; bounded, since timers do not run while the machine sleeps.
    fn until_request(&self, is_pending: bool) -> Duration {
        match self.own.next() {
            Some((at, _)) if !is_pending => at.saturating_sub(machine::now()).min(CLOCK_CHECK),
            _ => CLOCK_CHECK,
        }
    }

    fn answered(&mut self, answer: Result<Answer, RequestError>) {
        let now = machine::now();
        match answer {
            Ok(Answer::Written(lease)) => {
                tracing::info!("{}", self.own.written(lease.modified_index, lease.ttl, now));
            }
            Ok(Answer::Read(found, index)) => {
                if let Some(notice) = self.own.observed(found.state(), index, now) {
                    tracing::warn!("{notice}");
                }
            }
            Err(error) => {
                let pause = self.own.failed(now);
                tracing::error!("Error renewing lease (trying again in {} s): {error}", pause.as_secs());
            }
        }
    }

    async fn keep_rules(&mut self) {
        match self.plane.ensure_rules(&self.rules).await {
            Ok(true) => tracing::info!("the rules of the packet filter were missing or changed: set again"),
            Ok(false) => {}
            Err(error) => tracing::error!("{error:#}"),
        }
    }

    /// Brings these parts of the kernel to what the leases require; false if something has to be tried again.
    async fn reconcile(&mut self, scope: Scope) -> Result<bool> {
        let device = !scope.device || self.keep_device().await?;
        if !scope.tables {
            return Ok(device);
        }
        let plan = self.plane.plan(&self.leases, self.own.lease().subnet).await?;
        for ignored in plan.ignored.iter().filter(|one| !self.ignored.contains(one)) {
            tracing::warn!("{ignored}");
        }
        let complete = self.plane.apply(&plan).await;
        self.ignored = plan.ignored;
        self.report();
        Ok(device && complete)
    }

    /// Creates the device again if another program removed or changed it, or if the external interface has another
    /// address. False without an external interface.
    async fn keep_device(&mut self) -> Result<bool> {
        let (external, _) = match external_interface(&self.plane.network, &self.settings.interface).await {
            Ok(found) => found,
            // The interface may be down for a moment.
            Err(error) => {
                tracing::debug!("{error:#}");
                return Ok(false);
            }
        };
        if external != self.plane.external {
            anyhow::bail!(
                "the external interface changed from {} {} to {} {}: starting anew",
                self.plane.external.name,
                self.plane.external.address,
                external.name,
                external.address
            );
        }
        self.plane.prepare_device().await?;
        self.plane.complete_device(self.own.lease().subnet).await?;
        Ok(true)
    }

    /// The state in `systemctl status flanneld`.
    fn report(&mut self) {
        let subnet = self.own.lease().subnet;
        let status = match self.own.conflict() {
            Some(holder) => format!("conflict: {holder} has the subnet {subnet} of this host"),
            None => format!("{subnet}, {}, {} leases", self.plane.backend, self.leases.iter().count()),
        };
        if status != self.status {
            notify::status(&status);
            self.status = status;
        }
    }

    /// Gives the subnet up that another host has, unless containers use it; true if it was.
    async fn release(&mut self) -> Result<bool> {
        let subnet = self.own.lease().subnet;
        let interfaces = self.plane.network.interfaces().await?;
        let bridges: Vec<_> = interfaces.into_iter().map(|one| (one.name, one.addresses)).collect();
        if machine::is_in_use(subnet, &bridges) && !self.settings.force_release {
            return Ok(false);
        }
        tracing::error!(
            "Lease {subnet} belongs to another host. Shutting down daemon, the next start leases another one"
        );
        subnet_file::remove(&self.settings.subnet_file)?;
        Ok(true)
    }
}

/// Completes with the response to the pending request; never if there is none.
async fn answered(pending: &mut Option<Pending>) -> Result<Answer, RequestError> {
    match pending {
        Some(request) => {
            let answer = request.await;
            *pending = None;
            answer
        }
        None => std::future::pending().await,
    }
}
