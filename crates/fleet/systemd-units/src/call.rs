//! A D-Bus method call with its destination, timeout and description for errors.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;
use zbus::{Connection, DynamicType, Type};

use crate::error::Error;
use crate::limits::CALL_TIMEOUT;

pub(crate) const SYSTEMD: &str = "org.freedesktop.systemd1";
pub(crate) const SYSTEMD_PATH: &str = "/org/freedesktop/systemd1";
pub(crate) const MANAGER: &str = "org.freedesktop.systemd1.Manager";
pub(crate) const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
pub(crate) const BUS: &str = "org.freedesktop.DBus";
const BUS_PATH: &str = "/org/freedesktop/DBus";

pub(crate) struct Call<'a> {
    destination: &'static str,
    path: &'a str,
    interface: &'static str,
    method: &'static str,
    /// Usually a unit; empty if the method alone is sufficient.
    subject: &'a str,
    timeout: Duration,
}

impl<'a> Call<'a> {
    /// To `org.freedesktop.systemd1.Manager`.
    pub fn manager(method: &'static str, subject: &'a str) -> Self {
        let (destination, path, interface) = (SYSTEMD, SYSTEMD_PATH, MANAGER);
        Self { destination, path, interface, method, subject, timeout: CALL_TIMEOUT }
    }

    /// Gets a property of a systemd object.
    pub fn property(path: &'a str, subject: &'a str) -> Self {
        let (destination, interface, method) = (SYSTEMD, PROPERTIES, "Get");
        Self { destination, path, interface, method, subject, timeout: CALL_TIMEOUT }
    }

    /// To the bus.
    pub fn bus(method: &'static str) -> Self {
        let subject = SYSTEMD;
        Self { destination: BUS, path: BUS_PATH, interface: BUS, method, subject, timeout: CALL_TIMEOUT }
    }

    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    pub async fn send<B, T>(&self, connection: &Connection, body: &B) -> Result<T, Error>
    where
        B: Serialize + DynamicType,
        T: DeserializeOwned + Type,
    {
        let (to, path, interface) = (Some(self.destination), self.path, Some(self.interface));
        let request = connection.call_method(to, path, interface, self.method, body);
        let reply = match timeout(self.timeout, request).await {
            Ok(reply) => reply.map_err(|error| Error::of_call(self.describe(), error))?,
            Err(_) => return Err(Error::TimedOut { call: self.describe(), limit: self.timeout }),
        };
        let body = reply.body();
        body.deserialize()
            .map_err(|source| Error::InvalidReply { call: self.describe(), source: Box::new(source) })
    }

    pub fn describe(&self) -> String {
        if self.subject.is_empty() {
            return self.method.to_owned();
        }
        format!("{} of {}", self.method, self.subject)
    }
}
