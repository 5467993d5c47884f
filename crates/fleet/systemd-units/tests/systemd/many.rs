//! A thousand units concurrently: neither calls nor stops wait for each other.

use futures_util::future::try_join_all;
use systemd_units::Error;

use super::fake_systemd::{Fixture, Stop, file, name};

const UNITS: usize = 1000;
/// Calls in flight before the first reply.
const AT_ONCE: usize = 200;

fn names() -> Vec<unit_file::UnitName> {
    (0..UNITS).map(|number| name(&format!("a@{number}.service"))).collect()
}

#[tokio::test]
async fn a_thousand_units() {
    let fixture = Fixture::new();
    let (units, names, text) =
        (&fixture.units, names(), file("[Service]\nExecStart=/bin/sleep 1\n[Install]\nWantedBy=x.target\n"));

    fixture.systemd.state(|state| state.hold_method = Some(("EnableUnitFiles", AT_ONCE)));
    let loading = try_join_all(names.iter().map(|name| units.load(name, &text)));
    loading.await.unwrap();
    fixture.systemd.state(|state| state.hold_method = None);
    units.daemon_reload().await.unwrap();
    assert_eq!((fixture.systemd.calls("EnableUnitFiles"), fixture.systemd.calls("Reload")), (UNITS, 1));
    assert_eq!(units.list_unit_files().await.unwrap().len(), UNITS);

    fixture.systemd.state(|state| state.hold_method = Some(("StartUnit", AT_ONCE)));
    let mut jobs = try_join_all(names.iter().map(|name| units.start(name))).await.unwrap();
    jobs.sort_unstable();
    jobs.dedup();
    assert_eq!(jobs.len(), UNITS);
    let asked = fixture.systemd.calls("ListUnitsByNames");
    let states = units.states(&names).await.unwrap();
    assert_eq!(states.values().filter(|state| state.active == "active").count(), UNITS);
    assert_eq!(fixture.systemd.calls("ListUnitsByNames"), asked + 1);

    // More concurrent stops than the limit of calls.
    fixture.systemd.state(|state| {
        state.hold_method = None;
        state.stops = names.iter().map(|name| (name.to_string(), Stop::Held)).collect();
    });
    let end_all = async {
        fixture.systemd.until_called("StopUnit", UNITS).await;
        assert_eq!(fixture.systemd.calls("DisableUnitFiles"), 0);
        for name in &names {
            fixture.systemd.end_stop(name.as_str(), "done", "inactive").await;
        }
    };
    let unloading = try_join_all(names.iter().map(|name| units.unload(name)));
    let (unloaded, ()) = tokio::join!(unloading, end_all);
    unloaded.unwrap();
    // Each of these calls makes systemd scan all its directories. Batching depends on timing: 266 calls were
    // measured, without batching it is one per unit.
    let calls = fixture.systemd.calls("DisableUnitFiles");
    assert!(calls <= UNITS / 2, "{calls}");
    assert_eq!(units.list_unit_files().await.unwrap().len(), 0);
    assert!(fixture.systemd.state(|state| state.links().is_empty() && state.units.is_empty()));
    assert_eq!(fixture.systemd.state(|state| state.dials), 1);
}

#[tokio::test(start_paused = true)]
async fn concurrent_calls_share_a_connection_attempt() {
    let fixture = Fixture::new();
    fixture.systemd.state(|state| state.refuse_dials = usize::MAX);
    let (names, text) = (names(), file("[Service]\nExecStart=/bin/sleep 1\n"));
    let loads = names.iter().map(|name| fixture.units.load(name, &text));
    for loaded in futures_util::future::join_all(loads).await {
        assert!(matches!(loaded, Err(Error::Connect(_))));
    }
    assert_eq!(fixture.systemd.state(|state| state.dials), 1);
    assert_eq!(std::fs::read_dir(&fixture.directory).unwrap().count(), 0);
    fixture.systemd.state(|state| state.refuse_dials = 0);
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    fixture.units.load(&names[0], &text).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn failed_batches_are_retried_individually() {
    let fixture = Fixture::new();
    let refused = ["a1.service", "a2.service"];
    let all: Vec<_> = (0..5).map(|number| format!("a{number}.service")).collect();
    all.iter().for_each(|unit| fixture.put(unit, "inactive"));
    fixture.systemd.state(|state| {
        state.hold_method = Some(("StopUnit", all.len()));
        state.disable_failures = refused.map(str::to_owned).into();
    });
    let names: Vec<_> = all.iter().map(|unit| name(unit)).collect();
    let unloads = names.iter().map(|name| fixture.units.unload(name));
    let unloaded = futures_util::future::join_all(unloads).await;
    for (unit, unloaded) in all.iter().zip(unloaded) {
        let is_refused = refused.contains(&unit.as_str());
        assert_eq!(unloaded.is_err(), is_refused, "{unit}");
        assert_eq!(fixture.file(unit).is_some(), is_refused, "{unit}");
    }
}
