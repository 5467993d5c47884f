//! Plans the reconciliation of raft's configuration with the recorded members. The leader carries out one step at a
//! time. A member leaves raft only if it is recorded as removed.

use std::collections::BTreeMap;

use etcd_store::Membership as Members;

use crate::raft_types::{Membership, PeerNode};

/// One step of the reconciliation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Recorded but unknown to raft. It becomes a voter after it has caught up.
    AddLearner { id: u64, node: PeerNode },
    /// Recorded, and has caught up with the leader.
    Promote { id: u64 },
    /// The recorded peer URLs have changed.
    UpdatePeerUrls { id: u64, node: PeerNode },
    /// Recorded as removed.
    Remove { id: u64 },
    /// Finishes a joint configuration left by another leader, before any other change.
    LeaveJoint,
}

/// The leader's view.
pub struct Observation<'a> {
    pub members: &'a Members,
    pub raft: &'a Membership,
    /// The last log index replicated to each member.
    pub matched: &'a BTreeMap<u64, u64>,
    pub last_index: u64,
    /// The maximum lag of a learner that becomes a voter.
    pub lag: u64,
}

/// The next step; `None` if raft agrees with the record. Removals come first: a replaced member must not count when
/// its replacement becomes a voter.
pub fn plan(observation: &Observation<'_>) -> Option<Step> {
    let Observation { members, raft, matched, last_index, lag } = observation;
    if raft.get_joint_config().len() != 1 {
        return Some(Step::LeaveJoint);
    }
    let removed = raft.nodes().map(|(id, _)| *id).find(|id| members.is_removed(*id));
    if let Some(id) = removed {
        return Some(Step::Remove { id });
    }
    for member in members.members() {
        let (id, node) = (member.id, PeerNode { peer_urls: member.peer_urls.clone() });
        match raft.get_node(&id) {
            None => return Some(Step::AddLearner { id, node }),
            Some(known) if *known != node => return Some(Step::UpdatePeerUrls { id, node }),
            Some(_) => {}
        }
    }
    let behind = |id: &u64| matched.get(id).map(|index| last_index.saturating_sub(*index));
    let ready = |id: &u64| members.get(*id).is_some() && behind(id).is_some_and(|by| by <= *lag);
    raft.learner_ids().find(ready).map(|id| Step::Promote { id })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use etcd_api::Member;
    use etcd_store::{Command, Store};

    use super::*;

    fn member(id: u64) -> Member {
        let url = format!("http://127.0.0.1:{id}");
        Member { id, name: String::new(), peer_urls: vec![url], client_urls: Vec::new() }
    }

    fn node(id: u64) -> PeerNode {
        PeerNode { peer_urls: member(id).peer_urls }
    }

    fn raft(voters: &[u64], learners: &[u64]) -> Membership {
        let nodes = voters.iter().chain(learners).map(|id| (*id, node(*id)));
        let nodes = nodes.collect::<BTreeMap<_, _>>();
        Membership::new(vec![voters.iter().copied().collect::<BTreeSet<_>>()], nodes).unwrap()
    }

    fn check(added: &[u64], removed: &[u64], raft: Membership, expect: Option<Step>) {
        let mut store = Store::new();
        for id in added {
            store.apply(&Command::AddMember(member(*id)));
        }
        for id in removed {
            store.apply(&Command::RemoveMember { id: *id });
        }
        let matched = BTreeMap::from([(3, 90)]);
        let members = store.membership();
        let observation = Observation { members, raft: &raft, matched: &matched, last_index: 100, lag: 10 };
        assert_eq!(plan(&observation), expect);
    }

    #[test]
    fn raft_is_reconciled_with_the_record() {
        check(&[1, 2], &[], raft(&[1, 2], &[]), None);
        check(&[1, 3], &[], raft(&[1], &[]), Some(Step::AddLearner { id: 3, node: node(3) }));
        check(&[1, 3], &[], raft(&[1], &[3]), Some(Step::Promote { id: 3 }));
        check(&[1, 4], &[], raft(&[1], &[4]), None);
        check(&[1, 2], &[2], raft(&[1, 2], &[]), Some(Step::Remove { id: 2 }));
        check(&[1, 2, 3], &[2], raft(&[1, 2], &[3]), Some(Step::Remove { id: 2 }));
    }

    #[test]
    fn a_joint_configuration_is_left_before_another_change() {
        let voters = [[1].into(), [1, 3].into()];
        let joint = Membership::new(voters.to_vec(), BTreeMap::from([(1, node(1)), (3, node(3))])).unwrap();
        check(&[1, 3], &[3], joint, Some(Step::LeaveJoint));
    }

    #[test]
    fn unrecorded_members_are_kept() {
        check(&[], &[], raft(&[1, 2, 3], &[]), None);
        check(&[1], &[], raft(&[1, 2, 3], &[]), None);
    }
}
