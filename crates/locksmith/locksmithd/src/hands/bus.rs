//! The system bus.

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;
use zbus::connection::Builder;
use zbus::{Connection, DBusError as _, DynamicType, OwnedVariant, Type};

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
#[error("{call}: {cause}")]
pub struct BusError {
    call: String,
    cause: Box<zbus::Error>,
}

impl BusError {
    pub fn new(call: &str, cause: zbus::Error) -> Self {
        Self { call: call.to_owned(), cause: Box::new(cause) }
    }

    /// The error that the other side named, such as `org.freedesktop.DBus.Error.UnknownMethod`.
    pub fn name(&self) -> Option<String> {
        match &*self.cause {
            zbus::Error::MethodError(name, ..) => Some(name.to_string()),
            // Names that the bus itself defines come as variants.
            zbus::Error::FDO(known) => Some(known.name().to_string()),
            _ => None,
        }
    }

    pub fn is(&self, name: &str) -> bool {
        self.name().is_some_and(|own| own == name)
    }

    /// The other side's own words, where there are some.
    pub fn told(&self) -> String {
        let words = match &*self.cause {
            zbus::Error::MethodError(_, text, _) => text.clone(),
            zbus::Error::FDO(known) => known.description().map(str::to_owned),
            _ => None,
        };
        words.unwrap_or_else(|| self.cause.to_string())
    }
}

/// A connection whose calls do not wait forever. `DBUS_SYSTEM_BUS_ADDRESS` names another bus.
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
