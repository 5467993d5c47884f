//! Stopping and unloading end when the unit is down. Nothing is removed before.

use std::path::Path;
use std::time::Duration;

use systemd_units::{Error, NeedDaemonReload, Units};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::fake_systemd::{Fixture, Stop, Unit, error_chain, file, job_removed, name};

const SECOND: Duration = Duration::from_secs(1);
const MICROS: u64 = 1_000_000;

fn running(unit: &str, stop: Stop) -> Fixture {
    let fixture = Fixture::new();
    fixture.put(unit, "active");
    fixture.systemd.state(|state| state.stops.insert(unit.to_owned(), stop));
    fixture
}

fn unload(units: &Units, unit: &str) -> JoinHandle<Result<NeedDaemonReload, Error>> {
    let (units, unit) = (units.clone(), name(unit));
    tokio::spawn(async move { units.unload(&unit).await })
}

fn is_whole(fixture: &Fixture, unit: &str) -> bool {
    let linked = fixture.systemd.state(|state| state.links().contains_key(unit));
    assert_eq!(linked, fixture.file(unit).is_some(), "link and file go together");
    linked
}

#[tokio::test(start_paused = true)]
async fn nothing_is_removed_while_the_unit_stops() {
    let fixture = running("a.service", Stop::Held);
    let unloading = unload(&fixture.units, "a.service");
    fixture.systemd.until_called("StopUnit a.service", 1).await;
    tokio::time::sleep(60 * SECOND).await;
    assert!(is_whole(&fixture, "a.service") && !unloading.is_finished());
    fixture.systemd.end_stop("a.service", "done", "failed").await;
    unloading.await.unwrap().unwrap();
    assert!(!is_whole(&fixture, "a.service"));
    let after = fixture.systemd.state(|state| state.calls.split_off(state.calls.len() - 2));
    assert_eq!(after, ["DisableUnitFiles a.service", "ResetFailedUnit a.service"]);
    assert_eq!(fixture.systemd.calls("Reload"), 0);
}

/// Checks the result of unloading for a kind of stop, and that it returns immediately unless it must poll.
async fn check_stop(stop: Stop, expected: Result<(), &str>) {
    let fixture = running("a.service", stop);
    let start = Instant::now();
    let unloaded =
        fixture.units.unload(&name("a.service")).await.map(drop).map_err(|error| error_chain(&error));
    assert_eq!(unloaded, expected.map_err(str::to_owned), "{stop:?}");
    assert_eq!(is_whole(&fixture, "a.service"), expected.is_err(), "{stop:?}");
    let limit = if matches!(stop, Stop::Unsaid) { 5 } else { 0 };
    assert_eq!(start.elapsed().as_secs(), limit, "{stop:?}");
}

#[tokio::test(start_paused = true)]
async fn stop_results() {
    check_stop(Stop::BeforeAnswer, Ok(())).await;
    check_stop(Stop::With("done", "inactive"), Ok(())).await;
    check_stop(Stop::With("done", "failed"), Ok(())).await;
    check_stop(Stop::With("failed", "failed"), Ok(())).await;
    check_stop(Stop::With("canceled", "inactive"), Ok(())).await;
    let canceled = "a.service was not stopped: the job's result is canceled, the unit is active";
    check_stop(Stop::With("canceled", "active"), Err(canceled)).await;
    let timeout = "a.service was not stopped: the job's result is timeout, the unit is deactivating";
    check_stop(Stop::With("timeout", "deactivating"), Err(timeout)).await;
    check_stop(Stop::Unsaid, Ok(())).await;
}

/// How long a stop that never ends is awaited, in seconds; `None` for more than a day.
async fn check_patience(unit: &str, limit: Option<u64>, expected: Option<u64>) {
    let fixture = running(unit, Stop::Held);
    if let Some(limit) = limit {
        fixture.systemd.state(|state| state.stop_limits.insert(unit.to_owned(), limit));
    }
    let start = Instant::now();
    let unloading = unload(&fixture.units, unit);
    let day = 24 * 3600 * SECOND;
    match tokio::time::timeout(day, unloading).await {
        Ok(ended) => {
            let error = ended.unwrap().unwrap_err();
            let seconds = start.elapsed().as_secs();
            assert_eq!(Some(seconds), expected, "{unit}");
            let text = format!("{unit} has not stopped within {seconds} s; systemd is still stopping it");
            assert_eq!(error_chain(&error), text);
        }
        Err(_) => assert_eq!(expected, None, "{unit}"),
    }
    assert!(is_whole(&fixture, unit));
}

