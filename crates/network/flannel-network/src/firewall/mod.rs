//! flannel's rules in nftables: a table of its own, and rules in a chain through which Docker would drop the packets.

mod comment;
mod foreign;
mod messages;
mod rules;

use std::io;

use flannel_core::{Chain, Rule, Verdict};
use netlink_packet_core::{NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_REQUEST, NetlinkMessage};
use netlink_packet_netfilter::NetfilterMessage;
use netlink_proto::ReplyExpectation;
use netlink_sys::protocols::NETLINK_NETFILTER;

use crate::request::{RequestError, Requests};

use comment::COMMENT;
use foreign::ForeignChains;
use messages::{BaseChain, ListedChain, ListedRule};

/// Name of the table, of family `ip`.
const TABLE: &str = "keelson-flannel";

/// The packet filter of one network namespace. Clones share its netlink socket.
#[derive(Clone, Debug)]
pub struct Firewall {
    netfilter: Requests<NetfilterMessage>,
}

/// What had to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirewallOutcome {
    /// Rules were missing, changed or too many.
    Ensured,
    /// All rules were there, and no others.
    Unchanged,
}

/// The rules cannot be ensured or removed.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum FirewallError {
    #[error("cannot open a netlink socket for the packet filter")]
    Open(#[source] io::Error),
    #[error("cannot list the nftables {0} of family ip (kernel module nf_tables is required)")]
    List(&'static str, #[source] RequestError),
    #[error(
        "cannot replace table {TABLE} of nftables (kernel modules nft_chain_nat and nft_masq are required)"
    )]
    Replace(#[source] RequestError),
    #[error("cannot delete table {TABLE} of nftables")]
    Delete(#[source] RequestError),
    #[error("cannot change the rules with the comment {COMMENT} in table filter of nftables")]
    Foreign(#[source] RequestError),
}

impl Firewall {
    /// Opens a socket in the network namespace of the calling thread, within a tokio runtime.
    pub fn open() -> Result<Firewall, FirewallError> {
        Requests::open(NETLINK_NETFILTER).map(|netfilter| Firewall { netfilter }).map_err(FirewallError::Open)
    }

    /// Makes `rules` the contents of flannel's table, which is replaced as a whole, so that no packet passes half of
    /// them. Rules that accept forwarded packets are also inserted where Docker's policy would drop them.
    pub async fn ensure_rules(&self, rules: &[Rule]) -> Result<FirewallOutcome, FirewallError> {
        let chains = self.chains().await?;
        let own = self.ensure_table(&chains, rules).await?;
        let accepts: Vec<Rule> = rules.iter().filter(|rule| is_forward_accept(rule)).copied().collect();
        let foreign = self.ensure_foreign(&chains, &accepts).await?;
        let unchanged = own == FirewallOutcome::Unchanged && foreign == FirewallOutcome::Unchanged;
        Ok(if unchanged { FirewallOutcome::Unchanged } else { FirewallOutcome::Ensured })
    }

    /// Removes flannel's table, and its rules from other tables.
    pub async fn remove_rules(&self) -> Result<(), FirewallError> {
        self.ensure_rules(&[]).await.map(drop)
    }

    async fn ensure_table(
        &self,
        chains: &[ListedChain],
        rules: &[Rule],
    ) -> Result<FirewallOutcome, FirewallError> {
        let exists = self.table_exists().await?;
        if rules.is_empty() {
            if !exists {
                return Ok(FirewallOutcome::Unchanged);
            }
            let operations = vec![(messages::delete_table(TABLE), 0)];
            self.batch(operations).await.map_err(FirewallError::Delete)?;
            return Ok(FirewallOutcome::Ensured);
        }
        if exists && self.table_is(chains, rules).await? {
            return Ok(FirewallOutcome::Unchanged);
        }
        // Created first: a table that does not exist cannot be deleted.
        let create = || (messages::new_table(TABLE), NLM_F_CREATE);
        let mut operations = vec![create(), (messages::delete_table(TABLE), 0), create()];
        for chain in required_chains(rules) {
            operations.push((messages::new_chain(TABLE, chain_name(chain), base_chain(chain)), NLM_F_CREATE));
        }
        for rule in rules {
            let message = messages::new_rule(TABLE, chain_name(rule.chain), rules::expressions(rule), None);
            operations.push((message, NLM_F_CREATE | NLM_F_APPEND));
        }
        self.batch(operations).await.map_err(FirewallError::Replace)?;
        Ok(FirewallOutcome::Ensured)
    }

    /// Whether the table has these chains and rules, and no others.
    async fn table_is(&self, chains: &[ListedChain], rules: &[Rule]) -> Result<bool, FirewallError> {
        let mut found: Vec<_> = chains.iter().filter(|chain| chain.table == TABLE).collect();
        let required = required_chains(rules);
        found.sort_by(|a, b| a.name.cmp(&b.name));
        let same_chains = found.len() == required.len()
            && required.iter().all(|chain| {
                found.iter().any(|found| {
                    found.name == chain_name(*chain) && found.base.as_ref() == Some(&base_chain(*chain))
                })
            });
        if !same_chains {
            return Ok(false);
        }
        for chain in required {
            let listed = self.rules(TABLE, chain_name(chain)).await?;
            let listed = listed.iter().map(|listed| rules::read(chain, &listed.expressions));
            let expected = rules.iter().filter(|rule| rule.chain == chain).map(|rule| Some(*rule));
            if !listed.eq(expected) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn ensure_foreign(
        &self,
        chains: &[ListedChain],
        accepts: &[Rule],
    ) -> Result<FirewallOutcome, FirewallError> {
        let mut operations = Vec::new();
        let foreign = ForeignChains::of(chains);
        for chain in foreign.candidates() {
            let listed = self.rules(foreign::TABLE, chain).await?;
            let wanted = if foreign.target() == Some(chain) { accepts } else { &[] };
            operations.extend(foreign::operations(chain, &listed, wanted));
        }
        if operations.is_empty() {
            return Ok(FirewallOutcome::Unchanged);
        }
        self.batch(operations).await.map_err(FirewallError::Foreign)?;
        Ok(FirewallOutcome::Ensured)
    }

    async fn table_exists(&self) -> Result<bool, FirewallError> {
        let tables = self.netfilter.dump(messages::list_tables(), messages::read_table).await;
        Ok(tables.map_err(|error| FirewallError::List("tables", error))?.iter().any(|table| table == TABLE))
    }

    async fn chains(&self) -> Result<Vec<ListedChain>, FirewallError> {
        let chains = self.netfilter.dump(messages::list_chains(), messages::read_chain).await;
        chains.map_err(|error| FirewallError::List("chains", error))
    }

    /// The rules of a chain, in their order.
    async fn rules(&self, table: &str, chain: &str) -> Result<Vec<ListedRule>, FirewallError> {
        let read = |message| messages::read_rule(message, table, chain);
        let rules = self.netfilter.dump(messages::list_rules(table, chain), read).await;
        rules.map_err(|error| FirewallError::List("rules", error))
    }

    /// Applies all operations or none.
    async fn batch(&self, operations: Vec<(NetfilterMessage, u16)>) -> Result<(), RequestError> {
        let message = |body, flags| {
            let mut message = NetlinkMessage::from(body);
            message.header.flags = NLM_F_REQUEST | flags;
            message
        };
        // Old kernels acknowledge neither begin nor end. Both cannot fail after a dump has succeeded.
        let mut messages = vec![(message(messages::batch_begin(), 0), ReplyExpectation::NotExpected)];
        for (body, flags) in operations {
            messages.push((message(body, NLM_F_ACK | flags), ReplyExpectation::Expected));
        }
        messages.push((message(messages::batch_end(), 0), ReplyExpectation::NotExpected));
        self.netfilter.batch(messages).await
    }
}

/// Chains that at least one rule is in: a chain of type nat makes the kernel track connections.
fn required_chains(rules: &[Rule]) -> Vec<Chain> {
    let chains = [Chain::Postrouting, Chain::Forward].into_iter();
    chains.filter(|chain| rules.iter().any(|rule| rule.chain == *chain)).collect()
}

fn is_forward_accept(rule: &Rule) -> bool {
    rule.chain == Chain::Forward && rule.verdict == Verdict::Accept
}

fn chain_name(chain: Chain) -> &'static str {
    match chain {
        Chain::Postrouting => "postrouting",
        Chain::Forward => "forward",
    }
}

fn base_chain(chain: Chain) -> BaseChain {
    let (kind, hook, priority) = match chain {
        Chain::Postrouting => ("nat", messages::POSTROUTING, 100),
        Chain::Forward => ("filter", messages::FORWARD, 0),
    };
    BaseChain { kind: kind.into(), hook, priority, policy: messages::ACCEPT }
}
