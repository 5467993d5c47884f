//! Calls to systemd's manager.

use std::path::PathBuf;

use serde::Serialize;
use serde::de::DeserializeOwned;
use unit_file::{UnitKind, UnitName};
use zbus::{DynamicType, OwnedObjectPath, OwnedVariant, Type};

use crate::call::Call;
use crate::error::Error;
use crate::limits::RELOAD_TIMEOUT;
use crate::session::Session;
use crate::state::SystemdState;

const JOB_MODE: &str = "replace";
const UNIT: &str = "org.freedesktop.systemd1.Unit";
const SERVICE: &str = "org.freedesktop.systemd1.Service";
const SOCKET: &str = "org.freedesktop.systemd1.Socket";
const MOUNT: &str = "org.freedesktop.systemd1.Mount";
/// systemd's value for an infinite timeout.
const INFINITE: u64 = u64::MAX;
/// Until the next boot: nothing is written below `/etc`.
const RUNTIME: bool = true;
const FORCE: bool = true;
const SIGKILL: i32 = 9;

/// A unit in the reply of `ListUnitsByNames`: name, description, load, active and sub state, followed unit, path, job
/// id, job type, job path.
type ListedUnit =
    (String, String, String, String, String, String, OwnedObjectPath, u32, String, OwnedObjectPath);
/// Changed links: action, link, target.
type Links = Vec<(String, String, String)>;

/// A unit's state and D-Bus object.
pub(crate) struct UnitStatus {
    pub state: SystemdState,
    pub object: OwnedObjectPath,
}

