//! D-Bus signals. Only signals from systemd and the bus count: on the system bus anyone may send signals.

use unit_file::UnitName;
use zbus::message::{Header, Type};
use zbus::names::InterfaceName;
use zbus::{Connection, MatchRule, Message, OwnedObjectPath};

use crate::call::{BUS, Call, MANAGER, PROPERTIES, SYSTEMD, SYSTEMD_PATH};
use crate::error::Error;

const UNIT: &str = "org.freedesktop.systemd1.Unit";
const UNITS: &str = "/org/freedesktop/systemd1/unit";

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    JobRemoved {
        job: u32,
        unit: String,
        result: String,
    },
    /// systemd starts or has finished a daemon-reload. It does not reply in between.
    Reloading,
    /// systemd has loaded or unloaded the unit.
    UnitNew(String),
    UnitRemoved(String),
    PropertiesChanged(UnitName),
    /// systemd's unique name on the bus, if any.
    NameOwnerChanged(Option<String>),
}

/// Match rules for the bus.
pub(crate) fn match_rules() -> zbus::Result<Vec<MatchRule<'static>>> {
    let signal = || MatchRule::builder().msg_type(Type::Signal);
    Ok(vec![
        signal().sender(BUS).interface(BUS).member("NameOwnerChanged").add_arg(SYSTEMD).build()?,
        signal().sender(SYSTEMD).path(SYSTEMD_PATH).interface(MANAGER).build()?,
        signal()
            .sender(SYSTEMD)
            .path_namespace(UNITS)
            .interface(PROPERTIES)
            .member("PropertiesChanged")
            .add_arg(UNIT)
            .build()?,
    ])
}

/// systemd sends signals only to subscribers.
pub(crate) async fn subscribe(connection: &Connection) -> Result<(), Error> {
    match Call::manager("Subscribe", "").send(connection, &()).await {
        Err(error) if error.is_already_subscribed() => Ok(()),
        done => done,
    }
}

/// `systemd` is its current unique name.
pub(crate) fn parse(message: &Message, systemd: Option<&str>) -> Option<Signal> {
    if message.message_type() != Type::Signal {
        return None;
    }
    let header = message.header();
    let sender = header.sender()?.as_str();
    match header.interface().map(InterfaceName::as_str)? {
        BUS if sender == BUS => parse_bus_signal(message, &header),
        MANAGER if Some(sender) == systemd => parse_manager_signal(message, &header),
        PROPERTIES if Some(sender) == systemd => parse_properties_changed(message, &header),
        _ => None,
    }
}

fn parse_bus_signal(message: &Message, header: &Header<'_>) -> Option<Signal> {
    if header.member()?.as_str() != "NameOwnerChanged" {
        return None;
    }
    let (name, _, new): (String, String, String) = message.body().deserialize().ok()?;
    (name == SYSTEMD).then(|| Signal::NameOwnerChanged((!new.is_empty()).then_some(new)))
}

fn parse_manager_signal(message: &Message, header: &Header<'_>) -> Option<Signal> {
    let body = message.body();
    match header.member()?.as_str() {
        "JobRemoved" => {
            let (job, _, unit, result): (u32, OwnedObjectPath, String, String) = body.deserialize().ok()?;
            Some(Signal::JobRemoved { job, unit, result })
        }
        "Reloading" => Some(Signal::Reloading),
        "UnitNew" => {
            body.deserialize().ok().map(|(unit, _): (String, OwnedObjectPath)| Signal::UnitNew(unit))
        }
        "UnitRemoved" => {
            body.deserialize().ok().map(|(unit, _): (String, OwnedObjectPath)| Signal::UnitRemoved(unit))
        }
        _ => None,
    }
}

fn parse_properties_changed(message: &Message, header: &Header<'_>) -> Option<Signal> {
    if header.member()?.as_str() != "PropertiesChanged" {
        return None;
    }
    let body = message.body();
    // The first of three arguments. Properties are queried later.
    let interface: &str = body.deserialize_ignore_signature().ok()?;
    (interface == UNIT)
        .then(|| unit_from_object_path(header.path()?.as_str()).map(Signal::PropertiesChanged))?
}

