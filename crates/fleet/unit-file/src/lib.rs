//! systemd unit files as the cluster manager reads them: text, names, hash, and the requirements of `[X-Fleet]`.
//!
//! The hash is part of a contract with other programs, so parsing and normalization match the original byte for byte.
//! This crate must never open a file, nor ignore a setting without a finding.

#![warn(missing_docs)]

mod file;
mod finding;
mod glob;
mod hash;
mod limits;
mod name;
mod option;
mod parse;
mod requirements;
mod values;

pub use file::UnitFile;
pub use finding::{Finding, Position, Severity};
pub use glob::{Glob, GlobError};
pub use hash::{HashError, UnitHash};
pub use limits::{FLEET_VALUES, LINE_BYTES, NAME_BYTES, UNIT_BYTES};
pub use name::{NameError, UnitKind, UnitName, unit_name_from_argument};
pub use option::UnitOption;
pub use parse::{ParseError, ParseErrorKind};
pub use requirements::{
    FLEET_SECTION, Requirements, RequirementsConflict, SettingError, UpdatePolicy, check_conflicts,
    parse_cpu, parse_memory,
};
