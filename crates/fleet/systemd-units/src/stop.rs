//! Stopping, which is over when systemd says so.

use std::time::Duration;

use tokio::sync::oneshot::Receiver;
use tokio::time::{Instant, sleep, sleep_until};
use unit_file::UnitName;

use crate::error::Error;
use crate::limits::{JOB_LOOK, STOP_GRACE, STOP_OTHERWISE};
use crate::manager::StopLimit;
use crate::session::Session;
use crate::takes::takes;
use crate::tries::Tries;
use crate::units::Units;

impl Units {
    /// Returns when the unit is down. It may take as long as the unit's own limit says, and some seconds; after that it
    /// is an error, and systemd goes on with it. A unit without limit is waited for without end.
    pub async fn stop(&self, name: &UnitName) -> Result<(), Error> {
        if !takes(name) {
            return Ok(());
        }
        let mut tries = Tries::default();
        loop {
            match self.stop_once(name).await {
                // Asked again, systemd goes on with the job that it has.
                Err(error) if tries.go_on(&error).await => {}
                done => return done,
            }
        }
    }

    pub(crate) async fn stop_once(&self, name: &UnitName) -> Result<(), Error> {
        let session = self.systemd().await?;
        let Some(object) = session.object(name).await? else { return Ok(()) };
        let limit = match session.stop_limit(name, &object).await? {
            StopLimit::Micros(micros) => Some(Duration::from_micros(micros).saturating_add(STOP_GRACE)),
            StopLimit::Never => None,
            StopLimit::Untold => Some(STOP_OTHERWISE + STOP_GRACE),
        };
        let asking = session.jobs.asking();
        let Some(job) = session.stop(name).await? else { return Ok(()) };
        let ended = asking.wait(job);
        tracing::info!("Triggered systemd unit {name} stop");
        let result = tokio::select! {
            result = session.end_of(job, ended) => result?,
            limit = over(limit) => return Err(Error::StillStopping { unit: name.clone(), limit }),
        };
        match result.as_deref() {
            Some("done") => Ok(()),
            result => session.check_down(name, result.unwrap_or("not known")).await,
        }
    }
}

/// When the time is over, which it may never be.
async fn over(limit: Option<Duration>) -> Duration {
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
    /// The job's result; `None` where it ended unheard.
    async fn end_of(&self, job: u32, mut ended: Receiver<String>) -> Result<Option<String>, Error> {
        loop {
            tokio::select! {
                // The other end is kept as long as the session.
                result = &mut ended => return Ok(result.ok()),
                () = self.closed() => {
                    return Err(Error::Lost { call: format!("waiting for job {job}"), source: None });
                }
                () = sleep(JOB_LOOK) => {}
            }
            if !self.has_job(job).await? {
                return Ok(ended.try_recv().ok());
            }
        }
    }

    async fn check_down(&self, name: &UnitName, result: &str) -> Result<(), Error> {
        match self.rows(&[name]).await?.pop() {
            Some(row) if !row.state.is_down() => Err(Error::NotStopped {
                unit: name.clone(),
                result: result.to_owned(),
                active: row.state.active,
            }),
            _ => Ok(()),
        }
    }
}
