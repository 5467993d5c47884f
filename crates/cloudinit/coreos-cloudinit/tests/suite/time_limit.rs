//! Unit jobs that outlast the time limit of a run.

use std::fs::File;
use std::time::Duration;

use crate::support::Machine;
use crate::support::systemd::{FakeSystemd, NEVER, RUNS};

/// Below the built-in limit.
const TIMEOUT_SEC: &str = "300";
const COMMANDS: &str = "#cloud-config
coreos:
  units:
  - {name: a.service, command: start}
  - {name: b.service, command: start}
runcmd:
- echo x
";

#[test]
fn hanging_jobs_leave_time_for_runcmd_and_the_report() {
    let machine = Machine::new();
    let systemd = FakeSystemd::start(&machine, &[("a.service", NEVER), ("b.service", NEVER)]);
    machine.run_as_unit(COMMANDS, "1", TIMEOUT_SEC).expect(
        1,
        &[
            "Failed to apply cloud-config: start a.service: the job is still running",
            "Failed to apply cloud-config: start b.service: the job is still running",
        ],
    );
    let calls = systemd.calls();
    assert_eq!(calls[..2], ["StartUnit a.service", "StartUnit b.service"]);
    assert!(calls[2].starts_with("StartTransientUnit coreos-cloudinit-"), "{calls:?}");
    let report = machine.read("/run/coreos-cloudinit/result.json");
    assert!(report.contains("start b.service"), "{report}");
}

/// systemd's `TimeoutSec=` starts there.
#[test]
fn limit_starts_with_the_run() {
    let machine = Machine::new();
    // Longer than the program needs to queue and poll the job, shorter than the limit.
    let slow = format!("{RUNS}sleep 1");
    let _systemd = FakeSystemd::start(&machine, &[("a.service", &*slow), ("b.service", "done")]);
    machine
        .run_as_unit(COMMANDS, "60", TIMEOUT_SEC)
        .expect(0, &["Result of \"start\" on \"b.service\": done"]);
    // The first steps take time too.
    let other_run = File::open(machine.path("/run/coreos-cloudinit.lock")).unwrap();
    other_run.lock().unwrap();
    let holding = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(3200));
        drop(other_run);
    });
    machine.run_as_unit(COMMANDS, "3", TIMEOUT_SEC).expect(1, &["start a.service: the job is still running"]);
    holding.join().unwrap();
    let output = machine.run_as_unit(COMMANDS, "soon", TIMEOUT_SEC);
    output.expect(1, &["error: cannot read COREOS_CLOUDINIT_TEST_COMMANDS_LIMIT as a number of seconds: "]);
}
