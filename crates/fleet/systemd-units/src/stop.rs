//! Stops units. A unit is stopped when systemd reports it.

use std::time::Duration;

use tokio::sync::oneshot::Receiver;
use tokio::time::{Instant, sleep, sleep_until};
use unit_file::UnitName;

use crate::error::Error;
use crate::limits::{DEFAULT_STOP_TIMEOUT, JOB_POLL_INTERVAL, STOP_GRACE};
use crate::manager::StopLimit;
use crate::retry::Retries;
use crate::session::Session;
use crate::supported::is_supported;
use crate::units::Units;

impl Units {
    /// Returns when the unit is down, or with an error some seconds after its stop timeout; systemd then continues to
    /// stop it. Waits forever for a unit with an infinite timeout.
    pub async fn stop(&self, name: &UnitName) -> Result<(), Error> {
        if !is_supported(name) {
            return Ok(());
        }
        let mut retries = Retries::default();
        loop {
            match self.stop_once(name).await {
                // A repeated call joins the existing stop job.
                Err(error) if retries.should_retry(&error).await => {}
                done => return done,
            }
        }
    }

    pub(crate) async fn stop_once(&self, name: &UnitName) -> Result<(), Error> {
        let session = self.session().await?;
        let Some(object) = session.unit_object(name).await? else { return Ok(()) };
        let limit = match session.stop_limit(name, &object).await? {
            StopLimit::Micros(micros) => Some(Duration::from_micros(micros).saturating_add(STOP_GRACE)),
            StopLimit::Infinite => None,
            StopLimit::Default => Some(DEFAULT_STOP_TIMEOUT + STOP_GRACE),
        };
        let call = session.jobs.begin_call();
        let Some(job) = session.stop(name).await? else { return Ok(()) };
        let ended = call.wait(job);
        tracing::info!("Triggered systemd unit {name} stop");
        let result = tokio::select! {
            result = session.wait_for_job(job, ended) => result?,
            limit = deadline(limit) => return Err(Error::StillStopping { unit: name.clone(), limit }),
        };
        match result.as_deref() {
            Some("done") => Ok(()),
            result => session.check_stopped(name, result.unwrap_or("not known")).await,
        }
    }
}

/// Waits until the time is over; forever without a limit.
async fn deadline(limit: Option<Duration>) -> Duration {
    let end = limit.and_then(|limit| Some((limit, Instant::now().checked_add(limit)?)));
    match end {
        Some((limit, end)) => {
            sleep_until(end).await;
            limit
        }
        None => std::future::pending().await,
    }
}

impl Session {
    /// The job's result; `None` if its signal was lost.
    async fn wait_for_job(&self, job: u32, mut ended: Receiver<String>) -> Result<Option<String>, Error> {
        loop {
            tokio::select! {
                // The session keeps the sender.
                result = &mut ended => return Ok(result.ok()),
                () = self.closed() => {
                    return Err(Error::Lost { call: format!("waiting for job {job}"), source: None });
                }
                () = sleep(JOB_POLL_INTERVAL) => {}
            }
            if !self.has_job(job).await? {
                return Ok(ended.try_recv().ok());
            }
        }
    }

    async fn check_stopped(&self, name: &UnitName, result: &str) -> Result<(), Error> {
        match self.list_units(&[name]).await?.pop() {
            Some(unit) if !unit.state.is_down() => Err(Error::NotStopped {
                unit: name.clone(),
                result: result.to_owned(),
                active: unit.state.active,
            }),
            _ => Ok(()),
        }
    }
}
