//! Full disks: writes are rejected with the reason, reads continue, and with free space all recovers.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use conformance::backend::{Cluster, in_own_namespaces};
use conformance::history::{Ledger, check_ledger};
use conformance::http::{self, Request};

use crate::setting::{RECOVERY, SOME, must, plan, under_load};

/// Free space without the ballast: for three segments of the log, and twice a checkpoint of a history of large
/// values.
const SIZE: &str = "size=700m";
const VALUE: usize = 1 << 20;
const REFUSED: &str = "no space";
/// A rejection is immediate, not a timeout.
const AT_ONCE: Duration = Duration::from_secs(2);
const LIMIT: Duration = Duration::from_secs(60);
/// A leader with a full disk waits a second for space, then hands over; the machine is under load.
const HANDED_OVER: Duration = Duration::from_secs(5);
/// Longer than an election and a handover.
const ALL_FULL: Duration = Duration::from_secs(4);

fn disk_for(cluster: &Cluster, number: usize) -> PathBuf {
    let path = cluster.data(number);
    fs::create_dir_all(&path).unwrap();
    let mounted =
        Command::new("mount").args(["-t", "tmpfs", "-o", SIZE, "none"]).arg(&path).status().unwrap();
    assert!(mounted.success(), "tmpfs at {}", path.display());
    path
}

fn fill(disk: &Path) -> PathBuf {
    let ballast = disk.join("ballast");
    let mut file = File::create(&ballast).unwrap();
    for piece in [vec![0; 1 << 20], vec![0; 4096]] {
        while file.write_all(&piece).is_ok() {}
    }
    ballast
}

/// Overwrites a key until the member rejects it for lack of space. Returns the message.
fn write_until_refused(cluster: &Cluster, number: usize) -> String {
    let value = "v".repeat(VALUE);
    let deadline = Instant::now() + LIMIT;
    loop {
        assert!(Instant::now() < deadline, "no write was refused");
        let began = Instant::now();
        let put = Request::form("PUT", "/v2/keys/large", format!("value={value}"));
        let answer = http::exchange(cluster.addresses()[number], &put, LIMIT).unwrap();
        if !matches!(answer.status, 200 | 201) {
            println!("refused after {:?}: {} {}", began.elapsed(), answer.status, answer.text());
            return answer.text();
        }
    }
}

fn read(cluster: &Cluster, number: usize, quorum: bool) -> u16 {
    let target = format!("/v2/keys/large?quorum={quorum}");
    http::exchange(cluster.addresses()[number], &Request::new("GET", target), LIMIT).unwrap().status
}

#[test]
fn a_full_disk_makes_one_member_read_only_until_there_is_room() {
    let test = "full_disk::a_full_disk_makes_one_member_read_only_until_there_is_room";
    in_own_namespaces(test, || {
        must_have_loopback();
        let mut cluster = must(Cluster::prepare(&plan(1, "--snapshot-count 20"), None));
        let disk = disk_for(&cluster, 0);
        cluster.run_all().unwrap();
        must(cluster.wait_until_serving());
        let ledger = Ledger::start(&cluster.addresses(), 2);
        must(ledger.wait_for(SOME, RECOVERY));
        let ballast = fill(&disk);
        let said = write_until_refused(&cluster, 0);
        assert!(said.contains(REFUSED), "{said}");
        let began = Instant::now();
        let put = Request::form("PUT", "/v2/keys/small", "value=x");
        let answer = http::exchange(cluster.addresses()[0], &put, LIMIT).unwrap();
        assert!(answer.status == 500 && answer.text().contains(REFUSED), "{}", answer.text());
        assert!(began.elapsed() < AT_ONCE, "refused after {:?}", began.elapsed());
        assert_eq!((read(&cluster, 0, false), read(&cluster, 0, true)), (200, 200));
        fs::remove_file(ballast).unwrap();
        must(ledger.wait_for(SOME, RECOVERY));
        let written = must(ledger.finish());
        must(check_ledger(&cluster, &written));
        cluster.kill(0).unwrap();
        cluster.run(0).unwrap();
        must(check_ledger(&cluster, &written));
    });
}

#[test]
fn the_cluster_goes_on_without_the_member_whose_disk_is_full() {
    let test = "full_disk::the_cluster_goes_on_without_the_member_whose_disk_is_full";
    in_own_namespaces(test, || {
        must_have_loopback();
        let mut cluster = must(Cluster::prepare(&plan(3, "--snapshot-count 20"), None));
        let disk = disk_for(&cluster, 0);
        cluster.run_all().unwrap();
        must(cluster.wait_until_serving());
        under_load(&mut cluster, 14, |cluster, ledger, _| {
            let ballast = fill(&disk);
            let said = write_until_refused(cluster, 0);
            assert!(said.contains(REFUSED), "{said}");
            ledger.wait_for(SOME, RECOVERY)?;
            fs::remove_file(ballast).unwrap();
            thread::sleep(Duration::from_millis(500));
            Ok(())
        });
    });
}

#[test]
fn a_leader_whose_disk_stays_full_hands_over() {
    let test = "full_disk::a_leader_whose_disk_stays_full_hands_over";
    in_own_namespaces(test, || {
        must_have_loopback();
        let mut cluster = must(Cluster::prepare(&plan(3, "--snapshot-count 20"), None));
        let disks: Vec<_> = (0..3).map(|number| disk_for(&cluster, number)).collect();
        cluster.run_all().unwrap();
        must(cluster.wait_until_serving());
        under_load(&mut cluster, 15, |cluster, ledger, _| {
            let full = cluster.leader()?;
            let ballast = fill(&disks[full]);
            let said = write_until_refused(cluster, full);
            assert!(said.contains(REFUSED), "{said}");
            let refused = Instant::now();
            while cluster.leader()? == full {
                assert!(refused.elapsed() < HANDED_OVER, "it leads for {:?} without room", refused.elapsed());
                thread::sleep(Duration::from_millis(50));
            }
            println!("full leader: another led after {:?}", refused.elapsed());
            ledger.wait_for(SOME, RECOVERY)?;
            assert_ne!(cluster.leader()?, full, "it leads again without room");
            fs::remove_file(ballast).unwrap();
            ledger.wait_for(SOME, RECOVERY)
        });
    });
}

#[test]
fn three_full_disks_need_room_and_no_restart() {
    let test = "full_disk::three_full_disks_need_room_and_no_restart";
    in_own_namespaces(test, || {
        must_have_loopback();
        let mut cluster = must(Cluster::prepare(&plan(3, "--snapshot-count 20"), None));
        let disks: Vec<_> = (0..3).map(|number| disk_for(&cluster, number)).collect();
        cluster.run_all().unwrap();
        must(cluster.wait_until_serving());
        let ledger = Ledger::start(&cluster.addresses(), 3);
        must(ledger.wait_for(SOME, RECOVERY));
        let ballast: Vec<_> = disks.iter().map(|disk| fill(disk)).collect();
        for number in 0..3 {
            write_until_refused(&cluster, number);
        }
        thread::sleep(ALL_FULL);
        for file in ballast {
            fs::remove_file(file).unwrap();
        }
        let freed = Instant::now();
        must(ledger.wait_for(SOME, RECOVERY));
        println!("three full disks: writes {:?} after there was room", freed.elapsed());
        let written = must(ledger.finish());
        must(check_ledger(&cluster, &written));
    });
}

fn must_have_loopback() {
    assert!(Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap().success());
}
