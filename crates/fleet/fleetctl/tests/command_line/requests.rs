//! The requests that commands send, and watched lists.

use std::io::{BufRead as _, BufReader};
use std::time::{Duration, Instant};

use crate::model::Model;
use crate::program::Program;
use crate::server::Server;

fn fixture() -> (tempfile::TempDir, Server, Program) {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), Model::with_three_machines());
    let program = Program::in_folder(folder.path()).with("FLEETCTL_ENDPOINT", &server.endpoint());
    std::fs::write(folder.path().join("web@.service"), "[Service]\nExecStart=/bin/sleep 1\n").unwrap();
    (folder, server, program)
}

/// Takes the recorded requests, without the query that all of them have.
fn requests(server: &Server) -> Vec<String> {
    let mut requests = server.requests.lock().unwrap();
    std::mem::take(&mut *requests).into_iter().map(|line| line.replace("?alt=json", "")).collect()
}

#[test]
fn only_the_named_units_are_read() {
    let (_folder, server, program) = fixture();
    assert_eq!(program.run(&["submit", "web@1", "web@2", "web@3"], ""), "");
    requests(&server);
    assert_eq!(
        program.run(&["stop", "nope", "web@1"], ""),
        "err| Unable to stop unit web@1.service in state inactive\nexit 1\n"
    );
    assert_eq!(requests(&server), ["GET /keelson/v1/units&name=nope.service&name=web@1.service"]);
    assert_eq!(program.run(&["cat", "web@1"], ""), "out| [Service]\nout| ExecStart=/bin/sleep 1\n");
    assert_eq!(requests(&server), ["GET /fleet/v1/units/web@1.service"]);
}

#[test]
fn units_are_read_one_by_one_without_the_batch_extension() {
    let (_folder, server, program) = fixture();
    server.behavior.lock().unwrap().original = true;
    let got = program.run(&["start", "web@1", "web@2"], "");
    let mut lines: Vec<&str> = got.lines().collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "out| Unit web@1.service launched on 113f16a7.../172.17.8.101",
            "out| Unit web@2.service launched on 20fd3ecb..."
        ]
    );
}

/// More names than fit into one URL.
#[test]
fn many_long_names_are_split_into_batches() {
    let (_folder, server, program) = fixture();
    let names: Vec<String> = (0..40).map(|at| format!("web@{}{at:03}", "x".repeat(240))).collect();
    let arguments: Vec<&str> = std::iter::once("submit").chain(names.iter().map(String::as_str)).collect();
    assert_eq!(program.run(&arguments, ""), "");
    requests(&server);
    let arguments: Vec<&str> = std::iter::once("unload").chain(names.iter().map(String::as_str)).collect();
    assert_eq!(program.run(&arguments, ""), "");
    let batches = requests(&server);
    assert!(batches.len() > 1 && batches.len() < 10, "{batches:?}");
    assert!(batches.iter().all(|line| line.len() < 8192));
    server.model.lock().unwrap().units.clear();
    assert_eq!(program.run(&arguments, ""), "err| Units not found in registry\n");
}

#[test]
fn watch_prints_a_changed_list() {
    let (_folder, _server, program) = fixture();
    let arguments = ["list-unit-files", "--watch", "--no-legend", "--fields=unit,dstate"];
    let mut child = program.start(&arguments);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(program.run(&["submit", "web@1"], ""), "");
    // The first list may be empty.
    let first = lines.by_ref().find(|line| !line.is_empty()).unwrap();
    assert_eq!(first, "web@1.service\tinactive");
    let started = Instant::now();
    program.run(&["start", "--no-block", "web@1"], "");
    assert_eq!(lines.by_ref().find(|line| !line.is_empty()).unwrap(), "web@1.service\tlaunched");
    assert!(started.elapsed() < Duration::from_secs(20));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn start_restarts_a_failed_unit() {
    let (folder, server, program) = fixture();
    std::fs::write(folder.path().join("bad.service"), "[Service]\nExecStart=/bin/false\n").unwrap();
    program.run(&["start", "bad"], "");
    let starts = || server.model.lock().unwrap().starts["bad.service"];
    assert_eq!(starts(), 1);
    program.run(&["start", "bad"], "");
    assert_eq!(starts(), 2);
    // It is running now.
    program.run(&["start", "bad"], "");
    assert_eq!(starts(), 2);
}

/// Unlike the original, `restart` always stops the unit.
#[test]
fn restart_starts_units_again() {
    let (_folder, server, program) = fixture();
    program.run(&["start", "web@1", "web@2"], "");
    let got = program.run(&["restart", "web@1", "web@2"], "");
    assert_eq!(
        got,
        "out| Unit web@1.service launched on 113f16a7.../172.17.8.101\nout| Unit web@2.service launched on 20fd3ecb...\n"
    );
    let model = server.model.lock().unwrap();
    assert_eq!((model.starts["web@1.service"], model.starts["web@2.service"]), (2, 2));
}

/// The target is removed immediately; the state remains until the machine has stopped the unit.
#[test]
fn unloading_waits_until_the_unit_is_stopped() {
    let (_folder, server, program) = fixture();
    program.run(&["start", "web@1"], "");
    server.model.lock().unwrap().polls_per_step = 3;
    program.run(&["unload", "web@1"], "");
    assert_eq!(server.model.lock().unwrap().states(), []);
}

#[test]
fn replace_keeps_a_unit_on_its_machine() {
    let (folder, server, program) = fixture();
    program.run(&["start", "web@1"], "");
    std::fs::write(folder.path().join("web@.service"), "[Service]\nExecStart=/bin/sleep 2\n").unwrap();
    requests(&server);
    program.run(&["start", "--replace", "web@1"], "");
    let puts: Vec<String> = requests(&server).into_iter().filter(|line| line.starts_with("PUT")).collect();
    assert_eq!(puts, ["PUT /fleet/v1/units/web@.service", "PUT /fleet/v1/units/web@1.service"]);
    let model = server.model.lock().unwrap();
    assert_eq!(model.units["web@1.service"].unit.desired_state, "launched");
    assert_eq!(model.starts["web@1.service"], 2);
}

#[test]
fn wait_survives_an_unavailable_server() {
    let (_folder, server, program) = fixture();
    server.model.lock().unwrap().polls_per_step = 1000;
    let child = program.start(&["start", "web@1"]);
    // The unit is created, then its desired state is set; then the command waits.
    let puts = || server.requests.lock().unwrap().iter().filter(|line| line.starts_with("PUT")).count();
    let deadline = Instant::now() + Duration::from_secs(20);
    while puts() < 2 {
        assert!(Instant::now() < deadline, "it asks for nothing");
        std::thread::sleep(Duration::from_millis(1));
    }
    server.behavior.lock().unwrap().refusal = Some((500, String::new()));
    std::thread::sleep(Duration::from_millis(700));
    server.model.lock().unwrap().polls_per_step = 1;
    server.behavior.lock().unwrap().refusal = None;
    let got = crate::program::transcript(&child.wait_with_output().unwrap());
    assert_eq!(got, "out| Unit web@1.service launched on 113f16a7.../172.17.8.101\n");
}
