//! Networks that part: a member cut off from the others, and in one direction only. Clients reach all members.

use std::thread;
use std::time::Duration;

use conformance::backend::{Cluster, Network, in_own_namespaces};
use conformance::failure::Failure;
use conformance::http::Request;

use crate::setting::{RECOVERY, SOME, ask, must, others, plan, soak_seeds, under_load};

const PARTED: Duration = Duration::from_millis(1000);

#[derive(Debug, Clone, Copy)]
enum Cut {
    Both,
    /// The member is heard, and hears nothing.
    Deaf,
    /// The member hears, and is not heard.
    Mute,
}

fn part(cluster: &Cluster, number: usize, cut: Cut) -> Result<(), Failure> {
    let Some(network) = cluster.network() else { panic!("the cluster has no network of its own") };
    for other in others(cluster, number) {
        match cut {
            Cut::Both => network.isolate(number)?,
            Cut::Deaf => network.cut(other, number)?,
            Cut::Mute => network.cut(number, other)?,
        }
    }
    Ok(())
}

fn heal(cluster: &Cluster) -> Result<(), Failure> {
    cluster.network().map_or(Ok(()), Network::heal)
}

fn leader_parted(test: &str, seed: u64, cut: Cut) {
    in_own_namespaces(test, || {
        let mut cluster = must(Cluster::start_in(must(Network::new(3)), &plan(3, "")));
        under_load(&mut cluster, seed, |cluster, ledger, _| {
            let leader = cluster.leader()?;
            part(cluster, leader, cut)?;
            ledger.wait_for(SOME, RECOVERY)?;
            thread::sleep(PARTED);
            heal(cluster)
        });
    });
}

#[test]
fn a_leader_that_is_cut_off_acknowledges_nothing_that_is_lost() {
    let test = "partitioned::a_leader_that_is_cut_off_acknowledges_nothing_that_is_lost";
    leader_parted(test, 6, Cut::Both);
}

#[test]
fn a_leader_that_hears_nothing_does_not_stop_the_cluster() {
    leader_parted("partitioned::a_leader_that_hears_nothing_does_not_stop_the_cluster", 7, Cut::Deaf);
}

#[test]
fn a_leader_that_is_not_heard_does_not_stop_the_cluster() {
    leader_parted("partitioned::a_leader_that_is_not_heard_does_not_stop_the_cluster", 8, Cut::Mute);
}

#[test]
#[ignore = "many seeds: cargo verify --all soaks"]
fn soak_partitions() {
    in_own_namespaces("partitioned::soak_partitions", || {
        let mut cluster = must(Cluster::start_in(must(Network::new(3)), &plan(3, "--snapshot-count 200")));
        for seed in soak_seeds() {
            under_load(&mut cluster, seed, |cluster, ledger, random| {
                for _ in 0..5 {
                    let cut = [Cut::Both, Cut::Deaf, Cut::Mute][random.usize(..3)];
                    let number = random.usize(..3);
                    println!("{cut:?} {number}");
                    part(cluster, number, cut)?;
                    thread::sleep(PARTED.mul_f64(random.f64()));
                    heal(cluster)?;
                    ledger.wait_for(random.u64(1..SOME), RECOVERY)?;
                }
                Ok(())
            });
            let request = Request::new("DELETE", "/v2/keys/ledger?recursive=true");
            ask(&cluster, 0, &request);
        }
    });
}
