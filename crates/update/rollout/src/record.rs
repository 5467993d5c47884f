//! The records that make up the persistent state.

use semver::Version;
use serde::Serialize;

use crate::activity::Entry;
use crate::application::App;
use crate::group::{Channel, Group};
use crate::machine::Machine;
use crate::package::Package;
use crate::timeline::Timeline;
use crate::track::Track;

/// The key of a record. The application comes first, by its canonical id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "a key is the application, and the item's own key in it")]
pub enum RecordKey {
    App(String),
    Package(String, Version, String),
    Channel(String, Track),
    Group(String, Track),
    Timeline(String, Track),
    Machine(String, String),
    Activity(u64),
}

/// A record to write.
#[derive(Debug, Serialize)]
#[serde(untagged)]
#[expect(missing_docs, reason = "each variant is the record of the key of its name")]
pub enum Value<'a> {
    App(&'a App),
    Package(&'a Package),
    Channel(&'a Channel),
    Group(&'a Group),
    Timeline(&'a Timeline),
    Machine(&'a Machine),
    Activity(&'a Entry),
}

/// A record as loaded, with the application it belongs to.
#[derive(Debug)]
#[expect(missing_docs, reason = "each variant is the record of the key of its name")]
pub enum LoadedRecord {
    App(App),
    Package(String, Package),
    Channel(String, Channel),
    Group(String, Group),
    Timeline(String, Track, Timeline),
    Machine(String, Machine),
    Activity(Entry),
}
