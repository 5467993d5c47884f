//! Adding, removing and replacing members.

use etcd_api::Member as Record;
use etcd_raft::StopReason;

use super::*;

fn record(id: u64) -> Record {
    Record { id, name: String::new(), peer_urls: vec![url(id)], client_urls: Vec::new() }
}

fn voters(cluster: &Cluster, id: u64) -> Vec<u64> {
    cluster.member(id).voters()
}

fn wait_for_voters(cluster: &Cluster, at: u64, expect: &[u64]) {
    wait_for(&format!("voters {expect:?}"), || (voters(cluster, at) == expect).then_some(()));
}

fn names(cluster: &Cluster, at: u64) -> Vec<String> {
    cluster.member(at).read(|store| store.membership().members().map(|member| member.name.clone()).collect())
}

#[test]
fn a_new_cluster_records_its_members_and_their_names() {
    let cluster = Cluster::new(3);
    for id in 1..=3 {
        wait_for("three names", || (names(&cluster, id) == ["m1", "m2", "m3"]).then_some(()));
    }
}

#[test]
fn a_member_is_added_gets_a_vote_and_is_removed() {
    let mut cluster = Cluster::new(1);
    cluster.must_put(1, "/k", "1");
    let first = cluster.member(1);
    cluster.on(1, first.add_member(record(2))).unwrap().result.unwrap();
    cluster.start(2);
    wait_for_voters(&cluster, 1, &[1, 2]);
    assert_eq!(cluster.quorum_value(2, "/k").as_deref(), Some("1"));
    cluster.must_put(2, "/k", "2");
    cluster.on(1, first.remove_member(2)).unwrap().result.unwrap();
    wait_for_voters(&cluster, 1, &[1]);
    let removed = cluster.member(2);
    let reason = cluster.on(2, async { tokio::time::timeout(DEADLINE, removed.stopped()).await });
    assert_eq!(reason.unwrap(), StopReason::Removed);
    cluster.must_put(1, "/k", "3");
    // It stays removed, with its data and with an empty disk.
    drop(removed);
    cluster.kill(2);
    let config = cluster.config(2);
    match cluster.try_start(config) {
        Err(StartError::Removed) => {}
        Err(other) => panic!("{other:?}"),
        Ok(()) => {
            let again = cluster.member(2);
            let reason = cluster.on(2, async { tokio::time::timeout(DEADLINE, again.stopped()).await });
            assert_eq!(reason.unwrap(), StopReason::Removed);
        }
    }
    // The same machine rejoins as a new member.
    cluster.on(1, first.add_member(record(3))).unwrap().result.unwrap();
    cluster.start(3);
    wait_for_voters(&cluster, 1, &[1, 3]);
    assert_eq!(cluster.quorum_value(3, "/k").as_deref(), Some("3"));
}

/// No member connects to it: it asks those in its configuration.
#[test]
fn a_member_removed_before_it_joined_stops() {
    let mut cluster = Cluster::new(1);
    let first = cluster.member(1);
    cluster.on(1, first.add_member(record(2))).unwrap().result.unwrap();
    cluster.on(1, first.remove_member(2)).unwrap().result.unwrap();
    let mut config = cluster.config(2);
    config.start = Start::Join(vec![InitialMember { id: 1, name: String::new(), peer_urls: vec![url(1)] }]);
    cluster.try_start(config).unwrap();
    let removed = cluster.member(2);
    let reason = cluster.on(2, async { tokio::time::timeout(DEADLINE, removed.stopped()).await });
    assert_eq!(reason.unwrap(), StopReason::Removed);
}

#[test]
fn a_removed_leader_leaves_the_cluster_working() {
    let mut cluster = Cluster::new(3);
    let leader = cluster.leader();
    let member = cluster.member(leader);
    wait_for("the members' record", || (names(&cluster, leader).len() == 3).then_some(()));
    let removing = cluster.nodes[&leader].runtime.spawn(async move {
        let outcome = member.remove_member(leader).await;
        (outcome, member.stopped().await)
    });
    let (outcome, reason) =
        cluster.on(leader, async { tokio::time::timeout(DEADLINE, removing).await.unwrap().unwrap() });
    outcome.unwrap().result.unwrap();
    assert_eq!(reason, StopReason::Removed);
    cluster.kill(leader);
    let other = cluster.leader();
    cluster.must_put(other, "/k", "1");
    assert_eq!(voters(&cluster, other).len(), 2);
}

