//! What is kept, piece by piece.

use semver::Version;
use serde::Serialize;

use crate::activity::Entry;
use crate::application::App;
use crate::group::{Channel, Group};
use crate::machine::Machine;
use crate::package::Package;
use crate::timeline::Timeline;
use crate::track::Track;

/// Where a piece belongs. The application stands in front, by its bare id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Record {
    App(String),
    Package(String, Version, String),
    Channel(String, Track),
    Group(String, Track),
    Timeline(String, Track),
    Machine(String, String),
    Activity(u64),
}

/// A piece, to be written.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Value<'a> {
    App(&'a App),
    Package(&'a Package),
    Channel(&'a Channel),
    Group(&'a Group),
    Timeline(&'a Timeline),
    Machine(&'a Machine),
    Activity(&'a Entry),
}

/// A piece as it was read; with the application that it belongs to.
#[derive(Debug)]
pub enum Loaded {
    App(App),
    Package(String, Package),
    Channel(String, Channel),
    Group(String, Group),
    Timeline(String, Track, Timeline),
    Machine(String, Machine),
    Activity(Entry),
}
