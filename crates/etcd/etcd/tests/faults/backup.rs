//! Backups of members under load, and clusters restored from them.

use conformance::backend::Cluster;
use conformance::history::{Ledger, Written, check_ledger};
use conformance::http::Request;
use etcd_raft::{DataLocation, MemberData};

use crate::setting::{RECOVERY, SOME, ask, must, plan};

fn place(folder: std::path::PathBuf) -> DataLocation {
    DataLocation { folder: folder.join("member"), log: None }
}

/// The index up to which the cluster has acknowledged.
fn acknowledged(cluster: &Cluster, number: usize) -> u64 {
    ask(cluster, number, &Request::new("GET", "/v2/keys/?quorum=true")).index().unwrap()
}

fn before(written: &[Written], index: u64) -> Vec<Written> {
    let kept: Vec<_> =
        written.iter().filter(|one| one.index.is_some_and(|at| at <= index)).cloned().collect();
    assert!(kept.len() as u64 >= SOME, "only {} writes were acknowledged before the backup", kept.len());
    kept
}

/// While it is read, checkpoints and log purges happen.
#[test]
fn a_backup_under_load_has_all_that_was_acknowledged_before() {
    let cluster = must(Cluster::start(&plan(3, "--snapshot-count 60")));
    let backups = tempfile::tempdir().unwrap();
    let ledger = Ledger::start(&cluster.addresses(), 4);
    let mut made = Vec::new();
    for round in 0..6 {
        must(ledger.wait_for(SOME, RECOVERY));
        let (number, backup) = (round % 3, place(backups.path().join(round.to_string())));
        let index = acknowledged(&cluster, number);
        let copy = MemberData::read(&place(cluster.data(number)), index).unwrap();
        assert!(copy.in_use && copy.store.index() >= index, "{} of {index}", copy.store.index());
        std::fs::create_dir(backup.folder.parent().unwrap()).unwrap();
        copy.write(&backup).unwrap();
        made.push((index, backup));
    }
    let written = must(ledger.finish());
    drop(cluster);
    let (index, backup) = made.pop().unwrap();
    let kept = before(&written, index);
    // One way: use the backup as the data of a single member, and add others.
    let mut restored = must(Cluster::prepare(&plan(1, ""), None));
    let copy = MemberData::read(&backup, index).unwrap();
    assert!(!copy.in_use);
    std::fs::create_dir_all(restored.data(0)).unwrap();
    copy.write(&place(restored.data(0))).unwrap();
    must(restored.run(0));
    must(check_ledger(&restored, &kept));
    for _ in 0..2 {
        must(restored.add(0));
        must(check_ledger(&restored, &kept));
    }
    // force-new-cluster applies to one start.
    must(restored.stop(0));
    must(restored.run(0));
    must(check_ledger(&restored, &kept));
    let members = ask(&restored, 0, &Request::new("GET", "/v2/members")).text().matches("peerURLs").count();
    assert_eq!(members, 3);
}

/// The procedure of the contract.
#[test]
fn etcd_starts_on_a_backup_with_force_new_cluster() {
    let cluster = must(Cluster::start(&plan(1, "")));
    let ledger = Ledger::start(&cluster.addresses(), 2);
    must(ledger.wait_for(2 * SOME, RECOVERY));
    let written = must(ledger.finish());
    let index = acknowledged(&cluster, 0);
    let copy = MemberData::read(&place(cluster.data(0)), index).unwrap();
    let mut restored = must(Cluster::prepare(&plan(1, "-force-new-cluster"), None));
    std::fs::create_dir_all(restored.data(0)).unwrap();
    let new = copy.write(&place(restored.data(0))).unwrap();
    assert_ne!((new.member_id, new.cluster_id), (copy.identity.member_id, copy.identity.cluster_id));
    must(restored.run(0));
    must(check_ledger(&restored, &before(&written, index)));
    let members = ask(&restored, 0, &Request::new("GET", "/v2/members")).text();
    assert!(members.contains(&format!("\"id\":\"{:x}\"", new.member_id)), "{members}");
    assert_eq!(members.matches("peerURLs").count(), 1, "{members}");
}

/// One of three members recovers the cluster; the other two, which return later, do not join it.
#[test]
fn a_survivor_that_left_its_cluster_is_not_found_by_the_dead() {
    let mut cluster = must(Cluster::start(&plan(3, "")));
    let ledger = Ledger::start(&cluster.addresses(), 2);
    must(ledger.wait_for(2 * SOME, RECOVERY));
    let written = must(ledger.finish());
    for number in 0..3 {
        must(cluster.kill(number));
    }
    let data = place(cluster.data(0));
    let copy = MemberData::read(&data, 0).unwrap();
    assert!(!copy.in_use);
    etcd_raft::leave_cluster(&data.folder, &copy.identity).unwrap();
    must(cluster.run(0));
    must(cluster.wait_until_serving());
    let answer = ask(&cluster, 0, &Request::new("PUT", "/v2/keys/after?value=alone"));
    assert_eq!(answer.status, 201, "{}", answer.text());
    must(check_ledger(&cluster, &written));
    // Those two are a majority of the old cluster, which continues without this key.
    must(cluster.run(1));
    must(cluster.run(2));
    must(cluster.wait_until_serving());
    let answer = ask(&cluster, 1, &Request::new("PUT", "/v2/keys/after?value=others"));
    assert_eq!(answer.status, 201, "{}", answer.text());
    let value = |number| ask(&cluster, number, &Request::new("GET", "/v2/keys/after?quorum=true")).text();
    assert!(value(0).contains("alone"), "{}", value(0));
    assert!(value(2).contains("others"), "{}", value(2));
}
