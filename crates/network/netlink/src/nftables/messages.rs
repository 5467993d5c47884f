//! Messages of nftables: what is created, deleted and listed.

use netlink_packet_netfilter::{
    NetfilterHeader, NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily,
    nftables::{
        ChainAttribute, ChainMessage, ExpressionAttribute, Expressions, Hook, ListAttribute, NfTablesMessage,
        RuleAttribute, RuleMessage, TableAttribute, TableMessage,
    },
    none::ControlMessage,
};
use nix::libc;

use super::comment::{comment_match, read_user_data, user_data};
use super::listed::{ACCEPT, BaseChain, ListedChain, ListedRule};

pub fn batch_begin() -> NetfilterMessage {
    batch_bound(ControlMessage::BatchBegin)
}

pub fn batch_end() -> NetfilterMessage {
    batch_bound(ControlMessage::BatchEnd)
}

fn batch_bound(bound: ControlMessage) -> NetfilterMessage {
    let subsystem = u16::try_from(libc::NFNL_SUBSYS_NFTABLES).unwrap_or_default();
    NetfilterMessage::new(NetfilterHeader::new(NetfilterProtoFamily::Unspec, 0, subsystem), bound)
}

fn message(body: NfTablesMessage) -> NetfilterMessage {
    NetfilterMessage::new(NetfilterHeader::new(NetfilterProtoFamily::IPv4, 0, 0), body)
}

pub fn new_table(name: &str) -> NetfilterMessage {
    let attributes = vec![TableAttribute::Name(name.into())];
    message(NfTablesMessage::NewTable(TableMessage { attributes }))
}

pub fn delete_table(name: &str) -> NetfilterMessage {
    let attributes = vec![TableAttribute::Name(name.into())];
    message(NfTablesMessage::DeleteTable(TableMessage { attributes }))
}

pub fn new_chain(table: &str, name: &str, base: BaseChain) -> NetfilterMessage {
    let hook = vec![
        Hook::Number(netlink_packet_netfilter::nftables::InetHookNumber::from(base.hook).into()),
        Hook::Priority(base.priority.cast_unsigned()),
    ];
    let attributes = vec![
        ChainAttribute::Table(table.into()),
        ChainAttribute::Name(name.into()),
        ChainAttribute::Hook(hook),
        ChainAttribute::Policy(base.policy),
        ChainAttribute::Type(base.kind),
    ];
    message(NfTablesMessage::NewChain(ChainMessage { attributes }))
}

pub fn new_rule(
    table: &str,
    chain: &str,
    expressions: Vec<Expressions>,
    comment: Option<&str>,
) -> NetfilterMessage {
    let expressions = expressions.into_iter().map(ListAttribute::<ExpressionAttribute>::from).collect();
    let mut attributes = vec![
        RuleAttribute::Table(table.into()),
        RuleAttribute::Chain(chain.into()),
        RuleAttribute::Expressions(expressions),
    ];
    attributes.extend(comment.map(|comment| RuleAttribute::UserData(user_data(comment))));
    message(NfTablesMessage::NewRule(RuleMessage { attributes }))
}

pub fn delete_rule(table: &str, chain: &str, handle: u64) -> NetfilterMessage {
    let attributes = vec![
        RuleAttribute::Table(table.into()),
        RuleAttribute::Chain(chain.into()),
        RuleAttribute::Handle(handle),
    ];
    message(NfTablesMessage::DeleteRule(RuleMessage { attributes }))
}

pub fn list_tables() -> NetfilterMessage {
    message(NfTablesMessage::GetTable(TableMessage { attributes: Vec::new() }))
}

pub fn list_chains() -> NetfilterMessage {
    message(NfTablesMessage::GetChain(ChainMessage { attributes: Vec::new() }))
}

pub fn list_rules(table: &str, chain: &str) -> NetfilterMessage {
    let attributes = vec![RuleAttribute::Table(table.into()), RuleAttribute::Chain(chain.into())];
    message(NfTablesMessage::GetRule(RuleMessage { attributes }))
}

fn of_nftables(message: NetfilterMessage) -> Option<NfTablesMessage> {
    match message.inner {
        NetfilterMessageInner::NfTables(message) => Some(message),
        _ => None,
    }
}

/// The name of a listed table.
pub fn read_table(message: NetfilterMessage) -> Option<String> {
    let NfTablesMessage::NewTable(table) = of_nftables(message)? else { return None };
    table.attributes.into_iter().find_map(|attribute| match attribute {
        TableAttribute::Name(name) => Some(name),
        _ => None,
    })
}

/// A listed chain.
pub fn read_chain(message: NetfilterMessage) -> Option<ListedChain> {
    let NfTablesMessage::NewChain(chain) = of_nftables(message)? else { return None };
    let (mut table, mut name, mut kind, mut policy) = (None, None, None, ACCEPT);
    let (mut hook, mut priority) = (None, 0);
    for attribute in chain.attributes {
        match attribute {
            ChainAttribute::Table(is) => table = Some(is),
            ChainAttribute::Name(is) => name = Some(is),
            ChainAttribute::Type(is) => kind = Some(is),
            ChainAttribute::Policy(is) => policy = is,
            ChainAttribute::Hook(attributes) => {
                for attribute in attributes {
                    match attribute {
                        Hook::Number(number) => hook = Some(u32::from(number)),
                        Hook::Priority(is) => priority = is.cast_signed(),
                        _ => (),
                    }
                }
            }
            _ => (),
        }
    }
    let base = kind.zip(hook).map(|(kind, hook)| BaseChain { kind, hook, priority, policy });
    Some(ListedChain { table: table?, name: name?, base })
}

/// A listed rule, if it is in this chain.
pub fn read_rule(message: NetfilterMessage, table: &str, chain: &str) -> Option<ListedRule> {
    let NfTablesMessage::NewRule(rule) = of_nftables(message)? else { return None };
    let mut listed = ListedRule { handle: 0, expressions: Vec::new(), comment: None };
    let (mut in_table, mut in_chain) = (false, false);
    for attribute in rule.attributes {
        match attribute {
            RuleAttribute::Table(name) => in_table = name == table,
            RuleAttribute::Chain(name) => in_chain = name == chain,
            RuleAttribute::Handle(handle) => listed.handle = handle,
            RuleAttribute::Expressions(elements) => {
                listed.expressions = elements.into_iter().map(expression).collect()
            }
            RuleAttribute::UserData(data) => listed.comment = read_user_data(&data),
            _ => (),
        }
    }
    if listed.comment.is_none() {
        listed.comment = listed.expressions.iter().find_map(comment_match);
    }
    (in_table && in_chain).then_some(listed)
}

/// An element that is no expression is kept, without its attributes.
fn expression(element: ListAttribute<ExpressionAttribute>) -> Expressions {
    let attributes = match element {
        ListAttribute::Element(attributes) => attributes,
        _ => Vec::new(),
    };
    let mut name = String::new();
    for attribute in attributes {
        match attribute {
            ExpressionAttribute::Name(is) => name = is,
            ExpressionAttribute::Data(expression) => return expression,
            _ => (),
        }
    }
    Expressions::Other { expression_type: name, attributes: Vec::new() }
}
