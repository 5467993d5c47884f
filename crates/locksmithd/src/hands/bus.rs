//! The system bus.

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;
use zbus::connection::Builder;
use zbus::{Connection, DynamicType, OwnedVariant, Type};

use crate::limits::CALL;

pub const BUS: Place<'static> = Place {
    service: "org.freedesktop.DBus",
    path: "/org/freedesktop/DBus",
    interface: "org.freedesktop.DBus",
};

const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// Whom a call goes to.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    pub service: &'a str,
    pub path: &'a str,
    pub interface: &'a str,
}

#[derive(Debug, Error)]
#[error("{call}: {source}")]
pub struct BusError {
    call: String,
    source: Box<zbus::Error>,
}

impl BusError {
    pub fn new(call: &str, source: zbus::Error) -> Self {
        Self { call: call.to_owned(), source: Box::new(source) }
    }

    /// The error that the other side named, such as `org.freedesktop.DBus.Error.UnknownMethod`.
    pub fn name(&self) -> Option<&str> {
        match &*self.source {
            zbus::Error::MethodError(name, ..) => Some(name.as_str()),
            _ => None,
        }
    }

    /// The other side's own words, where there are some.
    pub fn told(&self) -> String {
        match &*self.source {
            zbus::Error::MethodError(name, text, _) => text.clone().unwrap_or_else(|| name.to_string()),
            other => other.to_string(),
        }
    }
}

/// A connection whose calls do not wait for ever. `DBUS_SYSTEM_BUS_ADDRESS` names another bus.
pub async fn connect() -> Result<Connection, BusError> {
    let built = Builder::system().method_timeout(CALL).build().await;
    built.map_err(|error| BusError::new("connecting to the system bus", error))
}

pub async fn call<B, T>(bus: &Connection, to: Place<'_>, method: &str, body: &B) -> Result<T, BusError>
where
    B: Serialize + DynamicType,
    T: DeserializeOwned + Type,
{
    let answer = bus.call_method(Some(to.service), to.path, Some(to.interface), method, body).await;
    let answer = answer.map_err(|error| BusError::new(method, error))?;
    answer.body().deserialize().map_err(|error| BusError::new(method, error))
}

/// One property of an object.
pub async fn property<T>(bus: &Connection, of: Place<'_>, name: &str) -> Result<T, BusError>
where
    T: TryFrom<OwnedVariant, Error = zbus::Error>,
{
    let properties = Place { interface: PROPERTIES, ..of };
    let value: OwnedVariant = call(bus, properties, "Get", &(of.interface, name)).await?;
    T::try_from(value).map_err(|problem| BusError::new(name, problem))
}
