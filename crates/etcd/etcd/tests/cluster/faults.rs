//! Three members with failing leaders and partitioned networks.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use etcd_api::Key;

use super::*;

/// Writers that create unique keys through every member until they are stopped. They return the acknowledged keys and
/// those with an unknown outcome.
struct Writers {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
    threads: Vec<std::thread::JoinHandle<(Vec<String>, Vec<String>)>>,
}

impl Writers {
    fn start(cluster: &Cluster, ids: &[u64]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let acknowledged = Arc::new(AtomicU64::new(0));
        let threads = ids.iter().flat_map(|id| (0..4).map(|writer| (*id, writer)));
        let threads = threads.map(|(id, writer)| {
            let member = cluster.member(id);
            let runtime = cluster.nodes[&id].runtime.handle().clone();
            let (stop, acknowledged) = (Arc::clone(&stop), Arc::clone(&acknowledged));
            std::thread::spawn(move || {
                let (mut known, mut unknown) = (Vec::new(), Vec::new());
                for number in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let key = format!("/w/{id}-{writer}-{number}");
                    let Command::Put(mut create) = put(&key, "x") else { unreachable!() };
                    create.prev_exist = Some(false);
                    let command = Command::Put(create);
                    let outcome = runtime.block_on(async { member.propose(&command).await });
                    match outcome {
                        // A create that is applied twice fails the second time.
                        Ok(outcome) => {
                            assert!(outcome.result.is_ok(), "{key}: {outcome:?}");
                            acknowledged.fetch_add(1, Ordering::Relaxed);
                            known.push(key);
                        }
                        Err(_) => unknown.push(key),
                    }
                }
                (known, unknown)
            })
        });
        let threads = threads.collect();
        Self { stop, acknowledged, threads }
    }

    fn wait_for_more(&self, more: u64) {
        let before = self.acknowledged.load(Ordering::Relaxed);
        wait_for("more writes", || {
            (self.acknowledged.load(Ordering::Relaxed) >= before + more).then_some(())
        });
    }

    fn finish(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().flat_map(|thread| thread.join().unwrap().0).collect()
    }
}

/// Every acknowledged key exists and was written once.
fn check_all(cluster: &Cluster, keys: &[String]) {
    for id in cluster.nodes.keys() {
        let member = cluster.member(*id);
        cluster.on(*id, async { member.barrier().await }).unwrap();
        for key in keys {
            let key = Key::parse(key).unwrap();
            let event = member.read(|store| store.get(&key, false)).unwrap();
            assert_eq!(event.node.created_index, event.node.modified_index);
        }
    }
}

#[test]
fn every_member_accepts_writes_and_reads_them() {
    let cluster = Cluster::new(3);
    for id in 1..=3 {
        cluster.must_put(id, "/k", &id.to_string());
        for reader in 1..=3 {
            let seen = cluster.quorum_value(reader, "/k");
            assert_eq!(seen, Some(id.to_string()), "written at {id}, read at {reader}");
        }
    }
}

#[test]
fn a_killed_leader_costs_no_write_and_little_time() {
    let mut cluster = Cluster::new(3);
    let leader = cluster.leader();
    let others = cluster.nodes.keys().copied().filter(|id| *id != leader).collect::<Vec<_>>();
    cluster.network.delay(Duration::from_millis(1));
    let writers = Writers::start(&cluster, &others);
    writers.wait_for_more(200);
    let began = Instant::now();
    cluster.kill(leader);
    writers.wait_for_more(200);
    let took = began.elapsed();
    let keys = writers.finish();
    check_all(&cluster, &keys);
    assert!(took < Duration::from_secs(5), "writes were accepted again after {took:?}");
    cluster.start(leader);
    check_all(&cluster, &keys);
}

#[test]
fn a_stopping_leader_transfers_its_leadership() {
    let mut cluster = Cluster::new(3);
    let leader = cluster.leader();
    let others = cluster.nodes.keys().copied().filter(|id| *id != leader).collect::<Vec<_>>();
    let writers = Writers::start(&cluster, &others);
    writers.wait_for_more(200);
    cluster.stop(leader);
    writers.wait_for_more(200);
    let keys = writers.finish();
    check_all(&cluster, &keys);
}

#[test]
fn a_leader_that_is_cut_off_acknowledges_nothing_and_reads_nothing_stale() {
    let cluster = Cluster::new(3);
    let leader = cluster.leader();
    cluster.must_put(leader, "/k", "old");
    let others = cluster.nodes.keys().copied().filter(|id| *id != leader).collect::<Vec<_>>();
    for other in &others {
        cluster.network.stop(leader, *other);
        cluster.network.stop(*other, leader);
    }
    let old = cluster.member(leader);
    let stale = cluster.nodes[&leader].runtime.spawn({
        let old = old.clone();
        async move { old.barrier().await.map(|()| value(&old, "/k")) }
    });
    let lost = cluster.nodes[&leader].runtime.spawn(async move { old.propose(&put("/lost", "x")).await });
    wait_for("a leader among the others", || {
        let leads = |id: &&u64| cluster.member(**id).status().role == Role::Leader;
        others.iter().find(leads).copied()
    });
    cluster.must_put(others[0], "/k", "new");
    assert!(!lost.is_finished(), "a minority acknowledged a write");
    assert!(!stale.is_finished(), "a minority answered a quorum read");
    cluster.network.heal();
    let read = cluster.on(leader, stale).unwrap();
    assert_eq!(read.unwrap().as_deref(), Some("new"));
    // Proposed again under the new leader, exactly once.
    let outcome = cluster.on(leader, lost).unwrap().unwrap();
    assert!(outcome.result.is_ok());
    assert_eq!(cluster.quorum_value(others[1], "/lost").as_deref(), Some("x"));
}

