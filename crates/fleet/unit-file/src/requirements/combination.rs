//! Which requirements exclude each other.

use thiserror::Error;

use super::Requirements;

/// The texts are the contract's.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Combination {
    #[error("unresolvable requirements: peer {peer:?} matches conflict {pattern:?}")]
    PeerConflicts { peer: String, pattern: String },
    #[error("unresolvable requirements: peer {peer:?} matches replace {pattern:?}")]
    PeerReplaced { peer: String, pattern: String },
    #[error("{0} cannot be used with {1}")]
    Exclusive(&'static str, &'static str),
}

/// The first rule that is broken, in the contract's order. The original looks before specifiers are replaced:
/// give it what [`Requirements::of_template`] reads.
pub fn check_combination(wanted: &Requirements) -> Result<(), Combination> {
    for peer in &wanted.peers {
        if let Some(pattern) = wanted.conflicts.iter().find(|glob| glob.matches(peer)) {
            return Err(Combination::PeerConflicts { peer: peer.clone(), pattern: pattern.to_string() });
        }
        if let Some(pattern) = wanted.replaces.iter().find(|glob| glob.matches(peer)) {
            return Err(Combination::PeerReplaced { peer: peer.clone(), pattern: pattern.to_string() });
        }
    }
    let (machine, peers) = (wanted.machine_id.is_some(), !wanted.peers.is_empty());
    let (conflicts, replaces) = (!wanted.conflicts.is_empty(), !wanted.replaces.is_empty());
    let rules = [
        (machine && peers, "MachineID", "Peers"),
        (machine && conflicts, "MachineID", "Conflicts"),
        (machine && wanted.global, "MachineID", "Global"),
        (machine && replaces, "MachineID", "Replaces"),
        (wanted.global && peers, "Global", "Peers"),
        (wanted.global && replaces, "Global", "Replaces"),
        (conflicts && replaces, "Conflicts", "Replaces"),
        (wanted.global && wanted.pinned, "Global", "Pinned"),
    ];
    match rules.into_iter().find(|(broken, ..)| *broken) {
        Some((_, one, other)) => Err(Combination::Exclusive(one, other)),
        None => Ok(()),
    }
}
