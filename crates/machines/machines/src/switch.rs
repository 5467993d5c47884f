//! Forwarding decisions of the LAN switch.
//!
//! Learns which MAC address is behind which port, floods frames to unknown addresses and cuts off isolated ports.
//! Pure: no sockets, no clock.

use std::collections::HashMap;

use crate::limits;

/// Length of an Ethernet header without a tag.
const HEADER: usize = 14;

pub type Address = [u8; 6];

/// A port's number, in the order of [`Switch::add`].
pub type Port = usize;

#[derive(Debug, Default)]
pub struct Switch {
    isolated: Vec<bool>,
    learned: HashMap<Address, Port>,
}

impl Switch {
    pub fn add(&mut self) -> Port {
        self.isolated.push(false);
        self.isolated.len() - 1
    }

    /// An isolated port neither sends nor receives.
    pub fn isolate(&mut self, port: Port, isolated: bool) {
        if let Some(state) = self.isolated.get_mut(port) {
            *state = isolated;
        }
    }

    #[must_use]
    pub fn is_isolated(&self, port: Port) -> bool {
        self.isolated.get(port).copied().unwrap_or(true)
    }

    /// The ports to which `frame`, received on `from`, is sent.
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
            // Costs a few floods only; the table must not grow without bound.
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

/// Group addresses have the lowest bit of the first byte set.
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
    fn unknown_and_broadcast_frames_are_flooded() {
        let mut lan = switch(4);
        assert_eq!(lan.forward(0, &frame(9, 1)), [1, 2, 3]);
        assert_eq!(lan.forward(2, &frame(1, 3)), [0], "learned from the first frame");
        assert_eq!(lan.forward(1, &frame(ALL, 2)), [0, 2, 3]);
        assert_eq!(lan.forward(3, &frame(2, 4)), [1]);
    }

    #[test]
    fn a_moved_address_is_relearned() {
        let mut lan = switch(3);
        lan.forward(0, &frame(ALL, 1));
        assert_eq!(lan.forward(2, &frame(1, 3)), [0]);
        lan.forward(1, &frame(ALL, 1));
        assert_eq!(lan.forward(2, &frame(1, 3)), [1]);
    }

    #[test]
    fn an_isolated_port_is_cut_in_both_directions() {
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
    fn frames_are_not_reflected_and_short_frames_are_dropped() {
        let mut lan = switch(2);
        lan.forward(0, &frame(ALL, 1));
        assert!(lan.forward(0, &frame(1, 5)).is_empty());
        assert!(lan.forward(0, &[0; 13]).is_empty());
    }

    #[test]
    fn the_address_table_is_bounded() {
        let mut lan = switch(2);
        for number in 0..10_000_u32 {
            let mut frame = frame(ALL, 0);
            frame[7..11].copy_from_slice(&number.to_be_bytes());
            lan.forward(0, &frame);
            assert!(lan.learned.len() <= limits::ADDRESSES_MAX);
        }
    }
}