#[tokio::test(start_paused = true)]
async fn stop_timeouts() {
    check_patience("a.service", Some(10 * MICROS), Some(15)).await;
    check_patience("a.socket", Some(20 * MICROS), Some(25)).await;
    check_patience("a.mount", Some(30 * MICROS), Some(35)).await;
    check_patience("a.target", None, Some(95)).await;
    check_patience("a.service", Some(u64::MAX), None).await;
}

#[tokio::test]
async fn unknown_units_are_stopped() {
    let fixture = Fixture::new();
    fixture.put("a.service", "inactive");
    fixture.systemd.state(|state| state.units.clear());
    fixture.units.unload(&name("a.service")).await.unwrap();
    assert!(!is_whole(&fixture, "a.service"));
    fixture.units.unload(&name("a.service")).await.unwrap();
    // It may be unloaded between the query and the call.
    fixture.put("b.service", "active");
    let words = ("org.freedesktop.systemd1.NoSuchUnit", "Unit b.service not loaded.");
    fixture.systemd.state(|state| state.error_replies.insert("StopUnit b.service".into(), words));
    fixture.units.unload(&name("b.service")).await.unwrap();
    assert!(!is_whole(&fixture, "b.service"));
    // Its link may have been removed externally.
    fixture.put("c.service", "inactive");
    let words = ("org.freedesktop.DBus.Error.FileNotFound", "Unit file c.service does not exist.");
    fixture.systemd.state(|state| state.error_replies.insert("DisableUnitFiles c.service".into(), words));
    fixture.units.unload(&name("c.service")).await.unwrap();
    assert_eq!(fixture.file("c.service"), None);
}

#[tokio::test(start_paused = true)]
async fn a_lost_timeout_query_stops_nothing() {
    let fixture = running("a.service", Stop::Held);
    let away = ("org.freedesktop.DBus.Error.NoReply", "Message recipient disconnected");
    let call = "Get org.freedesktop.systemd1.Service".to_owned();
    fixture.systemd.state(|state| state.error_replies.insert(call, away));
    let refused = fixture.units.unload(&name("a.service")).await.unwrap_err();
    let text = "Get of TimeoutStopUSec of a.service: org.freedesktop.DBus.Error.NoReply: Message recipient disconnected";
    assert_eq!(error_chain(&refused), text);
    assert_eq!(fixture.systemd.calls("StopUnit"), 0);
    assert!(is_whole(&fixture, "a.service"));
}

#[tokio::test]
async fn units_of_the_machine_are_not_stopped() {
    let fixture = Fixture::new();
    let own = Unit::of("loaded", "active", Path::new("/etc/systemd/system/a.service"));
    fixture.systemd.state(|state| state.units.insert("a.service".into(), own));
    fixture.units.unload(&name("a.service")).await.unwrap();
    assert_eq!(fixture.systemd.calls("StopUnit") + fixture.systemd.calls("DisableUnitFiles"), 0);
    // A unit of the directory whose file was removed externally.
    fixture.put("b.service", "active");
    std::fs::remove_file(fixture.directory.join("b.service")).unwrap();
    fixture.units.unload(&name("b.service")).await.unwrap();
    assert_eq!(fixture.systemd.calls("StopUnit b.service"), 1);
    assert!(!is_whole(&fixture, "b.service"));
}

#[tokio::test(start_paused = true)]
async fn a_stop_continues_after_a_reconnect() {
    for cut_at in ["", "GetUnit a.service", "StopUnit a.service", "DisableUnitFiles a.service"] {
        let fixture = running("a.service", Stop::Held);
        fixture.systemd.state(|state| state.cut_at = Some(cut_at.to_owned()));
        let unloading = unload(&fixture.units, "a.service");
        let stopped = usize::from(cut_at == "StopUnit a.service") + 1;
        fixture.systemd.until_called("StopUnit a.service", stopped).await;
        if cut_at.is_empty() {
            fixture.systemd.state(|state| state.refuse_dials = 3);
            fixture.systemd.cut().await;
            fixture.systemd.until_called("StopUnit a.service", 2).await;
        }
        assert!(is_whole(&fixture, "a.service"));
        fixture.systemd.end_stop("a.service", "done", "inactive").await;
        unloading.await.unwrap().unwrap();
        assert!(!is_whole(&fixture, "a.service"));
        assert!(fixture.systemd.state(|state| state.dials) > 1);
    }
}

#[tokio::test(start_paused = true)]
async fn an_unreachable_bus_leaves_the_file() {
    let fixture = running("a.service", Stop::Held);
    let unloading = unload(&fixture.units, "a.service");
    fixture.systemd.until_called("StopUnit a.service", 1).await;
    fixture.systemd.state(|state| state.refuse_dials = usize::MAX);
    let start = Instant::now();
    fixture.systemd.cut().await;
    let lost = unloading.await.unwrap().unwrap_err();
    assert!(matches!(lost, Error::Connect(_)), "{lost}");
    assert_eq!(start.elapsed().as_secs(), 10);
    assert!(is_whole(&fixture, "a.service"));
}

