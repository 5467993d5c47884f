//! `PUT /units/NAME`: validates the request in the contract's order and applies the change.

use fleet_api::{ErrorDocument, JobState, Unit};
use hyper::StatusCode;
use unit_file::{Requirements, Severity, UnitFile, UnitHash, UnitName};

use crate::backend::Backend;
use crate::body::Body;
use crate::context::ApiContext;
use crate::response::{ApiResult, api_error, backend_error, empty_response, unit_not_found};

/// The change that a request asks for.
#[derive(Debug, PartialEq, Eq)]
enum Change {
    /// Also replaces existing contents.
    Create(UnitFile, JobState),
    SetDesired(JobState),
}

pub async fn put<B: Backend>(context: &ApiContext<B>, name: &str, body: Body) -> ApiResult {
    let unit: Unit = body.decode_json().await?;
    let name = parse_name(name, &unit.name)?;
    let desired = parse_desired_state(&unit)?;
    let stored_hash = context.with_view(|view, _| view.unit(&name).and_then(|_| view.hash(&name)))?;
    let (result, status) = match change(&name, &unit, desired, stored_hash)? {
        Change::Create(file, desired) => {
            (context.backend.create(&name, &file, desired).await, StatusCode::CREATED)
        }
        Change::SetDesired(desired) => {
            (context.backend.set_desired(&name, desired).await, StatusCode::NO_CONTENT)
        }
    };
    result.map_err(|failure| backend_error(failure, unit_not_found))?;
    Ok(empty_response(status))
}

fn parse_name(in_url: &str, in_body: &str) -> Result<UnitName, ErrorDocument> {
    if !in_body.is_empty() && in_body != in_url {
        let text = format!("name in URL {in_url:?} differs from unit name in request body {in_body:?}");
        return Err(api_error(400, text));
    }
    UnitName::parse(in_url).map_err(|error| api_error(400, error.to_string()))
}

fn parse_desired_state(unit: &Unit) -> Result<Option<JobState>, ErrorDocument> {
    match unit.desired_state.as_str() {
        "" => Ok(None),
        state => state.parse().map(Some).map_err(|error| api_error(400, format!("{error}"))),
    }
}

/// `stored_hash` is the hash of the stored unit, if it exists.
fn change(
    name: &UnitName,
    unit: &Unit,
    desired: Option<JobState>,
    stored_hash: Option<UnitHash>,
) -> Result<Change, ErrorDocument> {
    if stored_hash.is_none() && unit.options.is_empty() {
        return Err(api_error(409, "unit does not exist and options field empty"));
    }
    if !unit.options.is_empty() {
        let file = parse_options(name, unit)?;
        if stored_hash != Some(file.hash()) {
            check_unit(name, &file)?;
            let desired = desired.unwrap_or_default();
            check_desired_state(name, desired)?;
            return Ok(Change::Create(file, desired));
        }
    }
    let Some(desired) = desired else {
        return Err(api_error(409, "must provide DesiredState to update existing unit"));
    };
    check_desired_state(name, desired)?;
    Ok(Change::SetDesired(desired))
}

/// The unit file as it will be read from the store. Options may have values that a unit file cannot represent, such as
/// newlines; these are rejected if the text cannot be parsed.
fn parse_options(name: &UnitName, unit: &Unit) -> Result<UnitFile, ErrorDocument> {
    let read = UnitFile::from_text(&unit.file().normalised());
    let file = read.map_err(|error| api_error(400, format!("{name}: {}: {error}", error.position)))?;
    if file.options().is_empty() {
        return Err(api_error(400, format!("{name}: its options make no text that holds any")));
    }
    Ok(file)
}

/// Checks the type and the requirements of a unit.
pub fn check_unit(name: &UnitName, file: &UnitFile) -> Result<(), ErrorDocument> {
    if !name.kind().runs() {
        let text = format!(
            "units of type {:?} cannot run: use service, socket, timer, path, device, mount, automount or target",
            name.suffix()
        );
        return Err(api_error(400, text));
    }
    let (_, findings) = Requirements::read(file, name);
    match findings.into_iter().find(|finding| finding.severity == Severity::Error) {
        Some(error) => Err(api_error(400, error.message)),
        None => Ok(()),
    }
}

fn check_desired_state(name: &UnitName, desired: JobState) -> Result<(), ErrorDocument> {
    if name.is_template() && desired != JobState::Inactive {
        return Err(api_error(400, format!("cannot activate template {:?}", name.as_str())));
    }
    Ok(())
}
