//! The system bus.

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;
use zbus::connection::Builder;
use zbus::{Connection, DBusError as _, DynamicType, OwnedVariant, Type};

use crate::limits::DBUS_CALL;

pub const MESSAGE_BUS: RemoteObject<'static> = RemoteObject {
    service: "org.freedesktop.DBus",
    path: "/org/freedesktop/DBus",
    interface: "org.freedesktop.DBus",
};

const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// The destination of a call.
#[derive(Debug, Clone, Copy)]
pub struct RemoteObject<'a> {
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

    /// The D-Bus error name, such as `org.freedesktop.DBus.Error.UnknownMethod`.
    pub fn name(&self) -> Option<String> {
        match &*self.cause {
            zbus::Error::MethodError(name, ..) => Some(name.to_string()),
            // zbus maps standard errors to variants.
            zbus::Error::FDO(fdo_error) => Some(fdo_error.name().to_string()),
            _ => None,
        }
    }

    pub fn is(&self, name: &str) -> bool {
        self.name().is_some_and(|actual| actual == name)
    }

    /// The error message of the peer, if there is one.
    pub fn message(&self) -> String {
        let message = match &*self.cause {
            zbus::Error::MethodError(_, text, _) => text.clone(),
            zbus::Error::FDO(fdo_error) => fdo_error.description().map(str::to_owned),
            _ => None,
        };
        message.unwrap_or_else(|| self.cause.to_string())
    }
}

/// Connects to the system bus, with a call timeout. `DBUS_SYSTEM_BUS_ADDRESS` overrides its address.
pub async fn connect() -> Result<Connection, BusError> {
    let connection = Builder::system().method_timeout(DBUS_CALL).build().await;
    connection.map_err(|error| BusError::new("connecting to the system bus", error))
}

pub async fn call<B, T>(
    bus: &Connection,
    object: RemoteObject<'_>,
    method: &str,
    body: &B,
) -> Result<T, BusError>
where
    B: Serialize + DynamicType,
    T: DeserializeOwned + Type,
{
    let reply =
        bus.call_method(Some(object.service), object.path, Some(object.interface), method, body).await;
    let reply = reply.map_err(|error| BusError::new(method, error))?;
    reply.body().deserialize().map_err(|error| BusError::new(method, error))
}

/// Reads a property of an object.
pub async fn property<T>(bus: &Connection, object: RemoteObject<'_>, name: &str) -> Result<T, BusError>
where
    T: TryFrom<OwnedVariant, Error = zbus::Error>,
{
    let properties = RemoteObject { interface: PROPERTIES, ..object };
    let value: OwnedVariant = call(bus, properties, "Get", &(object.interface, name)).await?;
    T::try_from(value).map_err(|error| BusError::new(name, error))
}
