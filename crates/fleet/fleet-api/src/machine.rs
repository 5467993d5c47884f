//! A present machine.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::additions::Cordon;

/// Schema `Machine` of the original.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Machine {
    /// Extension: omitted if the machine is open.
    #[serde(skip_serializing_if = "Cordon::is_open")]
    pub cordon: Cordon,
    /// 32 lower-case hex digits, as in `/etc/machine-id`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// Of the machine's configuration, as changed by patches.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "map_or_null")]
    pub metadata: BTreeMap<String, String>,
    /// `public_ip` of the machine's configuration; may be empty.
    #[serde(rename = "primaryIP", skip_serializing_if = "String::is_empty")]
    pub primary_ip: String,
}

fn map_or_null<'de, D: serde::Deserializer<'de>>(from: D) -> Result<BTreeMap<String, String>, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// A page of machines, ordered by id.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MachinePage {
    /// The machines of this page.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub machines: Vec<Machine>,
    /// Empty on the last page.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub next_page_token: String,
}