#[tokio::test(start_paused = true)]
async fn lost_job_signals_are_polled() {
    // systemd re-executes, or drops subscriptions in a reload, while the job ends.
    for cause in ["reexecute", "reload"] {
        let fixture = running("a.service", Stop::Held);
        fixture.systemd.state(|state| state.reload_drops_subscribers = true);
        let unloading = unload(&fixture.units, "a.service");
        fixture.systemd.until_called("StopUnit a.service", 1).await;
        let subscribed = fixture.systemd.calls("Subscribe");
        if cause == "reload" {
            fixture.units.daemon_reload().await.unwrap();
        } else {
            fixture.systemd.reexecute().await;
        }
        fixture.systemd.state(|state| state.subscribed = false);
        fixture.systemd.end_stop("a.service", "done", "inactive").await;
        let start = Instant::now();
        unloading.await.unwrap().unwrap();
        assert!(start.elapsed() < 6 * SECOND, "{cause}");
        assert!(!is_whole(&fixture, "a.service"));
        assert!(fixture.systemd.calls("Subscribe") > subscribed, "{cause}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_reload_while_a_job_runs_does_not_end_it() {
    let fixture = running("a.service", Stop::Held);
    let unloading = unload(&fixture.units, "a.service");
    fixture.systemd.until_called("StopUnit a.service", 1).await;
    for _ in 0..3 {
        fixture.units.daemon_reload().await.unwrap();
    }
    fixture.systemd.until_called("GetJob", 1).await;
    assert!(is_whole(&fixture, "a.service") && !unloading.is_finished());
    let start = Instant::now();
    fixture.systemd.end_stop("a.service", "done", "inactive").await;
    unloading.await.unwrap().unwrap();
    assert!(start.elapsed() < SECOND, "its end was looked up, not heard");
}

#[tokio::test(start_paused = true)]
async fn forged_job_signals_are_ignored() {
    let fixture = running("a.service", Stop::Held);
    let unloading = unload(&fixture.units, "a.service");
    fixture.systemd.until_called("StopUnit a.service", 1).await;
    let job = fixture.systemd.state(|state| state.last_job);
    fixture.systemd.signal(&job_removed(":1.66", job, "a.service", "done")).await;
    fixture.systemd.signal(&job_removed(":1.1", job + 1, "b.service", "done")).await;
    tokio::time::sleep(30 * SECOND).await;
    assert!(is_whole(&fixture, "a.service") && !unloading.is_finished());
    fixture.systemd.end_stop("a.service", "done", "inactive").await;
    unloading.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_unit_is_replaced_after_the_old_one_is_down() {
    let fixture = running("a.service", Stop::Held);
    let unloading = unload(&fixture.units, "a.service");
    fixture.systemd.until_called("StopUnit a.service", 1).await;
    // A replacement waits for this.
    tokio::time::sleep(10 * SECOND).await;
    assert!(!unloading.is_finished(), "the old one is not down");
    fixture.systemd.end_stop("a.service", "done", "inactive").await;
    unloading.await.unwrap().unwrap();
    fixture.units.load(&name("a.service"), &file("[Service]\nExecStart=/bin/sleep 2\n")).await.unwrap();
    fixture.units.daemon_reload().await.unwrap();
    fixture.units.start(&name("a.service")).await.unwrap();
    let states = fixture.units.states(&[name("a.service")]).await.unwrap();
    assert_eq!(states[&name("a.service")].active, "active");
}

/// Whether systemd must reload after `a.service`, which other units may want, was unloaded in this active state.
async fn check_reread(wanted: bool, ends: &'static str, expected: NeedDaemonReload) {
    let fixture = running("a.service", Stop::With("done", ends));
    if !wanted {
        std::fs::write(fixture.directory.join("a.service"), "[Service]\nExecStart=/bin/sleep 1\n").unwrap();
    }
    assert_eq!(fixture.units.unload(&name("a.service")).await.unwrap(), expected, "{ends}");
    assert!(!is_whole(&fixture, "a.service"));
    // A missing unit needs no reload.
    assert_eq!(fixture.units.unload(&name("b.service")).await.unwrap(), NeedDaemonReload::No);
}

#[tokio::test]
async fn unloading_needs_a_reload_if_systemd_remembers_the_unit() {
    check_reread(false, "inactive", NeedDaemonReload::No).await;
    check_reread(false, "failed", NeedDaemonReload::Yes).await;
    // systemd was asked to remove links and considers all units changed.
    check_reread(true, "inactive", NeedDaemonReload::Yes).await;
}
