//! Cases that need time, several clients or faults: Rust functions, each with the same marks as a case.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::backend::{Cluster, Kind};
use crate::failure::Failure;
use crate::http::{Answer, Connection, Framing, HttpError, Request};

mod locks;
mod ttl;
mod watches;

pub struct Scene {
    pub name: &'static str,
    pub holds: &'static [Kind],
    pub differs: Option<(Kind, &'static str)>,
    pub run: fn(&mut Place<'_>) -> Result<(), Failure>,
}

impl Scene {
    pub fn mark(&self, kind: Kind) -> Option<&str> {
        self.differs.filter(|(marked, _)| *marked == kind).map(|(_, reason)| reason)
    }
}

const EVERYWHERE: &[Kind] = &Kind::ALL;
const OURS: &[Kind] = &[Kind::Model, Kind::One, Kind::Three];

pub static ALL: &[Scene] = &[];
const LIMIT: Duration = Duration::from_secs(10);
pub struct Place<'a> { cluster: &'a mut Cluster, folder: String }
impl<'a> Place<'a> { pub fn new(cluster: &'a mut Cluster, folder: &str) -> Result<Self, Failure> { Ok(Self{cluster, folder: folder.into()}) } }