/// After every other member has led once, the last one left can only be followed by a former leader.
#[test]
fn former_leaders_are_elected_again() {
    let cluster = Cluster::new(3);
    for round in 0..cluster.nodes.len() {
        let leader = cluster.leader();
        let others = cluster.nodes.keys().copied().filter(|id| *id != leader).collect::<Vec<_>>();
        for other in &others {
            cluster.network.stop(leader, *other);
            cluster.network.stop(*other, leader);
        }
        let next = wait_for("a leader among the others", || {
            let leads = |id: &&u64| cluster.member(**id).status().role == Role::Leader;
            others.iter().find(leads).copied()
        });
        cluster.network.heal();
        wait_for("the former leader to follow", || {
            (cluster.member(leader).status().leader == Some(next)).then_some(())
        });
        let (key, value) = ("/k", round.to_string());
        cluster.must_put(leader, key, &value);
        assert_eq!(cluster.quorum_value(next, key), Some(value));
    }
}

#[test]
fn a_leader_that_cannot_receive_loses_nothing() {
    let cluster = Cluster::new(3);
    let leader = cluster.leader();
    let others = cluster.nodes.keys().copied().filter(|id| *id != leader).collect::<Vec<_>>();
    let writers = Writers::start(&cluster, &others);
    writers.wait_for_more(100);
    for other in &others {
        cluster.network.stop(*other, leader);
    }
    wait_for("another leader", || {
        let leads = |id: &&u64| cluster.member(**id).status().role == Role::Leader;
        others.iter().find(leads).copied()
    });
    writers.wait_for_more(100);
    cluster.network.heal();
    writers.wait_for_more(100);
    let keys = writers.finish();
    check_all(&cluster, &keys);
}

#[test]
fn a_follower_far_behind_gets_a_snapshot() {
    const KEPT: u64 = 50;
    let mut cluster = Cluster::empty(3);
    cluster.catch_up_entries = KEPT;
    cluster.start_new();
    let leader = cluster.leader();
    let lagging = cluster.follower();
    cluster.kill(lagging);
    let member = cluster.member(leader);
    cluster.on(leader, async {
        // More entries than are kept for slow followers. Sequential puts make one entry each.
        for number in 0..KEPT + 200 {
            member.propose(&put(&format!("/k/{}", number % 100), "x")).await.unwrap();
        }
        member.checkpoint(DEADLINE).await.unwrap();
    });
    cluster.must_put(leader, "/last", "1");
    cluster.start(lagging);
    wait_for("the late member to follow", || {
        (cluster.value(lagging, "/last").as_deref() == Some("1")).then_some(())
    });
    assert_eq!(cluster.value(lagging, "/k/99").as_deref(), Some("x"));
    let index = |id: u64| cluster.member(id).read(|store| store.index());
    assert_eq!(index(lagging), index(leader));
    // The installed snapshot survives a restart.
    cluster.kill(lagging);
    cluster.start(lagging);
    assert_eq!(cluster.quorum_value(lagging, "/k/99").as_deref(), Some("x"));
}

#[derive(Default)]
struct Collected(parking_lot::Mutex<BTreeMap<u64, Vec<Duration>>>);

impl etcd_raft::PeerMetrics for Collected {
    fn round_trip(&self, to: u64, took: Duration) {
        self.0.lock().entry(to).or_default().push(took);
    }
}

#[test]
fn round_trips_to_each_member_are_measured() {
    const DELAY: Duration = Duration::from_millis(20);
    let mut cluster = Cluster::empty(3);
    cluster.network.delay(DELAY);
    let collected = Arc::new(Collected::default());
    for id in 1..=3 {
        let mut config = cluster.config(id);
        if id == 1 {
            config.peer_metrics = collected.clone();
        }
        cluster.try_start(config).unwrap();
    }
    let measured = wait_for("three measures of each", || {
        let measured = collected.0.lock().clone();
        let enough = |id: &u64| measured.get(id).is_some_and(|took| took.len() >= 3);
        [2, 3].iter().all(enough).then_some(measured)
    });
    assert_eq!(measured.keys().copied().collect::<Vec<_>>(), [2, 3]);
    let all = measured.values().flatten();
    assert!(all.clone().all(|took| *took >= 2 * DELAY && *took < DEADLINE), "{measured:?}");
}

#[test]
fn a_member_alone_shows_again_what_it_showed() {
    let mut cluster = Cluster::new(3);
    let (leader, id) = (cluster.leader(), cluster.follower());
    assert!(!cluster.member(id).has_resumed(), "it was new");
    cluster.quorum_value(id, "/k");
    let last = (0..20).map(|number| cluster.must_put(leader, "/k", &number.to_string())).max().unwrap();
    let index = |cluster: &Cluster| cluster.member(id).read(etcd_store::Store::index);
    wait_for("the last write", || (index(&cluster) >= last).then_some(()));
    for id in 1..=3 {
        cluster.kill(id);
    }
    cluster.start(id);
    assert!(cluster.member(id).has_resumed());
    assert!(index(&cluster) >= last, "{} of {last}", index(&cluster));
}
