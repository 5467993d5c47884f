//! flannel's rules in nftables: a table of its own, and rules in a chain through which Docker would drop the packets.

mod foreign;
mod rules;

use std::io;

use flannel_core::{Chain, Rule, Verdict};
use netlink::RequestError;
use netlink::nftables::{
    ACCEPT, BaseChain, FORWARD, ListedChain, ListedRule, Nftables, Operation, POSTROUTING,
};

use foreign::{COMMENT, ForeignChains};

/// Name of the table, of family `ip`.
const TABLE: &str = "keelson-flannel";

/// The packet filter of one network namespace. Clones share its netlink socket.
#[derive(Clone, Debug)]
pub struct Firewall {
    nftables: Nftables,
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
        Nftables::open().map(|nftables| Firewall { nftables }).map_err(FirewallError::Open)
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
            let deleted = self.nftables.commit(vec![Operation::delete_table(TABLE)]).await;
            deleted.map_err(FirewallError::Delete)?;
            return Ok(FirewallOutcome::Ensured);
        }
        if exists && self.table_is(chains, rules).await? {
            return Ok(FirewallOutcome::Unchanged);
        }
        // Created first: a table that does not exist cannot be deleted.
        let create = || Operation::create_table(TABLE);
        let mut operations = vec![create(), Operation::delete_table(TABLE), create()];
        for chain in required_chains(rules) {
            operations.push(Operation::create_chain(TABLE, chain_name(chain), base_chain(chain)));
        }
        for rule in rules {
            operations.push(Operation::append_rule(TABLE, chain_name(rule.chain), rules::expressions(rule)));
        }
        self.nftables.commit(operations).await.map_err(FirewallError::Replace)?;
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
        self.nftables.commit(operations).await.map_err(FirewallError::Foreign)?;
        Ok(FirewallOutcome::Ensured)
    }

    async fn table_exists(&self) -> Result<bool, FirewallError> {
        let tables = self.nftables.tables().await;
        Ok(tables.map_err(|error| FirewallError::List("tables", error))?.iter().any(|table| table == TABLE))
    }

    async fn chains(&self) -> Result<Vec<ListedChain>, FirewallError> {
        self.nftables.chains().await.map_err(|error| FirewallError::List("chains", error))
    }

    async fn rules(&self, table: &str, chain: &str) -> Result<Vec<ListedRule>, FirewallError> {
        self.nftables.rules(table, chain).await.map_err(|error| FirewallError::List("rules", error))
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
        Chain::Postrouting => ("nat", POSTROUTING, 100),
        Chain::Forward => ("filter", FORWARD, 0),
    };
    BaseChain { kind: kind.into(), hook, priority, policy: ACCEPT }
}
