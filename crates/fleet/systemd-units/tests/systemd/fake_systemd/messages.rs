//! Object paths and signals in systemd's format.

use std::collections::HashMap;
use std::fmt::Write as _;

use zbus::{DynamicType, Message, OwnedObjectPath, Variant};

pub const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";

pub fn object(unit: &str) -> OwnedObjectPath {
    let mut path = format!("{MANAGER_PATH}/unit/");
    for (index, byte) in unit.bytes().enumerate() {
        if byte.is_ascii_alphabetic() || (byte.is_ascii_digit() && index > 0) {
            path.push(char::from(byte));
        } else {
            write!(path, "_{byte:02x}").unwrap();
        }
    }
    path.try_into().unwrap()
}

/// The unit of an object path.
pub fn unit_of<'a>(path: &str, units: impl Iterator<Item = &'a String>) -> Option<String> {
    units.into_iter().find(|unit| object(unit).as_str() == path).cloned()
}

pub fn job(number: u32) -> OwnedObjectPath {
    format!("{MANAGER_PATH}/job/{number}").try_into().unwrap()
}

pub fn manager<B>(sender: &str, member: &str, body: &B) -> Message
where
    B: serde::Serialize + DynamicType,
{
    Message::signal(MANAGER_PATH, MANAGER, member).sender(sender).build(body).unwrap()
}

pub fn job_removed(sender: &str, number: u32, unit: &str, result: &str) -> Message {
    manager(sender, "JobRemoved", &(number, job(number), unit, result))
}

/// A PropertiesChanged signal with systemd's properties.
pub fn changed(sender: &str, unit: &str, active: &str, sub: &str) -> Message {
    let properties = HashMap::from([
        ("ActiveState", Variant::from(active)),
        ("SubState", Variant::from(sub)),
        ("Job", Variant::from((0u32, job(0)))),
    ]);
    let body = ("org.freedesktop.systemd1.Unit", properties, vec!["Conditions"]);
    Message::signal(object(unit), "org.freedesktop.DBus.Properties", "PropertiesChanged")
        .sender(sender)
        .build(&body)
        .unwrap()
}

pub fn owner_changed(old: &str, new: &str) -> Message {
    Message::signal("/org/freedesktop/DBus", "org.freedesktop.DBus", "NameOwnerChanged")
        .sender("org.freedesktop.DBus")
        .build(&("org.freedesktop.systemd1", old, new))
        .unwrap()
}
