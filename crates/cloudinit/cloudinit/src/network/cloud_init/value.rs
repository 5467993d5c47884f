//! Values of the document, with errors and notes that name their line.

use std::net::IpAddr;

use crate::limits::MAX_METADATA_NOTES;
use crate::network::address::{Cidr, Mac};
use crate::network::interface::ConvertError;
use crate::yaml::{Entry, Location, Mapping, Node, ScalarType};

pub(super) fn wrong(at: Location, what: &str) -> ConvertError {
    ConvertError(format!("network-config, line {}: {what}", at.line))
}

/// Notes that a part is left out.
pub(super) fn note(at: Location, what: &str, notes: &mut Vec<String>) {
    if notes.len() < MAX_METADATA_NOTES {
        notes.push(format!("network-config, line {}: {what} is not supported and ignored", at.line));
    }
}

#[derive(Clone, Copy)]
pub(super) struct Value<'a>(pub &'a Node);

impl<'a> Value<'a> {
    fn expected<T>(self, found: Option<T>, what: &str) -> Result<T, ConvertError> {
        found.ok_or_else(|| wrong(self.0.location, &format!("this is no {what}")))
    }

    pub fn text(self) -> Result<&'a str, ConvertError> {
        let scalar = self.0.scalar().filter(|_| !self.0.is_null());
        self.expected(scalar.map(|scalar| &*scalar.text), "text")
    }

    pub fn boolean(self) -> Result<bool, ConvertError> {
        let value = self.0.scalar().and_then(|scalar| match scalar.resolve() {
            ScalarType::Boolean(value) => Some(value),
            _ => None,
        });
        self.expected(value, "boolean (true or false)")
    }

    pub fn number(self) -> Result<u32, ConvertError> {
        let number = self.0.scalar().and_then(|scalar| scalar.text.parse().ok());
        self.expected(number, "number")
    }

    pub fn mapping(self) -> Result<&'a Mapping, ConvertError> {
        self.expected(self.0.mapping(), "mapping")
    }

    pub fn list(self) -> Result<impl Iterator<Item = Value<'a>>, ConvertError> {
        let list = if self.0.is_null() { Some(&[][..]) } else { self.0.list() };
        Ok(self.expected(list, "list")?.iter().map(|item| Value(&item.node)))
    }

    /// A list of texts, or one text with blanks between them.
    pub fn texts(self) -> Result<Vec<String>, ConvertError> {
        if self.0.list().is_some() {
            return self.list()?.map(|item| item.text().map(str::to_owned)).collect();
        }
        Ok(self.text()?.split_ascii_whitespace().map(str::to_owned).collect())
    }

    /// The value of a key; `None` if it is missing or null.
    pub fn get(self, key: &str) -> Result<Option<Value<'a>>, ConvertError> {
        let found = self.mapping()?.get(key).map(|entry| Value(&entry.node));
        Ok(found.filter(|value| !value.0.is_null()))
    }

    /// Entries of a mapping that is not null.
    pub fn entries(self) -> Result<impl Iterator<Item = (&'a Entry, Value<'a>)>, ConvertError> {
        let entries = self.mapping()?.entries().iter();
        Ok(entries.map(|entry| (entry, Value(&entry.node))).filter(|(_, value)| !value.0.is_null()))
    }

    pub fn address(self) -> Result<IpAddr, ConvertError> {
        self.expected(self.text()?.parse().ok(), "IP address")
    }

    pub fn addresses(self) -> Result<Vec<IpAddr>, ConvertError> {
        self.texts()?.iter().map(|text| self.expected(text.parse().ok(), "IP address")).collect()
    }

    /// `ADDRESS/LENGTH`, or an address with a netmask of its own.
    pub fn cidr(self, mask: Option<Value<'_>>) -> Result<Cidr, ConvertError> {
        let text = self.text()?;
        let cidr = match mask {
            Some(mask) if !text.contains('/') => Cidr::with_mask(text, mask.text()?),
            _ => Cidr::parse(text),
        };
        self.expected(cidr, "address with a prefix length or netmask")
    }

    /// A network, a single address, or `default`, which is of the gateway's family.
    pub fn destination(self, mask: Option<Value<'_>>, gateway: IpAddr) -> Result<Cidr, ConvertError> {
        let text = self.text()?;
        let single = || text.parse().ok().map(Cidr::host);
        let found = match mask {
            _ if text == "default" => Some(Cidr::any(gateway)),
            Some(_) => return self.cidr(mask).map(Cidr::network),
            None => Cidr::parse(text).map(Cidr::network).or_else(single),
        };
        self.expected(found, "network").and_then(|destination| {
            let same = destination.address.is_ipv4() == gateway.is_ipv4();
            self.expected(same.then_some(destination), "network of the gateway's family")
        })
    }

    pub fn mac(self) -> Result<Mac, ConvertError> {
        self.expected(Mac::parse(self.text()?), "MAC address")
    }

    /// Domains, each of which becomes an item of a list with blanks.
    pub fn domains(self) -> Result<Vec<String>, ConvertError> {
        let domains = self.texts()?;
        let breaks = |c: char| c.is_whitespace() || c.is_control();
        let is_domain = |domain: &String| !domain.is_empty() && !domain.contains(breaks);
        self.expected(domains.iter().all(is_domain).then_some(domains), "list of domains")
    }
}
