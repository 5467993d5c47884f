//! SIGSTOP: a leader is paused for longer than its lease and then continues.

use std::thread;
use std::time::Duration;

use crate::setting::{RECOVERY, SOME, soak, three, under_load};

/// More than twice the election timeout.
const PAUSE: Duration = Duration::from_millis(2500);

fn paused(seed: u64, rounds: usize) {
    let mut cluster = three();
    under_load(&mut cluster, seed, |cluster, ledger, random| {
        for round in 0..rounds {
            let number = if round == 0 { cluster.leader()? } else { random.usize(..3) };
            cluster.pause(number)?;
            let pause = if round == 0 { PAUSE } else { PAUSE.mul_f64(random.f64()) };
            thread::sleep(pause);
            cluster.resume(number)?;
            ledger.wait_for(random.u64(1..SOME), RECOVERY)?;
        }
        Ok(())
    });
}

#[test]
fn a_paused_leader_wakes_up_as_none() {
    paused(5, 1);
}

#[test]
#[ignore = "many seeds: cargo verify --all soaks"]
fn soak_paused_members() {
    soak(|seed| paused(seed, 6));
}
