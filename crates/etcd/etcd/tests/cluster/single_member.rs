//! Clusters of one member.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use etcd_api::Key;
use etcd_raft::{DataLocation, MemberData, Watch};

use super::*;

#[test]
fn writes_survive_a_stop_and_a_kill() {
    let mut cluster = Cluster::new(1);
    let first = cluster.must_put(1, "/a", "1");
    cluster.stop(1);
    cluster.start(1);
    let second = cluster.must_put(1, "/b", "2");
    assert!(second > first);
    cluster.kill(1);
    cluster.start(1);
    assert_eq!(cluster.quorum_value(1, "/a").as_deref(), Some("1"));
    assert_eq!(cluster.quorum_value(1, "/b").as_deref(), Some("2"));
    assert!(cluster.must_put(1, "/c", "3") > second);
}

#[test]
fn the_state_is_restored_from_checkpoint_and_log() {
    let mut cluster = Cluster::new(1);
    for number in 0..50 {
        cluster.must_put(1, &format!("/before/{number}"), "x");
    }
    let member = cluster.member(1);
    cluster.on(1, member.checkpoint(DEADLINE)).unwrap();
    drop(member);
    for number in 0..50 {
        cluster.must_put(1, &format!("/after/{number}"), "y");
    }
    let index = cluster.member(1).read(|store| store.index());
    for _ in 0..2 {
        cluster.kill(1);
        cluster.start(1);
        assert_eq!(cluster.quorum_value(1, "/before/49").as_deref(), Some("x"));
        assert_eq!(cluster.quorum_value(1, "/after/49").as_deref(), Some("y"));
        assert_eq!(cluster.member(1).read(|store| store.index()), index);
    }
}

