//! Interrupted and concurrent builds produce the same result as others.

use std::fs;
use std::path::Path;
use std::time::SystemTime;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::harness::{Build, Running, first};

/// Kinds of results, in order of creation.
const STEPS: [&str; 6] = ["tools", "packages", "system", "initrd", "usr", "disk"];

/// Whether a step has started to fill the folder `partial` after `since`; older content does not count.
fn has_begun(partial: &Path, since: SystemTime) -> bool {
    let young = partial.metadata().and_then(|metadata| metadata.created()).is_ok_and(|made| made >= since);
    young && fs::read_dir(partial).is_ok_and(|mut entries| entries.next().is_some())
}

fn send(running: &Running, signal: Signal) {
    killpg(Pid::from_raw(i32::try_from(running.child.id()).unwrap()), signal).unwrap();
}

/// Paths of partial results and files.
fn partials(build: &Build) -> Vec<String> {
    let shelves = fs::read_dir(&build.work).unwrap().map(|entry| entry.unwrap().path());
    let partial = shelves.map(|shelf| shelf.join("partial")).filter(|path| path.exists());
    let files = fs::read_dir(&build.out).unwrap().map(|entry| entry.unwrap().path());
    let unfinished = files.filter(|path| path.to_string_lossy().ends_with(".partial"));
    partial.chain(unfinished).map(|path| path.display().to_string()).collect()
}

#[test]
#[ignore = "builds whole images: cargo verify image"]
fn a_build_completes_after_an_interruption_in_any_step() {
    first();
    let build = Build::resumed("cut", &[]);
    for step in STEPS {
        fs::remove_dir_all(build.work.join(step)).unwrap();
        let partial = build.work.join(step).join("partial");
        for signal in [Signal::SIGKILL, Signal::SIGINT] {
            let started = SystemTime::now();
            let mut running = build.start();
            running.wait_until(&format!("step {step}"), |_| has_begun(&partial, started));
            send(&running, signal);
            let ended = running.end();
            assert!(!ended.status.success(), "{step} was not cut by {signal}: {}", ended.stderr);
            if signal == Signal::SIGINT {
                assert!(
                    ended.stderr.contains("error: interrupted; the same command resumes the build"),
                    "{}",
                    ended.stderr
                );
            }
        }
        let finished = build.run();
        assert_eq!(finished.sha256("raw"), first().finished.sha256("raw"), "after {step}");
        assert_eq!(partials(&build), [""; 0], "after {step}");
    }
    assert_eq!(build.results().len(), STEPS.len(), "{:?}", build.results().keys());
}

#[test]
#[ignore = "builds whole images: cargo verify image"]
fn killed_or_interrupted_while_formats_are_written() {
    first();
    let build = Build { formats: "qcow2,raw", ..Build::resumed("cut-formats", &[]) };
    // Before the first format is written, and while it is.
    let out = build.out.display().to_string();
    for (signal, below) in [(Signal::SIGKILL, &*out), (Signal::SIGINT, ""), (Signal::SIGINT, &*out)] {
        let started = SystemTime::now();
        let mut running = build.start();
        let young = |path: &String| {
            path.starts_with(below)
                && fs::metadata(path).and_then(|file| file.modified()).is_ok_and(|at| at >= started)
        };
        running.wait_until("a format", |_| partials(&build).iter().any(young));
        send(&running, signal);
        let ended = running.end();
        assert!(!ended.status.success(), "not cut by {signal}: {}", ended.stderr);
        let whole = fs::read_dir(&build.out).unwrap().map(|entry| entry.unwrap().file_name());
        assert_eq!(whole.filter(|name| !name.to_string_lossy().starts_with('.')).count(), 0);
        assert!(signal != Signal::SIGINT || ended.stderr.contains("interrupted"), "{}", ended.stderr);
    }
    let finished = build.run();
    for format in ["raw", "qcow2"] {
        assert_eq!(finished.sha256(format), first().finished.sha256(format));
    }
    assert_eq!(partials(&build), [""; 0]);
}

#[test]
#[ignore = "builds whole images: cargo verify image"]
fn the_second_build_in_a_work_folder_waits() {
    first();
    let build = Build::resumed("together", &["system", "usr", "disk"]);
    let started = SystemTime::now();
    let mut one = build.start();
    one.wait_until("the first is at work", |_| has_begun(&build.work.join("system/partial"), started));
    let second = Build { out: build.out.with_file_name("second"), ..build.clone() };
    let mut two = second.start();
    two.wait_until("the second waits", |two| two.stderr().contains("waiting for another keelson (process"));
    assert!(one.child.try_wait().unwrap().is_none(), "the second waited for nobody: {}", one.stderr());
    let (one, two) = (one.end().expect_success(), two.end().expect_success());
    assert_eq!(one.sha256("raw"), two.sha256("raw"));
    assert_eq!(one.sha256("raw"), first().finished.sha256("raw"));
}
