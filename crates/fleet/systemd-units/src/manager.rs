//! What systemd's manager is asked for.

use std::path::PathBuf;

use serde::Serialize;
use serde::de::DeserializeOwned;
use unit_file::{UnitKind, UnitName};
use zbus::{DynamicType, OwnedObjectPath, OwnedVariant, Type};

use crate::call::Call;
use crate::error::Error;
use crate::limits::RELOAD_LIMIT;
use crate::session::Session;
use crate::state::SystemdState;

const JOB_MODE: &str = "replace";
const UNIT: &str = "org.freedesktop.systemd1.Unit";
const SERVICE: &str = "org.freedesktop.systemd1.Service";
const SOCKET: &str = "org.freedesktop.systemd1.Socket";
const MOUNT: &str = "org.freedesktop.systemd1.Mount";
/// How systemd writes a time without end.
const INFINITE: u64 = u64::MAX;
/// Until a reboot: nothing is written below `/etc`.
const RUNTIME: bool = true;
const FORCE: bool = true;
const SIGKILL: i32 = 9;

/// One unit as `ListUnitsByNames` gives it: name, description, load, active and sub state, followed unit, path, job
/// id, job type, job path.
type Listed = (String, String, String, String, String, String, OwnedObjectPath, u32, String, OwnedObjectPath);
/// Links that were made or removed: what was done, the link, its target.
type Links = Vec<(String, String, String)>;

/// A unit, and the object that systemd has for it.
pub(crate) struct Row {
    pub state: SystemdState,
    pub object: OwnedObjectPath,
}

