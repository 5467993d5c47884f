//! Whatever is interrupted, pods are in a state that `list`, `rm` and `gc` handle, and nothing runs on.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::lab::{IMAGE, Lab};

/// Processes whose command lines contain a text.
fn processes(text: &str) -> Vec<String> {
    let lines = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let path = entry.unwrap().path();
        let is_process = path.file_name().unwrap().to_str()?.bytes().all(|byte| byte.is_ascii_digit());
        let line = fs::read(path.join("cmdline")).ok().filter(|_| is_process)?;
        Some(String::from_utf8_lossy(&line).replace('\0', " "))
    });
    lines.filter(|line| line.contains(text)).collect()
}

fn nothing_runs(lab: &Lab, text: &str) {
    lab.wait_for("end of all processes", || {
        let found = processes(text);
        if found.is_empty() { Ok(()) } else { Err(format!("{found:?}")) }
    });
}

#[test]
fn a_killed_rkt_ends_its_pod() {
    let Some(lab) = Lab::with_image("a_killed_rkt_ends_its_pod") else { return };
    // A number that is in no other command line.
    let seconds = format!("100{}", std::process::id());
    let pod = lab.spawn(&[], &format!("trap '' TERM; sleep {seconds} & sleep {seconds}"));
    lab.wait_for("the app's processes", || {
        let found = processes(&format!("sleep {seconds}"));
        // rkt's and the shell's lines, and those of both programs.
        if found.iter().filter(|line| line.starts_with("sleep")).count() == 2 {
            Ok(())
        } else {
            Err(format!("{found:?}"))
        }
    });
    let uuid = pod.uuid.clone();
    pod.signal(Signal::SIGKILL);
    assert_eq!(pod.finish().code, None);
    nothing_runs(&lab, &format!("sleep {seconds}"));
    lab.wait_for("state", || match lab.state(&uuid).as_str() {
        "exited" => Ok(()),
        other => Err(other.to_owned()),
    });
    let mounts = fs::read_to_string("/proc/mounts").unwrap();
    assert!(!mounts.contains(&uuid), "{mounts}");
    lab.ok(&["rm", &uuid]);
    assert_eq!(lab.ok(&["list", "--no-legend"]), "");
}

/// `rkt run` is killed after each of many times, which on any host are different places.
#[test]
fn a_kill_at_any_time_leaves_no_damage() {
    let Some(lab) = Lab::start("a_kill_at_any_time_leaves_no_damage") else { return };
    let file = lab.path("busybox.tar");
    let seconds = format!("101{}", std::process::id());
    for step in 0..60 {
        let run = ["run", "--insecure-options=image", "--net=none", &file, "--exec=sleep", "--", &seconds];
        let mut child = lab.command(&run).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(step * 8));
        child.kill().unwrap();
        child.wait().unwrap();
        nothing_runs(&lab, &seconds);
        nothing_runs(&lab, &lab.path("rkt"));
        let list = lab.rkt(&["list", "--no-legend"]);
        assert_eq!((list.code, list.stderr.as_str()), (Some(0), ""), "{list:?}");
        if step % 10 == 9 {
            // The next command works on what is left.
            assert_eq!(
                lab.ok(&["run", "--insecure-options=image", "--net=none", &file, "--exec=echo", "--", "ok"]),
                "ok\n"
            );
        }
    }
    lab.ok(&["gc", "--grace-period=0s", "--expire-prepared=0s"]);
    let left = ["prepare", "prepared", "run", "exited-garbage", "garbage"]
        .map(|stage| fs::read_dir(lab.pods(stage)).unwrap().count());
    assert_eq!(left, [0; 5]);
    lab.ok(&["image", "verify", IMAGE]);
}

/// `rkt run` was killed after it had started the pod's first process, which was not bound to it yet.
#[test]
fn a_first_process_without_rkt_ends() {
    let Some(lab) = Lab::with_image("a_first_process_without_rkt_ends") else { return };
    let folder = lab.pods("run").join("10000000-0000-4000-8000-000000000000");
    lab.ok(&["list"]);
    fs::create_dir(&folder).unwrap();
    nix::unistd::mkfifo(&folder.join("go"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_rkt"))
        .arg("__pod")
        .arg(&folder)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    lab.wait_for("end of the first process", || {
        match child.try_wait().unwrap() {
            Some(_) => Ok(()),
            None => Err("it waits"),
        }
        .map_err(str::to_owned)
    });
    let printed = child.wait_with_output().unwrap();
    let text = String::from_utf8(printed.stderr).unwrap();
    assert!(!printed.status.success() && text.contains("rkt ended before the pod started"), "{text}");
}

/// A signal that arrives while the pod starts is not lost.
#[test]
fn a_signal_at_any_time_stops_the_pod() {
    let Some(lab) = Lab::with_image("a_signal_at_any_time_stops_the_pod") else { return };
    for step in 0..60 {
        let run = ["run", "--insecure-options=image", "--net=none", IMAGE, "--exec=sleep", "--", "100000"];
        let mut child = lab.command(&run).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(step * 4));
        let pid = nix::unistd::Pid::from_raw(child.id().cast_signed());
        nix::sys::signal::kill(pid, Signal::SIGTERM).unwrap();
        let status =
            lab.wait_for("end of rkt", || child.try_wait().unwrap().ok_or_else(|| lab.ok(&["list"])));
        // Before it handles signals, it is ended by them.
        let is_stopped = status.code() == Some(0) || status.code().is_none();
        assert!(is_stopped, "{status:?}");
    }
    nothing_runs(&lab, &lab.path("rkt"));
    assert!(!lab.ok(&["list", "--no-legend"]).contains("running"));
}

#[test]
fn leftovers_in_each_stage() {
    let Some(lab) = Lab::with_image("leftovers_in_each_stage") else { return };
    let uuid = |digit: char| "00000000-0000-4000-8000-000000000000".replacen('0', &digit.to_string(), 8);
    let stages = [
        ("embryo", '1', "embryo"),
        ("prepare", '2', "aborted prepare"),
        ("prepared", '3', "prepared"),
        ("run", '4', "exited"),
        ("exited-garbage", '5', "exited garbage"),
        ("garbage", '6', "garbage"),
    ];
    lab.ok(&["list"]);
    for (stage, digit, state) in stages {
        let folder = lab.pods(stage).join(uuid(digit));
        fs::create_dir(&folder).unwrap();
        // Written partly.
        fs::write(folder.join("pod"), "{\"uuid\":").unwrap();
        assert_eq!(lab.state(&uuid(digit)), state);
        assert!(lab.ok(&["list", "--no-legend"]).contains(state));
    }
    lab.fails(&["run-prepared", &uuid('3')], "is no manifest of a pod");
    lab.ok(&["image", "gc"]);
    lab.ok(&["gc", "--grace-period=0s"]);
    let left = lab.ok(&["list", "--no-legend"]);
    let left: Vec<&str> = left.lines().map(|line| &line[..8]).collect();
    assert_eq!(left, ["11111111", "33333333"]);
    lab.ok(&["rm", &uuid('1'), &uuid('3')]);
    assert_eq!(lab.ok(&["list", "--no-legend"]), "");
}
