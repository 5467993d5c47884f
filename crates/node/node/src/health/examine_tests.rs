use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixDatagram;

use super::*;

const LIMIT: Duration = Duration::from_secs(600);

fn facts(state: &str, failed: &[&str]) -> Facts {
    let now = clock_gettime(ClockId::Monotonic);
    Facts {
        target: "multi-user.target".into(),
        target_state: state.into(),
        jobs: vec!["late.service".into()],
        failed_units: failed.iter().map(|name| (*name).to_owned()).collect(),
        restarts: BTreeMap::new(),
        update_engine: None,
        member: None,
        started: Duration::from_secs(now.tv_sec.unsigned_abs()),
    }
}

struct Machine(tempfile::TempDir, Root);

impl Machine {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::from(folder.path());
        fs::create_dir_all(root.at("/proc/sys/kernel/random")).unwrap();
        fs::write(root.at("/proc/sys/kernel/random/boot_id"), "ab-cd\n").unwrap();
        Self(folder, root)
    }

    fn script(&self, path: &str, text: &str) {
        let path = self.1.at("/etc/keelson/health.d").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, format!("#!/bin/sh\ncd {}\n{text}\n", self.0.path().display())).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Examines a machine that goes through `states`, of which the last repeats. Returns the verdict and the
    /// delays in seconds. `limit` is the total time.
    fn examine(&self, trial: bool, limit: Duration, states: &[(&str, &[&str])]) -> (Verdict, Vec<u64>) {
        let defaults = Settings::from(|_| None).unwrap();
        let settings = Settings { limit, ..defaults };
        let journal = Journal::open(&self.1);
        let mut examination = Examination::new(&self.1, settings, &journal, trial).unwrap();
        let (mut round, mut pauses) = (0, Vec::new());
        let observe = || {
            let (state, failed) = states[round.min(states.len() - 1)];
            round += 1;
            Ok(facts(state, failed))
        };
        let verdict = examination.run(observe, |pause| pauses.push(pause.as_secs())).unwrap();
        (verdict, pauses)
    }

    fn report(&self) -> serde_json::Value {
        serde_json::from_slice(&fs::read(self.1.at("/run/keelson/health.json")).unwrap()).unwrap()
    }
}

fn healthy(passed: usize) -> Verdict {
    Verdict::Healthy(format!("this machine is healthy: {passed} checks passed"))
}

#[test]
fn good_boot_is_the_baseline_of_the_next() {
    let machine = Machine::new();
    machine.script("10-own", "echo fine");
    let first = machine.examine(false, LIMIT, &[("active", &["old.service"])]);
    assert_eq!(first, (healthy(3), vec![]), "what failed in the first boot is usual");
    let report = machine.report();
    assert_eq!((&report["state"], &report["why"]), (&"healthy".into(), &serde_json::Value::Null));
    assert_eq!(report["checks"][5]["why"], "fine");

    let worse = [("active", &["new.service", "old.service"] as &[_])];
    let (verdict, _) = machine.examine(false, Duration::ZERO, &worse);
    let reason = "units: failed, but not in the last good boot: new.service";
    assert_eq!(verdict, Verdict::Unhealthy(reason.into()));
    let report = machine.report();
    assert_eq!((&report["state"], &report["why"]), (&"unhealthy".into(), &reason.into()));
    assert!(
        good_boot::read(&machine.1).0.unwrap().failed_units == ["old.service"],
        "a bad boot is not remembered"
    );
}

#[test]
fn failed_checks_are_retried_and_passed_ones_are_not() {
    let machine = Machine::new();
    machine.script("10-once", "echo x >>once");
    machine.script("20-later", "echo x >>later; test $(wc -l <later) -ge 3");
    machine.script("wanted.d/30-never", "echo x >>never; exit 1");
    let (verdict, pauses) = machine.examine(false, LIMIT, &[("inactive", &[]), ("active", &[])]);
    let expected = "this machine is healthy: 4 checks passed; 1 optional failed";
    assert_eq!((verdict, pauses), (Verdict::Healthy(expected.into()), vec![1, 2]));
    for (file, times) in [("once", 1), ("later", 3), ("never", 1)] {
        let lines = fs::read_to_string(machine.0.path().join(file)).unwrap().lines().count();
        assert_eq!(lines, times, "{file}");
    }
}

#[test]
fn unfinished_boot_and_missing_bus_are_unhealthy() {
    let machine = Machine::new();
    let (verdict, _) = machine.examine(false, Duration::ZERO, &[("inactive", &[])]);
    let reason = "boot: multi-user.target is inactive; pending jobs: late.service";
    assert_eq!(verdict, Verdict::Unhealthy(reason.into()));

    let settings = Settings { limit: Duration::ZERO, ..Settings::from(|_| None).unwrap() };
    let journal = Journal::open(&machine.1);
    let mut examination = Examination::new(&machine.1, settings, &journal, false).unwrap();
    let verdict = examination.run(|| Err(QueryError::Timeout(LIMIT)), |_| {}).unwrap();
    assert_eq!(verdict, Verdict::Unhealthy("systemd: systemd did not respond within 600000 ms".into()));
}

