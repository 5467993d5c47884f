//! nftables: tables, chains and rules of family `ip`.

mod comment;
pub mod expressions;
mod listed;
mod messages;

use std::io;

use netlink_packet_core::{NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_REQUEST, NetlinkMessage};
use netlink_packet_netfilter::{NetfilterMessage, nftables::Expressions};
use netlink_proto::ReplyExpectation;
use netlink_sys::protocols::NETLINK_NETFILTER;

use crate::request::{RequestError, Requests};

pub use comment::comment_match;
pub use listed::{
    ACCEPT, BaseChain, DROP, FORWARD, ListedChain, ListedRule, OUTPUT, POSTROUTING, PREROUTING,
};

/// The packet filter of one network namespace. Clones share its netlink socket.
#[derive(Clone, Debug)]
pub struct Nftables {
    requests: Requests<NetfilterMessage>,
}

/// One change of a transaction.
#[derive(Debug)]
pub struct Operation {
    message: NetfilterMessage,
    flags: u16,
}

impl Nftables {
    /// Opens a socket in the network namespace of the calling thread, within a tokio runtime.
    ///
    /// # Errors
    /// The socket cannot be opened.
    pub fn open() -> io::Result<Self> {
        Requests::open(NETLINK_NETFILTER).map(|requests| Self { requests })
    }

    /// The names of all tables.
    ///
    /// # Errors
    /// The kernel does not answer, or has no nftables; so for all requests here.
    pub async fn tables(&self) -> Result<Vec<String>, RequestError> {
        self.requests.dump(messages::list_tables(), messages::read_table).await
    }

    /// The chains of all tables.
    pub async fn chains(&self) -> Result<Vec<ListedChain>, RequestError> {
        self.requests.dump(messages::list_chains(), messages::read_chain).await
    }

    /// The rules of a chain, in their order.
    pub async fn rules(&self, table: &str, chain: &str) -> Result<Vec<ListedRule>, RequestError> {
        let read = |message| messages::read_rule(message, table, chain);
        self.requests.dump(messages::list_rules(table, chain), read).await
    }

    /// Applies all operations or none.
    pub async fn commit(&self, operations: Vec<Operation>) -> Result<(), RequestError> {
        let message = |body, flags| {
            let mut message = NetlinkMessage::from(body);
            message.header.flags = NLM_F_REQUEST | flags;
            message
        };
        // Old kernels acknowledge neither begin nor end. Both cannot fail after a dump has succeeded.
        let mut messages = vec![(message(messages::batch_begin(), 0), ReplyExpectation::NotExpected)];
        for operation in operations {
            messages
                .push((message(operation.message, NLM_F_ACK | operation.flags), ReplyExpectation::Expected));
        }
        messages.push((message(messages::batch_end(), 0), ReplyExpectation::NotExpected));
        self.requests.batch(messages).await
    }
}

impl Operation {
    /// Creates a table. One that exists remains.
    #[must_use]
    pub fn create_table(name: &str) -> Self {
        Self { message: messages::new_table(name), flags: NLM_F_CREATE }
    }

    /// Deletes a table with all of its contents.
    #[must_use]
    pub fn delete_table(name: &str) -> Self {
        Self { message: messages::delete_table(name), flags: 0 }
    }

    /// Creates a chain that a hook calls.
    #[must_use]
    pub fn create_chain(table: &str, name: &str, base: BaseChain) -> Self {
        Self { message: messages::new_chain(table, name, base), flags: NLM_F_CREATE }
    }

    /// Adds a rule after all others of the chain.
    #[must_use]
    pub fn append_rule(table: &str, chain: &str, expressions: Vec<Expressions>) -> Self {
        let message = messages::new_rule(table, chain, expressions, None);
        Self { message, flags: NLM_F_CREATE | NLM_F_APPEND }
    }

    /// Adds a rule before all others of the chain.
    #[must_use]
    pub fn insert_rule(
        table: &str,
        chain: &str,
        expressions: Vec<Expressions>,
        comment: Option<&str>,
    ) -> Self {
        Self { message: messages::new_rule(table, chain, expressions, comment), flags: NLM_F_CREATE }
    }

    /// Deletes the rule with this number.
    #[must_use]
    pub fn delete_rule(table: &str, chain: &str, handle: u64) -> Self {
        Self { message: messages::delete_rule(table, chain, handle), flags: 0 }
    }
}
