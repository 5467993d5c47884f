//! Reads [`Requirements`] from the options of `[X-Fleet]`, with a finding for everything unused.

use std::collections::BTreeSet;

use super::Requirements;
use super::additions::{SettingError, parse_bool, parse_cpu, parse_memory, parse_update_policy};
use super::combination::check_conflicts;
use crate::file::UnitFile;
use crate::finding::{Finding, Position, Severity};
use crate::glob::Glob;
use crate::limits::FLEET_VALUES;
use crate::name::UnitName;
use crate::option::UnitOption;
use crate::values;

/// The cluster manager's section. systemd ignores sections with the prefix `X-`.
pub const FLEET_SECTION: &str = "X-Fleet";

/// A key, independent of spelling, in the order in which the original collects spellings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    MachineId { rank: usize },
    MachineOf,
    Metadata,
    Conflicts,
    Replaces,
    Global,
    Memory,
    Cpu,
    Update,
    Pinned,
    Overlap,
    StopOnPartition,
}

/// Old spellings first where both are merged, as in the original.
const KEYS: [(&str, Key); 17] = [
    ("MachineID", Key::MachineId { rank: 0 }),
    ("X-ConditionMachineID", Key::MachineId { rank: 1 }),
    ("X-ConditionMachineBootID", Key::MachineId { rank: 2 }),
    ("X-ConditionMachineOf", Key::MachineOf),
    ("MachineOf", Key::MachineOf),
    ("X-ConditionMachineMetadata", Key::Metadata),
    ("MachineMetadata", Key::Metadata),
    ("X-Conflicts", Key::Conflicts),
    ("Conflicts", Key::Conflicts),
    ("Replaces", Key::Replaces),
    ("Global", Key::Global),
    ("MemoryRequest", Key::Memory),
    ("CPURequest", Key::Cpu),
    ("UpdatePolicy", Key::Update),
    ("Pinned", Key::Pinned),
    ("AllowOverlap", Key::Overlap),
    ("StopOnPartition", Key::StopOnPartition),
];

impl Requirements {
    /// The requirements of `file` under the name `name`, and findings by line. A unit with an error among them is
    /// refused.
    pub fn read(file: &UnitFile, name: &UnitName) -> (Self, Vec<Finding>) {
        let (requirements, mut findings) = read(file, Some(name));
        let (unexpanded, _) = read(file, None);
        if let Err(error) = check_conflicts(&unexpanded) {
            findings.push(Finding::error(None, error.to_string()));
        }
        findings.sort_by_key(|finding| (finding.position, finding.severity));
        (requirements, findings)
    }

    /// The requirements with unexpanded specifiers.
    pub fn read_unexpanded(file: &UnitFile) -> Self {
        read(file, None).0
    }
}

fn read(file: &UnitFile, name: Option<&UnitName>) -> (Requirements, Vec<Finding>) {
    let mut requirements = Requirements::default();
    let mut findings = Vec::new();
    let in_section = || file.options().iter().filter(|option| option.section == FLEET_SECTION);
    let mut reported = BTreeSet::new();
    for option in in_section() {
        if !KEYS.iter().any(|(spelling, _)| *spelling == option.name) && reported.insert(&option.name) {
            let message = format!("unrecognized requirement in [X-Fleet] section: {:?}", option.name);
            findings.push(Finding::warning(option.position, message));
        }
    }
    let mut machine_rank = usize::MAX;
    let mut values = 0;
    for (spelling, key) in KEYS {
        for option in in_section().filter(|option| option.name == spelling) {
            for value in values_of(option, key, name) {
                let at = option.position;
                values += 1;
                if values > FLEET_VALUES {
                    let message = format!("[X-Fleet] has more than {FLEET_VALUES} values");
                    findings.push(Finding::error(at, message));
                    return (requirements, findings);
                }
                let set = match key {
                    Key::MachineId { rank } => {
                        // The first value of the preferred spelling.
                        if rank < machine_rank {
                            (machine_rank, requirements.machine_id) = (rank, Some(value));
                        }
                        Ok(())
                    }
                    other => requirements.set(other, value, at, &mut findings),
                };
                findings.extend(set.err().map(|error| Finding::error(at, error.to_string())));
            }
        }
    }
    (requirements, findings)
}

/// The values of a line. Only `Conflicts` is also split at white space.
fn values_of(option: &UnitOption, key: Key, name: Option<&UnitName>) -> Vec<String> {
    let expanded = values::split(&option.value)
        .into_iter()
        .map(|value| name.map_or_else(|| value.clone(), |name| values::expand(&value, name)));
    match key {
        Key::Conflicts => expanded
            .flat_map(|value| value.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
            .collect(),
        _ => expanded.collect(),
    }
}

impl Requirements {
    fn set(
        &mut self,
        key: Key,
        value: String,
        at: Option<Position>,
        findings: &mut Vec<Finding>,
    ) -> Result<(), SettingError> {
        match key {
            // The caller checks the rank.
            Key::MachineId { .. } => self.machine_id = Some(value),
            Key::MachineOf => self.peers.push(value),
            Key::Metadata => self.add_metadata(&value, at, findings),
            Key::Conflicts => add_glob(&mut self.conflicts, &value, at, findings),
            Key::Replaces => add_glob(&mut self.replaces, &value, at, findings),
            // The original treats other values as false.
            Key::Global => {
                self.global = matches!(value.to_lowercase().as_str(), "true" | "yes" | "1" | "on" | "t");
            }
            Key::Memory => self.memory = Some(parse_memory(&value)?),
            Key::Cpu => self.cpu = Some(parse_cpu(&value)?),
            Key::Update => self.update = parse_update_policy(&value)?,
            Key::Pinned => self.pinned = parse_bool("Pinned", &value)?,
            Key::Overlap => self.overlap = parse_bool("AllowOverlap", &value)?,
            Key::StopOnPartition => self.stop_on_partition = parse_bool("StopOnPartition", &value)?,
        }
        Ok(())
    }

    fn add_metadata(&mut self, pair: &str, at: Option<Position>, findings: &mut Vec<Finding>) {
        let fields: Vec<_> = pair.split('=').collect();
        match fields[..] {
            [key, value] if !key.is_empty() && !value.is_empty() => {
                self.metadata.entry(key.to_owned()).or_default().insert(value.to_owned());
            }
            _ => {
                let message = format!("MachineMetadata {pair:?} is ignored: it is not `key=value`");
                findings.push(Finding::warning(at, message));
            }
        }
    }
}

fn add_glob(globs: &mut Vec<Glob>, pattern: &str, at: Option<Position>, findings: &mut Vec<Finding>) {
    let glob = Glob::new(pattern);
    if let Err(error) = glob.check() {
        findings.push(Finding { severity: Severity::Warning, position: at, message: error.to_string() });
    }
    if !globs.contains(&glob) {
        globs.push(glob);
    }
}
