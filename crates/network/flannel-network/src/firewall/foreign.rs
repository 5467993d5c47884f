//! Rules in the chains of others.
//!
//! A packet that one base chain accepts still passes the others of the same hook, and Docker's drops what Docker does not
//! know. So flannel's packets are accepted in Docker's, with rules that have a comment, by which they are found again.

use flannel_core::{Chain, Rule};
use netlink::nftables::{DROP, ListedChain, ListedRule, Operation};

use super::rules;

/// The comment of flannel's rules in a chain of others.
pub const COMMENT: &str = "keelson-flannel";

/// The table of iptables-nft.
pub const TABLE: &str = "filter";
/// The chain that Docker leaves to users, and calls first.
const DOCKER_USER: &str = "DOCKER-USER";
const FORWARD: &str = "FORWARD";

/// Which of the chains exist.
pub struct ForeignChains {
    docker_user: bool,
    /// Whether its policy is to drop, if it exists.
    forward_drops: Option<bool>,
}

impl ForeignChains {
    pub fn of(chains: &[ListedChain]) -> ForeignChains {
        let find = |name| chains.iter().find(|chain| chain.table == TABLE && chain.name == name);
        let drops = |chain: &ListedChain| chain.base.as_ref().is_some_and(|base| base.policy == DROP);
        ForeignChains { docker_user: find(DOCKER_USER).is_some(), forward_drops: find(FORWARD).map(drops) }
    }

    /// The chain that has the rules, if one has to.
    pub fn target(&self) -> Option<&'static str> {
        match self {
            Self { docker_user: true, .. } => Some(DOCKER_USER),
            Self { forward_drops: Some(true), .. } => Some(FORWARD),
            _ => None,
        }
    }

    /// The chains that may have rules of an earlier run.
    pub fn candidates(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.docker_user.then_some(DOCKER_USER).into_iter().chain(self.forward_drops.map(|_| FORWARD))
    }
}

/// What has to be done in a chain: missing rules are inserted before all others, marked rules that are not wanted deleted.
pub fn operations(chain: &str, listed: &[ListedRule], wanted: &[Rule]) -> Vec<Operation> {
    let read = |listed: &ListedRule| rules::read(Chain::Forward, &listed.expressions);
    let present: Vec<Option<Rule>> = listed.iter().map(read).collect();
    let mut operations = Vec::new();
    for (listed, rule) in listed.iter().zip(&present) {
        let unwanted = rule.is_none_or(|rule| !wanted.contains(&rule));
        if listed.comment.as_deref() == Some(COMMENT) && unwanted {
            operations.push(Operation::delete_rule(TABLE, chain, listed.handle));
        }
    }
    for rule in wanted.iter().rev().filter(|rule| !present.contains(&Some(**rule))) {
        operations.push(Operation::insert_rule(TABLE, chain, rules::expressions(rule), Some(COMMENT)));
    }
    operations
}
