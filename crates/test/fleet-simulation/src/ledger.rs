//! Which units run where, seen from above: the judge.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use tokio::time::Instant;
use unit_file::UnitName;

/// Cheap to clone.
#[derive(Clone, Default)]
pub struct Ledger(Arc<Mutex<Book>>);

#[derive(Default)]
struct Book {
    running: BTreeMap<UnitName, BTreeSet<usize>>,
    starts: usize,
    faults: Vec<String>,
    /// Where the story is told, since when.
    told_since: Option<Instant>,
}

impl Book {
    fn tell(&self, text: &str) {
        if let Some(begun) = self.told_since {
            eprintln!("{:9.3}     {text}", begun.elapsed().as_secs_f64());
        }
    }
}

impl Ledger {
    pub fn told(begun: Instant) -> Self {
        Self(Arc::new(Mutex::new(Book { told_since: Some(begun), ..Book::default() })))
    }

    pub fn tell(&self, text: &str) {
        self.0.lock().unwrap().tell(text);
    }

    pub fn started(&self, name: &UnitName, machine: usize, alone: bool) {
        let mut book = self.0.lock().unwrap();
        book.tell(&format!("{name} starts on {machine}"));
        book.starts += 1;
        let running = book.running.entry(name.clone()).or_default();
        running.insert(machine);
        if alone && running.len() > 1 {
            let fault = format!("{name} runs on machines {running:?}");
            book.tell(&format!("FAULT: {fault}"));
            book.faults.push(fault);
        }
    }

    pub fn fault(&self, fault: String) {
        let mut book = self.0.lock().unwrap();
        book.tell(&format!("FAULT: {fault}"));
        book.faults.push(fault);
    }

    pub fn stopped(&self, name: &UnitName, machine: usize) {
        let mut book = self.0.lock().unwrap();
        book.tell(&format!("{name} has ended on {machine}"));
        if let Some(running) = book.running.get_mut(name) {
            running.remove(&machine);
            if running.is_empty() {
                book.running.remove(name);
            }
        }
    }

    pub fn count(&self) -> usize {
        self.0.lock().unwrap().running.len()
    }

    pub fn running(&self) -> BTreeMap<UnitName, BTreeSet<usize>> {
        self.0.lock().unwrap().running.clone()
    }

    /// How often any unit was started on any machine.
    pub fn starts(&self) -> usize {
        self.0.lock().unwrap().starts
    }

    pub fn faults(&self) -> Vec<String> {
        self.0.lock().unwrap().faults.clone()
    }
}
