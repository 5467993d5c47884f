//! Members of a cluster, for clients and peers.

use serde::Deserialize;

use crate::event_json::Fields;
use crate::json_text::{push_number, push_string, push_strings};
use crate::{format_id, parse_id};

/// A member. One that has not started has no name and no client URLs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct Member {
    /// Hex for clients, decimal between peers; both are parsed.
    #[serde(deserialize_with = "id_of_either_form")]
    pub id: u64,
    /// `--name` of the member; need not be unique.
    #[serde(default)]
    pub name: String,
    /// Where other members reach it.
    #[serde(default, rename = "peerURLs")]
    pub peer_urls: Vec<String>,
    /// Where clients reach it, as it advertises.
    #[serde(default, rename = "clientURLs")]
    pub client_urls: Vec<String>,
}

impl Member {
    /// Appends the format of `/v2/members`, without a newline.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        let mut fields = Fields::start(out);
        push_string(fields.name("id"), format_id(self.id).as_bytes());
        push_string(fields.name("name"), self.name.as_bytes());
        push_strings(fields.name("peerURLs"), &self.peer_urls);
        push_strings(fields.name("clientURLs"), &self.client_urls);
        fields.end();
    }

    /// Appends the format of the peer port's `/members`, which omits unknown fields.
    fn write_peer_json(&self, out: &mut Vec<u8>) {
        let mut fields = Fields::start(out);
        push_number(fields.name("id"), self.id);
        push_strings(fields.name("peerURLs"), &self.peer_urls);
        if !self.name.is_empty() {
            push_string(fields.name("name"), self.name.as_bytes());
        }
        if !self.client_urls.is_empty() {
            push_strings(fields.name("clientURLs"), &self.client_urls);
        }
        fields.end();
    }

    /// The body of GET `/v2/members`, with a newline.
    pub fn list_json<'a>(members: impl IntoIterator<Item = &'a Self>) -> Vec<u8> {
        let mut out = b"{\"members\":".to_vec();
        write_array(members, &mut out, Self::write_json);
        out.extend_from_slice(b"}\n");
        out
    }

    /// The body of GET `/members` on the peer port, with a newline.
    pub fn peer_list_json<'a>(members: impl IntoIterator<Item = &'a Self>) -> Vec<u8> {
        let mut out = Vec::new();
        write_array(members, &mut out, Self::write_peer_json);
        out.push(b'\n');
        out
    }
}

fn write_array<'a>(
    members: impl IntoIterator<Item = &'a Member>,
    out: &mut Vec<u8>,
    write: impl Fn(&Member, &mut Vec<u8>),
) {
    out.push(b'[');
    for (position, member) in members.into_iter().enumerate() {
        if position > 0 {
            out.push(b',');
        }
        write(member, out);
    }
    out.push(b']');
}

fn id_of_either_form<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Number(u64),
        Hex(String),
    }
    match Either::deserialize(deserializer)? {
        Either::Number(id) => Ok(id),
        Either::Hex(text) => parse_id(&text).ok_or_else(|| {
            serde::de::Error::custom(format_args!("{text:?} is no member id (64 bits in hex)"))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members() -> [Member; 2] {
        let url = |port: u16| vec![format!("http://127.0.0.1:{port}")];
        let started = Member {
            id: 13_668_033_151_171_901_709,
            name: "n1".into(),
            peer_urls: url(2380),
            client_urls: url(2379),
        };
        let added = Member { id: 10, name: String::new(), peer_urls: url(7001), client_urls: Vec::new() };
        [started, added]
    }

    #[test]
    fn clients_see_hex_and_every_field() {
        let body = Member::list_json(&members());
        assert_eq!(
            std::str::from_utf8(&body).unwrap(),
            "{\"members\":[{\"id\":\"bdae9bbc11dd390d\",\"name\":\"n1\",\"peerURLs\":[\"http://127.0.0.1:2380\"],\"clientURLs\":[\"http://127.0.0.1:2379\"]},{\"id\":\"a\",\"name\":\"\",\"peerURLs\":[\"http://127.0.0.1:7001\"],\"clientURLs\":[]}]}\n"
        );
        let read: std::collections::BTreeMap<String, Vec<Member>> = serde_json::from_slice(&body).unwrap();
        assert_eq!(read["members"], members());
    }

    #[test]
    fn peers_see_numbers() {
        let body = Member::peer_list_json(&members());
        assert_eq!(
            std::str::from_utf8(&body).unwrap(),
            "[{\"id\":13668033151171901709,\"peerURLs\":[\"http://127.0.0.1:2380\"],\"name\":\"n1\",\"clientURLs\":[\"http://127.0.0.1:2379\"]},{\"id\":10,\"peerURLs\":[\"http://127.0.0.1:7001\"]}]\n"
        );
        assert_eq!(serde_json::from_slice::<Vec<Member>>(&body).unwrap(), members());
        let error = serde_json::from_str::<Member>(r#"{"id":"xyz"}"#).unwrap_err();
        assert!(error.to_string().contains("\"xyz\" is no member id"), "{error}");
    }
}
