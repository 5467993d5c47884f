//! Chains and rules, and the kernel's numbers in them.

use netlink_packet_netfilter::nftables::Expressions;

/// Number of hook `prerouting` in the kernel.
pub const PREROUTING: u32 = 0;
/// Number of hook `forward`.
pub const FORWARD: u32 = 2;
/// Number of hook `output`.
pub const OUTPUT: u32 = 3;
/// Number of hook `postrouting`.
pub const POSTROUTING: u32 = 4;
/// Number of verdict `drop`.
pub const DROP: u32 = 0;
/// Number of verdict `accept`.
pub const ACCEPT: u32 = 1;

/// Where a chain is called, by which priority, and the verdict at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseChain {
    /// `filter` or `nat`.
    pub kind: String,
    /// Number of the hook.
    pub hook: u32,
    /// Chains with less are called before.
    pub priority: i32,
    /// Number of the verdict.
    pub policy: u32,
}

/// A chain of family `ip`.
#[derive(Debug)]
pub struct ListedChain {
    /// Name of its table.
    pub table: String,
    /// Its own name.
    pub name: String,
    /// `None`: other chains call it.
    pub base: Option<BaseChain>,
}

/// A rule of a chain.
#[derive(Debug)]
pub struct ListedRule {
    /// The kernel's number of the rule, by which it is deleted.
    pub handle: u64,
    /// Conditions, statements and the verdict.
    pub expressions: Vec<Expressions>,
    /// That of nft, or of iptables' match `comment`.
    pub comment: Option<String>,
}
