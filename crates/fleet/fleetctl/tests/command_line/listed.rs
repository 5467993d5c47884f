//! What is asked of the server, and how often; and lists that are watched.

use std::io::{BufRead as _, BufReader};
use std::time::{Duration, Instant};

use crate::model::Model;
use crate::program::Program;
use crate::server::Server;

fn stage() -> (tempfile::TempDir, Server, Program) {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), Model::of_three());
    let program = Program::in_folder(folder.path()).with("FLEETCTL_ENDPOINT", &server.endpoint());
    std::fs::write(folder.path().join("web@.service"), "[Service]\nExecStart=/bin/sleep 1\n").unwrap();
    (folder, server, program)
}

/// The requests since the last time, without the query that each has.
fn seen(server: &Server) -> Vec<String> {
    let mut seen = server.seen.lock().unwrap();
    std::mem::take(&mut *seen).into_iter().map(|line| line.replace("?alt=json", "")).collect()
}

#[test]
fn only_the_named_units_are_read() {
    let (_folder, server, program) = stage();
    assert_eq!(program.run(&["submit", "web@1", "web@2", "web@3"], ""), "");
    seen(&server);
    assert_eq!(
        program.run(&["stop", "nope", "web@1"], ""),
        "err| Unable to stop unit web@1.service in state inactive\nexit 1\n"
    );
    assert_eq!(seen(&server), ["GET /keelson/v1/units&name=nope.service&name=web@1.service"]);
    assert_eq!(program.run(&["cat", "web@1"], ""), "out| [Service]\nout| ExecStart=/bin/sleep 1\n");
    assert_eq!(seen(&server), ["GET /fleet/v1/units/web@1.service"]);
}

#[test]
fn a_server_without_batches_is_asked_one_by_one() {
    let (_folder, server, program) = stage();
    server.manner.lock().unwrap().original = true;
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

/// Names as long as they may be, more than fit into one address.
#[test]
fn many_long_names() {
    let (_folder, server, program) = stage();
    let names: Vec<String> = (0..40).map(|at| format!("web@{}{at:03}", "x".repeat(240))).collect();
    let words: Vec<&str> = std::iter::once("submit").chain(names.iter().map(String::as_str)).collect();
    assert_eq!(program.run(&words, ""), "");
    seen(&server);
    let words: Vec<&str> = std::iter::once("unload").chain(names.iter().map(String::as_str)).collect();
    assert_eq!(program.run(&words, ""), "");
    let batches = seen(&server);
    assert!(batches.len() > 1 && batches.len() < 10, "{batches:?}");
    assert!(batches.iter().all(|line| line.len() < 8192));
    server.model.lock().unwrap().units.clear();
    assert_eq!(program.run(&words, ""), "err| Units not found in registry\n");
}

#[test]
fn a_list_is_shown_again_when_it_changes() {
    let (_folder, _server, program) = stage();
    let words = ["list-unit-files", "--watch", "--no-legend", "--fields=unit,dstate"];
    let mut child = program.start(&words);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(program.run(&["submit", "web@1"], ""), "");
    // The first list was empty, or had it already.
    let first = lines.by_ref().find(|line| !line.is_empty()).unwrap();
    assert_eq!(first, "web@1.service\tinactive");
    let begin = Instant::now();
    program.run(&["start", "--no-block", "web@1"], "");
    assert_eq!(lines.by_ref().find(|line| !line.is_empty()).unwrap(), "web@1.service\tlaunched");
    assert!(begin.elapsed() < Duration::from_secs(20));
    child.kill().unwrap();
    child.wait().unwrap();
}

/// A unit that failed, and is started again although it is launched already.
#[test]
fn starting_again_what_failed() {
    let (folder, server, program) = stage();
    std::fs::write(folder.path().join("bad.service"), "[Service]\nExecStart=/bin/false\n").unwrap();
    program.run(&["start", "bad"], "");
    let starts = || server.model.lock().unwrap().starts["bad.service"];
    assert_eq!(starts(), 1);
    program.run(&["start", "bad"], "");
    assert_eq!(starts(), 2);
    // It runs now: nothing to push.
    program.run(&["start", "bad"], "");
    assert_eq!(starts(), 2);
}

/// `restart` really stops: the original's often did nothing.
#[test]
fn restarting_starts_again() {
    let (_folder, server, program) = stage();
    program.run(&["start", "web@1", "web@2"], "");
    let got = program.run(&["restart", "web@1", "web@2"], "");
    assert_eq!(
        got,
        "out| Unit web@1.service launched on 113f16a7.../172.17.8.101\nout| Unit web@2.service launched on 20fd3ecb...\n"
    );
    let model = server.model.lock().unwrap();
    assert_eq!((model.starts["web@1.service"], model.starts["web@2.service"]), (2, 2));
}

/// The target is gone at once; what the unit was is over when its machine has stopped it.
#[test]
fn unloading_waits_until_the_unit_is_stopped() {
    let (_folder, server, program) = stage();
    program.run(&["start", "web@1"], "");
    server.model.lock().unwrap().slowness = 3;
    program.run(&["unload", "web@1"], "");
    assert_eq!(server.model.lock().unwrap().states(), []);
}

/// A text is replaced where the unit is: it is never taken off its machine for it.
#[test]
fn replacing_in_place() {
    let (folder, server, program) = stage();
    program.run(&["start", "web@1"], "");
    std::fs::write(folder.path().join("web@.service"), "[Service]\nExecStart=/bin/sleep 2\n").unwrap();
    seen(&server);
    program.run(&["start", "--replace", "web@1"], "");
    let puts: Vec<String> = seen(&server).into_iter().filter(|line| line.starts_with("PUT")).collect();
    assert_eq!(puts, ["PUT /fleet/v1/units/web@.service", "PUT /fleet/v1/units/web@1.service"]);
    let model = server.model.lock().unwrap();
    assert_eq!(model.units["web@1.service"].unit.desired_state, "launched");
    assert_eq!(model.starts["web@1.service"], 2);
}

/// A server that is away for a while is no failure for who waits.
#[test]
fn waiting_survives_the_server() {
    let (_folder, server, program) = stage();
    server.model.lock().unwrap().slowness = 1000;
    let child = program.start(&["start", "web@1"]);
    // The unit is created, then asked for; it waits from there on.
    let puts = || server.seen.lock().unwrap().iter().filter(|line| line.starts_with("PUT")).count();
    let deadline = Instant::now() + Duration::from_secs(20);
    while puts() < 2 {
        assert!(Instant::now() < deadline, "it asks for nothing");
        std::thread::sleep(Duration::from_millis(1));
    }
    server.manner.lock().unwrap().refusal = Some((500, String::new()));
    std::thread::sleep(Duration::from_millis(700));
    server.model.lock().unwrap().slowness = 1;
    server.manner.lock().unwrap().refusal = None;
    let got = crate::program::transcript(&child.wait_with_output().unwrap());
    assert_eq!(got, "out| Unit web@1.service launched on 113f16a7.../172.17.8.101\n");
}