#[test]
fn a_member_that_lost_its_disk_does_no_harm_under_its_old_id() {
    let mut cluster = Cluster::new(3);
    let leader = cluster.leader();
    cluster.must_put(leader, "/k", "1");
    let lost = cluster.follower();
    let other = *cluster.nodes.keys().find(|id| **id != leader && **id != lost).unwrap();
    cluster.kill(lost);
    std::fs::remove_dir_all(cluster.data_dir(lost)).unwrap();
    cluster.start(lost);
    let emptied = cluster.member(lost);
    let reason = cluster.on(lost, async { tokio::time::timeout(DEADLINE, emptied.stopped()).await });
    assert_eq!(reason.unwrap(), StopReason::DiskReplaced);
    drop(emptied);
    cluster.must_put(leader, "/k", "2");
    // Without the other member there is no majority, and the one without data must not make one.
    cluster.kill(other);
    let member = cluster.member(leader);
    let write = cluster.nodes[&leader].runtime.spawn(async move { member.propose(&put("/k", "3")).await });
    cluster.kill(lost);
    cluster.start(lost);
    let emptied = cluster.member(lost);
    let reason = cluster.on(lost, async { tokio::time::timeout(DEADLINE, emptied.stopped()).await });
    assert_eq!(reason.unwrap(), StopReason::DiskReplaced);
    let finished = write.is_finished();
    cluster.start(other);
    // On a busy host its time may be over, or another member leads: then its result is unknown.
    if let Ok(written) = cluster.on(leader, write).unwrap() {
        assert!(!finished, "a write was acknowledged by one member of three");
        assert!(written.result.is_ok());
    }
    let leader = cluster.leader();
    cluster.must_put(leader, "/k", "4");
}

#[test]
fn a_lost_majority_is_left_behind_by_force() {
    let mut cluster = Cluster::new(3);
    let leader = cluster.leader();
    cluster.must_put(leader, "/k", "1");
    wait_for("the members' record", || (names(&cluster, leader).len() == 3).then_some(()));
    let ids = cluster.nodes.keys().copied().collect::<Vec<_>>();
    for id in &ids {
        cluster.kill(*id);
    }
    let mut config = cluster.config(leader);
    config.force_new_cluster = true;
    cluster.try_start(config).unwrap();
    assert_eq!(cluster.quorum_value(leader, "/k").as_deref(), Some("1"));
    cluster.must_put(leader, "/k", "2");
    assert_eq!(voters(&cluster, leader), [leader]);
    assert_eq!(names(&cluster, leader), [format!("m{leader}")]);
    // The new cluster remains without the flag.
    cluster.stop(leader);
    cluster.start(leader);
    assert_eq!(cluster.quorum_value(leader, "/k").as_deref(), Some("2"));
    assert_eq!(voters(&cluster, leader), [leader]);
    // A leftover flag does not remove members that were added since.
    let member = cluster.member(leader);
    cluster.on(leader, member.add_member(record(4))).unwrap().result.unwrap();
    cluster.start(4);
    wait_for_voters(&cluster, leader, &[leader, 4]);
    drop(member);
    cluster.stop(leader);
    let mut config = cluster.config(leader);
    config.force_new_cluster = true;
    cluster.try_start(config).unwrap();
    cluster.must_put(leader, "/k", "3");
    assert_eq!(voters(&cluster, leader), [leader, 4]);
}

#[test]
fn changed_urls_reach_raft() {
    let cluster = Cluster::new(3);
    let leader = cluster.leader();
    wait_for("the members' record", || (names(&cluster, leader).len() == 3).then_some(()));
    let other = cluster.follower();
    let member = cluster.member(leader);
    let urls = vec!["http://127.0.0.1:9999".to_owned()];
    cluster.on(leader, member.update_member(other, urls.clone())).unwrap().result.unwrap();
    cluster.must_put(other, "/k", "1");
    let recorded = member.read(|store| store.membership().get(other).unwrap().peer_urls.clone());
    assert_eq!(recorded, urls);
}

/// No remaining member has seen the removed disk: they know it from the state.
#[test]
fn a_wiped_member_is_known_to_those_who_never_met_it() {
    let mut cluster = Cluster::new(3);
    let leader = cluster.leader();
    wait_for("the disks' record", || {
        let known = cluster.member(leader).read(|store| {
            let members = store.membership();
            (1..=3).filter(|id| members.disk(*id).is_some()).count()
        });
        (known == 3).then_some(())
    });
    let lost = cluster.follower();
    cluster.kill(lost);
    let through = cluster.member(leader);
    for id in [4, 5] {
        cluster.on(leader, through.add_member(record(id))).unwrap().result.unwrap();
        cluster.start(id);
        wait_for("a vote", || voters(&cluster, leader).contains(&id).then_some(()));
    }
    drop(through);
    let new = cluster.member(4);
    for id in (1..=3).filter(|id| *id != lost) {
        cluster.on(4, new.remove_member(id)).unwrap().result.unwrap();
    }
    wait_for_voters(&cluster, 4, &[lost, 4, 5]);
    for id in (1..=3).filter(|id| *id != lost) {
        cluster.kill(id);
    }
    std::fs::remove_dir_all(cluster.data_dir(lost)).unwrap();
    let mut config = cluster.config(lost);
    config.start = Start::Join(Vec::new());
    cluster.try_start(config).unwrap();
    let emptied = cluster.member(lost);
    let reason = cluster.on(lost, async { tokio::time::timeout(DEADLINE, emptied.stopped()).await });
    assert_eq!(reason.unwrap(), StopReason::DiskReplaced);
    assert_eq!(emptied.read(|store| store.membership().members().count()), 0, "it was given the log");
    cluster.must_put(4, "/k", "1");
}
