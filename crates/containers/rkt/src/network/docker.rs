//! Docker drops forwarded packets by the policy of its table, which an accepting rule of another table does not lift. Its
//! chain for rules of users precedes it.

use anyhow::Context as _;
use netlink::nftables::expressions::{
    Interface, interface_is, is_counter, read_interface, read_verdict, verdict,
};
use netlink::nftables::{ACCEPT, Nftables, Operation};
use netlink_packet_netfilter::nftables::Expressions;

/// That of iptables.
const TABLE: &str = "filter";
const CHAIN: &str = "DOCKER-USER";

/// Accepts packets of a bridge, if Docker has its chain. Absent, nothing is dropped.
pub async fn permit_forwarding(nftables: &Nftables, bridge: &str) -> anyhow::Result<()> {
    let chains = nftables.chains().await.context("cannot list the chains of nftables")?;
    if !chains.iter().any(|chain| chain.table == TABLE && chain.name == CHAIN) {
        return Ok(());
    }
    let listed = nftables.rules(TABLE, CHAIN).await.context("cannot list the rules of Docker's chain")?;
    let mut operations = Vec::new();
    for interface in [Interface::Input, Interface::Output] {
        let is_same = |found: &(Interface, String)| found.0 == interface && found.1 == bridge;
        if !listed.iter().filter_map(|rule| accepted(&rule.expressions)).any(|found| is_same(&found)) {
            let rule = [interface_is(interface, bridge), vec![verdict(ACCEPT)]].concat();
            operations.push(Operation::insert_rule(TABLE, CHAIN, rule, None));
        }
    }
    if operations.is_empty() {
        return Ok(());
    }
    nftables.commit(operations).await.context("cannot permit packets of pods in Docker's chain")
}

/// The interface whose packets a rule accepts, if that is all that it does.
fn accepted(expressions: &[Expressions]) -> Option<(Interface, String)> {
    let expressions: Vec<&Expressions> =
        expressions.iter().filter(|expression| !is_counter(expression)).collect();
    let [loaded, compared, Expressions::Immediate(verdict)] = expressions.as_slice() else { return None };
    read_interface(loaded, compared).filter(|_| read_verdict(verdict) == Some(ACCEPT))
}