/// The log of a backup begins where its state ends, like that of a member that has purged everything.
#[test]
fn a_purged_log_without_its_state_is_an_error_that_says_so() {
    let mut cluster = Cluster::new(1);
    cluster.must_put(1, "/a", "1");
    cluster.kill(1);
    let location = |folder| DataLocation { folder, log: None };
    let backup = location(cluster.folder.path().join("backup"));
    let identity = MemberData::read(&location(cluster.data_dir(1)), 0).unwrap().write(&backup).unwrap();
    let mut config = cluster.config(1);
    config.data_dir = backup.folder.clone();
    (config.cluster_id, config.member_id) = (identity.cluster_id, identity.member_id);
    std::fs::remove_dir_all(backup.folder.join("state")).unwrap();
    match cluster.try_start(config) {
        Err(StartError::StateMissing { purged, applied: 0 }) => assert!(purged > 0),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_one_shot_watch_ends_with_its_event() {
    let cluster = Cluster::new(1);
    let member = cluster.member(1);
    let key = Key::parse("/w").unwrap();
    let next = |watch: &mut Watch| {
        cluster.on(1, async { tokio::time::timeout(DEADLINE, watch.next()).await.unwrap() })
    };
    let mut watch = member.watch_once(&key, false, None).unwrap();
    assert_eq!(member.watchers(), 1);
    let index = cluster.must_put(1, "/w", "1");
    cluster.must_put(1, "/w", "2");
    assert_eq!(member.watchers(), 0);
    // A watch of the past has its event already.
    let mut past = member.watch_once(&key, false, Some(index)).unwrap();
    assert_eq!(member.watchers(), 0);
    for watch in [&mut watch, &mut past] {
        assert_eq!(next(watch).unwrap().index(), index);
        assert_eq!(next(watch), None);
    }
    let unused = member.watch_once(&key, false, None).unwrap();
    assert_eq!(member.watchers(), 1);
    drop(unused);
    assert_eq!(member.watchers(), 0);
}

#[test]
fn a_watch_sees_each_change_once_and_in_order() {
    let cluster = Cluster::new(1);
    let index = cluster.must_put(1, "/w/0", "0");
    let member = cluster.member(1);
    let key = Key::parse("/w").unwrap();
    let mut from_now = member.watch(&key, true, None).unwrap();
    for number in 1..=100 {
        cluster.must_put(1, &format!("/w/{number}"), "x");
    }
    let mut from_past = member.watch(&key, true, Some(index)).unwrap();
    cluster.must_put(1, "/w/101", "x");
    let (mut past, mut now) = (Vec::new(), Vec::new());
    cluster.on(1, async {
        for _ in 0..=101 {
            let event = tokio::time::timeout(DEADLINE, from_past.next()).await.unwrap().unwrap();
            past.push(event.index());
        }
        for _ in 1..=101 {
            let event = tokio::time::timeout(DEADLINE, from_now.next()).await.unwrap().unwrap();
            now.push(event.index());
        }
    });
    assert_eq!(past, (index..=index + 101).collect::<Vec<_>>());
    assert_eq!(now, (index + 1..=index + 101).collect::<Vec<_>>());
}

#[test]
fn a_watch_whose_reader_is_too_slow_ends() {
    let cluster = Cluster::new(1);
    let member = cluster.member(1);
    let mut watch = member.watch(&Key::parse("/slow").unwrap(), false, None).unwrap();
    let count = etcd_raft::limits::WATCH_QUEUE + 10;
    cluster.on(1, async {
        for _ in 0..count {
            member.propose(&put("/slow", "x")).await.unwrap();
        }
        let mut seen = 0;
        while let Some(_event) = tokio::time::timeout(DEADLINE, watch.next()).await.unwrap() {
            seen += 1;
        }
        assert_eq!(seen, etcd_raft::limits::WATCH_QUEUE);
    });
}

#[test]
fn keys_expire_by_the_injected_clock() {
    struct TestClock {
        set: AtomicU64,
        passed: AtomicU64,
    }
    impl etcd_raft::Clock for TestClock {
        fn now(&self) -> std::time::SystemTime {
            std::time::UNIX_EPOCH + Duration::from_secs(self.set.load(Relaxed)) + self.monotonic()
        }

        fn monotonic(&self) -> Duration {
            Duration::from_secs(self.passed.load(Relaxed))
        }
    }
    let mut cluster = Cluster::empty(1);
    let clock = Arc::new(TestClock { set: 1_000.into(), passed: 0.into() });
    let mut config = cluster.config(1);
    config.clock = Arc::<TestClock>::clone(&clock);
    cluster.try_start(config).unwrap();
    let Command::Put(mut expiring) = put("/t", "x") else { unreachable!() };
    let moment = std::time::UNIX_EPOCH + Duration::from_secs(2_000);
    expiring.expiration = Some(moment.into());
    let member = cluster.member(1);
    cluster.on(1, async { member.propose(&Command::Put(expiring)).await }).unwrap();
    std::thread::sleep(etcd_raft::limits::EXPIRY_INTERVAL * 2);
    clock.passed.store(1, Relaxed);
    for jump in [1_000, 9_000, 10] {
        clock.set.store(jump, Relaxed);
        std::thread::sleep(etcd_raft::limits::EXPIRY_INTERVAL * 2);
        assert_eq!(cluster.value(1, "/t").as_deref(), Some("x"));
    }
    clock.passed.store(1_100, Relaxed);
    wait_for("the node to expire", || cluster.value(1, "/t").is_none().then_some(()));
}

#[test]
fn data_of_another_member_is_rejected() {
    let mut cluster = Cluster::new(1);
    cluster.must_put(1, "/a", "1");
    cluster.stop(1);
    let mut config = cluster.config(1);
    config.cluster_id += 1;
    assert!(matches!(cluster.try_start(config), Err(StartError::Identity(_))));
    cluster.start(1);
    assert_eq!(cluster.quorum_value(1, "/a").as_deref(), Some("1"));
    assert!(!is_empty_folder(&cluster.data_dir(1)));
}
