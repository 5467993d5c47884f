//! The interfaces of a document, and how they are stacked.

use std::collections::BTreeMap;

use super::value::{Value, note, wrong};
use crate::network::address::Mac;
use crate::network::bond::BondOption;
use crate::network::interface::{
    Child, ConvertError, Interface, Link, Network, check_count, check_name, set_depths,
};

const MAX_VLAN: u16 = 4094;

/// Interfaces by their ids, and how they are stacked.
#[derive(Default)]
pub(super) struct Stack {
    pub interfaces: BTreeMap<String, Interface>,
    /// Id of a lower interface, and the one on it.
    edges: Vec<(String, Child)>,
    pub notes: Vec<String>,
}

impl Stack {
    pub fn insert(&mut self, id: &str, interface: Interface, at: Value<'_>) -> Result<(), ConvertError> {
        check_count(self.interfaces.len() + 1)?;
        match self.interfaces.insert(id.to_owned(), interface) {
            Some(_) => Err(wrong(at.0.location, &format!("two interfaces are {id:?}"))),
            None => Ok(()),
        }
    }

    /// A bond with its lower interfaces.
    pub fn bond(
        &mut self,
        name: &str,
        lower: Option<Value<'_>>,
        mac: Option<Mac>,
        options: Vec<BondOption>,
    ) -> Result<Interface, ConvertError> {
        check_name(name)?;
        for lower in lower.map(|lower| lower.texts()).transpose()?.unwrap_or_default() {
            self.edges.push((lower, Child::Bond(name.to_owned())));
        }
        Ok(Interface::new(name, Link::Bond { mac, options }))
    }

    pub fn vlan(
        &mut self,
        name: &str,
        id: Option<Value<'_>>,
        lower: Option<Value<'_>>,
        mac: Option<Mac>,
        at: Value<'_>,
    ) -> Result<Interface, ConvertError> {
        check_name(name)?;
        let number = id.map(|id| id.number()).transpose()?.and_then(|id| u16::try_from(id).ok());
        let number = number.filter(|number| *number <= MAX_VLAN);
        let (Some(id), Some(lower)) = (number, lower) else {
            return Err(wrong(
                at.0.location,
                &format!("VLAN {name:?} needs a number up to {MAX_VLAN} and a link"),
            ));
        };
        self.edges.push((lower.text()?.to_owned(), Child::Vlan(name.to_owned())));
        Ok(Interface::new(name, Link::Vlan { mac, id }))
    }

    pub fn finish(mut self) -> Result<Network, ConvertError> {
        self.edges.sort();
        self.edges.dedup();
        for (lower, child) in self.edges {
            if !self.interfaces.contains_key(&lower) {
                // Without settings of its own.
                check_name(&lower)?;
                check_count(self.interfaces.len() + 1)?;
                self.interfaces.insert(lower.clone(), Interface::new(&*lower, Link::Physical));
            }
            if let Some(lower) = self.interfaces.get_mut(&lower) {
                lower.children.push(child);
            }
        }
        set_depths(&mut self.interfaces)?;
        Ok(Network { interfaces: self.interfaces.into_values().collect(), notes: self.notes })
    }
}

/// `name` is that of [`BondOption`].
pub(super) fn bond_option(name: &str, value: Value<'_>, notes: &mut Vec<String>) -> Option<BondOption> {
    let option = value.text().ok().and_then(|text| BondOption::new(name, text));
    if option.is_none() {
        note(value.0.location, &format!("bond parameter {name}"), notes);
    }
    option
}
