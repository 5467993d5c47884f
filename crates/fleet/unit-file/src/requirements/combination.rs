//! Requirements that exclude each other.

use thiserror::Error;

use super::Requirements;

/// The texts are the contract's.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum RequirementsConflict {
    #[error("unresolvable requirements: peer {peer:?} matches conflict {pattern:?}")]
    PeerConflicts { peer: String, pattern: String },
    #[error("unresolvable requirements: peer {peer:?} matches replace {pattern:?}")]
    PeerReplaced { peer: String, pattern: String },
    #[error("{0} cannot be used with {1}")]
    Exclusive(&'static str, &'static str),
}

/// The first violated rule in the contract's order. The original checks before specifiers are expanded, so pass the
/// result of [`Requirements::read_unexpanded`].
pub fn check_conflicts(requirements: &Requirements) -> Result<(), RequirementsConflict> {
    for peer in &requirements.peers {
        if let Some(pattern) = requirements.conflicts.iter().find(|glob| glob.matches(peer)) {
            return Err(RequirementsConflict::PeerConflicts {
                peer: peer.clone(),
                pattern: pattern.to_string(),
            });
        }
        if let Some(pattern) = requirements.replaces.iter().find(|glob| glob.matches(peer)) {
            return Err(RequirementsConflict::PeerReplaced {
                peer: peer.clone(),
                pattern: pattern.to_string(),
            });
        }
    }
    let (machine, peers) = (requirements.machine_id.is_some(), !requirements.peers.is_empty());
    let (conflicts, replaces) = (!requirements.conflicts.is_empty(), !requirements.replaces.is_empty());
    let rules = [
        (machine && peers, "MachineID", "Peers"),
        (machine && conflicts, "MachineID", "Conflicts"),
        (machine && requirements.global, "MachineID", "Global"),
        (machine && replaces, "MachineID", "Replaces"),
        (requirements.global && peers, "Global", "Peers"),
        (requirements.global && replaces, "Global", "Replaces"),
        (conflicts && replaces, "Conflicts", "Replaces"),
        (requirements.global && requirements.pinned, "Global", "Pinned"),
    ];
    match rules.into_iter().find(|(broken, ..)| *broken) {
        Some((_, one, other)) => Err(RequirementsConflict::Exclusive(one, other)),
        None => Ok(()),
    }
}
