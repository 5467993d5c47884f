//! Checks the timeouts of `fleet.service` against the deadline of the fence.

use std::path::Path;
use std::time::Duration;

use fleet_core::fencing::{Decision, Facts, Others, decide};
use unit_file::UnitFile;

const FILE: &str = "../../../units/usr/lib/systemd/system/fleet.service";
/// Default of `agent_ttl`.
const TTL: Duration = Duration::from_secs(30);
/// Time until the fence has started and read its files.
const FENCE_START: Duration = Duration::from_secs(1);

fn seconds(file: &UnitFile, name: &str) -> Duration {
    let value = file.values("Service", name).last().unwrap();
    Duration::from_secs(value.strip_suffix('s').unwrap().parse().unwrap())
}

/// The worst case: fleetd hangs just before it renews its presence.
#[test]
fn units_of_a_hanging_fleetd_have_time_to_stop() {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE)).unwrap();
    let file = UnitFile::from_text(&text).unwrap();
    let ended = TTL / 2 + seconds(&file, "WatchdogSec") + seconds(&file, "TimeoutAbortSec");
    let others = Others::Some { without_store_at: None };
    let facts = Facts { now: ended + FENCE_START, last_heartbeat: Duration::ZERO, ttl: TTL, others };
    let decision = decide(&facts);
    assert!(matches!(decision, Decision::Stop { .. }), "{decision:?} at {:?}", facts.now);
}
