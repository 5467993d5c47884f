//! systemd's unit files as the cluster manager reads them: text, names, the hash that says whether two units
//! are the same, and what `[X-Fleet]` asks for.
//!
//! The hash is part of a contract with other programs, so reading and normalising follow the original to the
//! byte. This crate must never open a file, and never drop a setting without a finding that says so.

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
