//! Bit flips on disk: the member that finds one stops, reports the file, and serves nothing from it.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use conformance::backend::Cluster;
use conformance::http::{self, Request};

use crate::setting::{RECOVERY, SOME, must, plan, under_load};

/// Long enough to be stored in one piece.
const NEEDLE: &str = "a-needle-in-the-state-of-a-member";
const END: Duration = Duration::from_secs(15);

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { all.extend(files(&path)) } else { all.push(path) }
    }
    all
}

fn places(bytes: &[u8]) -> Vec<usize> {
    memchr::memmem::find_iter(bytes, NEEDLE).collect()
}

/// Files below the member's data that contain the needle and have `word` in their path.
fn holding(cluster: &Cluster, number: usize, word: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let files = files(&cluster.data(number)).into_iter();
    let files = files.filter(|path| path.to_string_lossy().contains(word));
    let files = files.map(|path| (path.clone(), fs::read(&path).unwrap()));
    files.filter(|(_, bytes)| !places(bytes).is_empty()).collect()
}

/// Flips a bit of the needle in all files of that kind, while the member is stopped.
fn damage(cluster: &mut Cluster, number: usize, word: &str) -> String {
    let deadline = Instant::now() + END;
    while holding(cluster, number, word).is_empty() {
        assert!(Instant::now() < deadline, "no {word} has it: {:?}", files(&cluster.data(number)));
        thread::sleep(Duration::from_millis(50));
    }
    cluster.kill(number).unwrap();
    let found = holding(cluster, number, word);
    let (last, _) = found.last().unwrap();
    let named = last.strip_prefix(cluster.data(number)).unwrap().to_string_lossy().into_owned();
    for (path, mut bytes) in found {
        for at in places(&bytes) {
            bytes[at + 5] ^= 1;
        }
        fs::write(path, bytes).unwrap();
    }
    named
}

/// `word`: part of the file's path; `named`: part of the path that the message must contain.
fn check(seed: u64, word: &str, named: impl Fn(&str) -> String) {
    let mut cluster = must(Cluster::start(&plan(3, "--snapshot-count 30")));
    let put = Request::form("PUT", "/v2/keys/needle", format!("value={NEEDLE}"));
    let answer = http::exchange(cluster.addresses()[0], &put, END).unwrap();
    assert_eq!(answer.status, 201, "{}", answer.text());
    under_load(&mut cluster, seed, |cluster, ledger, _| {
        let path = damage(cluster, 1, word);
        cluster.run(1)?;
        let ended = cluster.wait_for_end(1, END)?;
        assert!(!ended.success(), "{ended}");
        let (said, named) = (cluster.log(1), named(&path));
        assert!(said.contains(&named), "{named} is not named: {said}");
        println!("{}", said.lines().last().unwrap_or_default());
        ledger.wait_for(SOME, RECOVERY)
    });
}

#[test]
fn a_damaged_log_is_named_and_not_served() {
    check(12, "member/log", |path| path.rsplit('/').next().unwrap().to_owned());
}

#[test]
fn a_damaged_checkpoint_is_named_and_not_served() {
    check(13, "member/state", |path| path.rsplit_once('/').unwrap().0.to_owned());
}
