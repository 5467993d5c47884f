//! The decisions of the LAN's switch: which ports a frame goes to.
//!
//! It learns which hardware address is behind which port, sends what it does not know to all, and keeps
//! isolated ports apart from everybody. No sockets and no clock in here.

use std::collections::HashMap;

use crate::limits;

/// Bytes of an Ethernet header without a tag.
const HEADER: usize = 14;

pub type Address = [u8; 6];

/// A port's number: its place in the order of [`Switch::add`].
pub type Port = usize;

#[derive(Debug, Default)]
pub struct Switch {
    isolated: Vec<bool>,
    learned: HashMap<Address, Port>,
}

impl Switch {
    /// A new port.
    pub fn add(&mut self) -> Port {
        self.isolated.push(false);
        self.isolated.len() - 1
    }

    /// An isolated port neither sends to nor hears from the others.
    pub fn isolate(&mut self, port: Port, isolated: bool) {
        if let Some(state) = self.isolated.get_mut(port) {
            *state = isolated;
        }
    }

    #[must_use]
    pub fn is_isolated(&self, port: Port) -> bool {
        self.isolated.get(port).copied().unwrap_or(true)
    }

    /// The ports that `frame`, which came in at `from`, goes out at.
    pub fn forward(&mut self, from: Port, frame: &[u8]) -> Vec<Port> {
        if frame.len() < HEADER || self.is_isolated(from) {
            return Vec::new();
        }
        let (to, source) = (address(&frame[0..6]), address(&frame[6..12]));
        if !is_group(source) {
            self.learn(source, from);
        }
        match self.learned.get(&to) {
            Some(port) if !is_group(to) => {
                if *port == from || self.is_isolated(*port) {
                    Vec::new()
                } else {
                    vec![*port]
                }
            }
            _ => (0..self.isolated.len()).filter(|port| *port != from && !self.is_isolated(*port)).collect(),
        }
    }

    fn learn(&mut self, source: Address, port: Port) {
        if self.learned.len() >= limits::ADDRESSES_MAX && !self.learned.contains_key(&source) {
            // Forgetting only costs a few floods; a table that grows would be a leak.
            self.learned.clear();
        }
        self.learned.insert(source, port);
    }
}

fn address(bytes: &[u8]) -> Address {
    let mut address = [0; 6];
    address.copy_from_slice(bytes);
    address
}

/// Broadcast and multicast addresses have the lowest bit of the first byte set.
fn is_group(address: Address) -> bool {
    address[0] & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: u8 = 0xff;

    fn frame(to: u8, from: u8) -> Vec<u8> {
        let mut frame = vec![0; 60];
        frame[0..6].copy_from_slice(&[if to == ALL { ALL } else { 2 }, to, to, to, to, to]);
        frame[6..12].copy_from_slice(&[2, from, from, from, from, from]);
        frame
    }

    fn switch(ports: usize) -> Switch {
        let mut switch = Switch::default();
        for port in 0..ports {
            assert_eq!(switch.add(), port);
        }
        switch
    }

    #[test]
    fn unknown_and_broadcast_go_to_all_others_and_known_to_one() {
        let mut lan = switch(4);
        assert_eq!(lan.forward(0, &frame(9, 1)), [1, 2, 3]);
        assert_eq!(lan.forward(2, &frame(1, 3)), [0], "learned from the first frame");
        assert_eq!(lan.forward(1, &frame(ALL, 2)), [0, 2, 3]);
        assert_eq!(lan.forward(3, &frame(2, 4)), [1]);
    }

    #[test]
    fn an_address_that_moves_is_found_at_its_new_port() {
        let mut lan = switch(3);
        lan.forward(0, &frame(ALL, 1));
        assert_eq!(lan.forward(2, &frame(1, 3)), [0]);
        lan.forward(1, &frame(ALL, 1));
        assert_eq!(lan.forward(2, &frame(1, 3)), [1]);
    }

    #[test]
    fn an_isolated_port_is_cut_both_ways_and_comes_back() {
        let mut lan = switch(3);
        lan.forward(0, &frame(ALL, 1));
        lan.isolate(0, true);
        assert!(lan.forward(0, &frame(ALL, 1)).is_empty());
        assert!(lan.forward(1, &frame(1, 2)).is_empty());
        assert_eq!(lan.forward(1, &frame(ALL, 2)), [2]);
        lan.isolate(0, false);
        assert_eq!(lan.forward(1, &frame(1, 2)), [0]);
    }

    #[test]
    fn nothing_goes_back_where_it_came_from_and_short_frames_go_nowhere() {
        let mut lan = switch(2);
        lan.forward(0, &frame(ALL, 1));
        assert!(lan.forward(0, &frame(1, 5)).is_empty());
        assert!(lan.forward(0, &[0; 13]).is_empty());
    }

    #[test]
    fn the_table_of_addresses_does_not_grow_without_end() {
        let mut lan = switch(2);
        for number in 0..10_000_u32 {
            let mut frame = frame(ALL, 0);
            frame[7..11].copy_from_slice(&number.to_be_bytes());
            lan.forward(0, &frame);
            assert!(lan.learned.len() <= limits::ADDRESSES_MAX);
        }
    }
}
