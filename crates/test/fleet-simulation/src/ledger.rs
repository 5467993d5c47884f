//! Records which units run where, and detects units that run twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use tokio::time::Instant;
use unit_file::UnitName;

/// Cheap to clone.
#[derive(Clone, Default)]
pub struct Ledger(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    running: BTreeMap<UnitName, BTreeSet<usize>>,
    starts: usize,
    faults: Vec<String>,
    /// Start of the log, if enabled.
    log_since: Option<Instant>,
}

impl State {
    fn log(&self, text: &str) {
        if let Some(started) = self.log_since {
            eprintln!("{:9.3}     {text}", started.elapsed().as_secs_f64());
        }
    }
}

impl Ledger {
    pub fn with_log(started: Instant) -> Self {
        Self(Arc::new(Mutex::new(State { log_since: Some(started), ..State::default() })))
    }

    pub fn log(&self, text: &str) {
        self.0.lock().unwrap().log(text);
    }

    pub fn started(&self, name: &UnitName, machine: usize, exclusive: bool) {
        let mut state = self.0.lock().unwrap();
        state.log(&format!("{name} starts on {machine}"));
        state.starts += 1;
        let running = state.running.entry(name.clone()).or_default();
        running.insert(machine);
        if exclusive && running.len() > 1 {
            let fault = format!("{name} runs on machines {running:?}");
            state.log(&format!("FAULT: {fault}"));
            state.faults.push(fault);
        }
    }

    pub fn fault(&self, fault: String) {
        let mut state = self.0.lock().unwrap();
        state.log(&format!("FAULT: {fault}"));
        state.faults.push(fault);
    }

    pub fn stopped(&self, name: &UnitName, machine: usize) {
        let mut state = self.0.lock().unwrap();
        state.log(&format!("{name} has ended on {machine}"));
        if let Some(running) = state.running.get_mut(name) {
            running.remove(&machine);
            if running.is_empty() {
                state.running.remove(name);
            }
        }
    }

    pub fn count(&self) -> usize {
        self.0.lock().unwrap().running.len()
    }

    pub fn running(&self) -> BTreeMap<UnitName, BTreeSet<usize>> {
        self.0.lock().unwrap().running.clone()
    }

    /// Number of starts of all units on all machines.
    pub fn starts(&self) -> usize {
        self.0.lock().unwrap().starts
    }

    pub fn faults(&self) -> Vec<String> {
        self.0.lock().unwrap().faults.clone()
    }
}