impl Session {
    async fn ask<B, T>(&self, call: Call<'_>, body: &B) -> Result<T, Error>
    where
        B: Serialize + DynamicType,
        T: DeserializeOwned + Type,
    {
        // It is never closed.
        let _permit = self.in_flight.acquire().await.ok();
        call.ask(&self.connection, body).await
    }

    /// By its `[Install]` section; whether that says anything.
    pub async fn enable(&self, unit: &UnitName) -> Result<bool, Error> {
        let call = Call::manager("EnableUnitFiles", unit.as_str());
        let (says, _): (bool, Links) = self.ask(call, &(vec![unit.as_str()], RUNTIME, FORCE)).await?;
        Ok(says)
    }

    /// Removes its links, wherever they make it wanted.
    pub async fn disable(&self, unit: &UnitName) -> Result<(), Error> {
        self.disabling.ask(unit, |units| self.disable_all(units)).await
    }

    async fn disable_all(&self, units: Vec<UnitName>) -> Result<(), Error> {
        let about = many(&units);
        let call = Call::manager("DisableUnitFiles", &about);
        let names: Vec<&str> = units.iter().map(UnitName::as_str).collect();
        let done: Result<Links, Error> = self.ask(call, &(names, RUNTIME)).await;
        match done {
            // Of several, the others may be there.
            Err(error) if error.is_nothing_there() && units.len() == 1 => Ok(()),
            done => done.map(drop),
        }
    }

    pub async fn reset_failed(&self, unit: &UnitName) -> Result<(), Error> {
        let call = Call::manager("ResetFailedUnit", unit.as_str());
        let done: Result<(), Error> = self.ask(call, &unit.as_str()).await;
        if_there(done).map(drop)
    }

    pub async fn reload(&self) -> Result<(), Error> {
        self.ask(Call::manager("Reload", "").within(RELOAD_LIMIT), &()).await
    }

    /// The number of the job.
    pub async fn start(&self, unit: &UnitName) -> Result<u32, Error> {
        let call = Call::manager("StartUnit", unit.as_str());
        number_of(self.ask(call, &(unit.as_str(), JOB_MODE)).await?, unit, "StartUnit")
    }

    /// The number of the job; `None` where systemd does not know the unit, so nothing of it runs.
    pub async fn stop(&self, unit: &UnitName) -> Result<Option<u32>, Error> {
        let call = Call::manager("StopUnit", unit.as_str());
        let job = if_there(self.ask(call, &(unit.as_str(), JOB_MODE)).await)?;
        job.map(|job| number_of(job, unit, "StopUnit")).transpose()
    }

    /// Kills all its processes.
    pub async fn kill(&self, unit: &UnitName) -> Result<(), Error> {
        let call = Call::manager("KillUnit", unit.as_str());
        let done: Result<(), Error> = self.ask(call, &(unit.as_str(), "all", SIGKILL)).await;
        if_there(done).map(drop)
    }

    pub async fn has_job(&self, job: u32) -> Result<bool, Error> {
        let about = job.to_string();
        let found: Result<OwnedObjectPath, Error> = self.ask(Call::manager("GetJob", &about), &job).await;
        Ok(if_there(found)?.is_some())
    }

    /// The object of the unit if systemd has it in its memory. The question does not bring it there.
    pub async fn object(&self, unit: &UnitName) -> Result<Option<OwnedObjectPath>, Error> {
        if_there(self.ask(Call::manager("GetUnit", unit.as_str()), &unit.as_str()).await)
    }

    /// In the order of `units`, which must be names that systemd takes. Reads their files if need be.
    pub async fn rows(&self, units: &[&UnitName]) -> Result<Vec<Row>, Error> {
        if units.is_empty() {
            return Ok(Vec::new());
        }
        let about = many(units);
        let call = Call::manager("ListUnitsByNames", &about);
        let names: Vec<&str> = units.iter().map(|unit| unit.as_str()).collect();
        let listed: Vec<Listed> = self.ask(call, &names).await?;
        if listed.len() != units.len() {
            let why = format!("{} units were asked for, {} told of", units.len(), listed.len());
            return Err(answer("ListUnitsByNames", &about, zbus::Error::Failure(why)));
        }
        let row = |(_, _, load, active, sub, _, object, ..): Listed| {
            let state = SystemdState { load, active, sub };
            Row { state, object }
        };
        Ok(listed.into_iter().map(row).collect())
    }

    /// The file that the unit was read from; empty where there is none.
    pub async fn fragment(&self, unit: &UnitName, object: &OwnedObjectPath) -> Result<PathBuf, Error> {
        let path: String = self.property(unit, object, UNIT, "FragmentPath").await?;
        Ok(path.into())
    }

    /// How long the unit may take to stop.
    pub async fn stop_limit(&self, unit: &UnitName, object: &OwnedObjectPath) -> Result<StopLimit, Error> {
        let (interface, property) = match unit.kind() {
            UnitKind::Service => (SERVICE, "TimeoutStopUSec"),
            UnitKind::Socket => (SOCKET, "TimeoutUSec"),
            UnitKind::Mount => (MOUNT, "TimeoutUSec"),
            _ => return Ok(StopLimit::Untold),
        };
        match self.property(unit, object, interface, property).await {
            Ok(INFINITE) => Ok(StopLimit::Never),
            Ok(micros) => Ok(StopLimit::Micros(micros)),
            Err(error) if error.is_loss() => Err(error),
            // It is to be stopped all the same.
            Err(_) => Ok(StopLimit::Untold),
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
        let about = format!("{property} of {unit}");
        let call = Call::property(object.as_str(), &about);
        let value: OwnedVariant = self.ask(call, &(interface, property)).await?;
        T::try_from(value).map_err(|source| answer("Get", &about, source))
    }
}

/// What a unit may take to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StopLimit {
    Micros(u64),
    /// It is waited for without end.
    Never,
    /// Units of its kind have no such setting.
    Untold,
}

/// `None` where there is nothing that it could be done to.
fn if_there<T>(done: Result<T, Error>) -> Result<Option<T>, Error> {
    match done {
        Ok(done) => Ok(Some(done)),
        Err(error) if error.is_nothing_there() => Ok(None),
        Err(error) => Err(error),
    }
}

/// As errors name them.
fn many<T: ToString>(units: &[T]) -> String {
    match units {
        [unit] => unit.to_string(),
        units => format!("{} units", units.len()),
    }
}

fn number_of(job: OwnedObjectPath, unit: &UnitName, method: &str) -> Result<u32, Error> {
    let number = job.as_str().rsplit('/').next().and_then(|number| number.parse().ok());
    number.ok_or_else(|| answer(method, unit.as_str(), zbus::Error::Failure(format!("{job} is no job"))))
}

fn answer(method: &str, about: &str, source: zbus::Error) -> Error {
    Error::Answer { call: format!("{method} of {about}"), source: Box::new(source) }
}
