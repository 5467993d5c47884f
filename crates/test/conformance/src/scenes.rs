//! Cases that need time, several clients or faults: Rust functions with the same marks as cases.

mod access;
mod fixture;
mod locks;
mod ttl;
mod watches;

pub use fixture::Fixture;

use crate::backend::Kind;
use crate::failure::Failure;

pub struct Scene {
    pub name: &'static str,
    pub holds: &'static [Kind],
    pub differs: Option<(Kind, &'static str)>,
    pub run: fn(&mut Fixture<'_>) -> Result<(), Failure>,
}

impl Scene {
    pub fn mark(&self, kind: Kind) -> Option<&str> {
        self.differs.filter(|(marked, _)| *marked == kind).map(|(_, reason)| reason)
    }
}

const EVERYWHERE: &[Kind] = &Kind::ALL;
const OURS: &[Kind] = &[Kind::Model, Kind::One, Kind::Three];
const SERVERS: &[Kind] = &[Kind::One, Kind::Three, Kind::Reference];

const fn everywhere(name: &'static str, run: fn(&mut Fixture<'_>) -> Result<(), Failure>) -> Scene {
    Scene { name, holds: EVERYWHERE, differs: None, run }
}

/// For our server only; the reference runs it too and has to fail for this reason.
const fn ours(
    name: &'static str,
    reason: &'static str,
    run: fn(&mut Fixture<'_>) -> Result<(), Failure>,
) -> Scene {
    Scene { name, holds: OURS, differs: Some((Kind::Reference, reason)), run }
}

pub static ALL: &[Scene] = &[
    everywhere("watch headers come before any event", watches::headers_come_first),
    everywhere("watch ends after one event", watches::ends_after_one_event),
    everywhere("watch of a missing key", watches::missing_key),
    everywhere("watch from an index in the future", watches::future_index),
    everywhere("watch recursive", watches::recursive),
    everywhere("watch not recursive sees no children", watches::not_recursive),
    everywhere("watch sees a deletion above", watches::deletion_above),
    everywhere("watch passes over hidden paths", watches::hidden),
    everywhere("watch passes over refreshes", watches::refreshes),
    everywhere("watch streams in order", watches::streams_in_order),
    everywhere("watch by many is told to all", watches::many_watchers),
    everywhere("watch history holds a thousand events", watches::history_of_a_thousand),
    everywhere("watch of an ended connection is counted out", watches::watchers_are_counted),
    ours("watch streams from an old index", "the first event is its last", watches::stream_from_history),
    ours("watch of a slow reader ends", "the connection stays open, silent", watches::slow_reader),
    everywhere("ttl ends a key", ttl::ends_a_key),
    everywhere("ttl ends a dir with one event", ttl::ends_a_dir),
    everywhere("ttl of zero ends a key", ttl::zero),
    everywhere("ttl runs out in order of time", ttl::in_order),
    everywhere("ttl is put off by refresh", ttl::refreshed),
    everywhere("ttl is taken away by a plain put", ttl::taken_away),
    everywhere("race of creates has one winner", locks::one_creates),
    everywhere("race of swaps loses none", locks::swaps_lose_none),
    everywhere("lock has one holder", locks::lock_has_one_holder),
    everywhere("queue gives each job once", locks::queue_gives_each_job_once),
    everywhere("in-order keys of many clients are distinct", locks::in_order_keys_are_distinct),
    Scene { name: "access rules", holds: SERVERS, differs: None, run: access::rules },
];
