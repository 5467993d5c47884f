//! Making units known: what submit, load and start begin with.

use command_line::{Flag, ParsedArgs};
use fleet_api::{JobState, Unit};
use unit_file::{Requirements, Severity, UnitFile, UnitName, unit_name_from_argument};

use crate::act::Replaced;
use crate::failure::{Failure, WRONG_USE};
use crate::lookup::is_global;
use crate::registry::Registry;
use crate::source::{Origin, Source, creating, local, of_new};
use crate::stdout::say;

pub const REPLACE: Flag = Flag::switch("replace", "replace a unit whose text differs from the file's");
pub const VERBOSE: Flag = Flag::switch("verbose", "say of each new unit that it is known now");
pub const SIGN: Flag = Flag::switch("sign", "no longer there").hidden();

const NO_SIGNATURES: &str = "WARNING: The signed/verified units feature is DEPRECATED and cannot be used.";

/// The units that the arguments name, all of them known by then, and those whose text was replaced.
pub struct Known {
    pub units: Vec<Unit>,
    pub replaced: Replaced,
}

pub fn no_signatures() -> Failure {
    Failure { text: Some(NO_SIGNATURES.to_owned()), exit: WRONG_USE }
}

/// Makes the units known that are not yet. `highest` is the desired state up to which `--replace` may act.
pub async fn all(registry: &Registry, given: &ParsedArgs, highest: JobState) -> Result<Known, Failure> {
    if given.is_set(SIGN.name()) {
        return Err(no_signatures());
    }
    if given.arguments.is_empty() {
        return Err(Failure::harmless("No units given"));
    }
    let mut known = Known { units: Vec::new(), replaced: Replaced::new() };
    let work = Creating { registry, replacing: given.is_set(REPLACE.name()), highest };
    for argument in &given.arguments {
        let name = UnitName::parse(&unit_name_from_argument(argument)).map_err(creating)?;
        if known.units.iter().any(|unit| unit.name == name.as_str()) {
            continue;
        }
        let found = registry.unit(name.as_str()).await.map_err(|error| {
            creating(format_args!("error retrieving Unit({name}) from Registry: {error}"))
        })?;
        let unit = match found {
            None => {
                let unit = work.create(argument, &name).await?;
                if given.is_set(VERBOSE.name()) {
                    say(&format!("Unit {name} {}\n", unit.current_state))?;
                }
                unit
            }
            Some(unit) if work.replacing => work.replace(argument, &name, unit, &mut known.replaced).await?,
            Some(unit) => {
                warn_of_difference(argument, &name, &unit)?;
                unit
            }
        };
        known.units.push(unit);
    }
    Ok(known)
}

struct Creating<'a> {
    registry: &'a Registry,
    replacing: bool,
    highest: JobState,
}

impl Creating<'_> {
    async fn create(&self, argument: &str, name: &UnitName) -> Result<Unit, Failure> {
        // With --replace what lies here wins over the registry's template.
        let preferred = if self.replacing { local(argument, name)? } else { None };
        let source = match preferred {
            Some(source) => source,
            None => of_new(self.registry, argument, name).await?,
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
        let source = match local(argument, name)? {
            None if name.instance().is_some() => of_new(self.registry, argument, name).await.ok(),
            local => local,
        };
        let Some(source) = source.filter(|source| source.file.hash() != unit.file().hash()) else {
            say(&format!("Found same Unit({name}) in Registry, nothing to do\n"))?;
            return Ok(unit);
        };
        let desired: JobState = unit.desired_state.parse().unwrap_or_default();
        if desired > self.highest {
            eprintln!(
                "Warning: can not replace Unit({name}) in state '{desired}', use the appropriate command"
            );
            return Ok(unit);
        }
        check(&source.file, name)?;
        self.store_template(&source, name).await?;
        // What runs goes on with the new text, on its machine: it is not taken off in between.
        let changed = Unit::new(name.as_str(), desired.as_str(), Some(&source.file));
        self.put(&changed).await?;
        if desired != JobState::Inactive {
            replaced.insert(name.to_string(), source.file.hash().to_string());
        }
        Ok(Unit { options: changed.options, ..unit })
    }

    /// A template's file that an instance was made from is what other instances are to be made from.
    async fn store_template(&self, source: &Source, name: &UnitName) -> Result<(), Failure> {
        let (Origin::TemplateFile(_), Some(template)) = (&source.origin, name.template()) else {
            return Ok(());
        };
        let stored = self.registry.unit(template.as_str()).await.map_err(creating)?;
        if stored.is_some_and(|unit| unit.file().hash() == source.file.hash()) {
            return Ok(());
        }
        self.put(&Unit::new(template.as_str(), JobState::Inactive.as_str(), Some(&source.file))).await
    }

    async fn put(&self, unit: &Unit) -> Result<(), Failure> {
        let put = self.registry.put(unit).await;
        put.map_err(|error| creating(format_args!("failed creating unit {}: {error}", unit.name)))
    }
}

/// Refuses what no server would take, with the line where there is one; warns of what does nothing.
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
            Some(place) => creating(format_args!("{}\n{name}: {place}", finding.message)),
            // The original's name of them.
            None if finding.message.ends_with(" Peers") => {
                creating(format_args!("{}\nhint: MachineOf names a unit's peers", finding.message))
            }
            None => creating(&finding.message),
        }),
    }
}

fn warn_of_difference(argument: &str, name: &UnitName, unit: &Unit) -> Result<(), Failure> {
    let Some(source) = local(argument, name)? else { return Ok(()) };
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
