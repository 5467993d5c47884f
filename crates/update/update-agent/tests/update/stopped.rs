//! Attempts that are cancelled because the agent stops.

use folder_machine::{Machine, releases};
use update_core::method::DELTA_ATTEMPTS;
use update_core::status::Operation;
use update_core::trust::UpdateOptions;
use update_engine::{Kind, Observer};

use crate::server::{Fault, Server};
use crate::{check, installed, updater};

struct CancellingObserver;

impl Observer for CancellingObserver {
    fn operation(&self, _: Operation) {}
    fn found(&self, _: &str, _: u64) {}
    fn progress(&self, _: u64, _: u64) {}
    fn cancelled(&self) -> bool {
        true
    }
}

#[test]
fn cancelled_attempts_do_not_count_against_the_delta() {
    let releases = releases();
    let machine = Machine::new();
    let server = Server::new(releases.with_delta.folder.clone(), releases.keys.clone(), Fault::None);
    let settings = machine.settings(&format!("GROUP=alpha\nSERVER={}\n", server.url));
    for _ in 0..=DELTA_ATTEMPTS {
        let failure = updater(&machine)
            .check(&settings, false, UpdateOptions::default(), &CancellingObserver)
            .outcome
            .unwrap_err();
        assert_eq!(failure.kind, Kind::Cancelled, "{failure}");
    }
    assert!(machine.updater().state.attempts().unwrap().root_hash.is_some());
    assert!(installed(&check(&machine, &server)));
    let full = releases.with_delta.release.full.blob.size;
    assert!(server.sent() < full / 2, "{} of {full}", server.sent());
}
