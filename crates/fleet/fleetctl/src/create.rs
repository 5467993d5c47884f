//! Creates units in the registry: the first step of submit, load and start.

use command_line::{Flag, ParsedArgs};
use fleet_api::{JobState, Unit};
use unit_file::{Requirements, Severity, UnitFile, UnitName, unit_name_from_argument};

use crate::desired_state::Replaced;
use crate::failure::{EXIT_USAGE, Failure};
use crate::lookup::is_global;
use crate::registry::Registry;
use crate::source::{Origin, Source, creation_failure, find_source, local_source};
use crate::stdout::print;

pub const REPLACE: Flag =
    Flag::switch("replace", "replace existing units whose contents differ from the local files");
pub const VERBOSE: Flag = Flag::switch("verbose", "print each unit that is created");
pub const SIGN: Flag = Flag::switch("sign", "no longer supported").hidden();

const SIGNATURES_UNSUPPORTED: &str =
    "WARNING: The signed/verified units feature is DEPRECATED and cannot be used.";

/// The units that the arguments name, all of which exist in the registry, and those that were replaced.
pub struct ResolvedUnits {
    pub units: Vec<Unit>,
    pub replaced: Replaced,
}

pub fn signatures_unsupported() -> Failure {
    Failure { text: Some(SIGNATURES_UNSUPPORTED.to_owned()), exit: EXIT_USAGE }
}

/// Creates the units that do not exist yet. With `--replace`, replaces those whose contents differ and whose desired
/// state is at most `max_state`.
pub async fn create_units(
    registry: &Registry,
    args: &ParsedArgs,
    max_state: JobState,
) -> Result<ResolvedUnits, Failure> {
    if args.is_set(SIGN.name()) {
        return Err(signatures_unsupported());
    }
    if args.arguments.is_empty() {
        return Err(Failure::warning("No units given"));
    }
    let mut resolved = ResolvedUnits { units: Vec::new(), replaced: Replaced::new() };
    let creator = UnitCreator { registry, replacing: args.is_set(REPLACE.name()), max_state };
    for argument in &args.arguments {
        let name = UnitName::parse(&unit_name_from_argument(argument)).map_err(creation_failure)?;
        if resolved.units.iter().any(|unit| unit.name == name.as_str()) {
            continue;
        }
        let found = registry.unit(name.as_str()).await.map_err(|error| {
            creation_failure(format_args!("error retrieving Unit({name}) from Registry: {error}"))
        })?;
        let unit = match found {
            None => {
                let unit = creator.create(argument, &name).await?;
                if args.is_set(VERBOSE.name()) {
                    print(&format!("Unit {name} {}\n", unit.current_state))?;
                }
                unit
            }
            Some(unit) if creator.replacing => {
                creator.replace(argument, &name, unit, &mut resolved.replaced).await?
            }
            Some(unit) => {
                warn_of_difference(argument, &name, &unit)?;
                unit
            }
        };
        resolved.units.push(unit);
    }
    Ok(resolved)
}

struct UnitCreator<'a> {
    registry: &'a Registry,
    replacing: bool,
    max_state: JobState,
}

impl UnitCreator<'_> {
    async fn create(&self, argument: &str, name: &UnitName) -> Result<Unit, Failure> {
        // With --replace, local files take precedence over the template in the registry.
        let preferred = if self.replacing { local_source(argument, name)? } else { None };
        let source = match preferred {
            Some(source) => source,
            None => find_source(self.registry, argument, name).await?,
        };
        check(&source.file, name)?;
        if self.replacing {
            self.store_template(&source, name).await?;
        }
        let mut unit = Unit::new(name.as_str(), JobState::Inactive.as_str(), Some(&source.file));
        self.put(&unit).await?;
        if !is_global(&unit) {
            unit.current_state = JobState::Inactive.to_string();
        }
        Ok(unit)
    }

    async fn replace(
        &self,
        argument: &str,
        name: &UnitName,
        unit: Unit,
        replaced: &mut Replaced,
    ) -> Result<Unit, Failure> {
        let source = match local_source(argument, name)? {
            None if name.instance().is_some() => find_source(self.registry, argument, name).await.ok(),
            local_source => local_source,
        };
        let Some(source) = source.filter(|source| source.file.hash() != unit.file().hash()) else {
            print(&format!("Found same Unit({name}) in Registry, nothing to do\n"))?;
            return Ok(unit);
        };
        let desired: JobState = unit.desired_state.parse().unwrap_or_default();
        if desired > self.max_state {
            eprintln!(
                "Warning: can not replace Unit({name}) in state '{desired}', use the appropriate command"
            );
            return Ok(unit);
        }
        check(&source.file, name)?;
        self.store_template(&source, name).await?;
        // Keeps the desired state, so that the unit is not unloaded in between.
        let changed = Unit::new(name.as_str(), desired.as_str(), Some(&source.file));
        self.put(&changed).await?;
        if desired != JobState::Inactive {
            replaced.insert(name.to_string(), source.file.hash().to_string());
        }
        Ok(Unit { options: changed.options, ..unit })
    }

    /// Stores the template that an instance was created from, for the next instances.
    async fn store_template(&self, source: &Source, name: &UnitName) -> Result<(), Failure> {
        let (Origin::TemplateFile(_), Some(template)) = (&source.origin, name.template()) else {
            return Ok(());
        };
        let stored = self.registry.unit(template.as_str()).await.map_err(creation_failure)?;
        if stored.is_some_and(|unit| unit.file().hash() == source.file.hash()) {
            return Ok(());
        }
        self.put(&Unit::new(template.as_str(), JobState::Inactive.as_str(), Some(&source.file))).await
    }

    async fn put(&self, unit: &Unit) -> Result<(), Failure> {
        let put = self.registry.put(unit).await;
        put.map_err(|error| creation_failure(format_args!("failed creating unit {}: {error}", unit.name)))
    }
}

/// Rejects what every server rejects, with the line if known; warns of options without effect.
fn check(file: &UnitFile, name: &UnitName) -> Result<(), Failure> {
    let (_, findings) = Requirements::read(file, name);
    for finding in &findings {
        if finding.severity == Severity::Warning {
            eprintln!("WARNING: Unit {name}: {}", finding.message);
        }
    }
    match findings.iter().find(|finding| finding.severity == Severity::Error) {
        None => Ok(()),
        Some(finding) => Err(match finding.position {
            Some(position) => creation_failure(format_args!("{}\n{name}: {position}", finding.message)),
            // The original's name for MachineOf.
            None if finding.message.ends_with(" Peers") => {
                creation_failure(format_args!("{}\nhint: MachineOf names a unit's peers", finding.message))
            }
            None => creation_failure(&finding.message),
        }),
    }
}

fn warn_of_difference(argument: &str, name: &UnitName, unit: &Unit) -> Result<(), Failure> {
    let Some(source) = local_source(argument, name)? else { return Ok(()) };
    if source.file.hash() == unit.file().hash() {
        return Ok(());
    }
    let (kind, path) = match &source.origin {
        Origin::File(path) => ("local unit file", path.display().to_string()),
        Origin::TemplateFile(path) => ("local template unit file", path.display().to_string()),
        Origin::Template => return Ok(()),
    };
    eprintln!("WARNING: Unit {name} in registry differs from {kind} {path}. Add --replace to override.");
    Ok(())
}