/// The unit of an object path. systemd escapes bytes as `_` and two hex digits (sd_bus_path_encode(3)).
fn unit_from_object_path(path: &str) -> Option<UnitName> {
    let label = path.strip_prefix(UNITS)?.strip_prefix('/')?;
    let mut parts = label.split('_');
    let mut name = parts.next()?.as_bytes().to_vec();
    for part in parts {
        name.push(u8::from_str_radix(part.get(..2)?, 16).ok()?);
        name.extend_from_slice(&part.as_bytes()[2..]);
    }
    UnitName::parse(std::str::from_utf8(&name).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use zbus::Variant;

    use super::*;

    fn check_path(path: &str, name: Option<&str>) {
        let unit = unit_from_object_path(path);
        assert_eq!(unit.as_ref().map(UnitName::as_str), name, "{path}");
    }

    #[test]
    fn object_paths_decode() {
        check_path("/org/freedesktop/systemd1/unit/hello_2eservice", Some("hello.service"));
        check_path(
            "/org/freedesktop/systemd1/unit/_32web_40a_5cx2d_5fb_3ac_2eservice",
            Some(r"2web@a\x2d_b:c.service"),
        );
        check_path("/org/freedesktop/systemd1/unit/a_2dslice_2eslice", Some("a-slice.slice"));
        check_path("/org/freedesktop/systemd1/unit/hello", None);
        check_path("/org/freedesktop/systemd1/unit/a_2eservice_", None);
        check_path("/org/freedesktop/systemd1/unit/a_zzservice", None);
        check_path("/org/freedesktop/systemd1/unit/a_+2service", None);
        check_path("/org/freedesktop/systemd1/job/1", None);
        check_path("/org/freedesktop/systemd1/unit", None);
    }

    fn signal<B>(path: &str, interface: &str, member: &str, sender: &str, body: &B) -> Message
    where
        B: serde::Serialize + zbus::DynamicType,
    {
        Message::signal(path, interface, member).sender(sender).build(body).unwrap()
    }

    fn check(message: &Message, expected: Option<Signal>) {
        assert_eq!(parse(message, Some(":1.1")), expected, "{message:?}");
    }

    #[test]
    fn signals_of_other_senders_are_ignored() {
        let job = OwnedObjectPath::try_from("/org/freedesktop/systemd1/job/5").unwrap();
        let end = (5u32, job, "a.service", "done");
        let removed = Signal::JobRemoved { job: 5, unit: "a.service".into(), result: "done".into() };
        check(&signal(SYSTEMD_PATH, MANAGER, "JobRemoved", ":1.1", &end), Some(removed));
        check(&signal(SYSTEMD_PATH, MANAGER, "JobRemoved", ":1.9", &end), None);
        let owner = (SYSTEMD, ":1.1", ":1.2");
        let changed = |sender| signal("/org/freedesktop/DBus", BUS, "NameOwnerChanged", sender, &owner);
        check(&changed("org.freedesktop.DBus"), Some(Signal::NameOwnerChanged(Some(":1.2".into()))));
        check(&changed(":1.9"), None);
        check(&changed(":1.1"), None);
    }

    #[test]
    fn only_the_unit_interface_counts() {
        let none: (HashMap<&str, Variant<'_>>, Vec<&str>) = Default::default();
        let path = "/org/freedesktop/systemd1/unit/a_2eservice";
        let changed = |interface, sender| {
            signal(path, PROPERTIES, "PropertiesChanged", sender, &(interface, &none.0, &none.1))
        };
        let unit = UnitName::parse("a.service").unwrap();
        check(&changed(UNIT, ":1.1"), Some(Signal::PropertiesChanged(unit)));
        check(&changed("org.freedesktop.systemd1.Service", ":1.1"), None);
        check(&changed(UNIT, ":1.9"), None);
    }

    #[test]
    fn manager_signals() {
        let object = OwnedObjectPath::try_from("/org/freedesktop/systemd1/unit/a_2eservice").unwrap();
        let unit = ("a.service", object);
        let from_systemd =
            |member, body: &(&str, OwnedObjectPath)| signal(SYSTEMD_PATH, MANAGER, member, ":1.1", body);
        check(&from_systemd("UnitNew", &unit), Some(Signal::UnitNew("a.service".into())));
        check(&from_systemd("UnitRemoved", &unit), Some(Signal::UnitRemoved("a.service".into())));
        check(&from_systemd("UnitFilesChanged", &unit), None);
        check(&signal(SYSTEMD_PATH, MANAGER, "Reloading", ":1.1", &true), Some(Signal::Reloading));
    }
}
