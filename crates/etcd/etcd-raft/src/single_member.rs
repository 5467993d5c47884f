//! Tests: a cluster of one member, which becomes leader immediately.

use std::path::Path;
use std::sync::Arc;

use crate::config::{InitialMember, MemberConfig, Start};
use crate::member::Member;
use crate::peer::network::TcpNetwork;

pub const OWN: u64 = 1;

pub fn config(folder: &Path) -> MemberConfig {
    let mut config = MemberConfig::new(folder.join("m1"), 0xc1, OWN, "m1");
    config.peer_urls = vec!["http://127.0.0.1:1".to_owned()];
    let initial = InitialMember { id: OWN, name: "m1".to_owned(), peer_urls: config.peer_urls.clone() };
    config.start = Start::New(vec![initial]);
    config
}

pub async fn start(config: &MemberConfig) -> Member {
    let member = Member::start(config.clone(), Arc::new(TcpNetwork::default())).await.unwrap();
    member.barrier().await.unwrap();
    member
}
