//! What `up` shows while machines boot.

use std::path::PathBuf;

use machines::console::Phase;
use machines::site::Event;

/// Machines of which the line tells.
const SHOWN_MAX: usize = 4;

/// What is known of machines while they boot.
pub struct Boots {
    total: usize,
    pub started: usize,
    ready: usize,
    /// Machines that are not ready: their consoles, and how long those were when they were switched on.
    waiting: Vec<(String, PathBuf, u64)>,
}

impl Boots {
    /// Of `total` machines `ready` ran before.
    pub fn new(total: usize, ready: usize) -> Self {
        Self { total, ready, started: 0, waiting: Vec::new() }
    }

    pub fn note(&mut self, event: Event) {
        match event {
            Event::Started { node, console } => {
                self.started += 1;
                let length = std::fs::metadata(&console).map_or(0, |data| data.len());
                self.waiting.push((node, console, length));
            }
            Event::Ready { node, .. } => {
                self.ready += 1;
                self.waiting.retain(|(name, ..)| *name != node);
            }
        }
    }

    /// How many are ready, and how far the others are; where they are many, as many as a line has room for.
    pub fn line(&self) -> String {
        let mut line = format!("{} of {} ready", self.ready, self.total);
        for (name, console, from) in self.waiting.iter().take(SHOWN_MAX) {
            line += &format!("  {name} {}", Phase::of(console, *from));
        }
        line
    }
}