/// After a power outage, the first machine that is back.
#[test]
fn version_on_trial_waits_for_its_cluster() {
    let machine = Machine::new();
    let peer_port = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = peer_port.local_addr().unwrap().port();
    for (path, text) in [
        ("/proc/77/fd/x", String::new()),
        ("/proc/77/net/tcp", format!("\n 0: 0100007F:{port:04X} 0:0 0A 0:0 0:0 0 0 0 500 1\n")),
    ] {
        fs::create_dir_all(machine.1.at(path).parent().unwrap()).unwrap();
        fs::write(machine.1.at(path), text).unwrap();
    }
    symlink("socket:[500]", machine.1.at("/proc/77/fd/3")).unwrap();
    std::thread::spawn(move || {
        let body = format!(
            r#"[{{"peerURLs":["http://127.0.0.1:{port}"]}},{{"peerURLs":["http://127.0.0.1:1"]}},{{"peerURLs":["http://127.0.0.1:2"]}}]"#
        );
        while let Ok((mut stream, _)) = peer_port.accept() {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            // A bare connection probe reads nothing.
            drop(stream.write_all((head + &body).as_bytes()));
        }
    });
    let settings = Settings { limit: Duration::ZERO, ..Settings::from(|_| None).unwrap() };
    let journal = Journal::open(&machine.1);
    let starting = member::Unit {
        name: "etcd.service".into(),
        active: "activating".into(),
        enabled: true,
        condition_met: true,
        pid: 77,
    };
    let observe = || Ok(Facts { member: Some(starting.clone()), ..facts("inactive", &[]) });
    let examine = |trial| {
        let mut examination = Examination::new(&machine.1, settings, &journal, trial).unwrap();
        examination.run(observe, |_| {}).unwrap()
    };
    let Verdict::Waiting(reason) = examine(true) else { panic!("it was judged") };
    assert!(reason.contains("2 of the cluster's 3 members accept no connections"), "{reason}");
    assert_eq!(machine.report()["state"], "waiting");
    assert!(report::is_waiting(&machine.1));
    assert!(matches!(examine(false), Verdict::Unhealthy(_)));
    // The next examination's time starts when it starts.
    report::write(
        &machine.1,
        &Report {
            state: Health::Waiting,
            version: None,
            boot_id: "",
            trial: true,
            reason: None,
            checks: &[],
        },
    )
    .unwrap();
    let examination =
        Examination::new(&machine.1, Settings { limit: LIMIT, ..settings }, &journal, true).unwrap();
    let since_boot = clock_gettime(ClockId::Monotonic).tv_sec.unsigned_abs();
    let deadline = examination.deadline(Duration::from_secs(since_boot).saturating_sub(2 * LIMIT));
    assert!(deadline > Instant::now() + LIMIT / 2);
}

#[test]
fn version_on_trial_must_pass_twice() {
    let machine = Machine::new();
    machine.script("10-own", "echo x >>own");
    assert_eq!(machine.examine(true, LIMIT, &[("active", &[])]), (healthy(3), vec![120]));
    assert_eq!(fs::read_to_string(machine.0.path().join("own")).unwrap(), "x\nx\n");

    // A restart between the two checks restarts the settle time.
    let restarts = [1, 2, 2, 2].into_iter();
    let mut restarts = restarts.map(|times| BTreeMap::from([("a.service".to_owned(), times)]));
    let settings = Settings::from(|_| None).unwrap();
    let journal = Journal::open(&machine.1);
    let mut examination = Examination::new(&machine.1, settings, &journal, true).unwrap();
    let mut pauses = Vec::new();
    let observe = || Ok(Facts { restarts: restarts.next().unwrap(), ..facts("active", &[]) });
    let verdict = examination.run(observe, |pause| pauses.push(pause.as_secs())).unwrap();
    assert_eq!((verdict, pauses), (healthy(3), vec![120, 2, 120]));

    let turns = [("active", &[] as &[_]), ("active", &["new.service"])];
    let (verdict, _) = machine.examine(true, Duration::ZERO, &turns);
    assert!(matches!(verdict, Verdict::Unhealthy(reason) if reason.contains("new.service")));
}

/// As on a full disk, which the other version shares.
#[test]
fn unrecorded_good_boot_is_healthy() {
    let machine = Machine::new();
    let at = |path: &str| {
        let path = machine.1.at(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    };
    fs::write(at("/var/lib/keelson/health"), "no folder").unwrap();
    let journal = UnixDatagram::bind(at("/run/systemd/journal/socket")).unwrap();
    journal.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    // Concurrently, as a socket queues few datagrams.
    let logged = std::thread::spawn(move || {
        let mut datagram = [0; 8192];
        loop {
            let count = journal.recv(&mut datagram).unwrap();
            let text = String::from_utf8_lossy(&datagram[..count]);
            if text.contains("cannot save the record of this good boot: ") {
                break text.into_owned();
            }
        }
    });
    assert_eq!(machine.examine(false, LIMIT, &[("active", &[])]), (healthy(2), vec![]));
    let logged = logged.join().unwrap();
    assert!(logged.starts_with("PRIORITY=4\n"), "{logged}");
}
