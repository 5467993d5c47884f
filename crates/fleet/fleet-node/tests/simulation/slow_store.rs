//! A store that responds late, or at different times to different machines.

use std::ops::Range;
use std::time::Duration;

use fleet_core::MachineId;
use fleet_simulation::memory::MemoryStore;
use fleet_simulation::{Link as _, Options, RequestKind, Service as _, TTL, in_virtual_time};
use tokio::time::sleep;
use unit_file::UnitName;

use crate::Cluster;

const UNITS: usize = 10;
/// Milliseconds each way: more than the timeout of an ordinary request, less than that of presence and lease.
const SLOW: Range<u64> = 500..1_000;
/// More than the timeout of a request.
const LATE: Range<u64> = 1_000..1_200;
/// Attempts per key and minute, one each 2.5 s.
const MOST_TRIES: u64 = 25;
/// Less than the timeout of an ordinary request, round trip.
const LEADER_SLOW: Range<u64> = 300..450;

/// The machine stays present for the others, who can reach the store. If it considered itself partitioned it would
/// have to stop its units.
#[test]
fn units_run_on_where_the_store_is_slow() {
    in_virtual_time(async {
        let cluster = Cluster::running(3, UNITS).await;
        let before = cluster.ledger.running();
        cluster.hosts[0].link.set_slow(Some(SLOW));
        for _ in 0..10 {
            sleep(TTL).await;
            assert_eq!(cluster.ledger.running(), before);
        }
        cluster.hosts[0].link.set_slow(None);
        sleep(TTL).await;
        assert_eq!(cluster.ledger.running(), before);
        assert_eq!(cluster.ledger.starts(), UNITS);
        assert_eq!(cluster.faults(), Vec::<String>::new());
    });
}

/// A refresh without a response must stay a refresh: a write is an event for every machine.
#[test]
fn what_stands_is_renewed_and_not_written_where_answers_come_late() {
    in_virtual_time(async {
        let cluster = Cluster::running(1, UNITS).await;
        let written = |cluster: &Cluster| {
            [RequestKind::Claim, RequestKind::State]
                .map(|about| cluster.service.requests().get(&about).copied())
        };
        let before = written(&cluster);
        cluster.hosts[0].link.set_slow(Some(LATE));
        sleep(TTL * 5).await;
        assert_eq!(written(&cluster), before);
        assert!(cluster.service.requests()[&RequestKind::Renewal] > UNITS as u64);
    });
}

/// As for a user who has lost a permission.
#[test]
fn a_store_that_refuses_writes_is_not_asked_again_at_once() {
    in_virtual_time(async {
        let cluster = Cluster::running(1, UNITS).await;
        let submitted = || cluster.service.requests().get(&RequestKind::State).copied().unwrap_or_default();
        let before = submitted();
        cluster.service.forbid("states/");
        for number in 0..UNITS {
            let name = UnitName::parse(&format!("unit{number}.service")).unwrap();
            cluster.hosts[0].systemd.set_active_state(&name, "failed");
        }
        sleep(Duration::from_secs(60)).await;
        let tries = submitted() - before;
        assert!(tries <= UNITS as u64 * MOST_TRIES, "{tries} writes in a minute");
    });
}

/// As when etcd restarts on one machine after the other. The first machine with the store considers no other failed,
/// and the others learn so while they wait for theirs.
#[test]
fn units_run_on_where_the_store_comes_back_at_one_machine_after_the_other() {
    in_virtual_time(async {
        let cluster = Cluster::running(3, UNITS).await;
        let before = cluster.ledger.running();
        let cut = |number: usize, cut: bool| cluster.hosts[number].link.set_cut(cut);
        for away in 0..20 {
            (0..3).for_each(|number| cut(number, true));
            sleep(TTL * 2 + Duration::from_secs(away)).await;
            for number in 0..3 {
                cut(number, false);
                sleep(TTL / 7).await;
                assert_eq!(cluster.ledger.running(), before, "{away} s more, open again at {number}");
            }
            sleep(TTL * 2).await;
            assert_eq!(cluster.ledger.running(), before, "{away} s more, open again at all");
        }
        assert_eq!(cluster.ledger.starts(), UNITS);
        assert_eq!(cluster.faults(), Vec::<String>::new());
    });
}

/// With presences shorter than the lease, a leader still leads after its own presence has expired, and no peer has
/// asked it whether it has the store.
#[test]
fn units_run_on_where_the_store_is_away_for_less_than_the_lease() {
    let ttl = Duration::from_secs(15);
    for machines in [1, 3] {
        in_virtual_time(async {
            let mut rng = fastrand::Rng::with_seed(5);
            let service = MemoryStore::new(rng.fork());
            let cluster = Cluster::with_service(machines, service, rng, Options { ttl, ..Options::DEFAULT });
            let cluster = cluster.with_units(UNITS).await;
            let before = cluster.ledger.running();
            for tenth in 40..120 {
                cluster.service.set_down(true);
                sleep(Duration::from_millis(100) * tenth).await;
                cluster.service.set_down(false);
                sleep(ttl * 3).await;
                let running = cluster.ledger.running();
                assert_eq!(running, before, "{machines} machines, away for {tenth} tenths of a second");
            }
            assert_eq!(cluster.ledger.starts(), UNITS, "started again, {machines} machines");
            assert_eq!(cluster.faults(), Vec::<String>::new());
        });
    }
}

/// Between the leader's check that the machine is absent and the unscheduling of its units, the machine boots,
/// registers and starts them.
#[test]
fn a_machine_that_registers_while_its_units_are_taken_off_it_stops_them_first() {
    for tenth in 0..25 {
        in_virtual_time(async {
            let mut cluster = Cluster::running(3, UNITS).await;
            let leader = cluster.view().lease().map(|lease| lease.machine.clone()).unwrap();
            let is_leader = |number: &usize| cluster.hosts[*number].id == leader.as_str();
            let (leads, goes) =
                ((0..3).find(is_leader).unwrap(), (0..3).find(|one| !is_leader(one)).unwrap());
            cluster.hosts[leads].link.set_slow(Some(LEADER_SLOW));
            cluster.crash(goes).await;
            let gone = MachineId::new(&cluster.hosts[goes].id);
            while cluster.view().is_present(&gone) {
                sleep(Duration::from_millis(50)).await;
            }
            sleep(Duration::from_millis(100) * tenth).await;
            cluster.start(goes);
            sleep(TTL * 2).await;
            assert_eq!(
                cluster.faults(),
                Vec::<String>::new(),
                "{tenth} tenths of a second after its presence"
            );
            assert_eq!(cluster.ledger.running().len(), UNITS);
        });
    }
}