impl Session {
    async fn call<B, T>(&self, call: Call<'_>, body: &B) -> Result<T, Error>
    where
        B: Serialize + DynamicType,
        T: DeserializeOwned + Type,
    {
        // The semaphore is never closed.
        let _permit = self.in_flight.acquire().await.ok();
        call.send(&self.connection, body).await
    }

    /// Returns whether the unit has an effective `[Install]` section.
    pub async fn enable(&self, unit: &UnitName) -> Result<bool, Error> {
        let call = Call::manager("EnableUnitFiles", unit.as_str());
        let (carries_install_info, _): (bool, Links) =
            self.call(call, &(vec![unit.as_str()], RUNTIME, FORCE)).await?;
        Ok(carries_install_info)
    }

    /// Removes all links to the unit.
    pub async fn disable(&self, unit: &UnitName) -> Result<(), Error> {
        self.disable_batcher.call(unit, |units| self.disable_units(units)).await
    }

    async fn disable_units(&self, units: Vec<UnitName>) -> Result<(), Error> {
        let subject = describe_units(&units);
        let call = Call::manager("DisableUnitFiles", &subject);
        let names: Vec<&str> = units.iter().map(UnitName::as_str).collect();
        let result: Result<Links, Error> = self.call(call, &(names, RUNTIME)).await;
        match result {
            // Other units of the call may exist.
            Err(error) if error.is_not_found() && units.len() == 1 => Ok(()),
            result => result.map(drop),
        }
    }

    pub async fn reset_failed(&self, unit: &UnitName) -> Result<(), Error> {
        let call = Call::manager("ResetFailedUnit", unit.as_str());
        let result: Result<(), Error> = self.call(call, &unit.as_str()).await;
        optional(result).map(drop)
    }

    pub async fn daemon_reload(&self) -> Result<(), Error> {
        self.call(Call::manager("Reload", "").with_timeout(RELOAD_TIMEOUT), &()).await
    }

    /// Returns the job id.
    pub async fn start(&self, unit: &UnitName) -> Result<u32, Error> {
        let call = Call::manager("StartUnit", unit.as_str());
        job_id(self.call(call, &(unit.as_str(), JOB_MODE)).await?, unit, "StartUnit")
    }

    /// Returns the job id; `None` if systemd does not know the unit, so that nothing of it runs.
    pub async fn stop(&self, unit: &UnitName) -> Result<Option<u32>, Error> {
        let call = Call::manager("StopUnit", unit.as_str());
        let job = optional(self.call(call, &(unit.as_str(), JOB_MODE)).await)?;
        job.map(|job| job_id(job, unit, "StopUnit")).transpose()
    }

    /// Kills all its processes.
    pub async fn kill(&self, unit: &UnitName) -> Result<(), Error> {
        let call = Call::manager("KillUnit", unit.as_str());
        let result: Result<(), Error> = self.call(call, &(unit.as_str(), "all", SIGKILL)).await;
        optional(result).map(drop)
    }

    pub async fn has_job(&self, job: u32) -> Result<bool, Error> {
        let subject = job.to_string();
        let job_path: Result<OwnedObjectPath, Error> =
            self.call(Call::manager("GetJob", &subject), &job).await;
        Ok(optional(job_path)?.is_some())
    }

    /// The unit's object if it is in systemd's memory. This call does not load it.
    pub async fn unit_object(&self, unit: &UnitName) -> Result<Option<OwnedObjectPath>, Error> {
        optional(self.call(Call::manager("GetUnit", unit.as_str()), &unit.as_str()).await)
    }

    /// In the order of `units`, whose names systemd must support. Loads their files if needed.
    pub async fn list_units(&self, units: &[&UnitName]) -> Result<Vec<UnitStatus>, Error> {
        if units.is_empty() {
            return Ok(Vec::new());
        }
        let subject = describe_units(units);
        let call = Call::manager("ListUnitsByNames", &subject);
        let names: Vec<&str> = units.iter().map(|unit| unit.as_str()).collect();
        let listed: Vec<ListedUnit> = self.call(call, &names).await?;
        if listed.len() != units.len() {
            let why = format!("{} units were requested, {} returned", units.len(), listed.len());
            return Err(invalid_reply("ListUnitsByNames", &subject, zbus::Error::Failure(why)));
        }
        let unit_status = |(_, _, load, active, sub, _, object, ..): ListedUnit| {
            let state = SystemdState { load, active, sub };
            UnitStatus { state, object }
        };
        Ok(listed.into_iter().map(unit_status).collect())
    }

    /// The file that the unit was loaded from; empty if there is none.
    pub async fn fragment_path(&self, unit: &UnitName, object: &OwnedObjectPath) -> Result<PathBuf, Error> {
        let path: String = self.property(unit, object, UNIT, "FragmentPath").await?;
        Ok(path.into())
    }

    /// The unit's stop timeout.
    pub async fn stop_limit(&self, unit: &UnitName, object: &OwnedObjectPath) -> Result<StopLimit, Error> {
        let (interface, property) = match unit.kind() {
            UnitKind::Service => (SERVICE, "TimeoutStopUSec"),
            UnitKind::Socket => (SOCKET, "TimeoutUSec"),
            UnitKind::Mount => (MOUNT, "TimeoutUSec"),
            _ => return Ok(StopLimit::Default),
        };
        match self.property(unit, object, interface, property).await {
            Ok(INFINITE) => Ok(StopLimit::Infinite),
            Ok(micros) => Ok(StopLimit::Micros(micros)),
            Err(error) if error.is_disconnect() => Err(error),
            // The unit must be stopped nevertheless.
            Err(_) => Ok(StopLimit::Default),
        }
    }

    async fn property<T>(
        &self,
        unit: &UnitName,
        object: &OwnedObjectPath,
        interface: &'static str,
        property: &'static str,
    ) -> Result<T, Error>
    where
        T: TryFrom<OwnedVariant, Error = zbus::Error>,
    {
        let subject = format!("{property} of {unit}");
        let call = Call::property(object.as_str(), &subject);
        let value: OwnedVariant = self.call(call, &(interface, property)).await?;
        T::try_from(value).map_err(|source| invalid_reply("Get", &subject, source))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StopLimit {
    Micros(u64),
    Infinite,
    /// The unit type has no such setting.
    Default,
}

/// `None` if the object does not exist.
fn optional<T>(result: Result<T, Error>) -> Result<Option<T>, Error> {
    match result {
        Ok(result) => Ok(Some(result)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// For errors.
fn describe_units<T: ToString>(units: &[T]) -> String {
    match units {
        [unit] => unit.to_string(),
        units => format!("{} units", units.len()),
    }
}

fn job_id(job: OwnedObjectPath, unit: &UnitName, method: &str) -> Result<u32, Error> {
    let number = job.as_str().rsplit('/').next().and_then(|number| number.parse().ok());
    number
        .ok_or_else(|| invalid_reply(method, unit.as_str(), zbus::Error::Failure(format!("{job} is no job"))))
}

fn invalid_reply(method: &str, subject: &str, source: zbus::Error) -> Error {
    Error::InvalidReply { call: format!("{method} of {subject}"), source: Box::new(source) }
}
