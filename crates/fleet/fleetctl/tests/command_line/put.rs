//! `PUT /units/NAME`, with the checks of the contract in its order.

use fleet_api::{ErrorDocument, JobState, Unit, decode};
use unit_file::{Requirements, Severity, UnitName};

use crate::model::Model;

/// Returns the status of a successful response, or the error.
pub fn put(model: &mut Model, name: &str, body: &[u8]) -> Result<u16, ErrorDocument> {
    let refuse = |code: u16, text: String| Err(ErrorDocument::new(code, text));
    let mut unit: Unit = match decode(body) {
        Ok(unit) => unit,
        Err(error) => return refuse(400, format!("unable to decode body: {error}")),
    };
    if unit.name.is_empty() {
        unit.name = name.to_owned();
    }
    if unit.name != name {
        let text = format!("name in URL {name:?} differs from unit name in request body {:?}", unit.name);
        return refuse(400, text);
    }
    let parsed = match UnitName::parse(name) {
        Ok(parsed) => parsed,
        Err(error) => return refuse(400, error.to_string()),
    };
    if !unit.desired_state.is_empty()
        && let Err(error) = unit.desired_state.parse::<JobState>()
    {
        return refuse(400, error.to_string());
    }
    let known = model.units.get(name).map(|stored| stored.unit.file().hash());
    if known.is_none() && unit.options.is_empty() {
        return refuse(409, "unit does not exist and options field empty".into());
    }
    if !unit.options.is_empty() && known != Some(unit.file().hash()) {
        let (_, findings) = Requirements::read(&unit.file(), &parsed);
        if let Some(error) = findings.iter().find(|finding| finding.severity == Severity::Error) {
            return refuse(400, error.message.clone());
        }
        if unit.desired_state.is_empty() {
            unit.desired_state = "inactive".into();
        }
        if parsed.is_template() && unit.desired_state != "inactive" {
            return refuse(400, format!("cannot activate template {name:?}"));
        }
        model.put(&unit);
        return Ok(201);
    }
    if unit.desired_state.is_empty() {
        return refuse(409, "must provide DesiredState to update existing unit".into());
    }
    if parsed.is_template() && unit.desired_state != "inactive" {
        return refuse(400, format!("cannot activate template {name:?}"));
    }
    model.set_desired(name, &unit.desired_state);
    Ok(204)
}
