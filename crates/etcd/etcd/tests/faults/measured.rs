//! Round-trip times between members in `/metrics`.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use conformance::http::Request;

use crate::setting::{RECOVERY, ask, three};

const ROUND_TRIPS: &str = "etcd_network_peer_round_trip_time_seconds";

/// Number of measured round trips to each peer, and their sum in seconds.
fn round_trips(text: &str, part: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter_map(|line| line.strip_prefix(&format!("{ROUND_TRIPS}_{part}{{To=\"")));
    let pairs = lines.filter_map(|line| line.split_once("\"} "));
    pairs.map(|(to, value)| (to.to_owned(), value.parse().unwrap())).collect()
}

#[test]
fn each_member_measures_the_way_to_the_others() {
    let cluster = three();
    for number in 0..3 {
        let began = Instant::now();
        let (counts, sums) = loop {
            let text = ask(&cluster, number, &Request::new("GET", "/metrics")).text();
            let counts = round_trips(&text, "count");
            if counts.len() == 2 && counts.values().all(|count| *count >= 2.0) {
                break (counts, round_trips(&text, "sum"));
            }
            assert!(began.elapsed() < RECOVERY, "{counts:?}");
            thread::sleep(Duration::from_millis(50));
        };
        for (to, sum) in &sums {
            let mean = sum / counts[to];
            assert!(mean > 0.0 && mean < 1.0, "to {to}: {mean} s");
        }
        println!("member {number}: {sums:?} s in {counts:?} round trips");
    }
}
